/** Text as a JSON string in a line of the log, safe to show: one line, printable, bounded. */

import { escapeJson, escapeText } from '../core/escape.ts';

/** A character that cannot stand in JSON text as it is, or may not reach a terminal. */
const notPlain = /[^ !#-[\]-~]/;

/** The length that escapeText would not cut. */
const plainCharactersMax = 256;

export function quoteText(text: string, charactersMax: number = plainCharactersMax): string {
  if (text.length <= charactersMax && !notPlain.test(text)) return `"${text}"`;
  return escapeJson(JSON.stringify(escapeText(text, charactersMax)));
}

/** Listeners, routes and backends recur on every line: a look-up costs half of looking at the characters. */
const quotedTexts = new Map<string | null, string>([[null, 'null']]);
const quotedTextsMax = 4096;

/** For texts that recur. The memory for them is bounded, so that it does no harm when some do not. */
export function quoteConfigured(text: string | null): string {
  let quoted = quotedTexts.get(text);
  if (quoted === undefined) {
    if (quotedTexts.size >= quotedTextsMax) {
      quotedTexts.clear();
      quotedTexts.set(null, 'null');
    }
    quoted = text === null ? 'null' : quoteText(text);
    quotedTexts.set(text, quoted);
  }
  return quoted;
}
