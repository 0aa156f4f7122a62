/** HTTP/2 sessions towards clients, frame by frame: what a request becomes, what is refused, and every deadline. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { errorCodes, flags, frameTypes, preface } from '../codec/http2/protocol.ts';
import * as wire from '../codec/http2/testing/frames.ts';
import { bytesOf, Http2Peer } from './testing/http2-peer.ts';

const ok = { status: 200, fields: [] };

describe('a request', () => {
  it('comes with its pseudo-headers taken apart', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request('GET', '/a?b', 'accept', '*/*')));
    assert.deepEqual(peer.requests[0]!.head, {
      method: 'GET',
      scheme: 'http',
      authority: 'a.test',
      path: '/a?b',
      protocol: null,
      fields: ['accept', '*/*'],
    });
  });

  it('gets a field list of its own, though its bytes come again', () => {
    const peer = new Http2Peer().open();
    const block = wire.request('GET', '/', 'accept', '*/*');
    for (const id of [1, 3, 5]) {
      peer.send(wire.headers(id, block));
      const { fields } = peer.requests.at(-1)!.head;
      assert.deepEqual(fields, ['accept', '*/*']);
      fields.push('x-filter', 'was here');
    }
  });

  it('has its cookie in one piece', () => {
    const peer = new Http2Peer().open();
    peer.send(
      wire.headers(1, wire.request('GET', '/', 'cookie', 'a=1', 'x', 'y', 'cookie', 'b=2', 'cookie', 'c=3')),
    );
    assert.deepEqual(peer.requests[0]!.head.fields, ['cookie', 'a=1; b=2; c=3', 'x', 'y']);
  });

  it('takes its authority from host where it has no other, and never keeps host', () => {
    const peer = new Http2Peer().open();
    peer.send(
      wire.headers(1, wire.literals(':method', 'GET', ':scheme', 'http', ':path', '/', 'host', 'b.test')),
    );
    peer.send(wire.headers(3, wire.request('GET', '/', 'host', 'A.test')));
    assert.equal(peer.requests[0]!.head.authority, 'b.test');
    assert.deepEqual(peer.requests[1]!.head.fields, []);
  });

  it('that upgrades is a GET with a protocol (RFC 8441)', () => {
    const peer = new Http2Peer().open();
    peer.send(wire.headers(1, wire.request('CONNECT', '/chat', ':protocol', 'websocket'), false));
    const { head, stream } = peer.requests[0]!;
    assert.deepEqual([head.method, head.protocol, head.path], ['GET', 'websocket', '/chat']);
    stream.sendHead(ok, false);
    stream.sendData(bytesOf('hello'), false);
    peer.send(wire.data(1, 'frame'));
    assert.deepEqual(peer.frames().slice(-2), ['HEADERS 1', 'DATA 1 5']);
    assert.equal(peer.requests[0]!.body, 'frame');
  });

  it('that is a plain CONNECT has an authority and nothing else', () => {
    const peer = new Http2Peer().open();
    peer.send(wire.headers(1, wire.literals(':method', 'CONNECT', ':authority', 'a.test:443'), false));
    assert.deepEqual([peer.requests[0]!.head.method, peer.requests[0]!.head.path], ['CONNECT', '']);
  });

  it('may have its head in many pieces, its body in any, and trailers', () => {
    const peer = new Http2Peer().open();
    const block = wire.request('POST', '/', 'x', 'y'.repeat(1000));
    const bytes = [
      wire.frame(frameTypes.headers, flags.padded, 1, `\x03${block.slice(0, 5)}\0\0\0`),
      wire.frame(frameTypes.continuation, 0, 1, block.slice(5, 600)),
      wire.frame(frameTypes.continuation, flags.endHeaders, 1, block.slice(600)),
      wire.frame(frameTypes.data, flags.padded, 1, '\x04body\0\0\0\0'),
      wire.headers(1, wire.literals('grpc-status', '0')),
    ].join('');
    for (const byte of bytes) peer.send(byte);
    assert.equal(peer.requests[0]!.head.fields[1]!.length, 1000);
    assert.equal(peer.requests[0]!.body, 'body');
    assert.deepEqual(peer.requests[0]!.trailers, ['grpc-status', '0']);
  });
});

