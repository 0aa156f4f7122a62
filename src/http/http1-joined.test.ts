/**
 * Two sessions joined in memory: a client session against a server session, through every way of framing, in every
 * size of read, with little room on the way.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HostBytes } from '../core/bytes.ts';
import type { FieldList } from '../codec/http-message.ts';
import { FlushQueue } from './flush-queue.ts';
import { Http1ClientSession } from './http1-client-session.ts';
import { Http1ServerSession } from './http1-server-session.ts';
import type { Stream } from './stream.ts';
import { channelPair, type ChannelPairOptions } from './testing/channel-pair.ts';
import {
  RecordingPool,
  RecordingServer,
  RecordingSink,
  testNetwork,
  testSettings,
} from './testing/conversation.ts';

function join(options: ChannelPairOptions) {
  const pair = channelPair({ ...options, isAutomatic: false });
  const network = testNetwork();
  const flushes = new FlushQueue();
  const server = new RecordingServer();
  const pool = new RecordingPool();
  const common = { network, flushes, settings: testSettings };
  const serverSession = new Http1ServerSession({ ...common, channel: pair.server, scheme: 'http' }, server);
  const clientSession = new Http1ClientSession({ ...common, channel: pair.client }, pool);
  serverSession.start();
  clientSession.start();
  const settle = () => {
    do flushes.run();
    while (pair.pump() > 0 || flushes.isWaiting);
  };
  return { pair, server, pool, serverSession, clientSession, settle };
}

function bytes(text: string): HostBytes {
  return Buffer.from(text, 'latin1') as unknown as HostBytes;
}

/** Sends pieces as an exchange does: it stops when told to, and goes on at the drain. */
class Pump {
  readonly #stream: Stream;
  readonly #pieces: string[];
  readonly #trailers: FieldList | null;

  constructor(stream: Stream, pieces: readonly string[], trailers: FieldList | null) {
    this.#stream = stream;
    this.#pieces = [...pieces];
    this.#trailers = trailers;
  }

  run(): void {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece === undefined) break;
      const isEnd = this.#pieces.length === 0 && this.#trailers === null;
      if (!this.#stream.sendData(bytes(piece), isEnd) && !isEnd) return;
      if (isEnd) return;
    }
    if (this.#trailers === null) this.#stream.sendEnd();
    else this.#stream.sendTrailers(this.#trailers);
  }
}

class PumpingSink extends RecordingSink {
  pump: Pump | undefined = undefined;

  override onDrain(): void {
    this.pump!.run();
  }
}

const pieces = fc.array(fc.constantFrom('a', 'hello', 'x'.repeat(300), 'y'.repeat(20_000)), { maxLength: 6 });
const framing = fc.constantFrom('length', 'chunked', 'trailers');
const side = fc.record({ pieces, framing });
const exchanges = fc.array(fc.record({ request: side, response: side }), { minLength: 1, maxLength: 3 });

function isLong(list: readonly { request: { pieces: string[] }; response: { pieces: string[] } }[]): boolean {
  return list.some(({ request, response }) => [...request.pieces, ...response.pieces].join('').length > 5000);
}

function fieldsOf({ pieces: parts, framing: kind }: { pieces: string[]; framing: string }): FieldList {
  return kind === 'length' ? ['content-length', `${parts.join('').length}`] : [];
}

function trailersOf({ framing: kind }: { framing: string }): FieldList | null {
  return kind === 'trailers' ? ['x-sum', '1'] : null;
}

