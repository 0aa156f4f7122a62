/**
 * Ids of requests: unique among all workers and starts, short, and cheap, since every request gets one. They are
 * names, not secrets: the next one can be guessed.
 */
import { randomBytes } from 'node:crypto';

export const requestIdCharactersMax = 128;

/** Seven random bytes for this thread; behind it a count. */
const prefix = `${randomBytes(7).toString('hex')}-`;
let count = 0;

export function makeRequestId(): string {
  return prefix + (++count).toString(36);
}

/** Whether an id that came with a request may be kept: 1–128 letters, digits, `.`, `_` and `-`. */
export function isSaneRequestId(id: string): boolean {
  if (id.length === 0 || id.length > requestIdCharactersMax) return false;
  for (let at = 0; at < id.length; at++) if (isIdCharacter[id.charCodeAt(at)] !== 1) return false;
  return true;
}

const isIdCharacter = new Uint8Array(256);
for (const character of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-') {
  isIdCharacter[character.charCodeAt(0)] = 1;
}
