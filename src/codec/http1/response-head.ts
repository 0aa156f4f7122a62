/**
 * The response head, and which of the ways a body may be framed it says (RFC 9112 §4, §6.3). Responses are held to
 * the same strictness as requests: what a backend says in two ways is not passed on in one.
 */

import type { ResponseHead } from '../http-message.ts';
import { isMadeOf, valueKinds } from './characters.ts';
import type { FieldBlock } from './field-block.ts';
import { ambiguous, malformed } from './limits.ts';

/** What the request asked, as far as it decides how its response is framed. */
export interface ResponseExpectation {
  readonly isHead: boolean;
  readonly isConnect: boolean;
  /** The protocol an upgrade asks for; null: 101 would break the protocol. */
  readonly protocol: string | null;
}

/** How the body ends. `tunnel`: there is none, and what follows is no HTTP. */
export type BodyKind = 'none' | 'length' | 'chunked' | 'close' | 'tunnel';

export interface Http1Response {
  /** An upgrade that succeeded has status 200 here, as the model has it. */
  readonly head: ResponseHead;
  readonly isInformational: boolean;
  readonly body: BodyKind;
  readonly contentLength: number;
  readonly isKeepAlive: boolean;
  readonly webSocketAccept: string | null;
}

/** Reads the line that ends at `end`. Answers the status, negative for HTTP/1.0. Throws ProtocolError. */
export function parseStatusLine(text: string, end: number): number {
  const isFirst = text.startsWith('HTTP/1.1 ');
  if (!isFirst && !text.startsWith('HTTP/1.0 ')) {
    throw malformed('upstream', 'a status line without HTTP/1.1 or HTTP/1.0');
  }
  const status = Number(text.substring(9, 12));
  // Some servers leave out the space before an empty phrase.
  const isTerminated = end === 12 || (end > 12 && text.charCodeAt(12) === 0x20);
  if (!isTerminated || !/^[1-9][0-9][0-9]$/.test(text.substring(9, 12))) {
    throw malformed('upstream', 'a status that is no number of three digits');
  }
  if (!isMadeOf(valueKinds, text, 12, end)) throw malformed('upstream', 'a control character in the phrase');
  return isFirst ? status : -status;
}

/** Puts line and fields together. `status` as parseStatusLine answers it. Throws ProtocolError. */
export function makeResponse(
  status: number,
  block: FieldBlock,
  expected: ResponseExpectation,
): Http1Response {
  const isFirst = status > 0;
  const code = Math.abs(status);
  checkFraming(block, isFirst);
  const isInformational = code < 200 && code !== 101;
  const body = isInformational ? 'none' : bodyKind(code, block, expected);
  return {
    head: { status: code === 101 ? 200 : code, fields: block.fields.slice() },
    isInformational,
    body,
    contentLength: block.contentLength === -1 ? 0 : block.contentLength,
    isKeepAlive: isReusable(code, block, isFirst) && body !== 'close' && body !== 'tunnel',
    webSocketAccept: block.webSocketAccept,
  };
}

function checkFraming(block: FieldBlock, isFirst: boolean): void {
  if (!block.isChunked) return;
  if (block.contentLength !== -1)
    throw ambiguous('upstream', 'Transfer-Encoding together with Content-Length');
  if (!isFirst) throw ambiguous('upstream', 'Transfer-Encoding in an HTTP/1.0 response');
}

function bodyKind(code: number, block: FieldBlock, expected: ResponseExpectation): BodyKind {
  if (code === 101) {
    checkSwitch(block, expected);
    return 'tunnel';
  }
  if (code < 300 && expected.isConnect) return 'tunnel';
  if (code < 300 && expected.protocol !== null) {
    // The model has 200 for a switch that took place: a plain success would pass for one.
    throw malformed('upstream', 'success in answer to an upgrade without switching to it');
  }
  if (expected.isHead || code === 204 || code === 304) return 'none';
  if (block.isChunked) return 'chunked';
  if (block.contentLength === -1) return 'close';
  return block.contentLength === 0 ? 'none' : 'length';
}

function checkSwitch(block: FieldBlock, expected: ResponseExpectation): void {
  if (expected.protocol === null) throw malformed('upstream', 'a switch of protocols that nobody asked for');
  if (!block.isUpgrade || block.upgrade !== expected.protocol) {
    throw malformed('upstream', 'a switch to another protocol than the one asked for');
  }
  if (block.isChunked || block.contentLength > 0)
    throw malformed('upstream', 'a switch of protocols with a body');
}

/**
 * A server that frames a body where there can be none may well send it: the connection carries no second request,
 * whose answer that body would pass for.
 */
function isReusable(code: number, block: FieldBlock, isFirst: boolean): boolean {
  if (block.isClose || (!isFirst && !block.isKeepAlive)) return false;
  return code !== 204 || (!block.isChunked && block.contentLength <= 0);
}
