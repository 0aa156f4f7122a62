/** Which bytes may stand where in HTTP/1 (RFC 9110 §5.6.2 token, §5.5 field value; RFC 3986 §2). Tables, not regular expressions: the parsers look at every byte once. */

export const tab = 0x09;
export const lineFeed = 0x0a;
export const carriageReturn = 0x0d;
export const space = 0x20;
export const colon = 0x3a;
export const semicolon = 0x3b;

/** 0: no token character; 1: one that is its own lower case; 2: an upper-case letter. */
export const tokenKinds = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
  tokenKinds[character.charCodeAt(0)] = 1;
}
tokenKinds.fill(2, 0x41, 0x5b);

/** The lower case of a token character; 0: none. */
export const tokenLower = new Uint8Array(256);
for (let code = 0; code < 256; code++) {
  if (tokenKinds[code]! > 0) tokenLower[code] = tokenKinds[code] === 2 ? code + 0x20 : code;
}

/** 1: visible ASCII, space, tab, and the bytes above ASCII that RFC 9110 calls obs-text. */
export const valueKinds = new Uint8Array(256);
valueKinds.fill(1, 0x20, 0x7f);
valueKinds.fill(1, 0x80);
valueKinds[tab] = 1;

/**
 * 1: what a target may hold: visible ASCII without `#`. That is more than RFC 3986 allows (`|`, `{`, `"`), because
 * browsers send these as they are and no parser reads them in two ways.
 */
export const targetKinds = new Uint8Array(256);
targetKinds.fill(1, 0x21, 0x7f);
targetKinds[0x23] = 0;

/** The value of a hexadecimal digit; 255: none. */
export const hexValues = new Uint8Array(256).fill(255);
for (let digit = 0; digit < 16; digit++) {
  const text = digit.toString(16);
  hexValues[text.charCodeAt(0)] = digit;
  hexValues[text.toUpperCase().charCodeAt(0)] = digit;
}

/** True when every character from `start` to `end` has a kind in `kinds`. Characters past latin1 have none. */
export function isMadeOf(kinds: Uint8Array, text: string, start = 0, end: number = text.length): boolean {
  for (let at = start; at < end; at++) {
    const kind = kinds[text.charCodeAt(at)];
    if (kind === undefined || kind === 0) return false;
  }
  return true;
}

/** The same for bytes, which takes a third of the time. */
export function isMadeOfBytes(kinds: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (kinds[bytes[at]!] === 0) return false;
  return true;
}

/** No control character but the tab, and nothing past latin1. */
export function isFieldValue(text: string): boolean {
  return !unfitForValue.test(text);
}

const unfitForValue = /[^\t\x20-\x7e\x80-\xff]/;

export function isToken(text: string): boolean {
  return text.length > 0 && isMadeOf(tokenKinds, text);
}

/** `name`, and not `Name`: what a message of ours may carry. */
export function isLowerToken(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (tokenKinds[text.charCodeAt(at)] !== 1) return false;
  return text.length > 0;
}
