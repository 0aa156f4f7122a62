import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { describe, test } from 'node:test';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { Authority } from '../../test/support/authority.ts';
import { lacks } from '../../test/support/tools.ts';
import type { Transport } from './channel.ts';
import { TlsContexts } from './tls-contexts.ts';
import { TlsServer, transports } from './testing/tls-server.ts';
import type { TlsIdentity } from './tls.ts';

const skip = lacks('openssl');
const pki = skip === false ? makePki() : undefined!;

function makePki() {
  const servers = new Authority('servers');
  const clients = new Authority('clients');
  const strangers = new Authority('strangers');
  return {
    servers,
    clients,
    strangers,
    leaf: servers.issue({ subject: '/CN=localhost' }),
    other: servers.issue({ subject: '/CN=other' }),
    client: clients.issue({ subject: '/O=Ops, Ltd/CN=alice' }),
    expired: clients.issue({ subject: '/CN=late', days: -1 }),
    stranger: strangers.issue({ subject: '/CN=mallory' }),
  };
}

function identity(changes: Partial<TlsIdentity> = {}): TlsIdentity {
  return {
    ...{ key: 'a', cert: pki.leaf.cert, privateKey: pki.leaf.key, clientCa: null },
    ...{ clientAuth: 'none', minVersion: '1.2', alpn: ['h2', 'http/1.1'] },
    ...changes,
  };
}

const mutual = (mode: 'request' | 'require'): Partial<TlsIdentity> => ({
  ...{ key: `mutual ${mode}`, clientCa: pki.clients.cert, clientAuth: mode },
});

function dial(server: TlsServer, options: ConnectionOptions = {}): TLSSocket {
  const base = { host: '127.0.0.1', port: server.port, servername: 'localhost', ca: pki.servers.cert };
  const socket = connect({ ...base, ...options });
  socket.on('error', () => undefined);
  return socket;
}

function closed(socket: Socket): Promise<void> {
  // `once` of node:events would reject for the errors that are expected here.
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.resume().once('close', () => resolve());
  });
}

if (skip === false)
  for (const transport of await transports()) describe(transport.name, () => suite(transport));
else test('TLS to clients', { skip }, () => undefined);

