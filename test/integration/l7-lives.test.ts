/** Connections over time: pools, certificates that change, draining, and a second Portcullis behind the first. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { describe, test } from 'node:test';
import { Authority } from '../support/authority.ts';
import { fieldOf, Http1Client, Http2Client, seenIn } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { isRequestLine, listener, route, tls, type RequestLine } from '../support/layer7.ts';
import { Peer } from '../support/peer.ts';
import { allSockets, Portcullis } from '../support/portcullis.ts';
import { lacks } from '../support/tools.ts';

const host = 'app.example.com';
const plain = 'backend_protocol = "http1"';
const httpListener = ['addr = "127.0.0.1:0"', 'protocol = "http"'];

for (const sockets of allSockets) {
  describe(`connections over time on ${sockets} sockets`, { timeout: 120_000 }, () => {
    test('requests of many clients share connections to the backend', async () => {
      await using origin = await HttpOrigin.start('http1');
      await using portcullis = await start(listener(httpListener, [route(host, origin.port, plain)]));
      for (let i = 0; i < 20; i++) {
        using client = new Http1Client(portcullis.port(), host);
        await client.ask();
      }
      assert.equal(origin.connectionCount, 1);
    });

    test('a hundred requests at once over HTTP/2 share one connection to an h2c backend', async () => {
      await using origin = await HttpOrigin.start('h2c');
      await using portcullis = await start(listener(httpListener, [route(host, origin.port)]));
      using client = await Http2Client.connect(portcullis.port(), host);
      const answers = await Promise.all(Array.from({ length: 100 }, () => client.ask()));
      assert.ok(answers.every(({ status }) => status === 200));
      assert.equal(origin.connectionCount, 1);
    });

    test('a kept connection whose backend has gone is not used again', async () => {
      const origin = await HttpOrigin.start('http1');
      await using portcullis = await start(listener(httpListener, [route(host, origin.port, plain)]));
      using client = new Http1Client(portcullis.port(), host);
      await client.ask();
      await origin[Symbol.asyncDispose]();
      assert.equal((await client.ask()).status, 502);
    });

    test('edge and origin: the client’s address arrives by PROXY v2, and connections are not shared', async () => {
      await using app = await HttpOrigin.start('http1');
      const inner = [
        'addr = "127.0.0.1:0"',
        'protocol = "http"',
        'proxy_protocol = true',
        'trusted_proxies = ["127.0.0.0/8"]',
      ];
      await using behind = await start(listener(inner, [route(host, app.port, plain)]));
      const hop = [plain, 'send_proxy_protocol = true'];
      await using edge = await start(listener(httpListener, [route(host, behind.port(), ...hop)]));
      const clients = [new Http1Client(edge.port(), host), new Http1Client(edge.port(), host)];
      for (const client of clients) {
        for (let i = 0; i < 2; i++) {
          const seen = seenIn(await client.ask({ path: '/echo/hop' }));
          assert.match(fieldOf(seen, 'x-forwarded-for').join(), /127\.0\.0\.1/);
          assert.equal(fieldOf(seen, 'via').join().split(',').length, 2);
        }
        client[Symbol.dispose]();
      }
      await behind.until('a line for each request', () => behind.lines.filter(isRequestLine).length === 4);
    });

    test('SIGTERM: HTTP/2 gets GOAWAY, what runs ends, HTTP/1.1 is closed after its answer', async () => {
      await using origin = await HttpOrigin.start('http1');
      await using portcullis = await start(listener(httpListener, [route(host, origin.port, plain)]));
      using modern = await Http2Client.connect(portcullis.port(), host);
      using kept = new Http1Client(portcullis.port(), host);
      await kept.ask();
      const events = modern.session.request({ ':path': '/events', ':authority': host });
      const body: string[] = [];
      events.on('data', (chunk: Buffer) => body.push(chunk.toString()));
      await once(events, 'data');
      const goaway = once(modern.session, 'goaway');
      portcullis.kill('SIGTERM');
      const [code] = (await goaway) as [number];
      assert.equal(code, 0);
      origin.release();
      origin.finish();
      await once(events, 'end');
      assert.match(body.join(''), /released/);
      assert.deepEqual(await portcullis.exited, { code: 0, signal: null });
    });

    test(
      'a certificate that changes on disk is shown without a restart',
      { skip: lacks('openssl') },
      async () => {
        await using origin = await HttpOrigin.start('http1');
        const authority = new Authority('renewal');
        const first = authority.issue({ altNames: [`DNS:${host}`], subject: '/CN=first' });
        const second = authority.issue({ altNames: [`DNS:${host}`], subject: '/CN=second' });
        await using portcullis = await start(
          listener(['addr = "127.0.0.1:0"'], [route(host, origin.port, plain, tls(first))]),
        );
        const shown = async (): Promise<string> => {
          const socket = connectTls({ port: portcullis.port(), servername: host, ca: authority.cert });
          await once(socket, 'secureConnect');
          const { subject } = socket.getPeerCertificate();
          socket.destroy();
          return String(subject.CN);
        };
        assert.equal(await shown(), 'first');
        copyFileSync(second.keyPath, first.keyPath);
        copyFileSync(second.certPath, first.certPath);
        const deadline = performance.now() + 15_000;
        while ((await shown()) !== 'second')
          assert.ok(performance.now() < deadline, 'the old one is still shown');
      },
    );

    test('a session is resumed by any worker', { skip: lacks('openssl') }, async () => {
      await using origin = await HttpOrigin.start('http1');
      const identity = new Authority('tickets').issue({ altNames: [`DNS:${host}`, 'DNS:other.example.com'] });
      const routes = [host, 'other.example.com'].map((name) =>
        route(name, origin.port, plain, tls(identity)),
      );
      await using portcullis = await start(listener(['addr = "127.0.0.1:0"'], routes));
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        let session: Buffer | undefined;
        let resumed = 0;
        for (let i = 0; i < 8; i++) {
          const options = {
            port: portcullis.port(),
            servername: host,
            rejectUnauthorized: false,
            maxVersion,
          };
          const socket = connectTls(session === undefined ? options : { ...options, session });
          const ticket = once(socket, 'session') as Promise<[Buffer]>;
          await once(socket, 'secureConnect');
          resumed += Number(socket.isSessionReused());
          socket.write(`GET /status/204 HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
          await once(socket, 'data');
          if (session === undefined) [session] = await ticket;
          else ticket.catch(() => undefined);
          socket.destroy();
        }
        assert.equal(resumed, 7, maxVersion);
      }
    });

    test('a pipelined batch is answered in order', async () => {
      await using origin = await HttpOrigin.start('http1');
      await using portcullis = await start(listener(httpListener, [route(host, origin.port, plain)]));
      const peer = await Peer.connect(portcullis.port());
      const paths = ['/echo/1', '/bytes/10', '/chunked/70000', '/status/204', '/echo/5'];
      const requests = paths.map((path, i) => {
        const last = i === paths.length - 1 ? 'Connection: close\r\n' : '';
        return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${last}\r\n`;
      });
      await peer.write(requests.join(''));
      const answer = (await peer.readToEnd()).toString('latin1');
      assert.equal(answer.match(/HTTP\/1\.1 20\d /g)!.length, paths.length);
      assert.ok(answer.indexOf('/echo/1') < answer.indexOf('/echo/5'));
      const lines = (): RequestLine[] => portcullis.lines.filter(isRequestLine);
      await portcullis.until('a line for each request', () => lines().length === paths.length);
      assert.deepEqual(
        lines()
          .map(({ path }) => path)
          .sort(),
        [...paths].sort(),
      );
    });
  });

  function start(config: string): Promise<Portcullis> {
    return Portcullis.start(config, { sockets, server: { workers: 1 } });
  }
}
