/** Every version a client may speak to every version a backend may speak: requests, digests of bodies, the log. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { Authority, temporaryDirectory } from '../support/authority.ts';
import {
  digestOf,
  fieldOf,
  Http1Client,
  Http2Client,
  seenIn,
  type Answer,
  type Ask,
} from '../support/http-client.ts';
import { HttpOrigin, originProtocols, patternDigest, type OriginProtocol } from '../support/http-origin.ts';
import { isRequestLine, listener, route, tls, type RequestLine } from '../support/layer7.ts';
import { allSockets, type Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { lacks, run } from '../support/tools.ts';

const mib = 1024 * 1024;
const clients = { http1: 'HTTP/1.1', h2c: 'HTTP/2', https: 'HTTP/1.1', h2: 'HTTP/2' } as const;

for (const sockets of allSockets) {
  describe(`versions on ${sockets} sockets`, { skip: lacks('openssl'), timeout: 120_000 }, () => {
    const suite = new Suite();
    let portcullis: Portcullis;
    let authority: Authority;

    before(async () => {
      const directory = temporaryDirectory();
      authority = new Authority('pairs', directory);
      const identity = authority.issue({ altNames: ['DNS:*.example.com'] });
      const backendIdentity = authority.issue({ altNames: ['DNS:backend.internal'] });
      const routes: string[] = [];
      for (const protocol of originProtocols) {
        const origin = suite.use(await HttpOrigin.start(protocol, backendIdentity));
        routes.push(
          route(hostOf(protocol), origin.port, tls(identity), ...backendLines(protocol, authority)),
        );
      }
      const config = listener(['addr = "127.0.0.1:0"', 'protocol = "auto"'], routes);
      portcullis = await suite.portcullis(config, { sockets });
    });

    for (const client of originProtocols) {
      for (const backend of originProtocols) {
        test(`${client} to ${backend}`, () => converse(client, backend));
      }
    }

    test('64 MiB down and up, over HTTP/1.1 and over HTTP/2', { skip: sockets === 'public' }, async () => {
      await transfer('http1', 'http1', 64 * mib);
      await transfer('h2', 'h2c', 64 * mib);
    });

    test(
      '1 GiB both ways over every pair, with flat memory',
      { skip: soakOnly(), timeout: 600_000 },
      async () => {
        const before = portcullis.residentBytes();
        for (const client of ['http1', 'h2'] as const) {
          for (const backend of ['http1', 'h2c'] as const) await transfer(client, backend, 1024 * mib);
        }
        assert.ok(portcullis.residentBytes() - before < 96 * mib, 'memory grew');
      },
    );

    for (const [flags, version] of [
      [['--http1.1'], '1.1'],
      [['--http2'], '2'],
    ] as const) {
      test(`curl ${flags.join(' ')} over TLS`, { skip: lacks('curl') }, async () => {
        const name = hostOf('h2c');
        const { code, stdout, stderr } = await run('curl', [
          ...['-sS', '--noproxy', '*', '--cacert', authority.certPath, ...flags, '-w', ' %{http_version}'],
          ...[
            '--resolve',
            `${name}:${portcullis.port()}:127.0.0.1`,
            `https://${name}:${portcullis.port()}/bytes/10`,
          ],
        ]);
        assert.equal(code, 0, stderr);
        assert.equal(stdout, `0123456789 ${version}`);
      });
    }

    test('curl speaks h2c with prior knowledge', { skip: lacks('curl') }, async () => {
      const { code, stdout, stderr } = await run('curl', [
        ...['-sS', '--noproxy', '*', '--http2-prior-knowledge', '-H', `Host: ${hostOf('http1')}`],
        `http://127.0.0.1:${portcullis.port()}/bytes/10`,
      ]);
      assert.equal(code, 0, stderr);
      assert.equal(stdout, '0123456789');
    });

    async function converse(client: OriginProtocol, backend: OriginProtocol): Promise<void> {
      const body = randomBytes(3 * 1024 * 1024 + 17);
      await using exchange = await open(client, backend);
      const small = seenIn(
        await exchange.ask({ path: `/echo/${client}-${backend}?q=1`, headers: { 'x-a': 'b' } }),
      );
      assert.equal(small.method, 'GET');
      assert.equal(small.target, `/echo/${client}-${backend}?q=1`);
      assert.equal(small.version, clients[backend] === 'HTTP/2' ? '2.0' : '1.1');
      assert.deepEqual(fieldOf(small, 'x-a'), ['b']);
      const large = seenIn(await exchange.ask({ method: 'POST', body }));
      assert.equal(large.bodyBytes, body.length);
      assert.equal(large.bodyDigest, digestOf(body));
      for (const path of ['/bytes/300000', '/chunked/300000']) {
        const answer = await exchange.ask({ path });
        assert.equal(answer.status, 200);
        assert.equal(digestOf(answer.body), patternDigest(300_000), path);
      }
      assert.equal((await exchange.ask({ path: '/status/204' })).status, 204);
      const head = await exchange.ask({ method: 'HEAD', path: '/bytes/5' });
      assert.equal(head.headers['content-length'], '5');
      assert.equal(head.body.length, 0);
      const line = await portcullis.line<RequestLine>(
        (each) => isRequestLine(each) && each.path === `/echo/${client}-${backend}?q=1`,
      );
      assert.equal(line.protocol, clients[client]);
      assert.equal(line.upstream_protocol, clients[backend]);
      assert.equal(line.reason, 'answered');
    }

    async function transfer(client: OriginProtocol, backend: OriginProtocol, length: number): Promise<void> {
      await using exchange = await open(client, backend);
      const down = await exchange.ask({ path: `/bytes/${length}` });
      assert.equal(down.body.length, length);
      assert.equal(digestOf(down.body), patternDigest(length));
      const up = seenIn(await exchange.ask({ method: 'PUT', body: down.body }));
      assert.equal(up.bodyBytes, length);
      assert.equal(up.bodyDigest, patternDigest(length));
    }

    async function open(
      client: OriginProtocol,
      backend: OriginProtocol,
    ): Promise<AsyncDisposable & { ask(ask: Ask): Promise<Answer> }> {
      const trust = client === 'https' || client === 'h2' ? { ca: authority.cert } : undefined;
      const opened =
        clients[client] === 'HTTP/2'
          ? await Http2Client.connect(portcullis.port(), hostOf(backend), trust)
          : new Http1Client(portcullis.port(), hostOf(backend), trust);
      return {
        ask: (ask) => opened.ask(ask),
        [Symbol.asyncDispose]: () => Promise.resolve(opened[Symbol.dispose]()),
      };
    }
  });
}

function hostOf(backend: OriginProtocol): string {
  return `${backend}.example.com`;
}

function backendLines(protocol: OriginProtocol, authority: Authority): string[] {
  const version = `backend_protocol = "${protocol === 'http1' || protocol === 'https' ? 'http1' : 'h2c'}"`;
  if (protocol === 'http1' || protocol === 'h2c') return [version];
  const trust = [`backend_ca = "${authority.certPath}"`, 'backend_server_name = "backend.internal"'];
  return [version, 'backend_tls = true', ...trust];
}

function soakOnly(): string | false {
  return process.env['RUN_SOAK'] === undefined ? 'RUN_SOAK is not set' : false;
}
