/**
 * Fuzz target: the HTTP/1 parsers of both roles, and the writer on all that they have read. Throws when a property
 * fails.
 */

import assert from 'node:assert/strict';
import type { HostBytes } from '../../src/core/bytes.ts';
import { HeadWriter } from '../../src/codec/http1/head-writer.ts';
import type { Http1Request } from '../../src/codec/http1/request-head.ts';
import {
  readRequests,
  readResponse,
  testLimits,
  type Transcript,
} from '../../src/codec/http1/testing/transcript.ts';
import { bytewise, hostBytes } from '../../src/codec/testing/verdict.ts';
import { randomCuts } from './mutation.ts';

const bufferedMax = testLimits.headBytesMax + testLimits.trailerBytesMax;

export function target(bytes: Uint8Array): void {
  const copy = hostBytes(Buffer.from(bytes));
  const requests = agreeing(bytes, (cuts) => readRequests(copy, cuts, allocate));
  for (const { request } of requests.messages) if (request !== undefined) writesBack(request);
  agreeing(bytes, (cuts) => readResponse(copy, cuts, allocate));
}

function agreeing(bytes: Uint8Array, read: (cuts: readonly number[]) => Transcript): Transcript {
  const whole = read([]);
  for (const cuts of [bytewise(bytes.length), randomCuts(bytes)]) {
    const cut = read(cuts);
    assert.deepEqual({ ...cut, bufferedMax: 0 }, { ...whole, bufferedMax: 0 }, 'any split and whole agree');
    assert.ok(cut.bufferedMax <= bufferedMax, 'no more is kept than the limits say');
  }
  return whole;
}

/** What goes upstream is read again as the same request, and as one. */
function writesBack({ head, webSocketKey, contentLength, isChunked }: Http1Request): void {
  if (head.authority === '') return;
  const isEnd = contentLength === 0 && !isChunked;
  const text = new HeadWriter().request(head, isEnd, webSocketKey);
  const limits = { ...testLimits, headBytesMax: 2 * testLimits.headBytesMax, headerCountMax: 32 };
  const { messages, refusal } = readRequests(hostBytes(Buffer.from(text, 'latin1')), [], allocate, limits);
  assert.equal(refusal, undefined, text);
  assert.equal(messages.length, 1, text);
  const { method, path, protocol } = messages[0]!.request!.head;
  assert.deepEqual([method, path, protocol], [head.method, head.path, head.protocol]);
}

function allocate(byteCount: number): HostBytes {
  return hostBytes(Buffer.alloc(byteCount));
}