function suite(transport: Transport): void {
  test('completes handshakes of both versions from bytes already read', async () => {
    await using server = await TlsServer.start(transport, identity());
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = dial(server, {
        minVersion: version,
        maxVersion: version,
        ALPNProtocols: ['http/1.1', 'h2'],
      });
      const it = await server.outcomes.secure();
      assert.equal(it.facts?.version, version);
      assert.equal(it.facts.alpn, 'h2', 'our order counts');
      assert.match(it.facts.cipher, /AES_?128.GCM/);
      assert.equal(it.facts.isResumed, false);
      assert.equal(it.facts.clientSubject, null);
      assert.equal(it.channel.peer()?.port, socket.localPort);
      assert.equal(it.channel.local()?.port, server.port);
      socket.end('ping');
      await it.until(() => it.hasEnded);
      assert.equal(it.text, 'ping');
      it.say('pong');
      it.channel.halfClose();
      socket.setEncoding('latin1');
      const [answer] = (await once(socket, 'data')) as [string];
      assert.equal(answer, 'pong');
      await closed(socket);
      it.channel.close();
    }
    assert.equal(server.terminator.underWay, 0);
  });

  test('a client that offers no protocol of ours gets none, and no alert', async () => {
    await using server = await TlsServer.start(transport, identity());
    const cases: [string[] | undefined, string | null][] = [
      [['http/1.1'], 'http/1.1'],
      [['acme-tls/1'], null],
      [undefined, null],
    ];
    for (const [offered, expected] of cases) {
      const socket = dial(server, offered === undefined ? {} : { ALPNProtocols: offered });
      const it = await server.outcomes.secure();
      assert.equal(it.facts?.alpn, expected);
      socket.destroy();
      it.channel.close();
    }
  });

  test('refuses TLS 1.2 where 1.3 is the least', async () => {
    await using server = await TlsServer.start(transport, identity({ minVersion: '1.3' }));
    const socket = dial(server, { maxVersion: 'TLSv1.2' });
    const { reason, detail } = await server.outcomes.failure();
    assert.equal(reason, 'tls-handshake-failed');
    assert.equal(detail, 'ERR_SSL_UNSUPPORTED_PROTOCOL');
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'the alert went out before the end');
  });

  test('takes a ClientHello in pieces, through routing and through the terminator', async () => {
    await using server = await TlsServer.start(transport, identity());
    const relay = connectTcp(server.port, '127.0.0.1').on('error', () => undefined);
    const { hello, client } = await helloOf();
    for (const byte of hello.subarray(0, 80)) {
      relay.write(Uint8Array.of(byte));
      // Nothing but time separates the segments; should some arrive together, the test shows less and still holds.
      await new Promise(setImmediate);
    }
    relay.write(hello.subarray(80));
    client.attach(relay);
    const it = await server.outcomes.secure();
    assert.equal(it.facts?.alpn, 'h2');
    it.channel.reset();
  });

  describe('client certificates', () => {
    test('the subject of a verified one is told, as RFC 2253 writes it', async () => {
      for (const mode of ['request', 'require'] as const) {
        await using server = await TlsServer.start(transport, identity(mutual(mode)));
        for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
          const socket = dial(server, { maxVersion, cert: pki.client.cert, key: pki.client.key });
          const it = await server.outcomes.secure();
          assert.equal(it.facts?.clientSubject, 'CN=alice,O=Ops\\, Ltd');
          it.channel.close();
          await closed(socket);
        }
      }
    });

    test('without one, with a stranger and with an expired one: refused where required, nameless where asked', async () => {
      const { stranger, expired } = pki;
      const cases: [RegExp, { cert?: string; key?: string }][] = [
        [/^ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE$/, {}],
        [
          /^UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT_LOCALLY)$/,
          { cert: stranger.cert, key: stranger.key },
        ],
        [/^CERT_HAS_EXPIRED$/, { cert: expired.cert, key: expired.key }],
      ];
      await using asking = await TlsServer.start(transport, identity(mutual('request')));
      await using requiring = await TlsServer.start(transport, identity(mutual('require')));
      for (const [code, shown] of cases) {
        for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
          const refused = dial(requiring, { maxVersion, ...shown });
          const { reason, detail } = await requiring.outcomes.failure();
          assert.equal(reason, 'tls-client-certificate');
          assert.match(detail, code);
          await closed(refused);
          const nameless = dial(asking, { maxVersion, ...shown });
          const it = await asking.outcomes.secure();
          assert.equal(it.facts?.clientSubject, null);
          it.channel.close();
          await closed(nameless);
        }
      }
    });

    test('a session does not outlive the certificate it began with', async () => {
      let nowMs = Date.now();
      const clock = (): number => nowMs;
      await using server = await TlsServer.start(transport, identity(mutual('require')), { clock });
      const shown = { cert: pki.client.cert, key: pki.client.key };
      const session = await sessionOf(server, shown);
      assert.equal((await resume(server, session, shown)).isResumed, true);
      nowMs = new X509Certificate(pki.client.cert).validToDate.getTime() + 1;
      const socket = dial(server, { ...shown, session });
      const { reason, detail } = await server.outcomes.failure();
      assert.deepEqual([reason, detail], ['tls-client-certificate', 'CERT_HAS_EXPIRED']);
      await closed(socket);
    });
  });

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    describe(`sessions of ${maxVersion}`, () => {
      test('resume in another worker, for the secret is the same', async () => {
        await using one = await TlsServer.start(transport, identity());
        await using two = await TlsServer.start(transport, identity());
        await using foreign = await TlsServer.start(transport, identity(), { secret: Buffer.alloc(32, 8) });
        const session = await sessionOf(one, { maxVersion });
        assert.equal((await resume(one, session, { maxVersion })).isResumed, true);
        assert.equal((await resume(two, session, { maxVersion })).isResumed, true);
        assert.equal((await resume(foreign, session, { maxVersion })).isResumed, false);
      });

      test('never resume under another identity, in the same worker or another', async () => {
        await using one = await TlsServer.start(transport, identity());
        await using two = await TlsServer.start(transport, identity());
        const session = await sessionOf(one, { maxVersion });
        const others: Partial<TlsIdentity>[] = [
          { key: 'another host', cert: pki.other.cert, privateKey: pki.other.key },
          { key: 'the same certificate, another listener', alpn: ['http/1.1'] },
          { ...mutual('request') },
        ];
        for (const other of others) {
          for (const server of [one, two]) {
            server.identity = identity(other);
            assert.equal((await resume(server, session, { maxVersion })).isResumed, false, String(other.key));
          }
        }
      });

      test('from before the client CA changed never let a client in', async () => {
        await using server = await TlsServer.start(transport, identity(mutual('require')));
        const shown = { cert: pki.client.cert, key: pki.client.key, maxVersion };
        const session = await sessionOf(server, shown);
        const kept = await resume(server, session, { maxVersion });
        assert.equal(kept.isResumed, true, 'the session alone proves who it is');
        assert.equal(kept.clientSubject, 'CN=alice,O=Ops\\, Ltd');
        server.identity = identity({ ...mutual('require'), key: 'after', clientCa: pki.strangers.cert });
        const socket = dial(server, { ...shown, session });
        assert.equal((await server.outcomes.failure()).reason, 'tls-client-certificate');
        await closed(socket);
      });

      test('end with the keys of their epoch', async () => {
        let nowMs = Date.now();
        await using server = await TlsServer.start(transport, identity(), { clock: () => nowMs });
        const session = await sessionOf(server, { maxVersion });
        nowMs += 12 * 3_600_000;
        assert.equal((await resume(server, session, { maxVersion })).isResumed, false);
      });
    });
  }

  describe('limits', () => {
    test('more handshakes than allowed are refused, and places come back', async () => {
      await using server = await TlsServer.start(transport, identity(), { handshakesMax: 2 });
      const { hello } = await helloOf();
      const slow = [1, 2].map(() => connectTcp(server.port, '127.0.0.1'));
      for (const socket of slow) socket.on('error', () => undefined).write(hello);
      while (server.terminator.underWay < 2) await new Promise(setImmediate);
      const third = dial(server);
      assert.equal((await server.outcomes.failure()).reason, 'tls-handshake-limit');
      await closed(third);
      for (const socket of slow) socket.destroy();
      for (const _ of slow) assert.equal((await server.outcomes.failure()).reason, 'tls-handshake-failed');
      assert.equal(server.terminator.underWay, 0);
      dial(server);
      (await server.outcomes.secure()).channel.reset();
    });

    test('a handshake that stands still ends at its deadline, in each of its phases', async () => {
      await using server = await TlsServer.start(transport, identity());
      server.timeoutMs = 150;
      const { hello } = await helloOf();
      for (const part of [hello.subarray(0, 1), hello.subarray(0, 100), hello]) {
        const socket = connectTcp(server.port, '127.0.0.1');
        socket.on('error', () => undefined).write(part);
        assert.equal((await server.outcomes.failure()).reason, 'tls-handshake-timeout');
        await closed(socket);
      }
      assert.equal(server.terminator.underWay, 0);
    });

    test('ten thousand identities cost nothing before their first use, and a bounded number of contexts after', () => {
      const contexts = new TlsContexts(Buffer.alloc(32), { contextsMax: 4 });
      const first = contexts.of(identity({ key: '0' }));
      for (let index = 0; index < 8; index++) contexts.of(identity({ key: String(index) }));
      assert.equal(contexts.size, 4);
      assert.notEqual(contexts.of(identity({ key: '0' })), first, 'the least used was dropped');
      assert.equal(contexts.of(identity({ key: '7' })), contexts.of(identity({ key: '7' })));
    });
  });

  describe('what goes wrong', () => {
    test("a certificate that does not load is the route's fault, not the client's", async () => {
      await using server = await TlsServer.start(transport, identity({ key: 'bad', cert: 'no PEM' }));
      const socket = dial(server);
      assert.equal((await server.outcomes.failure()).reason, 'tls-unavailable');
      await closed(socket);
    });

    test('bytes that are no handshake, at the start and after the ClientHello', async () => {
      await using server = await TlsServer.start(transport, identity());
      const { hello } = await helloOf();
      for (const bytes of [
        Buffer.from('GET / HTTP/1.1\r\n\r\n'),
        Buffer.concat([hello, Buffer.alloc(100, 0xff)]),
      ]) {
        const socket = connectTcp(server.port, '127.0.0.1');
        socket.on('error', () => undefined).write(bytes);
        assert.equal((await server.outcomes.failure()).reason, 'tls-handshake-failed');
        await closed(socket);
      }
    });

    test('a client that vanishes in any phase', async () => {
      await using server = await TlsServer.start(transport, identity());
      const { hello } = await helloOf();
      for (const part of [hello.subarray(0, 100), hello]) {
        for (const how of ['end', 'resetAndDestroy'] as const) {
          const socket = connectTcp(server.port, '127.0.0.1');
          socket.on('error', () => undefined).write(part);
          while (server.terminator.underWay === 0) await new Promise(setImmediate);
          socket[how]();
          const { reason, detail } = await server.outcomes.failure();
          assert.deepEqual([reason, detail], ['tls-handshake-failed', 'ECONNRESET']);
        }
      }
      assert.equal(server.terminator.underWay, 0);
    });

    test('a cancelled handshake reports nothing and resets the connection', async () => {
      await using server = await TlsServer.start(transport, identity());
      const accept = server.terminator.accept.bind(server.terminator);
      server.terminator.accept = (...args) => {
        const attempt = accept(...args);
        setImmediate(() => attempt.cancel());
        return attempt;
      };
      await closed(dial(server));
      assert.equal(server.outcomes.pending, 0);
      assert.equal(server.terminator.underWay, 0);
    });

    test('what the observer throws is its own fault, and ends its connection only', async () => {
      await using server = await TlsServer.start(transport, identity());
      const fault = Promise.withResolvers<unknown>();
      server.observer = {
        onSecure() {
          throw new Error('observer');
        },
        onTlsFailed() {},
        onTlsFault: fault.resolve,
      };
      await closed(dial(server));
      assert.match(String(await fault.promise), /observer/);
    });
  });
}