describe('a request is refused', () => {
  const base = [':method', 'GET', ':scheme', 'http', ':path', '/'] as const;
  const cases: Record<string, readonly string[]> = {
    'without an authority': base,
    'with user information in its authority': [...base, ':authority', 'user@a.test'],
    'with two names in its authority': [...base, ':authority', 'a.test, b.test'],
    'with a path in its authority': [...base, ':authority', 'a.test/x'],
    'with a scheme that is not ours': [':method', 'GET', ':scheme', 'ftp', ':path', '/', ':authority', 'a'],
    'with a path that has no slash': [':method', 'GET', ':scheme', 'http', ':path', 'a', ':authority', 'a'],
    'with a fragment': [':method', 'GET', ':scheme', 'http', ':path', '/#a', ':authority', 'a'],
    'with a space in its path': [
      ':method',
      'GET',
      ':scheme',
      'http',
      ':path',
      '/ HTTP/1.1',
      ':authority',
      'a',
    ],
    'for * with GET': [':method', 'GET', ':scheme', 'http', ':path', '*', ':authority', 'a'],
    'with a method that is no token': [':method', 'GE T', ':scheme', 'http', ':path', '/', ':authority', 'a'],
    'with a protocol and no CONNECT': [...base, ':authority', 'a', ':protocol', 'websocket'],
    'that names the connection': [...base, ':authority', 'a', 'connection', 'close'],
    'with a transfer-encoding: HTTP/1 smuggling': [
      ...base,
      ':authority',
      'a',
      'transfer-encoding',
      'chunked',
    ],
    'with te: gzip': [...base, ':authority', 'a', 'te', 'gzip'],
    'with a line break in a value: a second request for HTTP/1': [
      ...base,
      ':authority',
      'a',
      'x',
      'a\r\nb: c',
    ],
    'with an upper-case name': [...base, ':authority', 'a', 'X-A', 'b'],
    'with a content-length that is no number': [...base, ':authority', 'a', 'content-length', '+5'],
    'with a content-length and no body': [...base, ':authority', 'a', 'content-length', '5'],
  };
  for (const [what, fields] of Object.entries(cases)) {
    it(what, () => {
      const peer = new Http2Peer().open().send(wire.headers(1, wire.literals(...fields)));
      assert.deepEqual(peer.frames(), [`RST_STREAM 1 ${errorCodes.protocolError}`]);
      assert.deepEqual(peer.refused, ['request-malformed 400']);
      assert.equal(peer.requests.length, 0);
      // The connection goes on.
      peer.send(wire.headers(3, wire.request()));
      assert.equal(peer.requests.length, 1);
    });
  }

  for (const [what, fields] of Object.entries({
    'with a host that is not its authority': ['host', 'b.test'],
    'with two hosts': ['host', 'a.test', 'host', 'a.test'],
    'with two lengths': ['content-length', '5', 'content-length', '5'],
  })) {
    it(`${what}: two readers could disagree`, () => {
      const peer = new Http2Peer().open().send(wire.headers(1, wire.request('POST', '/', ...fields), false));
      assert.deepEqual(peer.refused, ['request-ambiguous 400']);
    });
  }

  it('with a head above the limit: 431', () => {
    const peer = new Http2Peer({ headBytesMax: 1000 }).open();
    peer.send(wire.headers(1, wire.request('GET', '/', 'x', 'y'.repeat(900))));
    assert.deepEqual(peer.frames(), ['HEADERS 1 end']);
    assert.deepEqual(peer.refused, ['head-oversized 431']);
  });

  it('with a target above the limit: 414, and no more of its body', () => {
    const peer = new Http2Peer({ targetBytesMax: 100 }).open();
    peer.send(
      wire.headers(1, wire.request('POST', `/${'a'.repeat(100)}`), false) + wire.data(1, 'on its way'),
    );
    assert.deepEqual(peer.frames(), ['HEADERS 1 end', 'RST_STREAM 1 0']);
    assert.deepEqual(peer.refused, ['target-oversized 414']);
  });

  it('above the number of streams, and may come again', () => {
    const peer = new Http2Peer({ streamsMax: 2 }).open();
    for (const id of [1, 3, 5]) peer.send(wire.headers(id, wire.request()));
    assert.deepEqual(peer.frames(), [`RST_STREAM 5 ${errorCodes.refusedStream}`]);
    assert.equal(peer.session.streamCount, 2);
  });

  it('with a body longer than it said, whoever reads it by then', () => {
    const peer = new Http2Peer().open();
    peer.send(wire.headers(1, wire.request('POST', '/', 'content-length', '3'), false) + wire.data(1, 'ab'));
    peer.send(wire.data(1, 'cd', true));
    assert.equal(peer.requests[0]!.body, 'ab');
    assert.equal(peer.requests[0]!.failure?.reason, 'http2-protocol-error');
    assert.deepEqual(peer.frames(), [`RST_STREAM 1 ${errorCodes.protocolError}`]);
  });

  it('that sends more than its window', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request('POST'), false));
    peer.isConsuming = false;
    for (let index = 0; index < 17; index++) peer.send(wire.data(1, 'x'.repeat(16_384)));
    assert.equal(peer.requests[0]!.body.length, 256 * 1024);
    assert.deepEqual(peer.frames(), [`RST_STREAM 1 ${errorCodes.flowControlError}`]);
  });
});

