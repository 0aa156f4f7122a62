/**
 * Two of our sessions joined in memory, doing everything at once in a random order: no byte is lost, doubled or
 * swapped, no window is passed, and nothing is left behind.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { FieldList } from '../codec/http-message.ts';
import type { HostBytes } from '../core/bytes.ts';
import { httpDefaults } from '../model/http-settings.ts';
import { FlushQueue } from './flush-queue.ts';
import { Http2ClientSession } from './http2-client-session.ts';
import { Http2ServerSession } from './http2-server-session.ts';
import { windowBytes, type Stream, type StreamFailure } from './stream.ts';
import { channelPair } from './testing/channel-pair.ts';
import { getHead } from './testing/http2-origin.ts';
import { scriptedNetwork } from './testing/http2-peer.ts';

/** One direction of one stream: what is sent, and what came of it. */
class Flow {
  stream: Stream | undefined;
  readonly #seed: number;
  readonly #length: number;
  readonly trailers: FieldList | null;
  sent = 0;
  got = 0;
  unconsumed = 0;
  isEndSent = false;
  isEnded = false;
  gotTrailers: FieldList | null = null;
  failure: StreamFailure | null = null;
  isBlocked = false;

  constructor(seed: number, length: number, hasTrailers: boolean) {
    this.#seed = seed;
    this.#length = length;
    this.trailers = hasTrailers ? ['x-sum', String(seed)] : null;
  }

  get isAllSent(): boolean {
    return this.isEndSent;
  }