describe('a client and a server session', () => {
  it('carry every body and its trailers, one exchange after another on one connection', () => {
    fc.assert(
      fc.property(
        exchanges,
        fc.constantFrom(1, 7, 1000, 65_536),
        fc.constantFrom(0, 100, 1_000_000),
        (list, readBytesMax, roomBytes) => {
          const { clientSession, server, pool, settle } = join({
            readBytesMax: isLong(list) ? Math.max(1000, readBytesMax) : readBytesMax,
            roomBytes,
          });
          for (const { request, response } of list) {
            const sink = new PumpingSink();
            const head = {
              method: 'POST',
              scheme: 'http',
              authority: 'a',
              path: '/',
              protocol: null,
              fields: fieldsOf(request),
            };
            const stream = clientSession.request(head, false, sink);
            sink.pump = new Pump(stream, request.pieces, trailersOf(request));
            sink.pump.run();
            settle();
            const seen = server.requests.at(-1)!;
            const answering = new PumpingSink();
            seen.stream.sink = answering;
            seen.stream.sendHead({ status: 200, fields: fieldsOf(response) }, false);
            answering.pump = new Pump(seen.stream, response.pieces, trailersOf(response));
            answering.pump.run();
            settle();
            assert.equal(seen.sink.body, request.pieces.join(''));
            assert.equal(sink.body, response.pieces.join(''));
            assert.deepEqual([seen.sink.isEnded, sink.isEnded], [true, true]);
            assert.equal(sink.events.includes('trailers x-sum 1'), response.framing === 'trailers');
            assert.equal(seen.sink.events.includes('trailers x-sum 1'), request.framing === 'trailers');
          }
          assert.equal(clientSession.isAvailable, true);
          assert.deepEqual([server.events, server.faults, pool.faults], [[], [], []]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('open a WebSocket, carry it both ways, and close it half by half', () => {
    for (const readBytesMax of [1, 65_536]) {
      const { clientSession, server, pool, settle } = join({ readBytesMax });
      const sink = new RecordingSink();
      const head = {
        method: 'GET',
        scheme: 'http',
        authority: 'a',
        path: '/chat',
        protocol: 'websocket',
        fields: [],
      };
      const stream = clientSession.request(head, false, sink);
      settle();
      const seen = server.requests[0]!;
      assert.deepEqual(
        [seen.head.protocol, seen.head.fields],
        ['websocket', ['sec-websocket-version', '13']],
      );
      seen.stream.sendHead({ status: 200, fields: [] }, false);
      settle();
      assert.equal(sink.head?.status, 200);
      stream.sendData(bytes('ping'), false);
      seen.stream.sendData(bytes('pong'), true);
      settle();
      assert.deepEqual([seen.sink.body, sink.body, sink.isEnded], ['ping', 'pong', true]);
      stream.sendData(bytes('bye'), true);
      settle();
      assert.deepEqual([seen.sink.body, seen.sink.isEnded], ['pingbye', true]);
      assert.deepEqual([server.events, pool.events], [['closed tunnel-closed'], ['closed tunnel-closed']]);
    }
  });

  it('pass on 100 and 103 before the response', () => {
    const { clientSession, server, settle } = join({});
    const sink = new RecordingSink();
    const head = {
      method: 'PUT',
      scheme: 'http',
      authority: 'a',
      path: '/',
      protocol: null,
      fields: ['expect', '100-continue', 'content-length', '2'],
    };
    const stream = clientSession.request(head, false, sink);
    settle();
    const seen = server.requests[0]!;
    seen.stream.sendInformational({ status: 103, fields: ['link', 'x'] });
    seen.stream.sendInformational({ status: 100, fields: [] });
    settle();
    stream.sendData(bytes('ok'), true);
    settle();
    seen.stream.sendHead({ status: 204, fields: [] }, true);
    settle();
    assert.deepEqual(sink.events, ['informational 103', 'informational 100', 'head 204', 'end']);
    assert.equal(seen.sink.body, 'ok');
    assert.equal(clientSession.isAvailable, true);
  });

  it('cut short on one side is never complete on the other', () => {
    for (const fields of [['content-length', '10'], []]) {
      const { clientSession, server, settle } = join({});
      const sink = new RecordingSink();
      clientSession.request(
        { method: 'GET', scheme: 'http', authority: 'a', path: '/', protocol: null, fields: [] },
        true,
        sink,
      );
      settle();
      const { stream } = server.requests[0]!;
      stream.sendHead({ status: 200, fields }, false);
      stream.sendData(bytes('half'), false);
      settle();
      stream.reset('internal-error');
      settle();
      assert.deepEqual([sink.isEnded, sink.failure?.reason], [false, 'upstream-reset']);
    }
  });
});