describe('an upload', () => {
  it('goes on beside others whose backends take nothing', () => {
    const peer = new Http2Peer().open();
    const piece = 'x'.repeat(16_384);
    peer.isConsuming = false;
    for (const id of [1, 3, 5]) {
      peer.send(wire.headers(id, wire.request('POST'), false));
      for (let index = 0; index < 15; index++) peer.send(wire.data(id, piece));
    }
    peer.isConsuming = true;
    peer.send(wire.headers(7, wire.request('POST'), false));
    peer.frames();
    // As much as the windows allow, as a client counts them.
    let connectionWindow = 1024 * 1024 - 45 * 16_384;
    let streamWindow = 256 * 1024;
    for (let round = 0; round < 200; round++) {
      assert.ok(Math.min(connectionWindow, streamWindow) >= 16_384, `stuck after ${round} frames`);
      connectionWindow -= 16_384;
      streamWindow -= 16_384;
      for (const line of peer.send(wire.data(7, piece)).frames()) {
        const [, id, increment] = line.split(' ').map(Number);
        if (id === 0) connectionWindow += increment!;
        else streamWindow += increment!;
      }
    }
    assert.equal(peer.requests[3]!.body.length, 200 * 16_384);
  });
});

describe('a response', () => {
  it('waits for the windows, and goes on in turns when they open', () => {
    const peer = new Http2Peer().open(wire.settings([4, 100_000]));
    for (const id of [1, 3]) peer.send(wire.headers(id, wire.request()));
    for (const { stream } of peer.requests) {
      stream.sendHead(ok, false);
      stream.sendData(bytesOf('x'.repeat(90_000)), true);
    }
    const sent = (lines: string[]): number[] =>
      [1, 3].map((id) =>
        lines
          .filter((line) => line.startsWith(`DATA ${id} `))
          .reduce((sum, line) => sum + Number(line.split(' ')[2]), 0),
      );
    assert.deepEqual(sent(peer.settle().frames()), [65_535, 0]);
    peer.send(wire.windowUpdate(0, 32_768));
    assert.deepEqual(sent(peer.frames()), [16_384, 16_384]);
    peer.send(wire.windowUpdate(0, 1_000_000));
    assert.deepEqual(sent(peer.frames()), [90_000 - 65_535 - 16_384, 90_000 - 16_384]);
    assert.equal(peer.session.streamCount, 0);
  });

  it('tells its sender once when what waited has gone', () => {
    const peer = new Http2Peer().open(wire.settings([4, 5])).send(wire.headers(1, wire.request()));
    const [request] = peer.requests;
    request!.stream.sendHead(ok, false);
    assert.equal(request!.stream.sendData(bytesOf('0123456789'), false), false);
    assert.equal(request!.stream.isBacklogged, true);
    peer.send(wire.windowUpdate(1, 5));
    assert.equal(request!.drainCount, 1);
    peer.send(wire.windowUpdate(1, 100));
    assert.equal(request!.drainCount, 1);
    assert.equal(request!.stream.sendData(bytesOf('abc'), true), true);
  });

  it('is never kept without bound for a sender that does not stop', () => {
    const peer = new Http2Peer().open(wire.settings([4, 0])).send(wire.headers(1, wire.request()));
    const { stream } = peer.requests[0]!;
    stream.sendHead(ok, false);
    assert.throws(() => {
      for (let index = 0; index < 100; index++) stream.sendData(bytesOf('x'.repeat(100_000)), false);
    }, /told to stop/);
  });

  it('sends a large head in CONTINUATIONs', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request()));
    peer.requests[0]!.stream.sendHead({ status: 200, fields: ['x', '\xff'.repeat(40_000)] }, true);
    assert.deepEqual(peer.settle().frames(), ['HEADERS 1 end', 'CONTINUATION 1', 'CONTINUATION 1']);
  });

  it('keeps its interim heads, its data and its trailers in order behind a closed window', () => {
    const peer = new Http2Peer().open(wire.settings([4, 3])).send(wire.headers(1, wire.request()));
    const { stream } = peer.requests[0]!;
    stream.sendInformational({ status: 103, fields: ['link', '</a>'] });
    stream.sendHead(ok, false);
    stream.sendData(bytesOf('abcdef'), false);
    stream.sendTrailers(['grpc-status', '0']);
    assert.deepEqual(peer.settle().frames(), ['HEADERS 1', 'HEADERS 1', 'DATA 1 3']);
    peer.send(wire.windowUpdate(1, 3));
    assert.deepEqual(peer.frames(), ['DATA 1 3', 'HEADERS 1 end']);
    assert.equal(stream.isClosed, true);
  });

  it('whose body is not what its content-length says is reset, and its sender told', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request()));
    const [request] = peer.requests;
    request!.stream.sendHead({ status: 200, fields: ['content-length', '5'] }, false);
    request!.stream.sendData(bytesOf('abc'), true);
    assert.equal(request!.failure, null, 'never from inside the call');
    assert.deepEqual(peer.settle().frames(), ['HEADERS 1', `RST_STREAM 1 ${errorCodes.internalError}`]);
    assert.equal(request!.failure!.reason, 'internal-error');
  });

  it('that is complete while the request goes on is followed by a reset without error', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request('POST'), false));
    const { stream } = peer.requests[0]!;
    stream.sendHead({ status: 403, fields: [] }, true);
    stream.reset('no-error');
    peer.settle().send(wire.data(1, 'late') + wire.headers(1, wire.literals('late', 'too')));
    assert.deepEqual(peer.frames(), ['HEADERS 1 end', 'RST_STREAM 1 0']);
    assert.equal(peer.requests[0]!.failure, null);
    assert.equal(peer.refusesMore, false);
  });
});