  /** Sends a piece, if its sender may go on. */
  push(wanted: number): void {
    if (this.stream === undefined || this.isEndSent || this.isBlocked) return;
    const size = Math.min(wanted, this.#length - this.sent);
    const isLast = this.sent + size === this.#length;
    const bytes = Buffer.alloc(size);
    for (let at = 0; at < size; at++) bytes[at] = this.#byteAt(this.sent + at);
    this.sent += size;
    const isEnd = isLast && this.trailers === null;
    this.isBlocked = !this.stream.sendData(bytes as unknown as HostBytes, isEnd);
    // Whoever keeps the memory is found out.
    bytes.fill(0xee);
    if (isLast && this.trailers !== null) this.stream.sendTrailers(this.trailers);
    this.isEndSent = isLast;
  }

  take(bytes: HostBytes, isEnd: boolean): void {
    assert.equal(this.isEnded, false, 'nothing comes after the end');
    for (let at = 0; at < bytes.length; at++) assert.equal(bytes[at], this.#byteAt(this.got + at));
    this.got += bytes.length;
    this.unconsumed += bytes.length;
    assert.ok(this.unconsumed <= windowBytes, 'no more than the window is handed out');
    if (isEnd) this.end();
  }

  end(): void {
    assert.equal(this.isEnded, false, 'the end comes once');
    assert.equal(this.got, this.#length);
    this.isEnded = true;
  }

  consume(receiver: Stream | undefined, wanted: number): void {
    const count = Math.min(wanted, this.unconsumed);
    this.unconsumed -= count;
    if (count > 0) receiver?.consume(count);
  }

  #byteAt(offset: number): number {
    return (offset * 7 + this.#seed + (offset >>> 8)) & 0xff;
  }
}

interface Exchange {
  readonly up: Flow;
  readonly down: Flow;
}

const exchange = fc.record({
  up: fc.oneof(fc.nat(2000), fc.nat(400_000)),
  down: fc.oneof(fc.nat(2000), fc.nat(400_000)),
  upTrailers: fc.boolean(),
  downTrailers: fc.boolean(),
});
const step = fc.record({
  kind: fc.constantFrom('push', 'consume', 'deliver', 'flush', 'pump'),
  index: fc.nat(7),
  isUp: fc.boolean(),
  size: fc.oneof(fc.nat(100), fc.nat(200_000)),
});

function sinkFor(incoming: Flow, outgoing: Flow) {
  return {
    onInformational() {},
    onHead(_stream: Stream, _head: unknown, isEnd: boolean) {
      if (isEnd) incoming.end();
    },
    onData: (_stream: Stream, bytes: HostBytes, isEnd: boolean) => incoming.take(bytes, isEnd),
    onTrailers(_stream: Stream, fields: FieldList) {
      incoming.gotTrailers = fields;
      incoming.end();
    },
    onEnd: () => incoming.end(),
    onDrain: () => void (outgoing.isBlocked = false),
    onReset: (_stream: Stream, failure: StreamFailure) => void (incoming.failure = failure),
  };
}

describe('two sessions', () => {
  it('carry every byte of every stream, whatever the order of what happens', () => {
    fc.assert(
      fc.property(
        fc.array(exchange, { minLength: 1, maxLength: 8 }),
        fc.array(step, { maxLength: 150 }),
        fc.constantFrom(7, 1000, 65_536),
        fc.constantFrom(5000, 1_000_000),
        run,
      ),
      { numRuns: 25 },
    );
  });
});

function run(
  shapes: { up: number; down: number; upTrailers: boolean; downTrailers: boolean }[],
  steps: { kind: string; index: number; isUp: boolean; size: number }[],
  readBytesMax: number,
  roomBytes: number,
): void {
  const pair = channelPair({ isAutomatic: false, readBytesMax: Math.max(readBytesMax, 7), roomBytes });
  const network = scriptedNetwork();
  const flushes = new FlushQueue();
  const faults: unknown[] = [];
  const options = { network, settings: httpDefaults, flushes };
  const exchanges = shapes.map<Exchange>((shape, index) => ({
    up: new Flow(index, shape.up, shape.upTrailers),
    down: new Flow(index + 100, shape.down, shape.downTrailers),
  }));
  const server = new Http2ServerSession(
    { ...options, channel: pair.server, scheme: 'http' },
    {
      onRequest(stream, head, isEnd) {
        const { up, down } = exchanges[Number(head.path.slice(1))]!;
        stream.sink = sinkFor(up, down);
        if (isEnd) up.end();
        stream.sendHead({ status: 200, fields: [] }, false);
        down.stream = stream;
      },
      onRefused: (reason) => void faults.push(reason),
      onClosed() {},
      onFault: (error) => void faults.push(error),
    },
  );
  const client = new Http2ClientSession(
    { ...options, channel: pair.client },
    { onAvailability() {}, onClosed() {}, onFault: (error) => void faults.push(error) },
  );
  server.start();
  client.start();
  exchanges.forEach(({ up, down }, index) => {
    up.stream = client.request({ ...getHead, method: 'POST', path: `/${index}` }, false, sinkFor(down, up));
  });
  const act = (kind: string, { up, down }: Exchange, isUp: boolean, size: number): void => {
    const [flow, receiver] = isUp ? [up, down.stream] : [down, up.stream];
    if (kind === 'push') flow.push(size);
    else if (kind === 'consume') flow.consume(receiver, size);
    else if (kind === 'deliver') (isUp ? pair.server : pair.client).deliver();
    else if (kind === 'flush') flushes.run();
    else pair.pump();
  };
  for (const { kind, index, isUp, size } of steps)
    act(kind, exchanges[index % exchanges.length]!, isUp, size);
  // Then everything runs to its end.
  const isOver = (): boolean => exchanges.every(({ up, down }) => up.isEnded && down.isEnded);
  for (let round = 0; round < 2000 && !isOver(); round++) {
    for (const item of exchanges)
      for (const isUp of [true, false])
        for (const kind of ['push', 'consume', 'flush', 'pump']) act(kind, item, isUp, 50_000);
  }
  if (faults.length > 0) throw faults[0];
  for (const { up, down } of exchanges) {
    assert.deepEqual([up.failure, down.failure], [null, null]);
    assert.deepEqual([up.isEnded, down.isEnded], [true, true]);
    assert.deepEqual([up.gotTrailers, down.gotTrailers], [up.trailers, down.trailers]);
  }
  assert.deepEqual([client.streamCount, server.streamCount], [0, 0]);
}
