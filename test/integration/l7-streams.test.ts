/** What goes on while a message is under way: tunnels, events, interim answers, trailers, early answers, gRPC. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { before, describe, test } from 'node:test';
import { GrpcCall, GrpcOrigin } from '../support/grpc.ts';
import { Http1Client, Http2Client, fieldOf, raw, seenIn } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { isRequestLine, listener, route, type RequestLine } from '../support/layer7.ts';
import { Peer } from '../support/peer.ts';
import { allSockets, type Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { WebSocketPeer, webSocketHandshake } from '../support/websocket.ts';

for (const sockets of allSockets) {
  describe(`streams on ${sockets} sockets`, { timeout: 120_000 }, () => {
    const suite = new Suite();
    let portcullis: Portcullis;
    let origin: HttpOrigin;
    let calls: GrpcOrigin;

    before(async () => {
      origin = suite.use(await HttpOrigin.start('http1'));
      const modern = suite.use(await HttpOrigin.start('h2c'));
      calls = suite.use(await GrpcOrigin.start());
      const config = listener(
        ['addr = "127.0.0.1:0"', 'protocol = "http"'],
        [
          route('http1.example.com', origin.port, 'backend_protocol = "http1"'),
          route('h2c.example.com', modern.port),
          route('grpc.example.com', calls.port),
          route('down.example.com', 1),
        ],
      );
      portcullis = await suite.portcullis(config, { sockets });
    });

    test('a WebSocket over HTTP/1.1', async () => {
      const { fields, accept } = webSocketHandshake();
      const upgrade = request({
        ...{ host: '127.0.0.1', port: portcullis.port(), path: '/socket1' },
        headers: { host: 'http1.example.com', ...fields, 'sec-websocket-protocol': 'chat' },
      });
      upgrade.end();
      const [answer, socket, head] = (await once(upgrade, 'upgrade')) as [
        { headers: Record<string, string> },
        Socket,
        Buffer,
      ];
      assert.equal(answer.headers['sec-websocket-accept'], accept);
      assert.equal(answer.headers['sec-websocket-protocol'], 'chat');
      await talk(new WebSocketPeer(socket, head));
      await webSocketLine('/socket1');
    });

    test('a WebSocket over HTTP/2 reaches an HTTP/1.1 backend', async () => {
      using client = await Http2Client.connect(portcullis.port(), 'http1.example.com');
      if (client.session.remoteSettings.enableConnectProtocol !== true)
        await once(client.session, 'remoteSettings');
      assert.equal(client.session.remoteSettings.enableConnectProtocol, true);
      const stream = client.session.request({
        ...{ ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'http', ':path': '/socket2' },
        ...{ ':authority': 'http1.example.com', 'sec-websocket-version': '13' },
      });
      const [answer] = (await once(stream, 'response')) as [Record<string, string | number>];
      assert.equal(answer[':status'], 200);
      await talk(new WebSocketPeer(stream));
      stream.end();
      await webSocketLine('/socket2');
    });

    async function talk(peer: WebSocketPeer): Promise<void> {
      for (const message of ['one', Buffer.alloc(40_000, 7)]) {
        peer.send(message);
        assert.deepEqual((await peer.next()).payload, Buffer.from(message));
      }
      peer.ping();
      assert.equal((await peer.next()).opcode, 10);
      peer.close(1000);
      assert.equal((await peer.next()).opcode, 8);
    }

    async function webSocketLine(path: string): Promise<void> {
      const line = await portcullis.line<RequestLine>((each) => isRequestLine(each) && each.path === path);
      assert.equal(line.reason, 'tunnel-closed');
      assert.ok(line.bytes_in > 40_000 && line.bytes_out > 40_000, JSON.stringify(line));
    }

    for (const name of ['http1', 'h2c'] as const) {
      test(`interim answers and trailers come through from ${name}`, async () => {
        using one = new Http1Client(portcullis.port(), `${name}.example.com`);
        using two = await Http2Client.connect(portcullis.port(), `${name}.example.com`);
        for (const client of [one, two]) {
          const hinted = await client.ask({ path: '/hints' });
          assert.deepEqual(hinted.interim, [103]);
          assert.equal(hinted.body.toString(), 'hinted');
          const trailed = await client.ask({ path: '/trailers', headers: { te: 'trailers' } });
          assert.equal(trailed.body.toString(), 'body');
          assert.equal(trailed.trailers['x-digest'], 'abc');
        }
      });

      test(`trailers of a chunked request reach ${name}`, async () => {
        const answer = await raw(
          portcullis.port(),
          `POST /echo HTTP/1.1\r\nHost: ${name}.example.com\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n` +
            'Connection: close\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n',
        );
        assert.match(answer, /"x-sum":"6"/);
        assert.match(answer, /"bodyBytes":3/);
      });

      test(`an answer that comes before the body from ${name}`, async () => {
        using client = await Http2Client.connect(portcullis.port(), `${name}.example.com`);
        const stream = client.session.request({
          ...{ ':method': 'POST', ':path': '/early', ':authority': `${name}.example.com` },
        });
        stream.write('begins');
        const [head] = (await once(stream, 'response')) as [Record<string, number>];
        assert.equal(head[':status'], 200);
        stream.close();
      });
    }

    test('a client that expects 100-continue gets it before it sends', async () => {
      const peer = await Peer.connect(portcullis.port());
      await peer.write(
        'POST /echo HTTP/1.1\r\nHost: http1.example.com\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n',
      );
      assert.equal((await peer.read(25)).toString('latin1'), 'HTTP/1.1 100 Continue\r\n\r\n');
      await peer.write('hello');
      assert.match((await peer.readToEnd()).toString('latin1'), /"bodyBytes":5/);
    });

    for (const version of ['HTTP/1.1', 'HTTP/2'] as const) {
      test(`server-sent events are not held back over ${version}`, async () => {
        const arrived: string[] = [];
        let onArrival = (): void => undefined;
        const took = (chunk: Buffer): void => {
          arrived.push(chunk.toString());
          onArrival();
        };
        const until = async (text: string): Promise<void> => {
          while (!arrived.join('').includes(text))
            await new Promise<void>((resolve) => (onArrival = resolve));
        };
        await using cleanUp = new AsyncDisposableStack();
        if (version === 'HTTP/2') {
          const client = cleanUp.use(await Http2Client.connect(portcullis.port(), 'http1.example.com'));
          client.session.request({ ':path': '/events', ':authority': 'http1.example.com' }).on('data', took);
        } else {
          const get = request({
            port: portcullis.port(),
            path: '/events',
            headers: { host: 'http1.example.com' },
          });
          cleanUp.defer(() => void get.destroy());
          get.on('error', () => undefined);
          get.on('response', (response) => response.on('data', took));
          get.end();
        }
        await until('data: first');
        assert.ok(!arrived.join('').includes('released'));
        origin.release();
        await until('data: released');
        origin.finish();
      });
    }

    test('gRPC: a unary call, with what the backend is told', async () => {
      using client = await Http2Client.connect(portcullis.port(), 'grpc.example.com');
      const call = new GrpcCall(client.session, '/test.Echo/Unary', fields('x-a', 'b')).send('hello').end();
      await call.ended;
      assert.equal(call.status, '0');
      assert.deepEqual(call.messages.map(String), ['hello']);
      assert.equal(calls.calls.at(-1)!['te'], 'trailers');
      assert.equal(calls.calls.at(-1)!['x-a'], 'b');
    });

    test('gRPC: messages of both sides take turns on one stream', async () => {
      using client = await Http2Client.connect(portcullis.port(), 'grpc.example.com');
      const call = new GrpcCall(client.session, '/test.Echo/Stream', fields());
      for (let i = 1; i <= 20; i++) {
        call.send(`message ${i}`);
        assert.equal((await call.received(i))[i - 1]!.toString(), `message ${i}`);
      }
      call.end();
      await call.ended;
      assert.equal(call.status, '0');
    });

    test('gRPC: large answers, and a status without a message', async () => {
      using client = await Http2Client.connect(portcullis.port(), 'grpc.example.com');
      const large = new GrpcCall(client.session, '/test.Echo/Large', fields()).send(Buffer.from([24])).end();
      const failed = new GrpcCall(client.session, '/test.Echo/Fail', fields()).end();
      await Promise.all([large.ended, failed.ended]);
      assert.equal(large.messages.length, 24);
      assert.ok(large.messages.every((message) => message.length === 1024 * 1024));
      assert.equal(failed.status, '5');
    });

    test('gRPC: errors of the proxy and deadlines are statuses', async () => {
      using client = await Http2Client.connect(portcullis.port(), 'grpc.example.com');
      const late = new GrpcCall(client.session, '/test.Echo/Hang', {
        ...fields(),
        'grpc-timeout': '100m',
      }).end();
      await late.ended;
      assert.equal(late.status, '4');
      const down = new GrpcCall(client.session, '/test.Echo/Unary', {
        ':authority': 'down.example.com',
      }).end();
      await down.ended;
      assert.equal(down.headers[':status'], 200);
      assert.equal(down.status, '14');
    });

    test('fields of a request keep their order and their repetition', async () => {
      using client = new Http1Client(portcullis.port(), 'http1.example.com');
      const seen = seenIn(await client.ask({ headers: { 'x-many': ['1', '2', '3'] } }));
      assert.equal(fieldOf(seen, 'x-many').join(', '), '1, 2, 3');
    });

    function fields(name?: string, value?: string): Record<string, string> {
      return { ':authority': 'grpc.example.com', ...(name === undefined ? {} : { [name]: value! }) };
    }
  });
}