describe('a deadline', () => {
  const settings = {
    headTimeoutMs: 2000,
    bodyIdleTimeoutMs: 2000,
    keepAliveTimeoutMs: 5000,
    bodyRateMin: 1000,
  };

  for (const [what, bytes] of [
    ['a preface', ''],
    ['SETTINGS', preface],
    ['the acknowledgement of ours', preface + wire.emptySettings],
    ['the rest of a frame', preface + wire.emptySettings + wire.settingsAck + '\0\0\x10\x01\x05\0\0'],
    [
      'the rest of a header block',
      preface + wire.emptySettings + wire.settingsAck + wire.frame(1, 0, 1, '\x82'),
    ],
  ] as const) {
    it(`ends a connection that does not send ${what}`, () => {
      const peer = new Http2Peer(settings).send(bytes);
      peer.wait(1500);
      assert.equal(peer.refusesMore, false);
      peer.wait(2500);
      assert.match(peer.closed!, /^request-timeout: /);
    });
  }

  it('says good-bye to an idle connection', () => {
    const peer = new Http2Peer(settings).open().send(wire.headers(1, wire.request()));
    peer.wait(6000);
    peer.requests[0]!.stream.sendHead(ok, true);
    peer.settle().frames();
    peer.wait(4500);
    assert.equal(peer.refusesMore, false);
    peer.wait(2500);
    assert.deepEqual(peer.frames(), ['GOAWAY 1 0']);
    assert.equal(peer.closed, 'keep-alive-timeout');
  });

  it('answers a body that stops with 408', () => {
    const peer = new Http2Peer(settings).open().send(wire.headers(1, wire.request('POST'), false));
    peer
      .wait(1500)
      .send(wire.data(1, 'x'.repeat(5000)))
      .wait(1500);
    assert.equal(peer.requests[0]!.failure, null);
    peer.wait(2000);
    assert.deepEqual(peer.requests[0]!.failure, {
      reason: 'request-timeout',
      detail: 'no progress of the body',
      isUnprocessed: false,
    });
    assert.deepEqual(peer.frames(), ['HEADERS 1 end', 'RST_STREAM 1 0']);
  });

  it('answers a body that crawls with 408 (slow POST)', () => {
    const peer = new Http2Peer(settings).open().send(wire.headers(1, wire.request('POST'), false));
    for (let index = 0; index < 8; index++) peer.send(wire.data(1, 'x')).wait(500);
    assert.equal(peer.requests[0]!.failure!.detail, 'a body below body_rate_min');
  });

  it('does not blame a client for a backend that takes nothing', () => {
    const peer = new Http2Peer(settings).open().send(wire.headers(1, wire.request('POST'), false));
    peer.isConsuming = false;
    peer.send(wire.data(1, 'x')).wait(10_000);
    assert.equal(peer.requests[0]!.failure, null);
  });

  it('leaves gRPC streams and tunnels their silence', () => {
    const peer = new Http2Peer(settings).open();
    peer.send(wire.headers(1, wire.request('POST', '/', 'content-type', 'application/grpc+proto'), false));
    peer.send(wire.headers(3, wire.request('CONNECT', '/', ':protocol', 'websocket'), false));
    peer.wait(20_000);
    assert.deepEqual(
      peer.requests.map(({ failure }) => failure),
      [null, null],
    );
  });

  it('ends a connection that reads nothing', () => {
    const peer = new Http2Peer(settings, 10_000)
      .open(wire.settings([4, 1_000_000]))
      .send(wire.headers(1, wire.request()));
    peer.pauseReading();
    peer.requests[0]!.stream.sendHead(ok, false);
    peer.requests[0]!.stream.sendData(bytesOf('x'.repeat(60_000)), false);
    peer.settle().wait(20_000);
    assert.equal(peer.closed, 'body-stalled: the peer reads nothing');
    assert.equal(peer.requests[0]!.failure?.reason, 'body-stalled');
  });
});

