/**
 * Fuzz target: the HTTP/2 engine, in the role that the first byte says. The input is what the peer sends after
 * its preface and SETTINGS. Throws when a property of the codec does not hold.
 */

import assert from 'node:assert/strict';
import { Http2Connection } from '../../src/codec/http2/connection.ts';
import type { ConnectionEvents } from '../../src/codec/http2/connection-events.ts';
import { frameBytesDefault, preface } from '../../src/codec/http2/protocol.ts';
import { Http2Stream } from '../../src/codec/http2/stream.ts';
import { emptySettings } from '../../src/codec/http2/testing/frames.ts';
import { bytewise, hostBytes } from '../../src/codec/testing/verdict.ts';
import type { HostBytes } from '../../src/core/bytes.ts';
import { DecoderScratch } from '../../src/codec/hpack/decoder.ts';
import { randomCuts } from './mutation.ts';

const allocate = (byteCount: number): HostBytes => Buffer.alloc(byteCount) as unknown as HostBytes;
const memory = { allocate, scratch: new DecoderScratch(allocate) };
const limits = {
  headBytesMax: 4096,
  headerCountMax: 40,
  targetBytesMax: 256,
  streamsMax: 4,
  streamWindowBytes: 70_000,
  connectionWindowBytes: 140_000,
};
/** One frame and one block. */
const heldBytesMax = frameBytesDefault + 9 + limits.headBytesMax;

export function target(bytes: Uint8Array): void {
  const isServer = (bytes[0] ?? 0) % 2 === 0;
  const input = bytes.subarray(1);
  const whole = outcome(isServer, input, []);
  assert.deepEqual(outcome(isServer, input, bytewise(input.length)), whole, 'bytewise and whole agree');
  assert.deepEqual(outcome(isServer, input, randomCuts(input)), whole, 'any split and whole agree');
}

/** Everything the engine said, and everything it wrote. */
function outcome(isServer: boolean, input: Uint8Array, cuts: readonly number[]): unknown {
  const log: unknown[] = [];
  const connection: Http2Connection<Http2Stream> = new Http2Connection(
    isServer ? 'server' : 'client',
    limits,
    memory,
    recorder(log, () => connection),
  );
  connection.open();
  const greeting = `${isServer ? preface : ''}${emptySettings}`;
  connection.receive(hostBytes(Buffer.from(greeting, 'latin1')), 0);
  if (!isServer) for (let count = 0; count < 3; count++) sendRequest(connection);
  let start = 0;
  for (const end of [...cuts, input.length].toSorted((one, other) => one - other)) {
    const chunk = hostBytes(Buffer.from(input.subarray(start, end)));
    start = Math.max(start, end);
    connection.receive(chunk, 0);
    chunk.fill(0xff);
    assert.ok(connection.heldBytes <= heldBytesMax, 'what is kept stays within the limits');
    assert.ok(connection.streams.count <= Math.max(limits.streamsMax, 3), 'streams stay within the limit');
  }
  const { sink } = connection.send;
  return { log: merged(log), written: Buffer.from(sink.bytes.subarray(0, sink.length)).toString('hex') };
}

function sendRequest(connection: Http2Connection<Http2Stream>): void {
  const stream = new Http2Stream(connection.streams.takeId(), 65_535, limits.streamWindowBytes);
  connection.streams.add(stream);
  const head = { method: 'GET', scheme: 'http', authority: 'a', path: '/', protocol: null, fields: [] };
  connection.sendRequest(stream, head, true);
}

function recorder(
  log: unknown[],
  connection: () => Http2Connection<Http2Stream>,
): ConnectionEvents<Http2Stream> {
  return {
    newStream: (id, sendWindow, receiveWindow) => new Http2Stream(id, sendWindow, receiveWindow),
    onRequest(stream, head, isEnd) {
      log.push(['request', stream.id, head, isEnd]);
      // Every other request is answered at once: both ends of the states are walked.
      if (stream.id % 4 === 1) connection().sendResponse(stream, { status: 200, fields: ['a', 'b'] }, true);
    },
    onRefusedRequest: (fault) => void log.push(['refused', fault]),
    onInformational: (stream, head) => void log.push(['interim', stream.id, head]),
    onResponse: (stream, head, isEnd) => void log.push(['response', stream.id, head, isEnd]),
    onStreamData(stream, bytes, isEnd) {
      log.push(['data', stream.id, bytes.latin1Slice(), isEnd]);
      connection().consume(stream, bytes.length);
    },
    onTrailers: (stream, fields) => void log.push(['trailers', stream.id, fields]),
    onStreamEnd: (stream) => void log.push(['data', stream.id, '', true]),
    onStreamDrain: (stream) => void log.push(['drain', stream.id]),
    onReset: (stream, cause) => void log.push(['reset', stream.id, cause]),
    onStreamGone: (stream) =>
      assert.equal(stream.unconsumedBytes, 0, 'credit of a stream that is gone came back'),
    onPeerSettings() {},
    onSettingsAck() {},
    onPong: () => void log.push(['pong']),
    onGoAway: (lastStreamId, code) => void log.push(['goaway', lastStreamId, code]),
    onFailed: (error, code) => void log.push(['failed', error.message, code]),
    onOutputFull() {},
  };
}

/** Pieces of one body are one, however they came. */
function merged(log: readonly unknown[]): unknown[] {
  const result: unknown[] = [];
  for (const entry of log) {
    const last = result.at(-1);
    if (isData(entry) && isData(last) && last[1] === entry[1] && !last[3])
      result[result.length - 1] = ['data', entry[1], last[2] + entry[2], entry[3]];
    else result.push(entry);
  }
  return result;
}

function isData(entry: unknown): entry is ['data', number, string, boolean] {
  return Array.isArray(entry) && entry[0] === 'data';
}
