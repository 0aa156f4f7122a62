import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createPlainServer, type AddressInfo, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import { promisify } from 'node:util';
import { Authority, type Issued } from '../../test/support/authority.ts';
import { Daemon, lacks } from '../../test/support/tools.ts';
import { parseIp } from '../core/ip.ts';
import type { Channel, Transport } from './channel.ts';
import type { Network } from './network.ts';
import { OpenSslConnector } from './tls-connector.ts';
import { Outcomes, newNetwork, transports, type Conversation } from './testing/tls-server.ts';
import type { UpstreamTls } from './tls.ts';

const skip = lacks('openssl');
const pki = skip === false ? makePki() : undefined!;

function makePki() {
  const ca = new Authority('upstreams');
  const clients = new Authority('gates');
  return {
    ca,
    clients,
    leaf: ca.issue({ subject: '/CN=localhost' }),
    expired: ca.issue({ days: -1 }),
    revoked: ca.issue({ subject: '/CN=revoked' }),
    elsewhere: ca.issue({ altNames: ['DNS:elsewhere.example.com', 'IP:192.0.2.1'] }),
    /** Its common name must not count beside its other names. */
    misnamed: ca.issue({ subject: '/CN=localhost', altNames: ['DNS:elsewhere.example.com'] }),
    nameless: ca.issue({ subject: '/CN=localhost', altNames: [] }),
    wild: ca.issue({ altNames: ['DNS:*.example.com'] }),
    gate: clients.issue({ subject: '/CN=gate' }),
  };
}

function upstream(changes: Partial<UpstreamTls> = {}): UpstreamTls {
  return {
    ...{ serverName: 'localhost', ca: pki.ca.cert, crl: null, insecure: false, alpn: [], clientCert: null },
    ...changes,
  };
}

/** A server of Node's that says what it saw, and a connector that dials it. */
class Pair implements AsyncDisposable {
  readonly outcomes = new Outcomes();
  readonly network: Network;
  readonly connector: OpenSslConnector;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #transport: Transport;
  timeoutMs = 5_000;

  static async start(transport: Transport, { cert, key }: Issued, options: TlsOptions = {}): Promise<Pair> {
    const server = createServer({ cert, key, ...options }, (socket: TLSSocket) => {
      socket.on('error', () => undefined);
      const name = socket.getPeerX509Certificate()?.subject ?? 'nobody';
      socket.write(`${socket.servername || 'no name'} ${name}`);
    });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Pair(transport, server);
  }

