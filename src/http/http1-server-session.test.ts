/** The server's side of HTTP/1, on a channel without a socket: what a client sends and what it gets for it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostBytes } from '../core/bytes.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import { ScriptedChannel } from '../net/testing/scripted-channel.ts';
import { FlushQueue } from './flush-queue.ts';
import { discardBytesMax, lingerMs } from './http1-limits.ts';
import { Http1ServerSession } from './http1-server-session.ts';
import { windowBytes } from './stream.ts';
import {
  elapse,
  RecordingServer,
  testNetwork,
  testSettings,
  type SeenRequest,
} from './testing/conversation.ts';

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nhost: a\r\n${more}\r\n`;
const post = (body: string, more = '') =>
  `POST / HTTP/1.1\r\nhost: a\r\n${more}content-length: ${body.length}\r\n\r\n${body}`;

function open(settings: Partial<HttpSettings> = {}, opening?: string) {
  const channel = new ScriptedChannel();
  const network = testNetwork();
  const flushes = new FlushQueue();
  const server = new RecordingServer();
  const session = new Http1ServerSession(
    {
      channel,
      network,
      flushes,
      settings: { ...testSettings, ...settings },
      scheme: 'http',
      ...(opening === undefined ? {} : { opening: bytes(opening) }),
    },
    server,
  );
  const settle = () => {
    for (let turn = 0; turn < 10; turn++) flushes.run();
  };
  const send = (text: string) => {
    channel.send(text);
    settle();
  };
  const wire = () => {
    settle();
    return channel.calls
      .filter((call) => call.startsWith('write:'))
      .map((call) => call.slice(6))
      .join('');
  };
  return { channel, network, server, session, send, settle, wire };
}

function bytes(text: string): HostBytes {
  return Buffer.from(text, 'latin1') as unknown as HostBytes;
}

function respond(request: SeenRequest, body: string, fields: string[] = []): void {
  request.stream.sendHead({ status: 200, fields: ['content-length', `${body.length}`, ...fields] }, false);
  request.stream.sendData(bytes(body), true);
}

describe('a request and its response', () => {
  it('leave and come in one write each, and the connection serves the next', () => {
    const { channel, server, session, send } = open();
    session.start();
    server.answer = (request) => respond(request, request.head.path);
    send(get('/1'));
    send(get('/2'));
    assert.deepEqual(channel.calls, [
      'resume',
      'write:HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/1',
      'write:HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/2',
    ]);
    assert.deepEqual([server.requests.length, session.streamCount], [2, 0]);
  });

  it('may have come before the session, with the bytes that told HTTP from TLS', () => {
    const { server, session, wire } = open({}, get('/'));
    server.answer = (request) => respond(request, 'x');
    session.start();
    assert.match(wire(), /200 OK/);
  });

  it('are chunked without a length, with trailers', () => {
    const { server, session, send, wire } = open();
    session.start();
    send(get('/'));
    const { stream } = server.requests[0]!;
    stream.sendHead({ status: 200, fields: [] }, false);
    stream.sendData(bytes('hello'), false);
    stream.sendTrailers(['x-sum', '1', 'transfer-encoding', 'no']);
    assert.equal(
      wire(),
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n',
    );
  });

  it('end with the connection for an HTTP/1.0 client, which never sees a chunk or a 100', () => {
    const { channel, server, session, send, wire } = open();
    session.start();
    send('GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n');
    const { stream } = server.requests[0]!;
    assert.equal(session.version, 'HTTP/1.0');
    stream.sendInformational({ status: 103, fields: [] });
    stream.sendHead({ status: 200, fields: [] }, false);
    stream.sendData(bytes('hello'), true);
    assert.equal(wire(), 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello');
    assert.equal(channel.calls.at(-1), 'close');
    assert.deepEqual(server.events, ['closed session-closed']);
  });

  it('keep an HTTP/1.0 connection that asked for it, where the length is known', () => {
    const { server, session, send, wire } = open();
    session.start();
    server.answer = (request) => respond(request, 'x');
    send('GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n');
    assert.match(wire(), /connection: keep-alive\r\n/);
    assert.deepEqual(server.events, []);
  });

  it('have no body for HEAD, 204 and 304, whatever is sent', () => {
    const { server, session, send, wire } = open();
    session.start();
    const statuses = [200, 204, 304];
    server.answer = (request) => {
      request.stream.sendHead({ status: statuses.shift()!, fields: ['content-length', '5'] }, false);
      request.stream.sendData(bytes('hello'), true);
    };
    send(`HEAD / HTTP/1.1\r\nhost: a\r\n\r\n${get('/')}${get('/')}`);
    assert.equal(
      wire(),
      'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n',
    );
  });

  it('never split by a field, wherever it came from', () => {
    for (const fields of [
      ['x', 'a\r\nset-cookie: b'],
      ['x\r\ny', '1'],
      ['x', 'a\0'],
      ['X', '1'],
      ['x', '\u{10d}\u{10a}'],
      ['content-length', '5', 'content-length', '6'],
    ]) {
      const { channel, server, session, send, wire } = open();
      session.start();
      send(get('/'));
      server.requests[0]!.stream.sendHead({ status: 200, fields }, true);
      assert.equal(wire(), '');
      assert.equal(channel.calls.at(-1), 'reset');
      assert.equal(server.requests[0]!.sink.failure?.reason, 'internal-error');
      assert.equal(server.faults.length, 1);
    }
  });
});

describe('a response that is not whole', () => {
  it('cuts the connection when its body is shorter than it said', () => {
    const { channel, server, session, send } = open();
    session.start();
    send(get('/'));
    const { stream, sink } = server.requests[0]!;
    stream.sendHead({ status: 200, fields: ['content-length', '5'] }, false);
    stream.sendData(bytes('hell'), true);
    assert.deepEqual(sink.events, [], 'never from inside a call of the owner');
    send('');
    assert.equal(sink.failure?.reason, 'upstream-reset');
    assert.equal(channel.isClosed, true);
  });

  it('cuts the connection when its body is longer than it said, without the excess', () => {
    const { channel, server, session, send, wire } = open();
    session.start();
    send(get('/'));
    const { stream } = server.requests[0]!;
    stream.sendHead({ status: 200, fields: ['content-length', '1'] }, false);
    stream.sendData(bytes('HTTP/1.1 200 OK'), true);
    assert.match(wire(), /length: 1\r\n\r\n$/);
    assert.equal(channel.isClosed, true);
  });

  it('is a reset when its stream is given up, so that no client takes it for complete', () => {
    const { channel, server, session, send } = open();
    session.start();
    send(get('/'));
    const { stream, sink } = server.requests[0]!;
    stream.sendHead({ status: 200, fields: [] }, false);
    stream.sendData(bytes('x'), false);
    stream.reset('internal-error');
    assert.equal(channel.calls.at(-1), 'reset');
    assert.deepEqual([sink.failure, stream.isClosed], [undefined, true]);
  });
});

describe('pipelined requests', () => {
  it('are served in order, the next parsed when the response before it is complete', () => {
    const { server, session, send, wire, settle } = open();
    session.start();
    send(get('/1') + post('body') + get('/3'));
    assert.equal(server.requests.length, 1);
    respond(server.requests[0]!, 'one');
    assert.equal(server.requests.length, 1, 'never from inside a call of the owner');
    settle();
    assert.equal(server.requests.length, 2);
    assert.equal(server.requests[1]!.sink.body, 'body');
    respond(server.requests[1]!, 'two');
    settle();
    respond(server.requests[2]!, 'three');
    assert.deepEqual(wire().match(/one|two|three/g), ['one', 'two', 'three']);
  });

  it('pause the channel at pipelinedMax, and at headBytesMax', () => {
    for (const ahead of [get('/2').repeat(4), `${get('/2')}${'x'.repeat(4096)}`]) {
      const { channel, session, send } = open();
      session.start();
      send(get('/1') + get('/2'));
      assert.ok(!channel.calls.includes('pause'));
      send(ahead);
      assert.equal(channel.calls.at(-1), 'pause');
    }
  });

  // A listener of plain HTTP reads the first bytes itself: 200 MB of requests behind them went into memory.
  it('pause a channel that was read for its first bytes', () => {
    const { channel, session } = open({}, get('/1').repeat(40));
    session.start();
    assert.equal(channel.calls.at(-1), 'pause');
  });

  it('behind a malformed one are never read', () => {
    const { server, session, send, wire } = open();
    session.start();
    server.answer = (request) => respond(request, 'x');
    send(`${get('/1')}GET / HTTP/1.1\r\nhost : a\r\n\r\n${get('/3')}`);
    assert.equal(server.requests.length, 1);
    assert.match(wire(), /200 OK.*400 Bad Request/s);
  });
});

describe('a client that breaks the protocol', () => {
  const cases: readonly (readonly [string, string, number])[] = [
    ['GET / HTTP/1.1\r\n\r\n', 'request-malformed', 400],
    ['GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n', 'request-ambiguous', 400],
    [`GET /${'a'.repeat(20_000)} HTTP/1.1\r\n`, 'target-oversized', 414],
    [`GET / HTTP/1.1\r\nhost: a\r\nx: ${'a'.repeat(5000)}`, 'head-oversized', 431],
    ['GET / HTTP/2.0\r\nhost: a\r\n\r\n', 'version-refused', 505],
  ];
  for (const [text, reason, status] of cases) {
    it(`gets ${status} for ${reason}, and the connection lingers until the answer is read`, () => {
      const { channel, server, session, send, wire } = open({ targetBytesMax: 1024 });
      session.start();
      send(text);
      assert.deepEqual(server.events, [`refused ${reason} ${status}`]);
      assert.match(wire(), new RegExp(`^HTTP/1.1 ${status} .*connection: close\r\n\r\n`, 's'));
      assert.ok(channel.calls.includes('halfClose') && !channel.isClosed);
      send('more of the same');
      channel.end();
      assert.equal(channel.calls.at(-1), 'close');
      assert.deepEqual(server.events.at(-1), `closed ${reason}`);
    });
  }

  it('and never stops sending is closed', () => {
    const { channel, session, send } = open();
    session.start();
    send('\0');
    send('x'.repeat(discardBytesMax + 1));
    assert.equal(channel.calls.at(-1), 'close');
  });

  it('and never reads or leaves is closed', () => {
    const { channel, network, session, send } = open();
    session.start();
    send('\0');
    elapse(network, lingerMs + 200);
    assert.equal(channel.calls.at(-1), 'close');
  });

  it('in the middle of a body ends the request, answered if nothing was yet', () => {
    const { server, session, send, wire } = open();
    session.start();
    send('POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloX');
    assert.equal(server.requests[0]!.sink.failure?.reason, 'request-malformed');
    assert.match(wire(), /^HTTP\/1.1 400 /);
  });
});

describe('back-pressure', () => {
  it('hands out no more than a window, pauses the channel, and goes on when it is consumed', () => {
    const { channel, server, session, send, settle } = open();
    session.start();
    server.answer = ({ sink }) => void (sink.isConsuming = false);
    const body = 'x'.repeat(3 * windowBytes);
    send(post(body).slice(0, -body.length));
    const { sink, stream } = server.requests[0]!;
    send(body.slice(0, 2 * windowBytes));
    assert.equal(sink.bodyLength, windowBytes);
    assert.equal(channel.calls.at(-1), 'pause');
    stream.consume(windowBytes);
    settle();
    assert.equal(sink.bodyLength, 2 * windowBytes);
    stream.consume(windowBytes);
    assert.equal(channel.calls.at(-1), 'resume');
    send(body.slice(2 * windowBytes));
    assert.deepEqual([sink.bodyLength, sink.isEnded], [3 * windowBytes, true]);
  });

  it('tells the owner when the client has no room, and again when it has', () => {
    const { channel, server, session, send } = open();
    session.start();
    send(get('/'));
    const { stream, sink } = server.requests[0]!;
    stream.sendHead({ status: 200, fields: [] }, false);
    channel.hasRoom = false;
    assert.equal(stream.sendData(bytes('x'.repeat(20_000)), false), false);
    assert.equal(stream.isBacklogged, true);
    channel.drain();
    assert.deepEqual(sink.events, ['drain']);
    assert.equal(stream.isBacklogged, false);
  });

  it('writes long pieces straight through, behind what was gathered', () => {
    const { channel, server, session, send, settle } = open();
    session.start();
    send(get('/'));
    const { stream } = server.requests[0]!;
    stream.sendHead({ status: 200, fields: ['content-length', '40000'] }, false);
    stream.sendData(bytes('x'.repeat(20_000)), false);
    stream.sendData(bytes('y'.repeat(20_000)), true);
    settle();
    assert.deepEqual(
      channel.calls.slice(1).map((call) => call.length),
      ['write:HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n'.length, 20_006, 20_006],
    );
  });
});

describe('deadlines', () => {
  it('a connection without a request is closed after the time of a head, without a word', () => {
    const { network, server, session, wire } = open();
    session.start();
    elapse(network, testSettings.headTimeoutMs + 200);
    assert.deepEqual([wire(), server.events], ['', ['closed request-timeout']]);
  });

  it('a head that comes byte by byte is answered 408 when its time is over', () => {
    const { network, server, session, send, wire } = open();
    session.start();
    for (const character of get('/').slice(0, 20)) {
      send(character);
      elapse(network, 900);
    }
    assert.match(wire(), /^HTTP\/1.1 408 /);
    assert.equal(server.events[0], 'refused request-timeout 408');
  });

  it('a kept-alive connection is closed after keepAliveTimeoutMs, counted from its last response', () => {
    const { network, server, session, send } = open();
    session.start();
    server.answer = (request) => respond(request, 'x');
    send(get('/'));
    elapse(network, testSettings.keepAliveTimeoutMs - 500);
    send(get('/'));
    elapse(network, testSettings.keepAliveTimeoutMs - 500);
    assert.deepEqual(server.events, []);
    elapse(network, 1000);
    assert.deepEqual(server.events, ['closed keep-alive-timeout']);
  });

  it('a body that stands still is answered 408', () => {
    const { network, server, session, send, wire } = open();
    session.start();
    send(post('hello').slice(0, -5));
    elapse(network, testSettings.bodyIdleTimeoutMs + 200);
    assert.match(wire(), /^HTTP\/1.1 408 /);
    assert.equal(server.requests[0]!.sink.failure?.reason, 'request-timeout');
  });

  it('a body slower than bodyRateMin is answered 408, one faster is not', () => {
    for (const [perSecond, isServed] of [
      [50, false],
      [200, true],
    ] as const) {
      const { network, session, send, wire } = open();
      session.start();
      send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n');
      for (let second = 0; second < 70; second++) {
        send('x'.repeat(perSecond));
        elapse(network, 1000);
      }
      assert.equal(wire() === '', isServed);
    }
  });

  it('the slowness of the backend is not the fault of the client', () => {
    const { network, server, session, send, wire } = open();
    session.start();
    server.answer = ({ sink }) => void (sink.isConsuming = false);
    send(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n${'x'.repeat(windowBytes)}`);
    elapse(network, 10 * testSettings.bodyIdleTimeoutMs);
    assert.equal(wire(), '');
  });

  it('a client that takes nothing of a response is cut off', () => {
    const { channel, network, server, session, send } = open();
    session.start();
    send(get('/'));
    const { stream, sink } = server.requests[0]!;
    stream.sendHead({ status: 200, fields: [] }, false);
    channel.hasRoom = false;
    stream.sendData(bytes('x'.repeat(20_000)), false);
    elapse(network, 2 * testSettings.bodyIdleTimeoutMs + 200);
    assert.deepEqual([sink.failure?.reason, channel.calls.at(-1)], ['body-stalled', 'reset']);
  });

  it('a tunnel without a byte either way is closed after tunnelIdleTimeoutMs', () => {
    const { network, server, session, send } = open({ tunnelIdleTimeoutMs: 20_000 });
    session.start();
    send('CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n');
    const { stream, sink } = server.requests[0]!;
    stream.sendHead({ status: 200, fields: [] }, false);
    for (let round = 0; round < 4; round++) {
      elapse(network, 15_000);
      if (round % 2 === 0) send('x');
      else stream.sendData(bytes('y'), false);
    }
    assert.deepEqual(sink.events, []);
    elapse(network, 21_000);
    assert.equal(sink.failure?.reason, 'idle-timeout');
  });
});

describe('Expect: 100-continue', () => {
  const expecting = 'POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n';

  it('is left in the head; the owner asks for the body', () => {
    const { server, session, send, wire } = open();
    session.start();
    send(expecting);
    const request = server.requests[0]!;
    assert.ok(request.head.fields.includes('expect'));
    request.stream.sendInformational({ status: 100, fields: [] });
    assert.equal(wire(), 'HTTP/1.1 100 Continue\r\n\r\n');
    send('hello');
    assert.equal(request.sink.body, 'hello');
    respond(request, 'ok');
    assert.deepEqual(server.events, []);
  });

  it('answered without asking for the body closes: what follows may be the body or a request', () => {
    const { channel, server, session, send, wire } = open();
    session.start();
    send(expecting);
    respond(server.requests[0]!, 'no');
    assert.match(wire(), /connection: close/);
    send(get('/smuggled'));
    assert.equal(server.requests.length, 1);
    channel.end();
    assert.deepEqual(server.events, ['closed session-closed']);
  });
});

describe('an early response', () => {
  it('leaves the connection open when little of the request is left', () => {
    const { server, session, send } = open();
    session.start();
    send(post('hello').slice(0, -3));
    respond(server.requests[0]!, 'early');
    server.requests[0]!.stream.reset('no-error');
    send(`llo${get('/2')}`);
    assert.deepEqual([server.requests.length, server.requests[1]!.head.path], [2, '/2']);
    assert.equal(server.requests[0]!.sink.isEnded, false);
  });

  it('closes when the rest of the request does not end', () => {
    const { channel, server, session, send } = open();
    session.start();
    send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9999999\r\n\r\n');
    respond(server.requests[0]!, 'early');
    server.requests[0]!.stream.reset('no-error');
    send('x'.repeat(discardBytesMax + 1));
    assert.ok(channel.calls.includes('halfClose') && !channel.isClosed);
    channel.end();
    assert.deepEqual(server.events, ['closed session-closed']);
  });
});

describe('tunnels', () => {
  const upgrade = get(
    '/chat',
    'upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n',
  );

  it('open by 101 with the accept of RFC 6455 §1.3, then carry bytes both ways and half-close', () => {
    const { channel, server, session, send, wire } = open();
    session.start();
    send(`${upgrade}early`);
    const { stream, sink, head } = server.requests[0]!;
    assert.deepEqual([head.protocol, sink.body, sink.isEnded], ['websocket', '', false]);
    stream.sendHead({ status: 200, fields: ['sec-websocket-protocol', 'x'] }, false);
    assert.equal(
      wire(),
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: x\r\n\r\n',
    );
    send(' GET / HTTP/1.1\r\n\r\n');
    assert.equal(sink.body, 'early GET / HTTP/1.1\r\n\r\n');
    stream.sendData(bytes('reply'), false);
    channel.end();
    assert.equal(sink.isEnded, true);
    stream.sendData(bytes('last'), true);
    assert.match(wire(), /replylast$/);
    assert.deepEqual(channel.calls.slice(-2), ['halfClose', 'close']);
    assert.deepEqual(server.events, ['closed tunnel-closed']);
  });

  it('that are refused leave an ordinary connection', () => {
    const { server, session, send, settle } = open();
    session.start();
    send(upgrade);
    const { stream, sink } = server.requests[0]!;
    stream.sendHead({ status: 403, fields: [] }, true);
    settle();
    assert.equal(sink.isEnded, true);
    send(get('/next'));
    assert.equal(server.requests.length, 2);
  });

  it('that are refused and given up leave an ordinary connection, too', () => {
    const { server, session, send } = open();
    session.start();
    send(upgrade);
    const { stream, sink } = server.requests[0]!;
    stream.sendHead({ status: 403, fields: [] }, true);
    stream.reset('no-error');
    send(get('/next') + get('/last'));
    respond(server.requests[1]!, 'x');
    send('');
    assert.deepEqual([server.requests.length, sink.events, server.events], [3, [], []]);
  });

  it('that are refused after the client sent into them close: those bytes were no request', () => {
    const { server, session, send, wire } = open();
    session.start();
    send(`CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n${get('/smuggled')}`);
    server.requests[0]!.stream.sendHead({ status: 403, fields: [] }, true);
    assert.match(wire(), /403 Forbidden\r\nconnection: close/);
    send('');
    assert.equal(server.requests.length, 1);
  });
});

describe('the end of a connection', () => {
  it('by the client, while its request is answered, waits for the answer', () => {
    const { channel, server, session, send, wire } = open();
    session.start();
    send(get('/'));
    channel.end();
    respond(server.requests[0]!, 'late');
    assert.match(wire(), /connection: close\r\n.*\r\nlate$/s);
    assert.deepEqual(server.events, ['closed session-closed']);
  });

  it('by the client in the middle of a body cancels the request', () => {
    const { channel, server, session, send } = open();
    session.start();
    send(post('hello').slice(0, -1));
    channel.end();
    assert.equal(server.requests[0]!.sink.failure?.reason, 'client-cancelled');
    assert.deepEqual(server.events, ['closed client-cancelled']);
  });

  it('by a reset ends the stream', () => {
    const { channel, server, session, send } = open();
    session.start();
    send(get('/'));
    channel.break('ECONNRESET');
    assert.equal(server.requests[0]!.sink.failure?.reason, 'client-reset');
    assert.equal(server.requests[0]!.stream.sendData(bytes('x'), true), true);
  });

  it('by us: an idle one when no request was on its way, a busy one with Connection: close on its response', () => {
    const idle = open();
    idle.session.start();
    idle.session.drain();
    assert.deepEqual(idle.server.events, []);
    elapse(idle.network, 1_200);
    assert.deepEqual(idle.server.events, ['closed session-closed']);
    const late = open();
    late.session.start();
    late.session.drain();
    elapse(late.network, 800);
    late.send(get('/'));
    elapse(late.network, 800);
    respond(late.server.requests[0]!, 'x');
    assert.match(late.wire(), /connection: close/);
    assert.deepEqual(late.server.events, ['closed session-closed']);
    const busy = open();
    busy.session.start();
    busy.send(get('/'));
    busy.session.drain();
    assert.deepEqual(busy.server.events, []);
    respond(busy.server.requests[0]!, 'x');
    assert.match(busy.wire(), /connection: close/);
    assert.deepEqual(busy.server.events, ['closed session-closed']);
  });

  it('by Connection: close waits until the client has the response', () => {
    const { channel, server, session, send } = open();
    session.start();
    send(get('/', 'connection: close\r\n'));
    channel.hasRoom = false;
    respond(server.requests[0]!, 'x');
    assert.deepEqual(server.events, []);
    channel.drain();
    assert.deepEqual([server.events, channel.calls.at(-1)], [['closed session-closed'], 'close']);
  });

  it('by abort resets, and the stream learns why', () => {
    const { channel, server, session, send } = open();
    session.start();
    send(get('/'));
    session.abort('drained');
    assert.deepEqual(
      [server.requests[0]!.sink.failure?.reason, channel.calls.at(-1), server.events],
      ['drained', 'reset', ['closed drained']],
    );
  });

  it('by a fault of the owner resets this connection and tells its observer', () => {
    const { channel, server, session, send } = open();
    session.start();
    server.answer = () => {
      throw new Error('ours');
    };
    send(get('/'));
    assert.deepEqual([server.faults.length, channel.calls.at(-1)], [1, 'reset']);
    assert.deepEqual(server.events, ['closed internal-error']);
  });
});
