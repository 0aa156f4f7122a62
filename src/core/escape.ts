/**
 * Text from elsewhere, made safe to show: a terminal obeys control characters, and a reader is misled by
 * characters that are invisible or turn the direction of writing (CVE-2021-42574). The classes are Unicode's
 * own, so a character added to them tomorrow is covered by the next ICU.
 */

import { assert } from './errors.ts';

/** How much of one peer-supplied text is worth a place in a log line. A DNS name has at most 253. */
const textCharactersMax = 256;

const ellipsis = '…';

/** C0, DEL, C1 · formatting and bidi controls · line and paragraph separators · lone surrogates · invisible. */
const unsafeClasses = String.raw`\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}`;
const unsafe = new RegExp(`[${unsafeClasses}]`, 'u');
const unsafeAll = new RegExp(`[${unsafeClasses}]`, 'gu');
const unsafeOrBackslash = new RegExp(String.raw`[${unsafeClasses}\\]`, 'u');

/** Without the `u` flag and over ASCII this is several times quicker; nearly every text ends here. */
const notPlain = /[^ -~]/;

/**
 * Peer-supplied text for logs and terminals: each unsafe character as `\xNN` or `\u{NNNN}`, a backslash as
 * `\x5c` (so that nobody can forge an escape), at most `charactersMax` UTF-16 units in all. A longer text ends
 * in an ellipsis; an escape or a surrogate pair is never cut in two. Work is bounded by the limit, not the text.
 */
export function escapeText(text: string, charactersMax: number = textCharactersMax): string {
  assert(charactersMax >= 1, 'escaped text needs room for its ellipsis');
  if (text.length <= charactersMax && !unsafeOrBackslash.test(text)) return text;
  let escaped = '';
  /** How much of `escaped` leaves room for the ellipsis. */
  let fits = 0;
  for (const character of text) {
    escaped += unsafeOrBackslash.test(character) ? escapeCharacter(character) : character;
    if (escaped.length > charactersMax) return escaped.slice(0, fits) + ellipsis;
    if (escaped.length < charactersMax) fits = escaped.length;
  }
  return escaped;
}

/** As escapeText, but whole and with backslashes kept: for text of our own in which peers' parts are escaped already. */
export function escapeUnsafe(text: string): string {
  return notPlain.test(text) && unsafe.test(text) ? text.replace(unsafeAll, escapeCharacter) : text;
}

/** JSON text without a raw unsafe character. It parses to the same value. JSON.stringify itself escapes only C0. */
export function escapeJson(json: string): string {
  return notPlain.test(json) && unsafe.test(json) ? json.replace(unsafeAll, escapeJsonCharacter) : json;
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0)!;
  const digits = code.toString(16).padStart(2, '0');
  return code < 0x100 ? `\\x${digits}` : `\\u{${digits}}`;
}

function escapeJsonCharacter(character: string): string {
  let escaped = '';
  for (let at = 0; at < character.length; at++) {
    escaped += `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`;
  }
  return escaped;
}
