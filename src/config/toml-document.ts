/** TOML 1.0: values by smol-toml, places by our own scan of the same, then known to be valid, text. */

import { TomlError, parse } from 'smol-toml';
import type { Document, SyntaxFault } from './document.ts';
import { offsetsOf } from './places.ts';
import { findPlaces } from './toml-places.ts';

export function parseToml(text: string): Document | SyntaxFault {
  try {
    return {
      kind: 'document',
      root: parse(text),
      locate: (wanted) => offsetsOf(wanted, (root) => findPlaces(text, root)),
    };
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
