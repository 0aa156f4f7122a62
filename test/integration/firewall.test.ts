/** Blocked addresses, networks and countries, and the rate of each source: judged for the peer and the real client. */
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { encodeProxyV1 } from '../../src/codec/proxy-protocol.ts';
import { clientHello } from '../support/hello.ts';
import { writeMmdb } from '../support/mmdb-writer.ts';
import { Peer } from '../support/peer.ts';
import { allSockets, type ConnectionLine, type Portcullis, type Sockets } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

for (const sockets of allSockets) {
  describe(`firewall on ${sockets} sockets`, () => {
    describe('blocklists', () => blocklists(sockets));
    describe('countries', () => countries(sockets));
    describe('rate', () => rate(sockets));
  });
}

const hello = clientHello('a.example');
const destination = { address: '198.51.100.1', port: 443 };

/** Connects, sends, and answers what the backend said, or how the connection ended without. */
async function visit(
  port: number,
  bytes: Uint8Array,
  options: { host?: string; localAddress?: string },
): Promise<string> {
  const peer = await Peer.connect(port, options);
  peer.end(bytes);
  const answer = await peer.readToEnd();
  return answer.length > 0 ? answer.toString() : peer.closed;
}

function headed(address: string): Buffer {
  const target = address.includes(':') ? { address: '2001:db8::1', port: 443 } : destination;
  return Buffer.concat([encodeProxyV1({ address, port: 4711 }, target), hello]);
}

function blocklists(sockets: Sockets): void {
  const suite = new Suite();
  let portcullis: Portcullis;

  before(async () => {
    const backend = await suite.backend((peer) => peer.end('served'));
    portcullis = await suite.portcullis(
      `
      [firewall]
      blocked_ips = ["127.0.0.66", "203.0.113.7", "2001:db8::7"]
      blocked_cidrs = ["127.1.0.0/16", "198.51.100.0/24", "2001:db8:bad::/48"]
      [[listeners]]
      addr = "127.0.0.1:0"
      default_backend = "127.0.0.1:${backend.port}"
      [[listeners]]
      addr = "127.0.0.2:0"
      proxy_protocol = true
      default_backend = "127.0.0.1:${backend.port}"
      `,
      { sockets },
    );
  });

  const peers = { '127.0.0.1': 'served', '127.0.0.66': 'blocked-ip', '127.1.2.3': 'blocked-cidr' };
  for (const [localAddress, expected] of Object.entries(peers)) {
    for (const listener of ['127.0.0.1', '127.0.0.2']) {
      test(`the socket's peer ${localAddress} on ${listener}: ${expected}`, async () => {
        const bytes = listener === '127.0.0.1' ? hello : headed('192.0.2.1');
        const outcome = await visit(portcullis.port(`${listener}:0`), bytes, {
          host: listener,
          localAddress,
        });
        assert.equal(outcome, expected === 'served' ? 'served' : 'ECONNRESET');
        if (expected === 'served') return;
        const line = await portcullis.line<ConnectionLine>(
          (each) =>
            each['listener'] === `${listener}:0` && String(each['client']).startsWith(`${localAddress}:`),
        );
        assert.deepEqual([line.reason, line.verdict], [expected, 'refused']);
        assert.match(line.rule!, expected === 'blocked-ip' ? /127\.0\.0\.66/ : /127\.1\.0\.0\/16/);
      });
    }
  }

  const clients = {
    '192.0.2.1': 'served',
    '203.0.113.7': 'blocked-ip',
    '203.0.113.8': 'served',
    '198.51.100.200': 'blocked-cidr',
    '2001:db8::7': 'blocked-ip',
    '2001:db8:bad::1': 'blocked-cidr',
    '::ffff:203.0.113.7': 'blocked-ip',
  };
  for (const [address, expected] of Object.entries(clients)) {
    test(`the client ${address} behind another proxy: ${expected}`, async () => {
      const header = address.startsWith('::ffff')
        ? Buffer.concat([Buffer.from(`PROXY TCP6 ${address} 2001:db8::1 4711 443\r\n`), hello])
        : headed(address);
      const outcome = await visit(portcullis.port('127.0.0.2:0'), header, { host: '127.0.0.2' });
      assert.equal(outcome, expected === 'served' ? 'served' : 'ECONNRESET');
    });
  }
}