/** A session of a connection that has been served, as a client keeps it. */
async function sessionOf(server: TlsServer, options: ConnectionOptions): Promise<Buffer> {
  const socket = dial(server, options);
  const given = once(socket, 'session') as Promise<[Buffer]>;
  const it = await server.outcomes.secure();
  it.say('x');
  const [session] = await given;
  it.channel.close();
  await closed(socket);
  return session;
}

async function resume(
  server: TlsServer,
  session: Buffer,
  options: ConnectionOptions,
): Promise<{ isResumed: boolean; clientSubject: string | null }> {
  const socket = dial(server, { ...options, session });
  const it = await server.outcomes.secure();
  it.say('x');
  await once(socket, 'data');
  assert.equal(socket.isSessionReused(), it.facts!.isResumed, 'both sides agree');
  it.channel.close();
  await closed(socket);
  return it.facts!;
}

/** A ClientHello, and its client to go on with it. */
async function helloOf(): Promise<{ hello: Buffer; client: { attach(socket: Socket): void } }> {
  const [near, far] = duplexPair();
  const options = { servername: 'localhost', ca: pki.servers.cert, ALPNProtocols: ['h2'] };
  connect({ socket: near, ...options }).on('error', () => undefined);
  const [hello] = (await once(far, 'data')) as [Buffer];
  far.pause();
  return { hello, client: { attach: (socket) => void far.pipe(socket).pipe(far) } };
}
