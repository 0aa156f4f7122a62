import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Exchange } from './exchange.ts';
import type { Filter } from './filter.ts';
import { FilterList } from './filter-list.ts';
import { beginExchange, post, type Scene, type SceneOptions } from './testing/exchange-scene.ts';
import {
  bytes,
  requestHead,
  ScriptedClientSession,
  ScriptedContext,
  ScriptedDownstream,
  testFacts,
  testTarget,
} from './testing/scripted-streams.ts';

describe('Exchange', () => {
  test('a request without a body gets its answer, and one record tells of it', () => {
    const { context, down, up, reason } = beginExchange({ head: { fields: ['user-agent', 'curl/8'] } });
    assert.equal(up().isSendEnded, true);
    context.clock.advance(200);
    up().respond(200, ['content-type', 'text/plain']);
    up().receive('hello', true);
    assert.deepEqual(down.log, ['head 200', 'data hello end']);
    assert.equal(reason(), 'answered');
    const record = context.records[0]!;
    assert.equal(record.status, 200);
    assert.equal(record.bytesOut, 5);
    assert.equal(record.firstByteMs, 200);
    assert.equal(record.userAgent, 'curl/8');
    assert.equal(record.upstreamName, '10.0.0.1:8080');
    assert.equal(context.clock.timers.count, 0, 'no deadline is left');
    assert.equal(up().resetReason, null);
  });

  test('bodies and trailers go both ways', () => {
    const { down, up, reason } = beginExchange({ head: post, isEnd: false });
    down.receive('one');
    down.receive('two');
    down.receiveTrailers('x-sum', '1', 'content-length', '9');
    assert.deepEqual(up().log, ['data one', 'data two', 'trailers x-sum 1']);
    up().respond(200);
    up().receive('three');
    up().receiveTrailers('grpc-status', '0', 'set-cookie', 'a=b');
    assert.deepEqual(down.log, ['head 200', 'data three', 'trailers grpc-status 0']);
    assert.equal(reason(), 'answered');
  });

  test('a body that came before the connection is held without credit, then sent in order', () => {
    const { context, down, session, reason } = beginExchange({ head: post, isEnd: false, isReady: false });
    down.receive('one');
    down.receive('two', true);
    assert.equal(down.unconsumedBytes, 6);
    context.clock.advance(300);
    context.pool.waiter!.onSession(session, 200);
    assert.deepEqual(session.streams[0]!.log, ['data one', 'data two end']);
    assert.equal(down.unconsumedBytes, 0);
    session.streams[0]!.respond(204, [], true);
    assert.equal(reason(), 'answered');
    assert.equal(context.records[0]!.connectMs, 200);
    assert.equal(context.records[0]!.queueMs, 100);
  });

  test('hop-by-hop fields end here, te says trailers at most', () => {
    const fields = [
      'te',
      'gzip, trailers',
      'proxy-authorization',
      'Basic x',
      'expect',
      '100-continue',
      'a',
      'b',
    ];
    const { up } = beginExchange({ head: { fields } });
    assert.deepEqual(up().head.fields, ['te', 'trailers', 'a', 'b']);
  });

  describe('back-pressure', () => {
    test('the client gets no credit while the backend takes nothing', () => {
      const { down, up } = beginExchange({ head: post, isEnd: false });
      up().isBacklogged = true;
      down.receive('12345');
      assert.equal(down.unconsumedBytes, 5);
      up().drain();
      assert.equal(down.unconsumedBytes, 0);
    });

    test('the backend gets no credit while the client takes nothing', () => {
      const { down, up } = beginExchange();
      up().respond(200);
      down.isBacklogged = true;
      up().receive('12345');
      assert.equal(up().unconsumedBytes, 5);
      down.drain();
      assert.equal(up().unconsumedBytes, 0);
    });

    test('a gigabyte each way leaves nothing behind', () => {
      const scene = beginExchange({ head: post, isEnd: false });
      const { down, up } = scene;
      const chunk = bytes('x'.repeat(256 * 1024));
      up().keepsData = down.keepsData = false;
      for (let at = 0; at < 4096; at++) {
        up().isBacklogged = at % 7 === 0;
        down.receiveBytes(chunk);
        if (up().isBacklogged) {
          assert.equal(down.unconsumedBytes, chunk.length);
          up().drain();
        }
        assert.equal(down.unconsumedBytes, 0);
      }
      down.receiveEnd();
      up().respond(200);
      for (let at = 0; at < 4096; at++) up().receiveBytes(chunk);
      up().receiveEnd();
      assert.equal(up().sentBytes, 2 ** 30);
      assert.equal(down.sentBytes, 2 ** 30);
      assert.equal(scene.context.records[0]!.bytesIn, 2 ** 30);
      assert.equal(scene.reason(), 'answered');
    });
  });

  describe('a second try', () => {
    const cases: {
      name: string;
      options: SceneOptions;
      body?: string;
      isUnprocessed?: boolean;
      isRetried: boolean;
    }[] = [
      { name: 'GET on a reused connection', options: { served: 3 }, isRetried: true },
      { name: 'GET on a fresh one', options: {}, isRetried: false },
      { name: 'GET on a fresh one, surely unprocessed', options: {}, isUnprocessed: true, isRetried: true },
      {
        name: 'POST on a reused one',
        options: { served: 3, head: post, isEnd: false },
        body: 'order',
        isRetried: false,
      },
      {
        name: 'POST, surely unprocessed, with a small body',
        options: { served: 3, head: post, isEnd: false },
        body: 'order',
        isUnprocessed: true,
        isRetried: true,
      },
      {
        name: 'PUT with a small body',
        options: { served: 3, head: { method: 'PUT' }, isEnd: false },
        body: 'order',
        isRetried: true,
      },
      {
        name: 'PUT with a body too large to keep',
        options: { served: 3, head: { method: 'PUT' }, isEnd: false },
        body: 'x'.repeat(65 * 1024),
        isRetried: false,
      },
    ];
    for (const { name, options, body, isUnprocessed = false, isRetried } of cases) {
      test(`${isRetried ? 'for' : 'never for'} ${name}`, () => {
        const { context, down, session, reason } = beginExchange(options);
        if (body !== undefined) down.receive(body, true);
        const fresh = new ScriptedClientSession();
        context.pool.ready.push(fresh);
        session.streams[0]!.fail({ isUnprocessed });
        assert.equal(fresh.streams.length, isRetried ? 1 : 0);
        if (!isRetried) {
          assert.equal(reason(), 'upstream-reset');
          assert.equal(down.head!.status, 502);
          return;
        }
        assert.deepEqual(context.pool.freshness, [false, true]);
        if (body !== undefined) assert.deepEqual(fresh.streams[0]!.log, [`data ${body} end`]);
        fresh.streams[0]!.respond(200, [], true);
        assert.equal(reason(), 'answered');
        assert.equal(context.records[0]!.isRetried, true);
      });
    }

    test('once and no more', () => {
      const { context, session, down, reason } = beginExchange({ served: 1 });
      const second = new ScriptedClientSession('HTTP/1.1', 5);
      context.pool.ready.push(second, new ScriptedClientSession());
      session.streams[0]!.fail({ isUnprocessed: true });
      second.streams[0]!.fail({ isUnprocessed: true });
      assert.equal(context.pool.acquired, 2);
      assert.equal(reason(), 'upstream-reset');
      assert.equal(down.head!.status, 502);
    });

    test('never after the backend said a word', () => {
      const { context, session, down } = beginExchange({ served: 1 });
      context.pool.ready.push(new ScriptedClientSession());
      session.streams[0]!.inform(103);
      session.streams[0]!.fail();
      assert.deepEqual(down.informational, [103]);
      assert.equal(context.pool.acquired, 1);
    });

    test('what the client goes on sending meanwhile is not lost', () => {
      const { context, down, session } = beginExchange({ served: 1, head: { method: 'PUT' }, isEnd: false });
      down.receive('one');
      session.streams[0]!.fail();
      down.receive('two');
      const fresh = new ScriptedClientSession();
      context.pool.waiter!.onSession(fresh, 0);
      down.receive('three', true);
      assert.deepEqual(fresh.streams[0]!.log, ['data one', 'data two', 'data three end']);
    });
  });

  describe('what the backend does not complete never looks complete', () => {
    for (const version of ['HTTP/1.1', 'HTTP/2'] as const) {
      test(`cut in the body, ${version}`, () => {
        const { down, up, reason } = beginExchange({ version });
        up().respond(200, ['content-length', '10']);
        up().receive('12345');
        up().fail({ reason: 'backend-closed' });
        assert.equal(down.resetReason, 'internal-error');
        assert.equal(down.isSendEnded, false);
        assert.equal(reason(), 'upstream-reset');
      });
    }
  });

  describe('an answer before the request is complete', () => {
    test('reaches the client, and the rest of the request is wanted by nobody', () => {
      const { down, up, reason } = beginExchange({ head: post, isEnd: false });
      down.receive('some');
      up().respond(413);
      up().receive('too much', true);
      assert.deepEqual(down.log, ['head 413', 'data too much end', 'reset no-error']);
      assert.equal(up().resetReason, 'cancel');
      assert.equal(reason(), 'answered');
    });

    test('is not cut off while it waits to leave', () => {
      const { context, down, up, reason } = beginExchange({ head: post, isEnd: false });
      down.isBacklogged = true;
      up().respond(413);
      up().receive('too much', true);
      assert.equal(down.resetReason, null);
      down.receive('more');
      assert.equal(down.unconsumedBytes, 0);
      context.clock.advance(6000);
      assert.equal(down.resetReason, null);
      down.drain();
      assert.equal(down.resetReason, 'no-error');
      assert.equal(reason(), 'answered');
    });

    test('the body goes on while the answer is under way', () => {
      const { down, up, reason } = beginExchange({ head: post, isEnd: false });
      up().respond(200);
      up().receive('a');
      down.receive('1');
      up().receive('b');
      down.receive('2', true);
      up().receiveEnd();
      assert.deepEqual(up().log, ['data 1', 'data 2 end']);
      assert.deepEqual(down.log, ['head 200', 'data a', 'data b', 'end']);
      assert.equal(reason(), 'answered');
    });
  });

  describe('the client leaves', () => {
    const states: { name: string; play: (scene: Scene) => void; isReady?: boolean }[] = [
      { name: 'while a connection is waited for', isReady: false, play() {} },
      { name: 'after the request was sent', play() {} },
      { name: 'in its own body', play: ({ down }) => down.receive('x') },
      { name: 'after the head of the answer', play: ({ up }) => up().respond(200) },
      {
        name: 'in the body of the answer',
        play({ up }) {
          up().respond(200);
          up().receive('x');
        },
      },
    ];
    for (const { name, play, isReady } of states) {
      test(name, () => {
        const scene = beginExchange({ head: post, isEnd: false, isReady: isReady ?? true });
        play(scene);
        scene.down.fail({ reason: 'client-reset', detail: 'ECONNRESET' });
        assert.equal(scene.reason(), 'client-cancelled');
        assert.equal(scene.context.records[0]!.detail, 'ECONNRESET');
        if (isReady === false) assert.equal(scene.context.pool.cancelled, 1);
        else assert.equal(scene.session.streams[0]!.resetReason, 'cancel');
        assert.equal(scene.context.clock.timers.count, 0);
      });
    }

    test('or breaks the protocol: the status its session answered is told', () => {
      const { down, context } = beginExchange({ head: post, isEnd: false });
      down.fail({ reason: 'request-malformed' });
      assert.equal(context.records[0]!.status, 400);
      assert.equal(context.records[0]!.reason, 'request-malformed');
    });
  });

  describe('an owner that takes its time', () => {
    const late = () => {
      const context = new ScriptedContext();
      const down = new ScriptedDownstream('HTTP/2', false);
      const exchange = new Exchange(context, testFacts, down, requestHead(post), false);
      const session = new ScriptedClientSession('HTTP/2');
      context.pool.ready.push(session);
      return { context, down, exchange, session };
    };

    for (const hasTrailers of [false, true]) {
      test(`filters see what came meanwhile${hasTrailers ? ', trailers too' : ''}`, () => {
        const { down, exchange, session } = late();
        const seen: string[] = [];
        down.receive('one');
        if (hasTrailers) down.receiveTrailers('t', '1');
        else down.receive('two', true);
        assert.ok(down.unconsumedBytes > 0);
        const filter: Filter = {
          ruleId: 'f',
          onRequestData(_context, data) {
            seen.push(Buffer.from(data).toString());
            return 'continue';
          },
        };
        exchange.forward(testTarget, new FilterList([filter]));
        assert.deepEqual(seen, hasTrailers ? ['one'] : ['one', 'two', '']);
        const rest = hasTrailers ? ['trailers t 1'] : ['data two', 'end'];
        assert.deepEqual(session.streams[0]!.log, ['data one', ...rest]);
        assert.equal(down.unconsumedBytes, 0);
        assert.equal(exchange.bytesIn, hasTrailers ? 3 : 6);
      });
    }

    test('a request that only ended meanwhile', () => {
      const { down, exchange, session } = late();
      down.receiveEnd();
      exchange.forward(testTarget);
      assert.deepEqual(session.streams[0]!.log, ['end']);
    });

    test('a client that left meanwhile is forwarded nowhere', () => {
      const { context, down, exchange, session } = late();
      down.fail({ reason: 'client-cancelled' });
      exchange.forward(testTarget);
      exchange.answer({ status: 403, reason: 'header-missing', ruleId: null });
      assert.equal(session.streams.length, 0);
      assert.equal(context.records.length, 1);
    });
  });

  describe('faults of ours', () => {
    test('a session whose request throws costs one answer of 500', () => {
      const context = new ScriptedContext();
      const session = new ScriptedClientSession();
      session.request = () => {
        throw new Error('boom');
      };
      context.pool.ready.push(session);
      const down = new ScriptedDownstream();
      new Exchange(context, testFacts, down, requestHead(), true).forward(testTarget);
      assert.equal(down.head!.status, 500);
      assert.deepEqual(context.faults.map(String), ['Error: boom']);
      assert.equal(context.records[0]!.reason, 'internal-error');
      assert.ok(session.wasDrained);
    });
  });

  test('an owner that answers instead of forwarding', () => {
    const context = new ScriptedContext();
    const down = new ScriptedDownstream();
    const head = requestHead({ fields: ['accept', 'application/json'] });
    const exchange = new Exchange(context, testFacts, down, head, true);
    exchange.answer({ status: 404, reason: 'no-route', ruleId: null });
    assert.match(down.log.join('\n'), /head 404\ndata \{"status":404,/);
    assert.equal(context.records[0]!.reason, 'no-route');
    exchange.answer({ status: 404, reason: 'no-route', ruleId: null });
    assert.equal(context.records.length, 1);
  });
});
