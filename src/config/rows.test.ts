import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readFirewallRule, readListener, readPolicy, readRateLimit, readRoute, readTraffic } from './rows.ts';
import { schema } from './schema.ts';
import { routeDefaults } from '../model/settings.ts';
import type { RowReading } from './rows.ts';
import { makeCertificate } from './testing/certificates.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-rows-'));
after(() => rmSync(directory, { recursive: true }));
const { cert, key } = makeCertificate(directory, 'a');

function told({ problems }: RowReading<unknown>): readonly string[] {
  return problems.map(({ severity, path, message }) => `${severity} ${path}: ${message}`);
}

test('a route takes the defaults of the file and what is undefined is left out', () => {
  const { value, problems } = readRoute(
    { hostname: 'App.Example.', backend: 'b.internal:1', mode: undefined, policies: undefined },
    null,
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(value, {
    ...routeDefaults,
    hostname: 'app.example',
    backend: { kind: 'tcp', host: 'b.internal', port: 1 },
  });
});

test('a route of mode l7 has its certificate and key tried, from a file or the environment given', () => {
  const row = { hostname: 'a.b', backend: 'a.b:1', mode: 'l7', tls_cert: cert, tls_key: 'env:K' };
  const { value, problems } = readRoute(row, null, { K: readFileSync(key, 'utf8') });
  assert.equal(value?.tls?.key, 'env:K');
  assert.deepEqual(problems, []);
  assert.equal(readRoute(row, null, {}).value, undefined);
});

test('relative paths are refused where there is nothing to count them from', () => {
  const route = {
    hostname: 'a.b',
    backend: 'unix:app.sock',
    mode: 'l7',
    tls_cert: 'a.pem',
    tls_key: 'a.key',
  };
  assert.deepEqual(
    told(readRoute(route, null)).filter((line) => line.startsWith('error')),
    [
      'error backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "unix:app.sock", which is relative and must be an absolute path here',
      'error tls_cert: expected the path of a file, found "a.pem", which is relative and must be an absolute path here',
      'error tls_key: expected the path of a file, or "env:" and the name of an environment variable, found "a.key", which is relative and must be an absolute path here',
    ],
  );
  assert.equal(readRoute(route, directory).value?.tls?.cert, cert);
});

test('a listener is checked with its routes, and its problems have their place within it', () => {
  const routes = [
    { hostname: 'a.b', backend: 'a.b:1' },
    { hostname: 'A.b', backend: 'a.b' },
  ];
  assert.deepEqual(told(readListener({ addr: ':443', proxy_protocol: true, routes, sort: 1 }, null)), [
    'error routes[1].backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "a.b", which has no port',
    `error sort: expected one of ${Object.keys(schema.listeners.fields).join(', ')}, found "sort"`,
    'error proxy_protocol: expected proxy_protocol_from beside it, with the networks of the proxies in front: without it anybody who reaches ":443" could claim any client address, found none',
    'error routes[1].hostname: expected a hostname that no other route of the listener has: routes[0] has it, found "a.b"',
  ]);
  assert.equal(readListener({ addr: '[0::1]:0' }, null).value?.name, '[::1]:0');
});

test('policies, firewall rules and the rate limit are read into their canonical form', () => {
  assert.deepEqual(readPolicy({ type: 'require_header', value: 'X-Key' }).value, {
    type: 'require_header',
    value: 'x-key',
  });
  const rule = (type: string, value: unknown): unknown => readFirewallRule({ type, value }).value?.value;
  assert.equal(rule('ip', '2001:DB8::0'), '2001:db8::');
  assert.equal(rule('cidr', '10.0.0.0/8'), '10.0.0.0/8');
  assert.equal(rule('country', 'de'), 'DE');
  assert.deepEqual(readRateLimit({ rate_limit: 5, rate_window: undefined }).value, {
    connections: 5,
    windowMs: 60_000,
  });
  assert.equal(readRateLimit({}).value, null);
});

test('what a file would refuse, a row is refused for in the same words', () => {
  assert.deepEqual(told(readPolicy({ type: 'require_header', value: 'a b' })), [
    'error value: expected the name of a header such as "x-api-key": letters, digits and !#$%&\'*+-.^_`|~, found "a b"',
  ]);
  assert.deepEqual(told(readFirewallRule({ type: 'ips', value: '10.0.0.1' })), [
    'error type: expected one of "ip", "cidr", "country", found "ips" (did you mean "ip"?)',
  ]);
  assert.deepEqual(told(readFirewallRule({ type: 'cidr', value: '10.0.0.1/8' })), [
    'error value: expected a network such as "192.0.2.0/24" or "2001:db8::/32", found "10.0.0.1/8", which has bits set beyond its prefix (did you mean "10.0.0.0/8"?)',
  ]);
  assert.deepEqual(told(readFirewallRule({ type: 'cidr', value: '::/0' })), [
    'warning value: expected a network smaller than all of IPv6: every IPv6 client will be refused, found "::/0"',
  ]);
  assert.deepEqual(told(readRateLimit({ rate_limit: 0, rate_window: '1' })), [
    'error rate_limit: expected a whole number from 1 to 1000000, found 0',
    'error rate_window: expected a duration such as "30s", from 1s to 1d, found "1"',
  ]);
});

test('what is no table is refused', () => {
  for (const raw of [undefined, null, 'x', [], 7]) {
    for (const read of [readPolicy, readFirewallRule, readRateLimit])
      assert.equal(read(raw).value, undefined);
    for (const read of [readRoute, readListener, readTraffic]) assert.equal(read(raw, null).value, undefined);
  }
});

test('the whole traffic configuration is checked as a file is', () => {
  const reading = readTraffic(
    { listeners: [{ addr: ':443' }, { addr: ':443' }], firewall: { blocked_countries: ['DE'] } },
    null,
  );
  assert.deepEqual(
    reading.problems.map(({ code, path }) => `${code} ${path}`),
    [
      'listener-duplicate listeners[1].addr',
      'geoip-missing firewall.blocked_countries',
      'listener-useless listeners[0]',
      'listener-useless listeners[1]',
    ],
  );
});
