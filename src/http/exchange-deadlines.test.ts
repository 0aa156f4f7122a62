import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { beginExchange, post } from './testing/exchange-scene.ts';

describe('deadlines of an exchange', () => {
  test('no answer within response_timeout is 504', () => {
    const { context, down, up, reason } = beginExchange();
    context.clock.advance(59_000);
    assert.equal(context.records.length, 0);
    context.clock.advance(1500);
    assert.equal(down.head!.status, 504);
    assert.equal(up().resetReason, 'cancel');
    assert.equal(reason(), 'upstream-timeout');
  });

  test('the time of the answer begins when the request is complete', () => {
    const { context, down } = beginExchange({ head: post, isEnd: false });
    for (let second = 0; second < 100; second++) {
      context.clock.advance(1000);
      down.receive('x');
    }
    down.receiveEnd();
    context.clock.advance(59_000);
    assert.equal(context.records.length, 0);
    context.clock.advance(2000);
    assert.equal(down.head!.status, 504);
  });

  test('a body of the backend that stalls resets the client', () => {
    const { context, down, up, reason } = beginExchange();
    up().respond(200);
    context.clock.advance(20_000);
    up().receive('x');
    context.clock.advance(29_000);
    assert.equal(context.records.length, 0);
    context.clock.advance(40_000);
    assert.equal(reason(), 'body-stalled');
    assert.equal(down.resetReason, 'internal-error');
  });

  test('server-sent events may be silent, and pass piece by piece', () => {
    const { context, down, up } = beginExchange();
    up().respond(200, ['content-type', 'text/event-stream']);
    up().receive('data: 1\n\n');
    context.clock.advance(600_000);
    up().receive('data: 2\n\n');
    assert.deepEqual(down.log, ['head 200', 'data data: 1\n\n', 'data data: 2\n\n']);
    assert.equal(context.records.length, 0);
  });

  test('grpc-timeout is DEADLINE_EXCEEDED when it passes before an answer', () => {
    const head = { ...post, fields: ['content-type', 'application/grpc', 'grpc-timeout', '2S'] };
    const { context, down, up, reason } = beginExchange({ head, version: 'HTTP/2' });
    context.clock.advance(2200);
    assert.equal(reason(), 'upstream-timeout');
    assert.equal(down.head!.status, 200);
    assert.equal(down.head!.fields[down.head!.fields.indexOf('grpc-status') + 1], '4');
    assert.equal(up().resetReason, 'cancel');
  });

  test('and ends the trailers of a stream that had begun', () => {
    const head = { ...post, fields: ['content-type', 'application/grpc+proto', 'grpc-timeout', '2000m'] };
    const { context, down, up, reason } = beginExchange({ head, version: 'HTTP/2' });
    up().respond(200, ['content-type', 'application/grpc']);
    up().receive('message');
    context.clock.advance(2200);
    assert.match(down.log.at(-1)!, /^trailers grpc-status 4/);
    assert.equal(reason(), 'upstream-timeout');
  });

  test('a filter that never goes on', () => {
    const { context, down, reason } = beginExchange({
      filters: [{ ruleId: 'f', onRequestHead: () => 'pause' }],
    });
    context.clock.advance(61_000);
    assert.equal(down.head!.status, 500);
    assert.equal(reason(), 'internal-error');
  });
});

describe('100-continue', () => {
  const head = { method: 'PUT', fields: ['expect', '100-continue', 'content-length', '3'] };

  test('is forwarded, and the 100 of the backend passed back', () => {
    const { down, up } = beginExchange({ head, isEnd: false });
    assert.ok(up().head.fields.includes('expect'));
    up().inform(100);
    assert.deepEqual(down.informational, [100]);
    down.receive('abc', true);
    assert.deepEqual(up().log, ['data abc end']);
  });

  test('is answered by us after a second of silence, and only once', () => {
    const { context, down, up } = beginExchange({ head, isEnd: false });
    context.clock.advance(900);
    assert.deepEqual(down.informational, []);
    context.clock.advance(300);
    assert.deepEqual(down.informational, [100]);
    up().inform(100);
    assert.deepEqual(down.informational, [100]);
  });

  test('is not needed when the backend refuses at once', () => {
    const { context, down, up } = beginExchange({ head, isEnd: false });
    up().respond(401, [], true);
    context.clock.advance(5000);
    assert.deepEqual(down.informational, []);
    assert.equal(down.head!.status, 401);
  });
});