describe('the end', () => {
  it('of an idle session comes when nothing more can be on its way', () => {
    const peer = new Http2Peer().open();
    peer.session.drain();
    assert.deepEqual(peer.settle().frames(), ['GOAWAY 2147483647 0', 'PING']);
    peer.send(wire.frame(frameTypes.ping, flags.ack, 0, '\0'.repeat(8)));
    assert.deepEqual(peer.settle().frames(), ['GOAWAY 0 0']);
    peer.endWriting();
    assert.equal(peer.closed, 'session-closed');
  });

  it('of an idle session whose client does not answer comes after a second', () => {
    const peer = new Http2Peer().open();
    peer.session.drain();
    peer.settle().frames();
    peer.wait(2000);
    assert.deepEqual(peer.settle().frames(), ['GOAWAY 0 0']);
    assert.equal(peer.refusesMore, true);
  });

  it('comes in two steps to a busy one: what was on its way is served', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request()));
    peer.session.drain();
    assert.deepEqual(peer.settle().frames(), ['GOAWAY 2147483647 0', 'PING']);
    peer.send(wire.headers(3, wire.request()) + wire.frame(frameTypes.ping, flags.ack, 0, '\0'.repeat(8)));
    assert.deepEqual(peer.frames(), ['GOAWAY 3 0']);
    peer.send(wire.headers(5, wire.request('POST'), false) + wire.data(5, 'ignored'));
    assert.equal(peer.requests.length, 2);
    for (const { stream } of peer.requests) stream.sendHead(ok, true);
    assert.deepEqual(peer.settle().frames(), ['HEADERS 1 end', 'HEADERS 3 end']);
    assert.equal(peer.refusesMore, true);
    peer.endWriting();
    assert.equal(peer.closed, 'session-closed');
  });

  it('comes after the last byte, however slowly that is taken', () => {
    const peer = new Http2Peer({}, 10_000)
      .open(wire.settings([4, 1_000_000]))
      .send(wire.headers(1, wire.request()));
    peer.pauseReading();
    const { stream } = peer.requests[0]!;
    stream.sendHead(ok, false);
    stream.sendData(bytesOf('x'.repeat(40_000)), false);
    peer.settle();
    stream.sendData(bytesOf('y'.repeat(20_000)), true);
    peer.session.drain();
    peer.settle().send(wire.frame(frameTypes.ping, flags.ack, 0, '\0'.repeat(8)));
    peer.wait(3000);
    assert.equal(peer.refusesMore, false);
    peer.resumeReading();
    const sent = peer.settle().frames();
    assert.equal(
      sent
        .filter((line) => line.startsWith('DATA'))
        .reduce((sum, line) => sum + Number(line.split(' ')[2]), 0),
      60_000,
    );
    assert.match(sent.at(-1)!, /^GOAWAY 1 0|^DATA 1 \d+ end/);
    assert.equal(peer.refusesMore, true);
  });

  it('of an idle session is not put off by PINGs', () => {
    const peer = new Http2Peer({ keepAliveTimeoutMs: 5000 }).open();
    for (let index = 0; index < 8; index++)
      peer.send(wire.frame(frameTypes.ping, 0, 0, '12345678')).wait(1000);
    assert.equal(peer.closed, 'keep-alive-timeout');
  });

  it('reaches every stream when the client leaves', () => {
    const peer = new Http2Peer()
      .open()
      .send(wire.headers(1, wire.request()) + wire.headers(3, wire.request('POST'), false));
    peer.endWriting();
    assert.deepEqual(
      peer.requests.map(({ failure }) => failure?.reason),
      ['client-cancelled', 'client-cancelled'],
    );
    assert.equal(peer.closed, 'session-closed');
  });

  it('by abort is told from the event loop, with its reason', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request()));
    peer.session.abort('drained');
    const { failure } = peer.requests[0]!;
    assert.equal(failure, null);
    peer.settle();
    assert.equal(peer.requests[0]!.failure?.reason, 'drained');
    assert.equal(peer.closed, 'drained');
    peer.requests[0]!.stream.sendHead(ok, true);
  });

  it('by a fault of a sink takes that one stream', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request('POST'), false));
    peer.requests[0]!.stream.sink.onData = () => {
      throw new Error('a filter broke');
    };
    peer.send(wire.data(1, 'x') + wire.headers(3, wire.request()));
    assert.deepEqual(peer.frames(), [`RST_STREAM 1 ${errorCodes.internalError}`]);
    assert.equal(peer.faults.length, 1);
    assert.equal(peer.requests.length, 2);
  });
});