  private constructor(transport: Transport, server: Server) {
    this.#transport = transport;
    this.#server = server;
    server.on('connection', (socket) => this.#sockets.add(socket));
    this.network = newNetwork(transport);
    this.connector = new OpenSslConnector(this.network);
  }

  async dial(tls: UpstreamTls): Promise<void> {
    const { port } = this.#server.address() as AddressInfo;
    const channel = await dialTcp(this.#transport, port);
    this.connector.connect(channel, tls, this.network.refresh() + this.timeoutMs, this.outcomes);
  }

  async secure(tls: UpstreamTls): Promise<Conversation> {
    await this.dial(tls);
    const it = await this.outcomes.secure();
    await it.until(() => it.text !== '');
    return it;
  }

  async failure(tls: UpstreamTls): Promise<string> {
    await this.dial(tls);
    const { reason, detail } = await this.outcomes.failure();
    assert.equal(reason, 'upstream-tls-failed');
    return detail;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.network.close();
    return Promise.resolve();
  }
}

function dialTcp(transport: Transport, port: number): Promise<Channel> {
  return new Promise((resolve, reject) => {
    transport.connect(
      { kind: 'ip', ip: parseIp('127.0.0.1')!, text: '127.0.0.1', port },
      { onConnected: resolve, onConnectFailed: (code) => reject(new Error(code)) },
    );
  });
}

if (skip === false)
  for (const transport of await transports()) describe(transport.name, () => suite(transport));
else test('TLS to upstreams', { skip }, () => undefined);

function suite(transport: Transport): void {
  test('verifies by name or address, and sends only names', async () => {
    await using pair = await Pair.start(transport, pki.leaf);
    for (const [serverName, heard] of [
      ['localhost', 'localhost'],
      ['127.0.0.1', 'no name'],
    ] as const) {
      const it = await pair.secure(upstream({ serverName }));
      assert.equal(it.text, `${heard} nobody`);
      assert.equal(it.facts?.version, 'TLSv1.3');
      assert.equal(it.facts.clientSubject, null);
      it.channel.close();
    }
  });

  test('refuses what does not verify, and says why', async () => {
    const cases: [Issued, Partial<UpstreamTls>, string][] = [
      [pki.expired, {}, 'CERT_HAS_EXPIRED'],
      [pki.elsewhere, {}, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [pki.elsewhere, { serverName: '127.0.0.1' }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [pki.misnamed, {}, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [pki.wild, { serverName: 'a.b.example.com' }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [pki.wild, { serverName: 'example.com' }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [pki.leaf, { serverName: '' }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [pki.leaf, { ca: pki.clients.cert }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [pki.leaf, { ca: null }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [pki.revoked, { crl: pki.ca.revocationList(pki.revoked) }, 'CERT_REVOKED'],
    ];
    for (const [issued, changes, code] of cases) {
      await using pair = await Pair.start(transport, issued);
      assert.equal(await pair.failure(upstream(changes)), code);
    }
  });

  test('accepts what verifies: wildcards, a lone common name, and a list that revokes others', async () => {
    const cases: [Issued, Partial<UpstreamTls>][] = [
      [pki.wild, { serverName: 'a.example.com' }],
      [pki.nameless, {}],
      [pki.leaf, { crl: pki.ca.revocationList(pki.revoked) }],
    ];
    for (const [issued, changes] of cases) {
      await using pair = await Pair.start(transport, issued);
      (await pair.secure(upstream(changes))).channel.close();
    }
  });

  test('insecure takes anything, and only where it is said', async () => {
    await using pair = await Pair.start(transport, pki.expired);
    (await pair.secure(upstream({ insecure: true, serverName: 'whoever' }))).channel.close();
    assert.equal(await pair.failure(upstream()), 'CERT_HAS_EXPIRED');
  });

  test('shows its certificate where one is asked for', async () => {
    const options = { requestCert: true, rejectUnauthorized: false, ca: pki.clients.cert };
    await using pair = await Pair.start(transport, pki.leaf, options);
    const { cert, key } = pki.gate;
    const it = await pair.secure(upstream({ clientCert: { cert, key } }));
    assert.equal(it.text, 'localhost CN=gate');
    it.channel.close();
    assert.equal((await pair.secure(upstream())).text, 'localhost nobody');
    const broken = upstream({ clientCert: { cert, key: 'no PEM' } });
    assert.match(await pair.failure(broken), /^ERR_/);
  });

  test('ALPN: the server chooses, or there is none', async () => {
    await using pair = await Pair.start(transport, pki.leaf, { ALPNProtocols: ['h2'] });
    const chosen = await pair.secure(upstream({ alpn: ['http/1.1', 'h2'] }));
    assert.equal(chosen.facts?.alpn, 'h2');
    assert.equal((await pair.secure(upstream())).facts?.alpn, null);
    assert.equal(
      await pair.failure(upstream({ alpn: ['http/1.1'] })),
      'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
    );
  });

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${maxVersion}: sessions resume within one upstream's settings only`, async () => {
      await using pair = await Pair.start(transport, pki.leaf, { maxVersion });
      const mine = upstream();
      assert.equal((await pair.secure(mine)).facts?.isResumed, false);
      assert.equal((await pair.secure(mine)).facts?.isResumed, true);
      assert.equal((await pair.secure(upstream())).facts?.isResumed, false, 'equal settings, another object');
      pair.network.refresh = () => pair.network.nowMs;
      pair.network.nowMs += 3_600_001;
      assert.equal(
        (await pair.secure(mine)).facts?.isResumed,
        false,
        'an hour on the certificate is asked again',
      );
    });
  }

  test('a session of a refused handshake is not kept', async () => {
    await using pair = await Pair.start(transport, pki.elsewhere, { maxVersion: 'TLSv1.2' });
    const tls = upstream();
    for (let round = 0; round < 3; round++) {
      assert.equal(await pair.failure(tls), 'ERR_TLS_CERT_ALTNAME_INVALID');
    }
  });

  test('a server that speaks no TLS, that is silent, and that left', async () => {
    const daemon = createPlainServer();
    let greeting = 'SSH-2.0-whatever\r\n';
    daemon.on('connection', (socket) => {
      socket.on('error', () => undefined);
      if (greeting === 'leave') socket.destroy();
      else socket.write(greeting);
    });
    daemon.listen(0, '127.0.0.1');
    await once(daemon, 'listening');
    const { port } = daemon.address() as AddressInfo;
    const network = newNetwork(transport);
    const connector = new OpenSslConnector(network);
    const outcomes = new Outcomes();
    const details: string[] = [];
    for (const next of [greeting, '', 'leave']) {
      greeting = next;
      const channel = await dialTcp(transport, port);
      connector.connect(channel, upstream(), network.refresh() + 150, outcomes);
      details.push((await outcomes.failure()).detail);
      assert.equal(channel.isClosed || transport.name === 'public', true);
    }
    assert.deepEqual(details, ['ERR_SSL_WRONG_VERSION_NUMBER', 'ETIMEDOUT', 'ECONNRESET']);
    network.close();
    daemon.close();
  });
}

test('openssl s_server: a conversation, and its end', { skip }, async () => {
  const { certPath, keyPath } = pki.leaf;
  const files = ['-cert', certPath, '-key', keyPath];
  for (const version of ['-tls1_2', '-tls1_3']) {
    await using daemon = Daemon.start('openssl', [
      's_server',
      '-accept',
      '127.0.0.1:0',
      ...files,
      '-rev',
      version,
    ]);
    await daemon.says(/ACCEPT/);
    const port = Number(/ACCEPT .*:(\d+)\s/.exec(daemon.output)?.[1] ?? 0);
    for (const transport of await transports()) {
      const network = newNetwork(transport);
      const outcomes = new Outcomes();
      const channel = await dialTcp(transport, port);
      new OpenSslConnector(network).connect(channel, upstream(), network.refresh() + 5_000, outcomes);
      const it = await outcomes.secure();
      it.say('drawer\n');
      await it.until(() => it.text === 'reward\n');
      it.channel.close();
      network.close();
    }
  }
});

test('nothing in the environment changes what verifies', { skip }, async () => {
  const [transport] = await transports();
  await using pair = await Pair.start(transport!, pki.leaf);
  assert.equal(await pair.failure(upstream({ ca: null })), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  // Node reads these at its start, so that a process of its own has to try.
  const script = `
    import { createServer } from 'node:tls';
    import { OpenSslConnector } from ${JSON.stringify(new URL('tls-connector.ts', import.meta.url).href)};
    import { Outcomes, newNetwork, transports } from ${JSON.stringify(new URL('testing/tls-server.ts', import.meta.url).href)};
    import { parseIp } from ${JSON.stringify(new URL('../core/ip.ts', import.meta.url).href)};
    const server = createServer({ cert: process.env.LEAF, key: process.env.KEY, ca: [] }).listen(0, '127.0.0.1', async () => {
      const target = { kind: 'ip', ip: parseIp('127.0.0.1'), text: '127.0.0.1', port: server.address().port };
      for (const transport of await transports()) {
        const network = newNetwork(transport);
        const outcomes = new Outcomes();
        transport.connect(target, { onConnectFailed() {}, onConnected(channel) {
          const tls = { serverName: 'localhost', ca: null, crl: null, insecure: false, alpn: [], clientCert: null };
          new OpenSslConnector(network).connect(channel, tls, network.refresh() + 5000, outcomes);
        } });
        console.log(JSON.stringify(await outcomes.next().then(({ kind, detail }) => ({ kind, detail }))));
      }
      process.exit(0);
    });
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    env: {
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
      NODE_EXTRA_CA_CERTS: pki.ca.certPath,
      NODE_NO_WARNINGS: '1',
      LEAF: pki.leaf.cert,
      KEY: pki.leaf.key,
    },
  });
  for (const line of stdout.trim().split('\n')) {
    assert.equal(line, '{"kind":"failed","detail":"UNABLE_TO_VERIFY_LEAF_SIGNATURE"}');
  }
});
