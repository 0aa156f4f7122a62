/** The PROXY protocol, read from the proxy before us and written to the backend behind us. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import {
  encodeProxyV1,
  encodeProxyV2,
  encodeProxyV2Local,
  ProxyHeaderReader,
  type ProxyHeader,
} from '../../src/codec/proxy-protocol.ts';
import type { HostBytes } from '../../src/core/bytes.ts';
import { clientHello } from '../support/hello.ts';
import { Peer, type PeerServer } from '../support/peer.ts';
import { allSockets, type Portcullis, type Sockets } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { Daemon, lacks } from '../support/tools.ts';

const client = { address: '203.0.113.7', port: 4711 };
const destination = { address: '198.51.100.1', port: 443 };
const client6 = { address: '2001:db8::7', port: 4712 };
const destination6 = { address: '2001:db8::1', port: 443 };

for (const sockets of allSockets) {
  describe(`PROXY protocol on ${sockets} sockets`, () => {
    describe('read', () => reading(sockets));
    describe('written', () => writing(sockets));
    describe('with HAProxy', { skip: lacks('haproxy') }, () => haproxy(sockets));
  });
}

function reading(sockets: Sockets): void {
  const suite = new Suite();
  const hello = clientHello('a.example');
  let backend: PeerServer;
  let portcullis: Portcullis;

  before(async () => {
    backend = await suite.backend();
    const route = `routes = [{ hostname = "a.example", backend = "127.0.0.1:${backend.port}" }]`;
    portcullis = await suite.portcullis(
      `
      [[listeners]]
      addr = "127.0.0.1:0"
      proxy_protocol = true
      ${route}
      [[listeners]]
      addr = "127.0.0.2:0"
      proxy_protocol = true
      proxy_protocol_from = ["127.0.0.9/32"]
      ${route}
      [[listeners]]
      addr = "127.0.0.3:0"
      ${route}
      `,
      { sockets, server: { client_hello_timeout: '300ms' } },
    );
  });

  const headers: Readonly<Record<string, readonly [Uint8Array, string]>> = {
    'version 1, IPv4': [encodeProxyV1(client, destination), '203.0.113.7:4711'],
    'version 1, IPv6': [encodeProxyV1(client6, destination6), '[2001:db8::7]:4712'],
    'version 2, IPv4': [encodeProxyV2(client, destination), '203.0.113.7:4711'],
    'version 2, IPv6': [encodeProxyV2(client6, destination6), '[2001:db8::7]:4712'],
    'version 2 with a checksum': [encodeProxyV2(client, destination, { crc32c: true }), '203.0.113.7:4711'],
  };
  for (const [kind, [header, expected]] of Object.entries(headers)) {
    test(`${kind} names the client, and the backend sees the hello alone`, async () => {
      const peer = await Peer.connect(portcullis.port());
      await peer.write(Buffer.concat([header, hello]));
      const upstream = await backend.next();
      assert.deepEqual(await upstream.read(hello.length), hello);
      upstream.end();
      peer.end();
      await peer.closed;
      const line = await portcullis.connection(expected);
      assert.equal(line.peer, peer.address);
      assert.equal(line.bytes_in, hello.length);
      // Each expectation is met by a line of its own.
      (portcullis.lines as unknown[]).splice(portcullis.lines.indexOf(line), 1);
    });
  }

  test('header and hello arrive byte by byte', async () => {
    const peer = await Peer.connect(portcullis.port());
    const bytes = Buffer.concat([encodeProxyV2(client, destination), hello]);
    // One deadline bounds all of it, so the bytes go out in one turn each, without waiting.
    for (let at = 0; at < bytes.length; at++) peer.socket.write(bytes.subarray(at, at + 1));
    const upstream = await backend.next();
    assert.deepEqual(await upstream.read(hello.length), hello);
    upstream.close();
    peer.close();
  });

  test('LOCAL and UNKNOWN leave the peer to speak for itself', async () => {
    for (const header of [encodeProxyV2Local(), Buffer.from('PROXY UNKNOWN\r\n')]) {
      const peer = await Peer.connect(portcullis.port());
      await peer.write(Buffer.concat([header, hello]));
      const upstream = await backend.next();
      upstream.end();
      peer.end();
      await peer.closed;
      assert.equal((await portcullis.connection(peer.address)).peer, undefined);
    }
  });

  const refusals: Readonly<Record<string, readonly [string, Uint8Array]>> = {
    'a hello without a header': ['proxy-header-missing', hello],
    'a header that is cut by nonsense': ['proxy-header-malformed', Buffer.from('PROXY TCP4 x y 1 2\r\n')],
    'a wrong checksum': [
      'proxy-header-checksum',
      damaged(encodeProxyV2(client, destination, { crc32c: true })),
    ],
    'a header of 5 KiB': ['proxy-header-oversized', Buffer.from('0d0a0d0a000d0a515549540a21111400', 'hex')],
  };
  for (const [what, [reason, bytes]] of Object.entries(refusals)) {
    test(`${what} is reset: ${reason}`, async () => {
      const peer = await Peer.connect(portcullis.port());
      await peer.write(bytes);
      assert.equal(await peer.closed, 'ECONNRESET');
      assert.equal((await portcullis.connection(peer.address)).reason, reason);
    });
  }

  test('a header that does not come is reset in time', async () => {
    const peer = await Peer.connect(portcullis.port());
    await peer.write('PROX');
    assert.equal(await peer.closed, 'ECONNRESET');
    const line = await portcullis.connection(peer.address);
    assert.equal(line.reason, 'proxy-header-timeout');
    assert.ok(line.duration_ms >= 300, `${line.duration_ms} ms`);
  });

  test('only the proxies named may send a header', async () => {
    const options = { host: '127.0.0.2' };
    const stranger = await Peer.connect(portcullis.port('127.0.0.2:0'), options);
    assert.equal(await stranger.closed, 'ECONNRESET');
    const line = await portcullis.line(({ reason }) => reason === 'proxy-header-untrusted');
    assert.deepEqual(
      [line['listener'], line['rule']],
      ['127.0.0.2:0', 'listener/127.0.0.2:0/proxy_protocol_from'],
    );

    const friend = await Peer.connect(portcullis.port('127.0.0.2:0'), {
      ...options,
      localAddress: '127.0.0.9',
    });
    await friend.write(Buffer.concat([encodeProxyV1(client, destination), hello]));
    (await backend.next()).close();
    friend.close();
  });

  test('a listener that does not ask for a header never reads one', async () => {
    const peer = await Peer.connect(portcullis.port('127.0.0.3:0'), { host: '127.0.0.3' });
    await peer.write(Buffer.concat([encodeProxyV1(client, destination), hello]));
    assert.equal(await peer.closed, 'ECONNRESET');
    const line = await portcullis.connection(peer.address);
    assert.equal(line.reason, 'not-tls');
  });
}

function writing(sockets: Sockets): void {
  const suite = new Suite();
  const hello = clientHello('a.example');
  let backend: PeerServer;
  let portcullis: Portcullis;

  before(async () => {
    backend = await suite.backend();
    const route = `routes = [{ hostname = "a.example", backend = "127.0.0.1:${backend.port}", send_proxy_protocol = true }]`;
    portcullis = await suite.portcullis(
      `[[listeners]]\naddr = "127.0.0.1:0"\n${route}
       [[listeners]]\naddr = "[::1]:0"\n${route}
       [[listeners]]\naddr = "127.0.0.2:0"\nproxy_protocol = true\n${route}`,
      { sockets },
    );
  });

  async function headerSent(
    listener: string,
    bytes: Uint8Array,
  ): Promise<{ peer: Peer; header: ProxyHeader }> {
    const host = listener.slice(0, -2).replace(/[[\]]/g, '');
    const peer = await Peer.connect(portcullis.port(listener), { host });
    await peer.write(bytes);
    const upstream = await backend.next();
    peer.end();
    const all = await upstream.readToEnd();
    const read = new ProxyHeaderReader().receive(all as unknown as HostBytes)!;
    assert.deepEqual(all.subarray(read.consumed), hello);
    upstream.close();
    return { peer, header: read.header };
  }

  for (const listener of ['127.0.0.1:0', '[::1]:0']) {
    test(`names the client of ${listener} and what it connected to`, async () => {
      const { peer, header } = await headerSent(listener, hello);
      const text = ({ address, port }: { address: string; port: number }): string =>
        address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
      assert.equal(header.version, 2);
      assert.equal(text(header.source!), peer.address);
      assert.equal(header.destination!.port, portcullis.port(listener));
    });
  }

  test('hands on the client that another proxy named', async () => {
    const { header } = await headerSent(
      '127.0.0.2:0',
      Buffer.concat([encodeProxyV1(client6, destination6), hello]),
    );
    assert.deepEqual([header.source, header.destination], [client6, destination6]);
  });
}

/** HAProxy before us and behind us: client → HAProxy → Portcullis → HAProxy → backend. */
function haproxy(sockets: Sockets): void {
  const suite = new Suite();

  test('the client address passes through HAProxy, Portcullis and HAProxy', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'portcullis-haproxy-'));
    const backend = await suite.backend();
    const behindPort = await freePort(suite);
    const portcullis = await suite.portcullis(
      `[[listeners]]
       addr = "127.0.0.1:0"
       proxy_protocol = true
       routes = [{ hostname = "a.example", backend = "127.0.0.1:${behindPort}", send_proxy_protocol = true }]`,
      { sockets },
    );
    const beforePort = await freePort(suite);
    writeFileSync(
      join(directory, 'haproxy.cfg'),
      `
defaults
  mode tcp
  timeout client 10s
  timeout server 10s
  timeout connect 2s
listen before
  bind 127.0.0.1:${beforePort}
  server portcullis 127.0.0.1:${portcullis.port()} send-proxy-v2
listen behind
  bind 127.0.0.1:${behindPort} accept-proxy
  server backend 127.0.0.1:${backend.port} send-proxy
`,
    );
    suite.use(Daemon.start('haproxy', ['-db', '-f', join(directory, 'haproxy.cfg')]));
    const hello = clientHello('a.example');
    const peer = await connectWhenReady(beforePort);
    await peer.write(hello);
    const upstream = await backend.next();
    const ours = peer.address.split(':')[1]!;
    const expected = `PROXY TCP4 127.0.0.1 127.0.0.1 ${ours} ${beforePort}\r\n`;
    assert.equal((await upstream.read(expected.length)).toString(), expected);
    assert.deepEqual(await upstream.read(hello.length), hello);
    await upstream.write('hello back');
    assert.equal((await peer.read(10)).toString(), 'hello back');
    peer.close();
    upstream.close();
    assert.equal((await portcullis.connection(peer.address)).verdict, 'served');
    rmSync(directory, { recursive: true });
  });
}

/** A port that was free a moment ago, for programs that can not choose one themselves. */
async function freePort(suite: Suite): Promise<number> {
  const server = await suite.backend();
  await server[Symbol.asyncDispose]();
  return server.port;
}

async function connectWhenReady(port: number): Promise<Peer> {
  for (;;) {
    const peer = await Peer.connect(port);
    if (peer.isOpen) return peer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function damaged(header: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(header);
  copy[17]! ^= 1;
  return copy;
}
