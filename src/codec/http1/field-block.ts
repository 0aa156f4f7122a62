/**
 * The field lines of a head or of a trailer section (RFC 9112 §5), read once, with what they say about framing and
 * about the connection taken out.
 *
 * Refused: what is no token before the colon (so a space, and the folded line that begins with one), a bare CR or
 * LF, NUL and the other controls in a value, a second length, encoding or host, and every length or encoding that
 * another parser might take for something else (RFC 9112 §6, §11.2).
 */

import type { FieldList } from '../http-message.ts';
import { removeField } from '../http-message.ts';
import { carriageReturn, colon, lineFeed, space, tab, tokenLower, valueKinds } from './characters.ts';
import { findName, hashNext, hashStart, roles, type Role } from './known-names.ts';
import { ambiguous, malformed, oversized, type Side } from './limits.ts';

/** What the lines say. Kept as a template for equal heads: whoever hands out `fields` copies them. */
export interface FieldBlock {
  readonly fields: FieldList;
  /** Undefined: there was none. */
  host: string | undefined;
  /** -1: there was none. */
  contentLength: number;
  isChunked: boolean;
  isClose: boolean;
  isKeepAlive: boolean;
  /** `Connection: upgrade` was there. */
  isUpgrade: boolean;
  /** What `Upgrade` names, in lower case; null without one. */
  upgrade: string | null;
  expectsContinue: boolean;
  webSocketKey: string | null;
  webSocketAccept: string | null;
  /** What `Connection` names beside the options above, in lower case. */
  named: string[] | null;
}

const expectContinue = '100-continue';

/** Fields that `Connection` may name. Each is looked for among all: without a bound one head could cost a second. */
const namedMax = 32;

/** A section of lines as text and as bytes, which are quicker to look at; `text` begins at `offset` of `bytes`. */
export interface Section {
  readonly text: string;
  readonly bytes: Uint8Array;
  readonly offset: number;
}

/** Reads whole lines from `start` to `end` of the text, each with its CRLF. Throws ProtocolError. */
export function parseFieldBlock(
  section: Section,
  start: number,
  end: number,
  headerCountMax: number,
  side: Side,
): FieldBlock {
  const block = emptyBlock();
  const { text, bytes, offset } = section;
  let at = offset + start;
  const last = offset + end;
  let count = 0;
  while (at < last) {
    if (++count > headerCountMax) throw oversized(side, 'the head has more fields than headerCountMax');
    const nameStart = at;
    let hash = hashStart;
    for (let lower = tokenLower[bytes[at]!]!; lower !== 0; lower = tokenLower[bytes[++at]!]!) {
      hash = hashNext(hash, lower);
    }
    if (bytes[at] !== colon || at === nameStart) throw nameFault(bytes[at]!, at === nameStart, side);
    const nameEnd = at;
    do at++;
    while (isBlank(bytes[at]!));
    const valueStart = at;
    while (valueKinds[bytes[at]!] === 1) at++;
    if (bytes[at] !== carriageReturn || bytes[at + 1] !== lineFeed) throw valueFault(bytes[at]!, side);
    let valueEnd = at;
    while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1]!)) valueEnd--;
    at += 2;
    const value = text.substring(valueStart - offset, valueEnd - offset);
    const known = findName(bytes, nameStart, nameEnd, hash);
    if (known === undefined) {
      block.fields.push(text.substring(nameStart - offset, nameEnd - offset).toLowerCase(), value);
    } else if (known.role === roles.ordinary) {
      block.fields.push(known.name, value);
    } else {
      takeRole(block, known.role, value, side);
    }
  }
  if (block.named !== null) for (const name of block.named) removeNamed(block.fields, name);
  return block;
}

function takeRole(block: FieldBlock, role: Role, value: string, side: Side): void {
  switch (role) {
    case roles.host:
      if (block.host !== undefined) throw ambiguous(side, 'more than one Host');
      block.host = value;
      return;
    case roles.contentLength:
      if (block.contentLength !== -1) throw ambiguous(side, 'more than one Content-Length');
      block.contentLength = parseLength(value, side);
      block.fields.push('content-length', value);
      return;
    case roles.transferEncoding:
      if (block.isChunked) throw ambiguous(side, 'more than one Transfer-Encoding');
      if (value.toLowerCase() !== 'chunked') throw ambiguous(side, 'a Transfer-Encoding other than chunked');
      block.isChunked = true;
      return;
    case roles.connection:
      takeConnection(block, value, side);
      return;
    case roles.upgrade:
      block.upgrade = block.upgrade === null ? value.toLowerCase() : `${block.upgrade}, ${value}`;
      return;
    case roles.expect:
      block.expectsContinue = value.toLowerCase() === expectContinue;
      block.fields.push('expect', value);
      return;
    case roles.webSocketKey:
      if (block.webSocketKey !== null) throw ambiguous(side, 'more than one Sec-WebSocket-Key');
      block.webSocketKey = value;
      return;
    case roles.webSocketAccept:
      if (block.webSocketAccept !== null) throw ambiguous(side, 'more than one Sec-WebSocket-Accept');
      block.webSocketAccept = value;
      return;
    default:
  }
}

/**
 * Digits and nothing else, as they would be written again: no sign, no list, no second spelling (`010` is eight to
 * some). At most 2^53 - 1, so that counting down to the end is exact.
 */
function parseLength(value: string, side: Side): number {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(value))
    throw ambiguous(side, 'a Content-Length that is no plain number');
  const length = Number(value);
  if (!Number.isSafeInteger(length)) throw ambiguous(side, 'a Content-Length that is no plain number');
  return length;
}

function takeConnection(block: FieldBlock, value: string, side: Side): void {
  const list = value.toLowerCase();
  if (list === 'keep-alive') {
    block.isKeepAlive = true;
    return;
  }
  for (const part of list.split(',')) {
    const option = part.trim();
    if (option === 'close') block.isClose = true;
    else if (option === 'keep-alive') block.isKeepAlive = true;
    else if (option === 'upgrade') block.isUpgrade = true;
    else if (option !== '' && (block.named ??= []).push(option) > namedMax) {
      throw oversized(side, 'Connection names too many fields');
    }
  }
}

/** The length is a fact about the body, which no option of the connection takes away. */
function removeNamed(fields: FieldList, name: string): void {
  if (name !== 'content-length') removeField(fields, name);
}

function emptyBlock(): FieldBlock {
  return {
    fields: [],
    host: undefined,
    contentLength: -1,
    isChunked: false,
    isClose: false,
    isKeepAlive: false,
    isUpgrade: false,
    upgrade: null,
    expectsContinue: false,
    webSocketKey: null,
    webSocketAccept: null,
    named: null,
  };
}

function isBlank(code: number): boolean {
  return code === space || code === tab;
}

function nameFault(code: number, isFirst: boolean, side: Side): Error {
  if (isBlank(code)) {
    return ambiguous(
      side,
      isFirst ? 'a folded field line' : 'white space between a field name and its colon',
    );
  }
  return malformed(
    side,
    isFirst && code === colon ? 'a field without a name' : 'a field name that is no token',
  );
}

function valueFault(code: number, side: Side): Error {
  if (code === carriageReturn || code === lineFeed) return malformed(side, 'a bare CR or LF');
  return malformed(side, 'a control character in a field value');
}
