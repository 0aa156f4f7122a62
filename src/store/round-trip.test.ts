import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { join } from 'node:path';
import fc from 'fast-check';
import { applyChanges, type Change, diffTraffic } from '../model/change.ts';
import type {
  EndpointAddress,
  ListenerSettings,
  PolicySettings,
  TrafficSettings,
} from '../model/settings.ts';
import { buildSnapshot, type ListenerOptions } from '../model/snapshot.ts';
import { anyParts, egressSettings } from '../model/testing/arbitrary-egress.ts';
import { policy, record, route, routes } from '../model/testing/arbitrary-traffic.ts';
import { StoreDatabase } from './store-database.ts';
import type { StoredChange } from './stored-change.ts';
import { scratchDirectory } from './testing/scratch.ts';

const numRuns = process.env['RUN_SOAK'] === undefined ? 15 : 500;
const limits = { busyTimeoutMs: 100, bytesMax: 2 ** 30 };
const entry = { actor: 'test', action: 'Test', changes: [] };

const backend: fc.Arbitrary<EndpointAddress> = fc.constantFrom(
  { kind: 'tcp', host: 'app.internal', port: 65_535 },
  { kind: 'tcp', host: '2001:db8::1', port: 1 },
  { kind: 'unix', path: '/run/app.sock' },
  { kind: 'unix', path: '/run/räksmörgås.sock' },
);
/** Any text is a value to the store. */
const policies = fc.uniqueArray(
  fc.oneof(
    policy,
    record<PolicySettings>({
      type: fc.constant('block_user_agent'),
      value: fc
        .string({ minLength: 1, maxLength: 20, unit: 'grapheme' })
        .filter((value) => !value.includes('\0')),
    }),
  ),
  { selector: ({ type, value }) => `${type} ${value}`, maxLength: 4 },
);
const hostname = fc.constantFrom(
  'a.example',
  'b.example',
  '*.example',
  '*.a.example',
  'c.example',
  'xn--e1afmkfd.example',
);
const parts = {
  hostname,
  backend,
  cert: '/etc/app.pem',
  key: fc.constantFrom('/etc/app.key', 'env:APP_KEY'),
  policies,
};
const listenerName = fc.constantFrom(':443', ':8443', '[::1]:9443', '127.0.0.1:0');
const options = {
  kind: fc.constantFrom('ingress' as const, 'egress' as const),
  address: fc.record({ host: fc.constantFrom('', '::1', '127.0.0.1'), port: fc.nat(65_535) }),
  proxyProtocol: fc.boolean(),
  proxyProtocolFrom: fc.shuffledSubarray(['10.0.0.0/8', '2001:db8::/32']),
  maxConnections: fc.nat(),
  protocol: fc.constantFrom('tls' as const, 'http' as const, 'auto' as const),
  redirectHttps: fc.boolean(),
  trustedProxies: fc.shuffledSubarray(['10.0.0.0/8', '2001:db8::/32']),
  defaultBackend: fc.option(backend),
  tls: fc.constantFrom(null, {
    cert: '/etc/proxy.pem',
    key: 'env:PROXY_KEY',
    clientCa: '/etc/ca.pem',
    clientAuth: 'require' as const,
    minVersion: '1.3' as const,
  }),
};
const listenerOptions: fc.Arbitrary<ListenerOptions> = fc.record({ name: listenerName, ...options });
const listener: fc.Arbitrary<ListenerSettings> = fc.record({
  name: listenerName,
  ...options,
  routes: routes(parts),
});
const rateLimit = fc.option(
  fc.record({ connections: fc.integer({ min: 1 }), windowMs: fc.integer({ min: 1 }) }),
);
const ips = ['192.0.2.1', '10.0.0.0', '2001:db8::1'];
// 192.0.2.1/32 names what the ip rule 192.0.2.1 names.
const cidrs = ['192.0.2.1/32', '192.0.2.0/24', '10.0.0.0/8', '::/0'];
const countries = ['CN', 'DE', 'FR'];
const geoipPath = fc.option(fc.constantFrom('/var/lib/a.mmdb', '/var/lib/b.mmdb'));
const egress = fc.option(egressSettings(anyParts));
const traffic: fc.Arbitrary<TrafficSettings> = fc.record({
  listeners: fc.uniqueArray(listener, { selector: (item) => item.name }),
  firewall: fc.record({
    geoipDatabase: geoipPath,
    blockedIps: fc.shuffledSubarray(ips),
    blockedCidrs: fc.shuffledSubarray(cidrs),
    blockedCountries: fc.shuffledSubarray(countries),
    rateLimitExempt: fc.shuffledSubarray(cidrs),
    rateLimit,
  }),
  egress,
});

