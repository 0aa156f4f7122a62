/**
 * What proxies of others got wrong, each with the test that keeps it from us. Those that stand elsewhere are named, and
 * must be there under that name; the rest are here.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSettings } from '../src/config/load.ts';
import { egressPort, EgressWorld, openTunnel } from './support/egress.ts';
import { HttpOrigin, type Seen } from './support/http-origin.ts';
import { Portcullis } from './support/portcullis.ts';
import { lacks } from './support/tools.ts';

const gateway = 'test/integration/egress-gateway.test.ts';
const clients = 'test/integration/egress-clients.test.ts';
const operation = 'test/integration/egress-operation.test.ts';
const decision = 'src/egress/decision.test.ts';
const target = 'src/egress/target.test.ts';
const authority = 'src/egress/certificate-authority.test.ts';
const guard = 'src/egress/network-guard.test.ts';
const dialers = 'src/egress/dialers.test.ts';

const elsewhere: readonly (readonly [fact: string, file: string, title: string])[] = [
  ['the pool key ignored the rewrite', gateway, 'the pool key holds the rewrite'],
  [
    'insecure leaked to strict requests',
    gateway,
    'is not looked at where a rewrite says insecure, and only there',
  ],
  [
    'a rewrite won over the blacklist',
    decision,
    'puts the blacklist before passthrough, rewrite and whitelist',
  ],
  ['passthrough and blacklist', decision, 'refuse a passthrough, whose requests nobody would judge'],
  ['an uppercase letter or a trailing dot', decision, 'no uppercase letter and no trailing dot goes around'],
  ['hosts are normalised once', target, 'is one, however the host is spelt'],
  [
    'an injected Host was lost; target_scheme kept 443',
    gateway,
    'an injected Host is not lost, and target_scheme',
  ],
  ['/readyz was always 200, the drain did not drain', operation, '/readyz tells 503 while draining'],
  ['HTTPS_PROXY bypassed the dialler', operation, 'changes neither where it dials nor what it verifies'],
  ['body capture broke WebSockets', clients, 'a WebSocket, whose frames pass both ways'],
  ['another target inside a tunnel', gateway, 'a request inside a tunnel that names another gets 421'],
  ['requests inside are judged again', gateway, 'each request inside is judged again'],
  ['DNS rebinding', dialers, 'dials the literal that was judged, though the name changes its address'],
  ['denied classes', guard, 'classes of addresses'],
  ['its own addresses', guard, 'keeps everybody from our own addresses'],
  ['deny beats allow, a rewrite is exempt', guard, 'lets a rewrite go where its operator says'],
  ['CONNECT ports', decision, 'a tunnel goes to 443 only, unless a rule adds others'],
  ['leaves that strict clients accept', authority, 'is what strict clients ask for'],
  ['Python asks for the AKI', authority, 'satisfies Python, with VERIFY_X509_STRICT'],
  ['the chain is sent', authority, 'comes with its intermediates, without the root'],
  ['contexts only ever grew', authority, 'is forgotten in the end'],
  ['a CA key that others may read', authority, 'refuses a key that every user may read'],
  ['PKCS#12 with RC2-40', authority, 'says what to do about a keystore in RC2'],
  ['ALPN without overlap', gateway, 'a client that offers strange protocols by ALPN gets HTTP/1.1'],
  ['a truncated body looked complete', gateway, 'an answer that is cut off never looks complete'],
  ['a secret over plaintext', gateway, 'a secret is added inside TLS, never in the clear'],
  ['names left to a parent proxy', dialers, 'names the judged literal, not the name'],
  ['which rule decided, report-only mode', decision, 'of a rule tells what it would have done'],
];

describe('facts that are tests elsewhere', () => {
  for (const [fact, file, title] of elsewhere) {
    it(`${fact}: ${title}`, () => {
      const text = readFileSync(join(import.meta.dirname, '..', file), 'utf8');
      assert(text.includes(`'${title}`), `${file} has no test of this name`);
    });
  }
});

describe('facts on the real program', () => {
  let world: EgressWorld;
  let through: Portcullis;
  let raw: RawOrigin;
  before(async () => {
    world = await EgressWorld.start();
    raw = world.use(await RawOrigin.start());
    const identity = world.originCa.issue({ altNames: ['IP:10.9.8.7'] });
    const literal = world.use(await HttpOrigin.start('https', identity));
    const tables = [world.rewrite('raw.test', raw.port), world.rewrite('10.9.8.7', literal.port)];
    through = await world.gateway({ tables }, { server: { workers: 1 } });
  });
  after(() => world[Symbol.asyncDispose]());

  /** One request to `raw.test` on a connection of its own; the whole answer. */
  async function ask(request: string): Promise<string> {
    const socket = connect(egressPort(through), '127.0.0.1');
    let got = '';
    socket.setEncoding('latin1').on('data', (text: string) => (got += text));
    socket.write(request);
    await once(socket, 'close');
    return got;
  }

  const get = 'GET http://raw.test/ HTTP/1.1\r\nHost: raw.test\r\nConnection: close\r\n\r\n';
  const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

  it('a malformed head of an upstream is a 502, and no exception', async () => {
    for (const head of [
      'HTTP/1.1 200 OK\r\nX-Bad: a\x00b\r\n\r\n',
      'HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n',
      'HTTP/1.1 99999 OK\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
      '\x16\x03\x01\x00\x05hello',
    ]) {
      raw.answer = (socket) => void socket.end(head, 'latin1');
      assert.match(await ask(get), /^HTTP\/1\.1 502 /, JSON.stringify(head));
    }
    raw.answer = (socket) => void socket.write(ok);
    assert.match(await ask(get), /^HTTP\/1\.1 200 /);
  });

  it('a kept upstream connection that is reset as it is used again costs no request', async () => {
    raw.answer = (socket) => void socket.write(ok);
    assert.match(await ask(get), /^HTTP\/1\.1 200 /);
    raw.answer = (socket, count) => (count > 1 ? void socket.resetAndDestroy() : void socket.write(ok));
    assert.match(await ask(get), /^HTTP\/1\.1 200 /);
  });

  it('clients that reset their connection at any moment do no harm', async () => {
    const hello = 'CONNECT https.test:443 HTTP/1.1\r\nHost: https.test:443\r\n\r\n';
    for (const text of ['', 'CONN', hello, `${hello}\x16\x03\x01`, get, '\x05\x01']) {
      const socket = connect(egressPort(through), '127.0.0.1');
      await once(socket, 'connect');
      if (text !== '') await new Promise((resolve) => socket.write(text, 'latin1', resolve));
      socket.resetAndDestroy();
    }
    const socket = await openTunnel(egressPort(through), 'https.test:443');
    socket.resetAndDestroy();
    raw.answer = (peer) => void peer.write(ok);
    assert.match(await ask(get), /^HTTP\/1\.1 200 /);
  });

  it('a literal, for which no client sends SNI, has a certificate too', { skip: lacks('curl') }, async () => {
    const answer = await world.curl(through, 'https://10.9.8.7/echo');
    assert.equal(answer.status, 200, answer.stderr);
  });

  it('what is for the proxy alone goes no further', { skip: lacks('curl') }, async () => {
    const fields = [
      'Proxy-Authorization: Basic eDp5',
      'Proxy-Connection: keep-alive',
      'X-Hop: 1',
      'Connection: x-hop',
    ];
    const answer = await world.curl(
      through,
      '--http1.1',
      ...fields.flatMap((field) => ['-H', field]),
      'https://https.test/echo',
    );
    const names = (JSON.parse(answer.body) as Seen).fields.map(([name]) => name);
    for (const name of ['proxy-authorization', 'proxy-connection', 'x-hop'])
      assert(!names.includes(name), name);
  });

  it('injected framing is refused at load', () => {
    const path = join(world.folder, 'framing.toml');
    for (const name of ['content-length', 'transfer-encoding', 'connection', 'x-fine']) {
      writeFileSync(
        path,
        world.config({ tables: [world.rewrite('bad.test', 1, `headers = { ${name} = "1" }`)] }),
      );
      const errors = loadSettings(path, {}).problems.filter(({ severity }) => severity === 'error');
      const isAboutIt = errors.some((problem) => JSON.stringify(problem).includes('headers'));
      assert.equal(isAboutIt, name !== 'x-fine', `${name}: ${JSON.stringify(errors)}`);
    }
  });
});

/** Answers bytes as they are told to be: `count` requests have come on the connection. */
class RawOrigin implements AsyncDisposable {
  answer: (socket: Socket, count: number) => void = () => undefined;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => {
    this.#sockets.add(socket);
    let count = 0;
    socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    socket.on('data', () => this.answer(socket, ++count));
  });

  static async start(): Promise<RawOrigin> {
    const origin = new RawOrigin();
    origin.#server.listen(0, '127.0.0.1');
    await once(origin.#server, 'listening');
    return origin;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
