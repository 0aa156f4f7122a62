import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../core/ip.ts';
import { RateTable } from '../core/rate-table.ts';
import type { FirewallSettings } from '../model/settings.ts';
import { buildSnapshot, type FirewallSnapshot } from '../model/snapshot.ts';
import { countryRecord, writeMmdb } from '../../test/support/mmdb-writer.ts';
import { Firewall } from './firewall.ts';

function snapshotOf(settings: Partial<FirewallSettings>, geoip?: SharedArrayBuffer): FirewallSnapshot {
  const firewall: FirewallSettings = {
    geoipDatabase: null,
    blockedIps: [],
    blockedCidrs: [],
    blockedCountries: [],
    rateLimitExempt: [],
    rateLimit: null,
    ...settings,
  };
  return buildSnapshot(1, { listeners: [], firewall, egress: null }, { hashSeed: 1, geoip: geoip ?? null })
    .firewall;
}

function ratesOf(connections: number): RateTable {
  return RateTable.create({ connections, windowMs: 1_000, workers: 1, seed: [1, 2] });
}

function sharedGeoip(networks: readonly (readonly [string, string])[]): SharedArrayBuffer {
  const bytes = writeMmdb({ networks: networks.map(([cidr, code]) => [cidr, countryRecord(code)]) });
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

const ip = (text: string) => parseIp(text)!;

test('without rules everyone passes', () => {
  const firewall = new Firewall(snapshotOf({}), null);
  assert.equal(firewall.judgeAddress(ip('192.0.2.1'), 0), null);
  assert.equal(firewall.judgeAddress(ip('2001:db8::1'), 0), null);
});

test('blocks addresses and networks by their rule, a mapped spelling like the plain one', () => {
  const firewall = new Firewall(
    snapshotOf({ blockedIps: ['192.0.2.1', '2001:db8::1'], blockedCidrs: ['192.0.2.0/24', '2001:db8::/32'] }),
    null,
  );
  const verdict = (text: string) => {
    const refusal = firewall.judgeBlocked(ip(text));
    return refusal === null ? null : `${refusal.reason} ${refusal.ruleId}`;
  };
  assert.equal(verdict('192.0.2.1'), 'blocked-ip ip/-/192.0.2.1');
  assert.equal(verdict('::ffff:192.0.2.1'), 'blocked-ip ip/-/192.0.2.1');
  assert.equal(verdict('192.0.2.2'), 'blocked-cidr cidr/-/192.0.2.0/24');
  assert.equal(verdict('2001:db8::1'), 'blocked-ip ip/-/2001:db8::1');
  assert.equal(verdict('2001:db8::2'), 'blocked-cidr cidr/-/2001:db8::/32');
  assert.equal(verdict('192.0.3.1'), null);
});

test('blocks a country; the blocklist names its own rule first', () => {
  const geoip = sharedGeoip([
    ['1.0.0.0/8', 'CN'],
    ['2.0.0.0/8', 'NL'],
  ]);
  const firewall = new Firewall(
    snapshotOf({ blockedCountries: ['CN'], blockedIps: ['1.1.1.1'] }, geoip),
    null,
  );
  assert.deepEqual(firewall.judgeBlocked(ip('1.2.3.4')), {
    reason: 'blocked-country',
    ruleId: 'country/-/CN',
  });
  assert.equal(firewall.judgeBlocked(ip('1.1.1.1'))?.reason, 'blocked-ip');
  assert.equal(firewall.judgeBlocked(ip('2.2.3.4')), null);
  assert.equal(firewall.judgeBlocked(ip('3.2.3.4')), null);
});

test('loopback and private addresses have no country, whatever the database says', () => {
  const local = ['10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '127.0.0.1', '100.64.0.1'];
  const localV6 = ['169.254.1.1', '::1', 'fc00::1', 'fdff::1', 'fe80::1', '::'];
  const geoip = sharedGeoip([
    ['0.0.0.0/1', 'CN'],
    ['128.0.0.0/1', 'CN'],
    ['8000::/1', 'CN'],
    ['::/127', 'CN'],
  ]);
  const firewall = new Firewall(snapshotOf({ blockedCountries: ['CN'] }, geoip), null);
  for (const text of [...local, ...localV6]) assert.equal(firewall.judgeBlocked(ip(text)), null, text);
  for (const text of ['172.15.0.1', '172.32.0.1', '11.0.0.1', '100.128.0.1', 'fe00::1', 'fec0::1']) {
    assert.equal(firewall.judgeBlocked(ip(text))?.reason, 'blocked-country', text);
  }
});

test('refuses a source that comes too often, and names the rule', () => {
  const firewall = new Firewall(snapshotOf({ rateLimit: { connections: 2, windowMs: 1_000 } }), ratesOf(2));
  assert.equal(firewall.judgeAddress(ip('192.0.2.1'), 0), null);
  assert.equal(firewall.judgeAddress(ip('192.0.2.1'), 1), null);
  assert.deepEqual(firewall.judgeAddress(ip('192.0.2.1'), 2), {
    reason: 'rate-limited',
    ruleId: 'rate-limit/-/source',
  });
  assert.equal(firewall.judgeAddress(ip('192.0.2.2'), 2), null);
  assert.equal(firewall.judgeAddress(ip('192.0.2.1'), 1_000), null);
});

test('a blocked address spends no quota', () => {
  const rates = ratesOf(1);
  const settings = { rateLimit: { connections: 1, windowMs: 1_000 } };
  const blocking = new Firewall(snapshotOf({ ...settings, blockedIps: ['192.0.2.1'] }), rates);
  for (let knock = 0; knock < 10; knock++) {
    assert.equal(blocking.judgeAddress(ip('192.0.2.1'), 0)?.reason, 'blocked-ip');
  }
  const open = new Firewall(snapshotOf(settings), rates);
  assert.equal(open.judgeAddress(ip('192.0.2.1'), 0), null);
  assert.equal(open.judgeAddress(ip('192.0.2.1'), 0)?.reason, 'rate-limited');
});

test('an exempt source is never limited, and blocked all the same', () => {
  const firewall = new Firewall(
    snapshotOf({
      rateLimit: { connections: 1, windowMs: 1_000 },
      rateLimitExempt: ['198.51.100.0/24'],
      blockedIps: ['198.51.100.9'],
    }),
    ratesOf(1),
  );
  for (let count = 0; count < 10; count++) assert.equal(firewall.judgeAddress(ip('198.51.100.1'), 0), null);
  assert.equal(firewall.judgeAddress(ip('198.51.100.9'), 0)?.reason, 'blocked-ip');
});

test('the next snapshot keeps the view of an unchanged GeoIP file and takes a new one', () => {
  const geoip = sharedGeoip([['1.0.0.0/8', 'CN']]);
  const first = new Firewall(snapshotOf({}, geoip), null);
  assert.equal(new Firewall(snapshotOf({}, geoip), null, first).geoip, first.geoip);
  const renewed = new Firewall(snapshotOf({}, sharedGeoip([['1.0.0.0/8', 'NL']])), null, first);
  assert.equal(renewed.country(ip('1.2.3.4')), 'NL');
  assert.equal(new Firewall(snapshotOf({}), null, first).geoip, null);
});