function countries(sockets: Sockets): void {
  const suite = new Suite();
  let directory: string;
  let database: string;
  let portcullis: Portcullis;

  const country = (isoCode: string): { country: { iso_code: string } } => ({
    country: { iso_code: isoCode },
  });

  /** Replaced in one step, as tools that update such files do. */
  function writeDatabase(bytes: Uint8Array): void {
    writeFileSync(`${database}.new`, bytes);
    renameSync(`${database}.new`, database);
  }

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'portcullis-geoip-'));
    database = join(directory, 'countries.mmdb');
    writeDatabase(
      writeMmdb({
        networks: [
          ['203.0.113.0/24', country('AQ')],
          ['2001:db8::/32', country('AQ')],
        ],
      }),
    );
    const backend = await suite.backend((peer) => peer.end('served'));
    portcullis = await suite.portcullis(
      `
      [firewall]
      geoip_db = "${database}"
      blocked_countries = ["AQ"]
      [[listeners]]
      addr = "127.0.0.2:0"
      proxy_protocol = true
      default_backend = "127.0.0.1:${backend.port}"
      `,
      { sockets },
    );
  });
  after(() => rmSync(directory, { recursive: true }));

  const from = (address: string): Promise<string> =>
    visit(portcullis.port(), headed(address), { host: '127.0.0.2' });

  /** Each worker has taken the change over: connections spread over both. */
  async function becomes(address: string, expected: string): Promise<void> {
    for (let agreed = 0, tries = 0; agreed < 10; tries++) {
      agreed = (await from(address)) === expected ? agreed + 1 : 0;
      assert.ok(tries < 500, `${address} does not become ${expected}`);
    }
  }

  async function reload(outcome: RegExp): Promise<void> {
    const before = portcullis.lines.length;
    portcullis.kill('SIGHUP');
    await portcullis.until('the reload', () =>
      portcullis.lines.slice(before).some(({ msg }) => outcome.test(msg)),
    );
    assert.ok(
      portcullis.lines.slice(before).some(({ msg }) => msg === 'received SIGHUP, reloading GeoIP database'),
    );
  }

  test('a blocked country is refused, others and unknown addresses are served', async () => {
    assert.equal(await from('203.0.113.9'), 'ECONNRESET');
    assert.equal(await from('2001:db8::9'), 'ECONNRESET');
    assert.equal(await from('192.0.2.9'), 'served');
    const line = await portcullis.line<ConnectionLine>(({ reason }) => reason === 'blocked-country');
    assert.match(line.rule!, /country.*AQ/);
  });

  test('SIGHUP reads a new database', async () => {
    writeDatabase(writeMmdb({ networks: [['192.0.2.0/24', country('AQ')]] }));
    await reload(/^GeoIP database reloaded$/);
    await becomes('192.0.2.9', 'ECONNRESET');
    await becomes('203.0.113.9', 'served');
  });

  test('a bad database is reported and the old one stays', async () => {
    for (const bad of [Buffer.from('this is no database'), Buffer.alloc(0)]) {
      writeDatabase(bad);
      await reload(/the old one stays/);
      assert.equal(await from('192.0.2.9'), 'ECONNRESET');
      assert.equal(await from('203.0.113.9'), 'served');
    }
  });
}

function rate(sockets: Sockets): void {
  const suite = new Suite();
  const limit = 50;
  let portcullis: Portcullis;

  before(async () => {
    const backend = await suite.backend((peer) => peer.end('served'));
    portcullis = await suite.portcullis(
      `
      [firewall]
      rate_limit = ${limit}
      rate_window = "1h"
      allowed_ips = ["127.0.0.50"]
      blocked_ips = ["127.0.0.66"]
      [[listeners]]
      addr = "127.0.0.1:0"
      default_backend = "127.0.0.1:${backend.port}"
      [[listeners]]
      addr = "127.0.0.2:0"
      proxy_protocol = true
      default_backend = "127.0.0.1:${backend.port}"
      `,
      { sockets, server: { workers: 3 } },
    );
  });

  async function visits(
    count: number,
    bytes: Uint8Array,
    options: { host: string; localAddress?: string },
  ): Promise<number> {
    const port = portcullis.port(`${options.host}:0`);
    const outcomes = await Promise.all(Array.from({ length: count }, () => visit(port, bytes, options)));
    return outcomes.filter((outcome) => outcome === 'served').length;
  }

  test('exactly so many connections of one source are served, over all workers', async () => {
    assert.equal(await visits(limit * 3, hello, { host: '127.0.0.1', localAddress: '127.0.0.10' }), limit);
    const line = await portcullis.line<ConnectionLine>(({ reason }) => reason === 'rate-limited');
    assert.ok(line.rule);
    assert.equal(await visits(10, hello, { host: '127.0.0.1', localAddress: '127.0.0.11' }), 10);
  });

  test('an allowed source is never limited', async () => {
    const count = limit + 30;
    assert.equal(await visits(count, hello, { host: '127.0.0.1', localAddress: '127.0.0.50' }), count);
  });

  test('behind another proxy the client is counted and the proxy is not', async () => {
    assert.equal(await visits(limit + 20, headed('192.0.2.20'), { host: '127.0.0.2' }), limit);
    assert.equal(await visits(5, headed('192.0.2.21'), { host: '127.0.0.2' }), 5);
  });

  test('the addresses of one IPv6 /64 are one source', async () => {
    const port = portcullis.port('127.0.0.2:0');
    const outcomes = await Promise.all(
      Array.from({ length: limit + 20 }, (_, host) =>
        visit(port, headed(`2001:db8:0:1::${(host + 1).toString(16)}`), { host: '127.0.0.2' }),
      ),
    );
    assert.equal(outcomes.filter((outcome) => outcome === 'served').length, limit);
    assert.equal(await visits(1, headed('2001:db8:0:2::1'), { host: '127.0.0.2' }), 1);
  });

  test('a blocked address spends none of its quota', async () => {
    // The peer 127.0.0.66 is blocked; the client it names is not charged for what never passed.
    assert.equal(
      await visits(limit + 20, headed('192.0.2.30'), { host: '127.0.0.2', localAddress: '127.0.0.66' }),
      0,
    );
    assert.equal(await visits(limit, headed('192.0.2.30'), { host: '127.0.0.2' }), limit);
    const blocked = portcullis.connections.filter(({ client }) => client.startsWith('127.0.0.66:'));
    assert.deepEqual([...new Set(blocked.map(({ reason }) => reason))], ['blocked-ip']);
  });
}
