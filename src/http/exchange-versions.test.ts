/** Exchanges between our own sessions, in every pairing of versions, over channels in memory. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { DownstreamStream } from './stream.ts';
import { bytes, requestHead } from './testing/scripted-streams.ts';
import { Collector, JoinedProxy, sendAll, type Backend, type Version } from './testing/joined-proxy.ts';

const pairs: [Version, Version][] = [
  ['h1', 'h1'],
  ['h1', 'h2'],
  ['h2', 'h1'],
  ['h2', 'h2'],
];

/** Collects the request, then sends it back, with its trailers. */
const echo: Backend = (stream, _head, isEnd) => {
  const collector = new Collector();
  stream.sink = collector;
  const answer = (): void => {
    stream.sendHead({ status: 200, fields: ['content-type', 'application/octet-stream'] }, false);
    sendAll(stream, collector.parts, collector, collector.trailers);
  };
  collector.onEnded = answer;
  if (isEnd) answer();
};

function pieces(sizes: readonly number[]): Buffer[] {
  return sizes.map((size, at) => Buffer.alloc(size, at + 1));
}

for (const [downstream, upstream] of pairs) {
  describe(`${downstream} to ${upstream}`, () => {
    test('bodies of any pieces and trailers come back as they went', async () => {
      const property = fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 6 }),
        fc.boolean(),
        fc.constantFrom(97, 4096, 65_536),
        async (sizes, hasTrailers, readBytesMax) => {
          const proxy = new JoinedProxy({
            downstream,
            upstream,
            backend: echo,
            channel: { readBytesMax: sizes.length > 2 ? 65_536 : readBytesMax, roomBytes: 100_000 },
          });
          const body = pieces(sizes);
          const collector = new Collector();
          const stream = proxy.client.request(
            requestHead({ method: 'POST', fields: ['te', 'trailers'] }),
            false,
            collector,
          );
          sendAll(stream, body, collector, hasTrailers ? ['x-sum', '42'] : null);
          await proxy.until(() => collector.isOver && proxy.records.length === 1);
          assert.equal(collector.failure, null);
          assert.equal(collector.head!.status, 200);
          assert.ok(collector.body.equals(Buffer.concat(body)));
          if (hasTrailers) assert.deepEqual(collector.trailers, ['x-sum', '42']);
          assert.equal(proxy.records[0]!.reason, 'answered');
          assert.equal(proxy.records[0]!.bytesOut, collector.body.length);
        },
      );
      await fc.assert(property, { numRuns: 12 });
    });

    test('a second request uses the same upstream connection', async () => {
      const proxy = new JoinedProxy({ downstream, upstream, backend: echo });
      for (let count = 1; count <= 3; count++) {
        const collector = new Collector();
        proxy.client.request(requestHead({ fields: ['a', 'b'] }), true, collector);
        await proxy.until(
          () => collector.isOver && proxy.records.length === count && proxy.pool.counts().idle === 1,
        );
        assert.equal(collector.failure, null);
        await proxy.until(() => proxy.client.isAvailable);
      }
      assert.equal(proxy.backendChannels.length, 1);
    });

    test('a WebSocket is a tunnel, half-closes and all', async () => {
      const tunnel: Backend = (stream, head) => {
        assert.equal(head.protocol, 'websocket');
        const collector = new Collector();
        stream.sink = collector;
        collector.onPart = (_stream, part) => {
          stream.sendData(bytes(`<${Buffer.from(part).toString()}>`), false);
        };
        collector.onEnded = () => stream.sendEnd();
        stream.sendHead({ status: 200, fields: [] }, false);
      };
      const proxy = new JoinedProxy({ downstream, upstream, backend: tunnel });
      const collector = new Collector();
      const fields = ['sec-websocket-version', '13'];
      const stream = proxy.client.request(requestHead({ protocol: 'websocket', fields }), false, collector);
      await proxy.until(() => collector.head !== null);
      assert.equal(collector.head!.status, 200);
      stream.sendData(bytes('hello'), false);
      await proxy.until(() => collector.body.toString() === '<hello>');
      stream.sendEnd();
      await proxy.until(() => collector.isOver && proxy.records.length === 1);
      assert.equal(proxy.records[0]!.reason, 'tunnel-closed');
      assert.equal(proxy.records[0]!.protocol, 'websocket');
    });

    test('a declined WebSocket is an ordinary answer', async () => {
      const decline: Backend = (stream) => {
        stream.sink = new Collector();
        stream.sendHead({ status: 403, fields: ['content-length', '2'] }, false);
        stream.sendData(bytes('no'), true);
      };
      const proxy = new JoinedProxy({ downstream, upstream, backend: decline });
      const collector = new Collector();
      const fields = ['sec-websocket-version', '13'];
      proxy.client.request(requestHead({ protocol: 'websocket', fields }), false, collector);
      await proxy.until(() => collector.isOver && proxy.records.length === 1);
      assert.equal(collector.head!.status, 403);
      assert.equal(collector.body.toString(), 'no');
      assert.equal(proxy.records[0]!.reason, 'answered');
    });

    test('an answer before the end of the request reaches the client', async () => {
      const early: Backend = (stream) => {
        stream.sink = new Collector();
        stream.sendHead({ status: 413, fields: ['content-length', '3'] }, false);
        stream.sendData(bytes('big'), true);
      };
      const proxy = new JoinedProxy({ downstream, upstream, backend: early });
      const collector = new Collector();
      const stream = proxy.client.request(requestHead({ method: 'POST' }), false, collector);
      stream.sendData(bytes('x'.repeat(10_000)), false);
      await proxy.until(() => collector.isOver && proxy.records.length === 1);
      assert.equal(collector.head?.status, 413);
      assert.equal(collector.body.toString(), 'big');
      assert.equal(proxy.records[0]!.reason, 'answered');
    });

    test('a backend that breaks off in a body breaks off the client', async () => {
      let backend: DownstreamStream | null = null;
      const breaking: Backend = (stream) => {
        backend = stream;
        stream.sink = new Collector();
        stream.sendHead({ status: 200, fields: [] }, false);
        stream.sendData(bytes('some'), false);
      };
      const proxy = new JoinedProxy({ downstream, upstream, backend: breaking });
      const collector = new Collector();
      proxy.client.request(requestHead(), true, collector);
      await proxy.until(() => collector.body.length === 4);
      backend!.reset('internal-error');
      await proxy.until(() => collector.isOver && proxy.records.length === 1);
      assert.notEqual(collector.failure, null);
      assert.equal(collector.isEnded, false);
      assert.equal(proxy.records[0]!.reason, 'upstream-reset');
    });

    test('a client that gives up is felt by the backend', async () => {
      const collected = new Collector();
      const waiting: Backend = (stream) => {
        stream.sink = collected;
        stream.sendHead({ status: 200, fields: [] }, false);
        stream.sendData(bytes('some'), false);
      };
      const proxy = new JoinedProxy({ downstream, upstream, backend: waiting });
      const collector = new Collector();
      const stream = proxy.client.request(requestHead({ method: 'POST' }), false, collector);
      await proxy.until(() => collector.body.length === 4);
      stream.reset('cancel');
      await proxy.until(() => collected.failure !== null && proxy.records.length === 1);
      assert.equal(proxy.records[0]!.reason, 'client-cancelled');
    });

    test('103 and 100 are passed on', async () => {
      const informing: Backend = (stream, head) => {
        const collector = new Collector();
        stream.sink = collector;
        assert.ok(head.fields.includes('expect'));
        stream.sendInformational({ status: 103, fields: ['link', '</a>'] });
        stream.sendInformational({ status: 100, fields: [] });
        collector.onEnded = () => stream.sendHead({ status: 204, fields: [] }, true);
      };
      const proxy = new JoinedProxy({ downstream, upstream, backend: informing });
      const collector = new Collector();
      const fields = ['expect', '100-continue', 'content-length', '2'];
      const stream = proxy.client.request(requestHead({ method: 'PUT', fields }), false, collector);
      await proxy.until(() => collector.informational.includes(100));
      assert.deepEqual(collector.informational, [103, 100]);
      stream.sendData(bytes('ok'), true);
      await proxy.until(() => collector.isOver);
      assert.equal(collector.head!.status, 204);
    });
  });
}
