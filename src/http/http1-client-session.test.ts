/** The client's side of HTTP/1, on a channel without a socket: what goes to a backend, and what is made of its answers. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostBytes } from '../core/bytes.ts';
import type { RequestHead } from '../codec/http-message.ts';
import { ScriptedChannel } from '../net/testing/scripted-channel.ts';
import { FlushQueue } from './flush-queue.ts';
import { Http1ClientSession } from './http1-client-session.ts';
import { windowBytes } from './stream.ts';
import { elapse, RecordingPool, RecordingSink, testNetwork, testSettings } from './testing/conversation.ts';
import { webSocketAccept } from './websocket-handshake.ts';

const base: RequestHead = {
  method: 'GET',
  scheme: 'http',
  authority: 'a.example',
  path: '/',
  protocol: null,
  fields: [],
};

function open() {
  const channel = new ScriptedChannel();
  const network = testNetwork();
  const flushes = new FlushQueue();
  const pool = new RecordingPool();
  const session = new Http1ClientSession({ channel, network, flushes, settings: testSettings }, pool);
  session.start();
  const settle = () => {
    for (let turn = 0; turn < 10; turn++) flushes.run();
  };
  const ask = (change: Partial<RequestHead> = {}, isEnd = true) => {
    const sink = new RecordingSink();
    const stream = session.request({ ...base, ...change }, isEnd, sink);
    return { sink, stream };
  };
  const wire = () => {
    settle();
    return channel.calls
      .filter((call) => call.startsWith('write:'))
      .map((call) => call.slice(6))
      .join('');
  };
  const send = (text: string) => {
    channel.send(text);
    settle();
  };
  return { channel, network, pool, session, ask, wire, send, settle };
}

function bytes(text: string): HostBytes {
  return Buffer.from(text, 'latin1') as unknown as HostBytes;
}

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('a request', () => {
  it('leaves in one write, Host first, framed once', () => {
    const { channel, ask, send, pool, session } = open();
    const { sink } = ask({
      fields: [
        'accept',
        '*/*',
        'transfer-encoding',
        'chunked',
        'host',
        'evil',
        'connection',
        'x',
        'content-length',
        '0',
      ],
    });
    assert.deepEqual(channel.calls, [
      'resume',
      'write:GET / HTTP/1.1\r\nhost: a.example\r\naccept: */*\r\ncontent-length: 0\r\n\r\n',
    ]);
    send(ok);
    assert.deepEqual([sink.events, sink.body], [['head 200', 'end'], 'ok']);
    assert.deepEqual([pool.events, session.isAvailable, session.requestCount], [['available'], true, 1]);
  });

  it('with a body has its length if it is known, and chunks otherwise', () => {
    const known = open();
    known
      .ask({ method: 'POST', fields: ['content-length', '5'] }, false)
      .stream.sendData(bytes('hello'), true);
    assert.match(known.wire(), /\r\ncontent-length: 5\r\n\r\nhello$/);
    const unknown = open();
    const { stream } = unknown.ask({ method: 'POST' }, false);
    stream.sendData(bytes('hello'), false);
    stream.sendTrailers(['x-sum', '1']);
    assert.match(
      unknown.wire(),
      /\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n$/,
    );
  });

  it('without a body by a method that usually has one says so', () => {
    const { ask, wire } = open();
    ask({ method: 'POST' });
    assert.match(wire(), /\r\ncontent-length: 0\r\n\r\n$/);
  });

  it('is never split by what it is made of, and a refused one leaves the session as it was', () => {
    const { ask, wire, session } = open();
    for (const change of [
      { path: '/ HTTP/1.1\r\nx: y' },
      { path: '/a b' },
      { path: '' },
      { path: '*' },
      { path: 'http://b/' },
      { path: '/\u{10d}' },
      { method: 'GET / HTTP/1.1\r\n\r\nGET' },
      { method: '' },
      { authority: 'a\r\nx: y' },
      { authority: 'u@a' },
      { protocol: 'a\r\nb', method: 'GET' },
      { fields: ['x', 'a\r\n\r\nGET /smuggled HTTP/1.1'] },
      { fields: ['x: y\r\nz', '1'] },
      { fields: [':path', '/'] },
      { fields: ['content-length', '5'] },
      { fields: ['content-length', '1', 'content-length', '1'] },
    ]) {
      assert.throws(() => ask(change), { name: 'ProtocolError', source: 'internal' });
    }
    assert.deepEqual([wire(), session.isAvailable], ['', true]);
  });

  it('whose body is not as long as it said never completes', () => {
    for (const body of ['hell', 'hello!']) {
      const { ask, channel, settle, wire } = open();
      const { stream, sink } = ask({ method: 'POST', fields: ['content-length', '5'] }, false);
      stream.sendData(bytes(body), true);
      settle();
      assert.equal(sink.failure?.reason, 'request-malformed');
      assert.equal(channel.calls.at(-1), 'reset');
      assert.ok(!wire().includes('hello!'));
    }
  });
});

