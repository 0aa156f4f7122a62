/** HTTP/2 sessions towards servers, frame by frame: gRPC's shapes, servers that leave, and servers that attack. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { errorCodes, flags, frameTypes } from '../codec/http2/protocol.ts';
import * as wire from '../codec/http2/testing/frames.ts';
import { Http2Origin } from './testing/http2-origin.ts';
import { bytesOf } from './testing/http2-peer.ts';

const ok = wire.literals(':status', '200');

describe('a session', () => {
  it('forbids pushes, and sends requests before it heard of the server', () => {
    const origin = new Http2Origin();
    origin.request();
    assert.deepEqual(origin.frames(), ['SETTINGS', 'WINDOW_UPDATE 0 983041', 'HEADERS 1 end']);
  });

  it('takes the server to allow a hundred streams until it says', () => {
    const origin = new Http2Origin();
    for (let index = 0; index < 100; index++) origin.request();
    assert.equal(origin.session.isAvailable, false);
    assert.deepEqual(origin.availability, [false]);
    origin.send(wire.settings([3, 101]) + wire.settingsAck);
    assert.equal(origin.session.isAvailable, true);
    origin.request();
    assert.deepEqual(origin.availability, [false, true, false]);
  });

  it('says when its last stream ended', () => {
    const origin = new Http2Origin().open();
    const { seen } = origin.request();
    origin.send(wire.headers(1, ok));
    assert.equal(seen.isDone, true);
    assert.deepEqual(origin.availability, [true]);
    assert.equal(origin.session.streamCount, 0);
    assert.equal(origin.session.requestCount, 1);
  });

  it('drains: serves what is open, then leaves', () => {
    const origin = new Http2Origin().open();
    const { seen } = origin.request();
    origin.session.drain();
    assert.equal(origin.session.isAvailable, false);
    origin.settle().send(wire.headers(1, ok)).end();
    assert.equal(seen.isDone, true);
    assert.deepEqual(origin.frames(), ['HEADERS 1 end', 'GOAWAY 0 0']);
    assert.equal(origin.closed, 'session-closed');
  });
});

describe('gRPC', () => {
  it('unary: head, message, trailers', () => {
    const origin = new Http2Origin().open();
    const { stream, seen } = origin.request({ method: 'POST', fields: ['te', 'trailers'] }, false);
    stream.sendData(bytesOf('request'), true);
    origin.send(
      wire.headers(1, ok, false) +
        wire.data(1, 'response') +
        wire.headers(1, wire.literals('grpc-status', '0')),
    );
    assert.deepEqual(origin.frames(), ['HEADERS 1', 'DATA 1 7 end']);
    assert.deepEqual([seen.body, seen.trailers], ['response', ['grpc-status', '0']]);
  });

  it('trailers only: one head that ends', () => {
    const origin = new Http2Origin().open();
    const { seen } = origin.request({ method: 'POST' }, false);
    origin.send(wire.headers(1, wire.literals(':status', '200', 'grpc-status', '12')));
    assert.deepEqual(seen.head, { status: 200, fields: ['grpc-status', '12'] });
    assert.equal(seen.isDone, true);
  });

  it('a server that answers early and wants no more (RST_STREAM without error)', () => {
    const origin = new Http2Origin().open();
    const { stream, seen } = origin.request({ method: 'POST' }, false);
    origin.send(
      wire.headers(1, ok, false) +
        wire.headers(1, wire.literals('grpc-status', '0')) +
        wire.resetStream(1, 0),
    );
    assert.deepEqual(seen.trailers, ['grpc-status', '0']);
    assert.equal(stream.isClosed, true);
    assert.equal(stream.sendData(bytesOf('more'), true), true);
  });
});

describe('a response', () => {
  it('may be preceded by interim ones', () => {
    const origin = new Http2Origin().open();
    const { seen } = origin.request();
    for (const status of ['100', '103'])
      origin.send(wire.headers(1, wire.literals(':status', status), false));
    origin.send(wire.headers(1, ok));
    assert.deepEqual(seen.interim, [100, 103]);
    assert.equal(seen.head?.status, 200);
  });

  it('to HEAD has a length and no body', () => {
    const origin = new Http2Origin().open();
    const { seen } = origin.request({ method: 'HEAD' });
    origin.send(wire.headers(1, wire.literals(':status', '200', 'content-length', '10')));
    assert.deepEqual([seen.isDone, seen.failure], [true, null]);
  });

  for (const [what, bytes] of Object.entries({
    'without a status': wire.headers(1, wire.literals('a', 'b')),
    'with 101': wire.headers(1, wire.literals(':status', '101'), false),
    'with an interim head that ends': wire.headers(1, wire.literals(':status', '103')),
    'with a second status': wire.headers(1, wire.literals(':status', '200', ':status', '204')),
    'with a connection header': wire.headers(1, wire.literals(':status', '200', 'connection', 'close')),
    'with a line break in a value': wire.headers(
      1,
      wire.literals(':status', '200', 'a', 'b\r\nset-cookie: c'),
    ),
    'with a body before its head': wire.data(1, 'x'),
    'with a body to 204': wire.headers(1, wire.literals(':status', '204'), false) + wire.data(1, 'x', true),
    'with less than its content-length':
      wire.headers(1, wire.literals(':status', '200', 'content-length', '2'), false) +
      wire.data(1, 'x', true),
    'with pseudo-headers in its trailers':
      wire.headers(1, ok, false) + wire.headers(1, wire.literals(':status', '200')),
    'with trailers that do not end it':
      wire.headers(1, ok, false) + wire.headers(1, wire.literals('a', 'b'), false),
  })) {
    it(`is malformed ${what}`, () => {
      const origin = new Http2Origin().open();
      const { seen } = origin.request();
      origin.send(bytes);
      assert.equal(seen.failure?.reason, 'upstream-malformed');
      assert.equal(seen.isDone, false);
      assert.equal(origin.session.isAvailable, true);
      assert.equal(origin.frames().at(-1), `RST_STREAM 1 ${errorCodes.protocolError}`);
    });
  }
});

describe('a request may be sent again', () => {
  it('when the server refused it', () => {
    const origin = new Http2Origin().open();
    const { seen } = origin.request();
    origin.send(wire.resetStream(1, errorCodes.refusedStream));
    assert.deepEqual(seen.failure, {
      reason: 'upstream-reset',
      detail: 'refusedStream',
      isUnprocessed: true,
    });
  });

  it('when it came after what GOAWAY names, and not when before', () => {
    const origin = new Http2Origin().open();
    const first = origin.request();
    const second = origin.request();
    origin.send(wire.goAway(1, 0));
    assert.equal(first.seen.failure, null);
    assert.equal(second.seen.failure?.isUnprocessed, true);
    assert.equal(origin.session.isAvailable, false);
    origin.send(wire.headers(1, ok));
    assert.equal(first.seen.isDone, true);
    origin.end();
    assert.equal(origin.closed, 'session-closed');
  });

  it('never when the server had begun to answer, or just vanished', () => {
    const origin = new Http2Origin().open();
    const begun = origin.request();
    const open = origin.request();
    origin.send(wire.headers(1, ok, false) + wire.resetStream(1, errorCodes.refusedStream)).end();
    assert.equal(begun.seen.failure?.isUnprocessed, false);
    assert.deepEqual(open.seen.failure, {
      reason: 'upstream-reset',
      detail: undefined,
      isUnprocessed: false,
    });
    assert.equal(origin.closed, 'backend-closed');
  });
});

describe('an upgrade (RFC 8441)', () => {
  const upgrade = { protocol: 'websocket', path: '/chat' };

  it('waits for the SETTINGS that allow it, data and all', () => {
    const origin = new Http2Origin();
    const { stream, seen } = origin.request(upgrade, false);
    const plain = origin.request();
    stream.sendData(bytesOf('early'), false);
    assert.deepEqual(origin.settle().frames().slice(2), ['HEADERS 1 end']);
    origin.send(wire.settings([8, 1]) + wire.settingsAck);
    assert.deepEqual(origin.frames(), ['SETTINGS ack', 'HEADERS 3', 'DATA 3 5']);
    origin.send(wire.headers(3, ok, false) + wire.data(3, 'hello') + wire.headers(1, ok));
    assert.deepEqual([seen.head?.status, seen.body, plain.seen.isDone], [200, 'hello', true]);
    assert.equal(seen.drainCount, 1);
  });

  it('fails where the server takes none', () => {
    const origin = new Http2Origin();
    const before = origin.request(upgrade, false);
    origin.open();
    const after = origin.request(upgrade, false);
    for (const { stream, seen } of [before, after]) {
      assert.equal(seen.failure?.reason, 'upstream-malformed');
      assert.equal(stream.isClosed, true);
    }
    assert.equal(origin.session.streamCount, 0);
  });

  it('may be given up while it waits', () => {
    const origin = new Http2Origin();
    const { stream, seen } = origin.request(upgrade, false);
    stream.reset('cancel');
    origin.open(wire.settings([8, 1]));
    assert.equal(seen.failure, null);
    assert.equal(origin.session.streamCount, 0);
  });
});

describe('a server that', () => {
  for (const [what, bytes] of Object.entries({
    pushes: wire.frame(frameTypes.pushPromise, flags.endHeaders, 1, '\0\0\0\x02\x82'),
    'opens a stream': wire.headers(2, ok),
    'answers what nobody asked': wire.headers(9, ok),
    'allows pushes': wire.settings([2, 1]),
    'sends a frame above the limit': wire.frame(frameTypes.ping, 0, 0, 'x'.repeat(16_385)),
    'breaks the compression': wire.headers(1, '\xbf'),
    'begins no header block and goes on with it': wire.frame(
      frameTypes.continuation,
      flags.endHeaders,
      1,
      ok,
    ),
  })) {
    it(`${what} loses its connection`, () => {
      const origin = new Http2Origin().open();
      const { seen } = origin.request();
      origin.send(bytes);
      assert.equal(seen.failure?.reason, 'upstream-malformed');
      origin.wait(1500);
      assert.match(origin.closed!, /^upstream-malformed: /);
      assert.deepEqual(origin.faults, []);
    });
  }

  it('floods us with PINGs loses its connection as any client would', () => {
    const origin = new Http2Origin().open();
    for (let index = 0; index < 600; index++) origin.send(wire.frame(frameTypes.ping, 0, 0, '12345678'));
    origin.wait(1500);
    assert.equal(origin.closed, 'upstream-malformed: ping-flood');
  });

  it('says nothing at all loses its connection', () => {
    const origin = new Http2Origin();
    const { seen } = origin.request();
    origin.wait(13_000);
    assert.equal(seen.failure?.reason, 'upstream-timeout');
    assert.match(origin.closed!, /^upstream-timeout: no SETTINGS/);
  });
});
