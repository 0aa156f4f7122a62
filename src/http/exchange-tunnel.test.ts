import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Filter } from './filter.ts';
import { beginExchange } from './testing/exchange-scene.ts';

describe('tunnels', () => {
  const head = { protocol: 'websocket' };

  test('are opaque both ways after 200, whatever the filters would say', () => {
    const filter: Filter = {
      ruleId: 'f',
      onRequestData: () => assert.fail('a tunnel has no request body'),
      onResponseData: () => assert.fail('a tunnel has no response body'),
    };
    const { context, down, up, reason } = beginExchange({ head, isEnd: false, filters: [filter] });
    up().respond(200);
    down.receive('ping');
    up().receive('pong');
    assert.deepEqual(up().log, ['data ping']);
    assert.deepEqual(down.log, ['head 200', 'data pong']);
    context.clock.advance(3_000_000);
    assert.equal(context.records.length, 0);
    down.receiveEnd();
    assert.equal(up().log.at(-1), 'end');
    up().receive('last', true);
    assert.equal(down.log.at(-1), 'data last end');
    assert.equal(reason(), 'tunnel-closed');
    assert.equal(up().resetReason, null);
  });

  test('half-close from the backend leaves the other half open', () => {
    const { context, down, up, reason } = beginExchange({ head, isEnd: false });
    up().respond(200);
    up().receiveEnd();
    assert.equal(context.records.length, 0);
    down.receive('still');
    assert.equal(up().log.at(-1), 'data still');
    down.receiveEnd();
    assert.equal(reason(), 'tunnel-closed');
  });

  test('bytes sent before it is open wait for it', () => {
    const { down, up } = beginExchange({ head, isEnd: false, version: 'HTTP/2' });
    down.receive('early');
    assert.deepEqual(up().log, []);
    assert.equal(down.unconsumedBytes, 5);
    up().respond(200);
    assert.deepEqual(up().log, ['data early']);
    assert.equal(down.unconsumedBytes, 0);
  });

  test('are declined with an ordinary answer', () => {
    const { down, up, reason } = beginExchange({ head, isEnd: false });
    up().respond(403);
    up().receive('no', true);
    assert.deepEqual(down.log, ['head 403', 'data no end']);
    down.receiveEnd();
    assert.equal(reason(), 'answered');
    assert.equal(up().resetReason, null);
  });

  test('end when nothing moves for tunnel_idle_timeout', () => {
    const { context, down, up, reason } = beginExchange({ head, isEnd: false });
    up().respond(200);
    context.clock.advance(3_700_000);
    assert.equal(reason(), 'idle-timeout');
    assert.equal(down.resetReason, 'cancel');
    assert.equal(up().resetReason, 'cancel');
  });

  // A WebSocket client that vanished with a bare FIN was kept, with its backend's socket, for the whole hour.
  test('end soon when one side has ended and the other says nothing', () => {
    const { context, down, up, reason } = beginExchange({ head, isEnd: false });
    up().respond(200);
    down.receiveEnd();
    context.clock.advance(70_000);
    assert.equal(reason(), 'idle-timeout');
    assert.equal(up().resetReason, 'cancel');
  });

  test('end for both when one side breaks', () => {
    const { down, up, reason } = beginExchange({ head, isEnd: false });
    up().respond(200);
    up().fail({ reason: 'backend-reset', detail: 'ECONNRESET' });
    assert.equal(down.resetReason, 'cancel');
    assert.equal(reason(), 'tunnel-closed');
  });
});