describe('a response', () => {
  it('may be chunked, with trailers', () => {
    const { ask, send, session } = open();
    const { sink } = ask();
    send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n');
    assert.deepEqual([sink.body, sink.events.at(-2)], ['hello', 'trailers x-sum 1']);
    assert.equal(session.isAvailable, true);
  });

  it('may come after informational ones', () => {
    const { ask, send } = open();
    const { sink } = ask();
    send(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${ok}`);
    assert.deepEqual(sink.events, ['informational 100', 'informational 103', 'head 200', 'end']);
  });

  it('may end with the connection, which then serves no other', () => {
    const { ask, send, channel, pool } = open();
    const { sink } = ask();
    send('HTTP/1.1 200 OK\r\n\r\nhello');
    channel.end();
    assert.deepEqual([sink.body, sink.isEnded], ['hello', true]);
    assert.deepEqual(pool.events, ['closed session-closed']);
  });

  it('that ends with a TLS connection cut short is not complete', () => {
    const { ask, send, channel } = open();
    const { sink } = ask();
    send('HTTP/1.1 200 OK\r\n\r\nhello');
    Object.assign(channel, { isTruncated: true });
    channel.end();
    assert.equal(sink.failure?.reason, 'upstream-reset');
  });

  it('has no body for HEAD, 204 and 304, whatever its length says', () => {
    for (const [method, status] of [
      ['HEAD', 200],
      ['GET', 204],
      ['GET', 304],
    ] as const) {
      const { ask, send } = open();
      const { sink } = ask({ method });
      send(`HTTP/1.1 ${status} X\r\nContent-Length: 5\r\n\r\n`);
      assert.deepEqual(sink.events, [`head ${status}`, 'end']);
    }
  });

  it('with Connection: close, of HTTP/1.0, or with a 204 that may have a body closes', () => {
    for (const head of [
      'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n',
    ]) {
      const { ask, send, pool, channel } = open();
      ask();
      send(head);
      assert.deepEqual([pool.events, channel.calls.at(-1)], [['closed session-closed'], 'close']);
    }
  });

  it('hands out no more than a window until it is consumed', () => {
    const { ask, send, channel, settle } = open();
    const { sink, stream } = ask();
    sink.isConsuming = false;
    send(`HTTP/1.1 200 OK\r\nContent-Length: ${2 * windowBytes}\r\n\r\n${'x'.repeat(2 * windowBytes)}`);
    assert.deepEqual([sink.bodyLength <= windowBytes, channel.calls.at(-1)], [true, 'pause']);
    stream.consume(sink.bodyLength);
    settle();
    stream.consume(sink.bodyLength / 2);
    settle();
    assert.deepEqual([sink.bodyLength, sink.isEnded], [2 * windowBytes, true]);
  });
});

describe('nothing of a second response rides on the first', () => {
  it('bytes behind a complete response close the connection before it is offered again', () => {
    const { ask, send, pool, session } = open();
    const { sink } = ask();
    send(`${ok}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`);
    assert.deepEqual(
      [sink.isEnded, session.isAvailable, pool.events],
      [true, false, ['closed upstream-malformed']],
    );
  });

  it('bytes on an idle connection close it', () => {
    const { ask, send, pool } = open();
    ask();
    send(ok);
    send('H');
    assert.deepEqual(pool.events, ['available', 'closed upstream-malformed']);
  });

  it('a stream that was given up takes the connection with it', () => {
    const { ask, send, pool, channel } = open();
    const { stream, sink } = ask();
    send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe');
    stream.reset('cancel');
    assert.deepEqual(
      [channel.calls.at(-1), sink.failure, pool.events],
      ['reset', undefined, ['closed session-closed']],
    );
  });

  it('an early response leaves the connection to its request until that is sent', () => {
    const { ask, send, session, settle } = open();
    const { stream } = ask({ method: 'POST', fields: ['content-length', '5'] }, false);
    send(ok);
    assert.equal(session.isAvailable, false);
    stream.sendData(bytes('hello'), true);
    settle();
    assert.equal(session.isAvailable, true);
  });

  it('an early response that closes drops the rest of the request, and is complete', () => {
    const { ask, send, pool } = open();
    const { stream, sink } = ask({ method: 'POST', fields: ['content-length', '5'] }, false);
    send(ok.replace('\r\n', '\r\nConnection: close\r\n'));
    assert.deepEqual([sink.isEnded, sink.failure, stream.isClosed], [true, undefined, true]);
    assert.equal(stream.sendData(bytes('hello'), true), true);
    assert.deepEqual(pool.events, ['closed session-closed']);
  });
});

describe('a backend that fails', () => {
  it('before it answered tells so, which is what a replay depends on', () => {
    for (const isReused of [false, true]) {
      const { ask, send, channel, session } = open();
      if (isReused) {
        ask();
        send(ok);
      }
      const { sink } = ask();
      channel.end();
      assert.deepEqual(sink.failure, {
        reason: 'upstream-reset',
        detail: 'the backend closed the connection before it answered',
        isUnprocessed: false,
        isUnanswered: true,
      });
      assert.equal(session.requestCount, isReused ? 1 : 0);
    }
  });

  it('before anything of the request had left certainly did nothing with it', () => {
    const { ask, channel } = open();
    const { sink } = ask({ method: 'POST' }, false);
    channel.break('ECONNRESET');
    assert.deepEqual([sink.failure?.isUnprocessed, sink.failure?.isUnanswered], [true, true]);
  });

  it('in the middle of a response is no end of it', () => {
    for (const text of [
      'HT',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
    ]) {
      const { ask, send, channel } = open();
      const { sink } = ask();
      send(text);
      channel.end();
      assert.deepEqual(
        [sink.failure?.reason, sink.failure?.isUnanswered, sink.isEnded],
        ['upstream-reset', false, false],
      );
    }
  });

  it('while it is idle is no longer available', () => {
    const { channel, pool, session } = open();
    channel.end();
    assert.deepEqual([session.isAvailable, pool.events], [false, ['closed backend-closed']]);
  });

  it('to take what is sent is given up', () => {
    const { ask, channel, network } = open();
    const { sink, stream } = ask({ method: 'POST' }, false);
    channel.hasRoom = false;
    assert.equal(stream.sendData(bytes('x'.repeat(20_000)), false), false);
    elapse(network, 2 * testSettings.bodyIdleTimeoutMs + 200);
    assert.equal(sink.failure?.reason, 'body-stalled');
  });

  it('to be asked for upstreamIdleTimeoutMs is closed', () => {
    const { network, pool } = open();
    elapse(network, testSettings.upstreamIdleTimeoutMs + 200);
    assert.deepEqual(pool.events, ['closed idle-timeout']);
  });
});

describe('tunnels', () => {
  const webSocket = { protocol: 'websocket', fields: ['sec-websocket-version', '13'] };

  function keyOf(wire: string): string {
    return /sec-websocket-key: (\S+)/.exec(wire)![1]!;
  }

  it('open on 101 with the right accept; what came before waits for it', () => {
    const { ask, send, wire, channel, pool } = open();
    const { sink, stream } = ask(webSocket, false);
    assert.match(
      wire(),
      /^GET \/ HTTP\/1.1\r\nhost: a.example\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: \S{24}\r\n\r\n$/,
    );
    assert.equal(stream.sendData(bytes('early'), false), false);
    const accept = webSocketAccept(keyOf(wire()));
    send(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\nhi`,
    );
    assert.deepEqual([sink.events, sink.head?.fields, sink.body], [['drain', 'head 200'], [], 'hi']);
    assert.match(wire(), /early$/);
    stream.sendData(bytes('last'), true);
    assert.equal(channel.calls.at(-1), 'halfClose');
    channel.end();
    assert.deepEqual([sink.isEnded, pool.events], [true, ['closed tunnel-closed']]);
  });

  it('do not open on a wrong accept, a missing one, another protocol, or a plain success', () => {
    for (const answer of [
      'HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n',
      'HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
      'HTTP/1.1 101 X\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n',
      'HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n',
      ok,
    ]) {
      const { ask, send } = open();
      const { sink } = ask(webSocket, false);
      send(answer);
      assert.deepEqual([sink.failure?.reason, sink.head], ['upstream-malformed', undefined]);
    }
  });

  it('that nobody asked for do not open', () => {
    const { ask, send } = open();
    const { sink } = ask();
    send('HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
    assert.equal(sink.failure?.reason, 'upstream-malformed');
  });

  it('that are refused leave a connection that serves on', () => {
    const { ask, send, session } = open();
    const { sink } = ask(webSocket, false);
    send('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    assert.deepEqual([sink.body, session.isAvailable], ['no', true]);
  });

  it('may be asked for by CONNECT', () => {
    const { ask, send, wire } = open();
    const { sink, stream } = ask({ method: 'CONNECT', authority: 'b:443', path: '' }, false);
    send('HTTP/1.1 200 Connection established\r\n\r\nhi');
    stream.sendData(bytes('there'), false);
    assert.equal(wire(), 'CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\nthere');
    assert.equal(sink.body, 'hi');
  });
});

describe('the end', () => {
  it('by drain waits for the response', () => {
    const { ask, send, session, pool } = open();
    const { sink } = ask();
    session.drain();
    assert.equal(session.isAvailable, false);
    send(ok);
    assert.deepEqual([sink.isEnded, pool.events], [true, ['closed session-closed']]);
  });

  it('by a fault of the sink ends this connection and tells the observer', () => {
    const { ask, send, pool } = open();
    const { sink } = ask();
    sink.onHead = () => {
      throw new Error('ours');
    };
    send(ok);
    assert.deepEqual(
      [sink.failure?.reason, pool.faults.length, pool.events],
      ['internal-error', 1, ['closed internal-error']],
    );
  });
});
