/**
 * Micro-benchmark of the routing and firewall tables: ns for each look-up and the time to build, at 100,000
 * entries each, beside a plain Map in the same run. Keys are drawn at random from far more than a cache holds.
 * `scripts/node bench/micro/tables.ts [entries]`. The checksum shows that the work was done.
 */

import { type Cidr, formatCidr, IpAddress, maskIp, parseIp } from '../../src/core/ip.ts';
import { normaliseHostname } from '../../src/core/hostname.ts';
import { CidrTable } from '../../src/model/cidr-table.ts';
import { HostTable } from '../../src/model/host-table.ts';
import { buildSnapshot } from '../../src/model/snapshot.ts';
import { listenerDefaults, routeDefaults } from '../../src/model/settings.ts';
import type { TrafficSettings } from '../../src/model/settings.ts';

const entries = Number(process.argv[2] ?? 100_000);
const lookups = entries * 4;
const random = randomWords(20_261_121);
let checksum = 0;

parsing();
hostTable();
cidrTable();
snapshots();
console.log(`checksum ${checksum >>> 0}`);

function parsing(): void {
  const v4 = Array.from({ length: lookups }, () => spellV4(random()));
  const v6 = Array.from(
    { length: lookups },
    () => `2001:db8:${hex(random())}::${hex(random())}:${hex(random())}`,
  );
  const names = Array.from({ length: lookups }, (_, index) =>
    flat(`App${index}.tenant-${index % 77}.example.com`),
  );
  perLookup('parseIp, IPv4', v4, (text) => parseIp(text)!.w3);
  perLookup('parseIp, IPv6', v6, (text) => parseIp(text)!.w3);
  perLookup('normaliseHostname, 30 characters', names, (text) => normaliseHostname(text)!.length);
}

function hostTable(): void {
  const patterns = Array.from({ length: entries }, (_, index) => flat(hostPattern(index)));
  const table = timed(`HostTable.from, ${entries}`, () =>
    HostTable.from(
      random(),
      patterns.map((pattern, index): [string, number] => [pattern, index + 1]),
    ),
  );
  const map = new Map(patterns.map((pattern, index) => [pattern, index + 1]));
  const pick = () => flat(hostPattern((random() >>> 0) % entries).replace('*', 'some.app'));
  const hits = Array.from({ length: lookups }, pick);
  const misses = Array.from({ length: lookups }, () => flat(`app-${hex(random())}.nowhere.test`));
  perLookup('HostTable.get, hit', hits, (name) => table.get(name)!);
  perLookup('HostTable.get, miss', misses, (name) => table.get(name) ?? 1);
  perLookup('Map.get, the exact names among them', hits, (name) => map.get(name) ?? 1);
}

function cidrTable(): void {
  const networks = Array.from({ length: entries }, (_, index) => network(index));
  const table = timed(`CidrTable.from, ${entries}`, () =>
    CidrTable.from(networks.map((cidr, index): [Cidr, number] => [cidr, index + 1])),
  );
  const inside = Array.from({ length: lookups }, () => hostOf(networks[(random() >>> 0) % entries]!));
  const v4 = Array.from({ length: lookups }, () => new IpAddress(0, 0, 0xffff, random()));
  const v6 = Array.from({ length: lookups }, () => new IpAddress(0x2a00_0000, random(), random(), random()));
  perLookup('CidrTable.lookup, inside', inside, (ip) => table.lookup(ip)!);
  perLookup('CidrTable.lookup, any IPv4', v4, (ip) => table.lookup(ip) ?? 1);
  perLookup('CidrTable.lookup, IPv6 miss', v6, (ip) => table.lookup(ip) ?? 1);
}

function snapshots(): void {
  const backend = { kind: 'tcp', host: '127.0.0.1', port: 8080 } as const;
  const traffic: TrafficSettings = {
    listeners: [
      {
        ...listenerDefaults,
        name: ':443',
        address: { host: '', port: 443 },
        routes: Array.from({ length: entries }, (_, index) => ({
          ...routeDefaults,
          hostname: hostPattern(index),
          backend,
        })),
      },
    ],
    firewall: {
      geoipDatabase: null,
      blockedIps: [],
      blockedCidrs: Array.from({ length: entries }, (_, index) => formatCidr(network(index))),
      blockedCountries: [],
      rateLimitExempt: [],
      rateLimit: null,
    },
    egress: null,
  };
  const options = { hashSeed: random() };
  const snapshot = timed(`buildSnapshot, ${entries} routes and ${entries} CIDRs`, () =>
    buildSnapshot(1, traffic, options),
  );
  checksum = (checksum + snapshot.firewall.blocked.size) | 0;
}

/** A tenth are wildcards. */
function hostPattern(index: number): string {
  const tenant = `tenant-${Math.imul(index, 0x9e3779b1) >>> 16}`;
  return index % 10 === 0 ? `*.w${index}.${tenant}.example.com` : `app${index}.${tenant}.example.com`;
}

/** Nine in ten IPv4, of 8 to 32 bits with most at 24 to 32; the rest IPv6 of 32 to 64 bits. */
function network(index: number): Cidr {
  const size = random() >>> 0;
  if (index % 10 === 0) {
    const prefixLength = 32 + (size % 33);
    return { address: maskIp(new IpAddress(0x2001_0000, random(), 0, 0), prefixLength), prefixLength };
  }
  const prefixLength = size % 8 === 0 ? 8 + ((size >>> 4) % 17) : 24 + ((size >>> 4) % 9);
  return { address: maskIp(new IpAddress(0, 0, 0xffff, random()), 96 + prefixLength), prefixLength };
}

function hostOf({ address, prefixLength }: Cidr): IpAddress {
  const hosts = new IpAddress(random(), random(), random(), random());
  const bits = address.family === 4 ? 96 + prefixLength : prefixLength;
  const net = maskIp(hosts, bits);
  const { w0, w1, w2, w3 } = address;
  return new IpAddress(
    w0 | (hosts.w0 ^ net.w0),
    w1 | (hosts.w1 ^ net.w1),
    w2 | (hosts.w2 ^ net.w2),
    w3 | (hosts.w3 ^ net.w3),
  );
}

/** The best of five rounds, after one to warm up: noise on a shared machine only ever adds. */
function perLookup<K>(name: string, keys: readonly K[], lookup: (key: K) => number): void {
  let best = Infinity;
  for (let round = 0; round < 6; round++) {
    let sum = 0;
    const start = performance.now();
    for (let index = 0; index < keys.length; index++) sum = (sum + lookup(keys[index]!)) | 0;
    const elapsed = performance.now() - start;
    if (round > 0) best = Math.min(best, elapsed);
    checksum = (checksum + sum) | 0;
  }
  console.log(`${name.padEnd(52)} ${((best * 1e6) / keys.length).toFixed(0).padStart(6)} ns`);
}

function timed<T>(name: string, work: () => T): T {
  const start = performance.now();
  const result = work();
  console.log(`${name.padEnd(52)} ${(performance.now() - start).toFixed(0).padStart(6)} ms`);
  return result;
}

/** A string as it comes from the wire: one run of bytes, not a rope of pieces. */
function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

function spellV4(word: number): string {
  return flat(`${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`);
}

function hex(word: number): string {
  return (word >>> 16).toString(16);
}

/** xorshift32: the same keys in every run. */
function randomWords(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  };
}
