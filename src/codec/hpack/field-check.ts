/**
 * Which bytes a field's name and value may have: RFC 9113 §8.2.1, with RFC 9110 §5.6.2 for names and, as nghttp2
 * has it, no control characters in values but the tab.
 */

const nameBytes = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
  nameBytes[character.charCodeAt(0)] = 1;

const colon = 0x3a;

/** Lower-case token; a pseudo-header's name begins with a colon. */
export function isFieldName(bytes: Uint8Array, start: number, end: number): boolean {
  let at = bytes[start] === colon ? start + 1 : start;
  if (at >= end) return false;
  for (; at < end; at++) if (nameBytes[bytes[at]!] === 0) return false;
  return true;
}

export function isFieldValue(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end) return true;
  if (isBlank(bytes[start]!) || isBlank(bytes[end - 1]!)) return false;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if ((byte < 0x20 && byte !== 0x09) || byte === 0x7f) return false;
  }
  return true;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09;
}