const rule = fc.oneof(
  fc.record({ type: fc.constant('ip' as const), value: fc.constantFrom(...ips) }),
  fc.record({ type: fc.constant('cidr' as const), value: fc.constantFrom(...cidrs) }),
  fc.record({ type: fc.constant('country' as const), value: fc.constantFrom(...countries) }),
);
const change: fc.Arbitrary<Exclude<Change, { kind: 'geoip-set' }>> = fc.oneof(
  fc.record({ kind: fc.constant('listener-put' as const), listener: listenerOptions }),
  fc.record({ kind: fc.constant('listener-remove' as const), listener: listenerName }),
  fc.record({
    kind: fc.constant('max-connections-set' as const),
    listener: listenerName,
    maxConnections: fc.nat(),
  }),
  fc.record({ kind: fc.constant('route-put' as const), listener: listenerName, route: route(parts) }),
  fc.record({
    kind: fc.constant('route-remove' as const),
    listener: listenerName,
    hostname,
    pathPrefix: fc.constantFrom('', '/api'),
  }),
  fc.record({ kind: fc.constantFrom('firewall-put' as const, 'firewall-remove' as const), rule }),
  fc.record({
    kind: fc.constantFrom('exempt-put' as const, 'exempt-remove' as const),
    cidr: fc.constantFrom(...cidrs),
  }),
  fc.record({ kind: fc.constant('rate-limit-set' as const), rateLimit }),
  fc.record({ kind: fc.constant('egress-set' as const), egress }),
);

describe('what is stored', () => {
  test('is what is loaded, in its order', (t) => {
    const directory = scratchDirectory(t);
    let count = 0;
    fc.assert(
      fc.property(plain(traffic), (settings) => {
        withStore(join(directory, `${count++}.db`), (store) => {
          assert.equal(store.seed(settings, entry), 1);
          assert.deepEqual(store.load(), { version: 1, traffic: settings });
        });
      }),
      { numRuns },
    );
  });

  test('after a difference is what the difference leads to', (t) => {
    const directory = scratchDirectory(t);
    let count = 0;
    fc.assert(
      fc.property(plain(traffic), plain(traffic), (before, after) => {
        withStore(join(directory, `${count++}.db`), (store) => {
          store.seed(before, entry);
          const path: StoredChange = { kind: 'geoip-path-set', path: after.firewall.geoipDatabase };
          store.commit(1, [...(diffTraffic(before, after) as StoredChange[]), path], entry);
          const loaded = store.load()!.traffic;
          assert.deepEqual(diffTraffic(loaded, after), []);
          assert.equal(loaded.firewall.geoipDatabase, after.firewall.geoipDatabase);
        });
      }),
      { numRuns },
    );
  });

  test('after any changes is what the model makes of them', (t) => {
    const directory = scratchDirectory(t);
    let count = 0;
    fc.assert(
      fc.property(
        plain(traffic),
        plain(fc.array(fc.array(change, { maxLength: 6 }), { maxLength: 6 })),
        (before, commits) => {
          withStore(join(directory, `${count++}.db`), (store) => {
            store.seed(before, entry);
            let snapshot = buildSnapshot(1, before, { hashSeed: 7 });
            for (const changes of commits) {
              const { version } = snapshot;
              const fits = accepted(snapshot.listeners, changes);
              if (fits) snapshot = applyChanges(snapshot, version + 1, changes);
              if (fits) assert.equal(store.commit(version, changes, entry), version + 1);
              else assert.throws(() => store.commit(version, changes, entry), { code: 'invalid' });
              const loaded = store.load()!;
              assert.deepEqual(buildSnapshot(loaded.version, loaded.traffic, { hashSeed: 7 }), snapshot);
              const order = loaded.traffic.listeners.map(({ name }) => name);
              assert.deepEqual(order, [...snapshot.listeners.keys()]);
            }
          });
        },
      ),
      { numRuns },
    );
  });
});

/** Without the bare prototypes that fast-check likes to give records. */
function plain<Data>(data: fc.Arbitrary<Data>): fc.Arbitrary<Data> {
  return data.map((value) => structuredClone(value));
}

/** Whether no change names a listener that is not there by then; the model takes anything else. */
function accepted(listeners: ReadonlyMap<string, unknown>, changes: readonly Change[]): boolean {
  const names = new Set(listeners.keys());
  return changes.every((change) => {
    switch (change.kind) {
      case 'listener-put':
        names.add(change.listener.name);
        return true;
      case 'listener-remove':
        names.delete(change.listener);
        return true;
      case 'max-connections-set':
      case 'route-put':
      case 'route-remove':
        return names.has(change.listener);
      default:
        return true;
    }
  });
}

function withStore(path: string, work: (store: StoreDatabase) => void): void {
  const store = StoreDatabase.open(path, limits);
  try {
    work(store);
  } finally {
    store.close();
  }
}
