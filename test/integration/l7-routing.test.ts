/** Which route serves a request: server names, hosts, paths, plain and encrypted on one listener, and none. */
import assert from 'node:assert/strict';
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import { before, describe, test } from 'node:test';
import { Authority } from '../support/authority.ts';
import { Http1Client, Http2Client, raw, seenIn } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { isRequestLine, listener, route, tls, type RequestLine } from '../support/layer7.ts';
import { allSockets, type Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { lacks } from '../support/tools.ts';

for (const sockets of allSockets) {
  describe(`l7 routes on ${sockets} sockets`, { skip: lacks('openssl'), timeout: 120_000 }, () => {
    const suite = new Suite();
    const origins: Record<string, HttpOrigin> = {};
    let portcullis: Portcullis;
    let authority: Authority;
    let ca: string;

    before(async () => {
      authority = new Authority('routing');
      ca = authority.cert;
      const identity = authority.issue({ altNames: ['DNS:*.example.com'] });
      const guarded = authority.issue({ altNames: ['DNS:guarded.example.com', 'DNS:app.example.com'] });
      const names = ['root', 'api', 'v2', 'other'] as const;
      for (const name of names) origins[name] = suite.use(await HttpOrigin.start('http1'));
      const through = suite.use(
        await HttpOrigin.start('https', authority.issue({ altNames: ['DNS:through.example.com'] })),
      );
      const plain = 'backend_protocol = "http1"';
      const config = listener(
        ['addr = "127.0.0.1:0"', 'protocol = "auto"'],
        [
          route('app.example.com', origins['root']!.port, plain, tls(identity)),
          route('app.example.com', origins['api']!.port, plain, tls(identity), 'path_prefix = "/api"'),
          route('app.example.com', origins['v2']!.port, plain, tls(identity), 'path_prefix = "/api/v2"'),
          route('*.example.com', origins['other']!.port, plain, tls(identity)),
          route(
            'guarded.example.com',
            origins['other']!.port,
            ...[plain, tls(guarded), 'client_auth = "require"', `client_ca = "${authority.certPath}"`],
          ),
          `[[listeners.routes]]\nhostname = "through.example.com"\nbackend = "127.0.0.1:${through.port}"`,
        ],
      );
      const redirecting = listener(
        ['addr = "127.0.0.2:0"', 'protocol = "http"', 'redirect_https = true'],
        [route('app.example.com', origins['root']!.port, plain)],
      );
      portcullis = await suite.portcullis(config + redirecting, { sockets });
    });

    test('an l4 route and l7 routes share a listener', async () => {
      using through = new Http1Client(portcullis.port(), 'through.example.com', { ca });
      assert.equal((await through.ask({ path: '/bytes/3' })).body.toString(), '012');
      using ended = new Http1Client(portcullis.port(), 'app.example.com', { ca });
      const answer = await ended.ask({ path: '/echo/ended' });
      assert.equal(seenIn(answer).version, '1.1');
      assert.equal(origins['root']!.requests.at(-1), 'GET /echo/ended');
    });

    test('the longest path prefix wins, at whole segments', async () => {
      using client = await Http2Client.connect(portcullis.port(), 'app.example.com', { ca });
      for (const [path, origin] of [
        ['/', 'root'],
        ['/apix', 'root'],
        ['/api', 'api'],
        ['/api/x', 'api'],
        ['/api/v2', 'v2'],
        ['/api/v2/x?y', 'v2'],
        ['/api/v20', 'api'],
      ] as const) {
        await client.ask({ path });
        assert.equal(origins[origin]!.requests.at(-1), `GET ${path}`);
      }
    });

    test('an exact name wins over a wildcard, in plain text too', async () => {
      using other = new Http1Client(portcullis.port(), 'x.example.com');
      await other.ask({ path: '/echo/wild' });
      assert.equal(origins['other']!.requests.at(-1), 'GET /echo/wild');
      using exact = new Http1Client(portcullis.port(), 'APP.example.com:8080');
      await exact.ask({ path: '/echo/exact' });
      assert.equal(origins['root']!.requests.at(-1), 'GET /echo/exact');
    });

    test('a host without a route is 404 and says why', async () => {
      using client = new Http1Client(portcullis.port(), 'nowhere.test');
      const answer = await client.ask({ path: '/lost' });
      assert.equal(answer.status, 404);
      assert.match(String(answer.headers['proxy-status']), /portcullis/);
      const line = await portcullis.line<RequestLine>((each) => isRequestLine(each) && each.path === '/lost');
      assert.equal(line.reason, 'no-route');
      assert.equal(line.verdict, 'refused');
    });

    test('plain HTTP is redirected to https where the listener says so', async () => {
      const answer = await rawAt(
        '127.0.0.2:0',
        'GET /a?b=c HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n',
      );
      assert.match(answer, /^HTTP\/1\.1 30[18] /);
      assert.match(answer, /\r\nlocation: https:\/\/app\.example\.com\/a\?b=c\r\n/i);
    });

    test('a connection serves another host of the same TLS policy, and 421 for one that wants a client certificate', async () => {
      using client = await Http2Client.connect(portcullis.port(), 'app.example.com', { ca });
      const same = await client.ask({ headers: { ':authority': 'x.example.com' }, path: '/echo/same' });
      assert.equal(same.status, 200);
      const guarded = await client.ask({
        headers: { ':authority': 'guarded.example.com' },
        path: '/echo/guarded',
      });
      assert.equal(guarded.status, 421);
      const line = await portcullis.line<RequestLine>(
        (each) => isRequestLine(each) && each.path === '/echo/guarded',
      );
      assert.equal(line.reason, 'misdirected');
    });

    test('a client certificate is demanded and verified where the route says so', async () => {
      const certificate = authority.issue({ subject: '/CN=client' });
      using known = new Http1Client(portcullis.port(), 'guarded.example.com', {
        ...{ ca, cert: certificate.cert, key: certificate.key },
      });
      assert.equal((await known.ask()).status, 200);
      for (const shown of [{}, new Authority('stranger').issue({ subject: '/CN=client' })]) {
        const socket = connectTls({
          ...shown,
          ca,
          port: portcullis.port(),
          servername: 'guarded.example.com',
        });
        socket.on('error', () => undefined);
        socket.write('GET / HTTP/1.1\r\nHost: guarded.example.com\r\n\r\n');
        const chunks: Buffer[] = [];
        socket.on('data', (chunk: Buffer) => chunks.push(chunk));
        await new Promise((resolve) => socket.once('close', resolve));
        assert.equal(Buffer.concat(chunks).length, 0);
      }
    });

    test('ALPN offers h2 first, then http/1.1', async () => {
      for (const [offered, chosen] of [
        [['h2', 'http/1.1'], 'h2'],
        [['http/1.1'], 'http/1.1'],
        [[], false],
      ] as const) {
        const socket = connectTls({
          ...{ ca, port: portcullis.port(), servername: 'app.example.com' },
          ...(offered.length > 0 ? { ALPNProtocols: [...offered] } : {}),
        });
        await once(socket, 'secureConnect');
        assert.equal(socket.alpnProtocol, chosen);
        socket.destroy();
      }
    });

    async function rawAt(name: string, bytes: string): Promise<string> {
      return raw(portcullis.port(name), bytes, name.slice(0, name.lastIndexOf(':')));
    }
  });
}
