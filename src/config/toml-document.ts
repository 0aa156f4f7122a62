/** TOML 1.0: values by smol-toml, places by our own scan of the same, then known to be valid, text. */

import { TomlError, parse } from 'smol-toml';
import type { Document, SyntaxFault, Wanted } from './document.ts';
import { PlaceScanner, placeKey } from './toml-places.ts';

export function parseToml(text: string): Document | SyntaxFault {
  try {
    return { kind: 'document', root: parse(text), locate: (wanted) => locate(text, wanted) };
  } catch (error) {
    if (error instanceof TomlError) return syntaxFault(text, error);
    // A bug of the parser is no reason to show the operator a stack instead of a line.
    return { kind: 'fault', message: String(error), offset: null };
  }
}

function syntaxFault(text: string, error: TomlError): SyntaxFault {
  const firstLine = error.message.split('\n', 1)[0]!;
  let offset = 0;
  for (let line = 1; line < error.line; line++) offset = text.indexOf('\n', offset) + 1;
  return {
    kind: 'fault',
    message: firstLine.replace('Invalid TOML document: ', ''),
    offset: offset + error.column - 1,
  };
}

function locate(text: string, wanted: readonly Wanted[]): readonly (number | undefined)[] {
  const keys = wanted.map(({ path, at }) => candidates(path.map(String), at));
  const scanner = new PlaceScanner(text, new Set(keys.flat()));
  scanner.scan();
  return keys.map((each) => each.map((key) => scanner.found.get(key)).find((offset) => offset !== undefined));
}

/** The place itself, then its ancestors, nearest first. */
function candidates(path: readonly string[], at: 'key' | 'value'): readonly string[] {
  const own = [placeKey(path, at), placeKey(path, at === 'key' ? 'value' : 'key')];
  return [...own, ...path.map((_, index) => placeKey(path.slice(0, path.length - 1 - index), 'value'))];
}
