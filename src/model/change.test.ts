import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { applyChanges, type Change, diffTraffic } from './change.ts';
import { egressDefaults, type EgressSettings } from './egress-settings.ts';
import { buildSnapshot } from './snapshot.ts';
import { listenerDefaults, routeDefaults } from './settings.ts';
import type { ListenerSettings, TrafficSettings } from './settings.ts';
import { record, routes } from './testing/arbitrary-traffic.ts';

const backend = fc.constantFrom(
  { kind: 'tcp', host: 'app.internal', port: 8443 } as const,
  { kind: 'tcp', host: '2001:db8::1', port: 443 } as const,
  { kind: 'unix', path: '/run/app.sock' } as const,
);
const hostname = fc.constantFrom('a.example', 'b.example', '*.example', '*.a.example', 'c.example');
const parts = {
  hostname,
  backend,
  cert: '/etc/app.pem',
  key: fc.constantFrom('/etc/app.key', 'env:APP_KEY'),
};
const listener: fc.Arbitrary<ListenerSettings> = record({
  kind: fc.constantFrom('ingress', 'egress'),
  name: fc.constantFrom(':443', ':8443', '[::1]:9443'),
  address: fc.constantFrom({ host: '', port: 443 }, { host: '::1', port: 9443 }),
  proxyProtocol: fc.boolean(),
  proxyProtocolFrom: fc.subarray(['10.0.0.0/8', '2001:db8::/32']),
  maxConnections: fc.nat(2),
  protocol: fc.constantFrom('tls', 'auto'),
  redirectHttps: fc.boolean(),
  trustedProxies: fc.subarray(['10.0.0.0/8', '2001:db8::/32']),
  defaultBackend: fc.option(backend),
  tls: fc.constant(null),
  routes: routes(parts),
});
const traffic: fc.Arbitrary<TrafficSettings> = fc.record({
  listeners: fc.uniqueArray(listener, { selector: (item) => item.name }),
  firewall: fc.record({
    geoipDatabase: fc.constant(null),
    blockedIps: fc.shuffledSubarray(['192.0.2.1', '10.0.0.0', '2001:db8::1']),
    // 192.0.2.1/32 names what the ip rule 192.0.2.1 names.
    blockedCidrs: fc.shuffledSubarray(['192.0.2.1/32', '192.0.2.0/24', '10.0.0.0/8', '::/0']),
    blockedCountries: fc.shuffledSubarray(['CN', 'DE', 'FR']),
    rateLimitExempt: fc.shuffledSubarray(['127.0.0.1/32', '10.0.0.0/8']),
    rateLimit: fc.option(
      fc.record({ connections: fc.integer({ min: 1, max: 3 }), windowMs: fc.constant(60_000) }),
    ),
  }),
  egress: fc.constantFrom<EgressSettings | null>(null, egressDefaults, {
    ...egressDefaults,
    defaultPolicy: 'ALLOW',
  }),
});
const options = { hashSeed: 7 };

describe('changes', () => {
  test('applying a difference gives what building anew gives', () => {
    fc.assert(
      fc.property(traffic, traffic, (before, after) => {
        const changes = structuredClone(diffTraffic(before, after));
        const changed = applyChanges(buildSnapshot(1, before, options), 2, changes);
        // The tables' shape depends on their content alone, so equal snapshots decide equally.
        const built = buildSnapshot(2, after, options);
        // A group's routes are sorted, so their order does not depend on that of the changes either.
        assert.deepEqual(
          { ...changed, listeners: sorted(changed.listeners) },
          { ...built, listeners: sorted(built.listeners) },
        );
      }),
      { numRuns: 300 },
    );
  });

  test('the difference of equal settings is empty', () => {
    fc.assert(
      fc.property(traffic, (settings) =>
        assert.deepEqual(diffTraffic(settings, structuredClone(settings)), []),
      ),
    );
  });

  test('leaves the snapshot before, and every listener it does not name, as they were', () => {
    const before = buildSnapshot(1, twoListeners, options);
    const kept = structuredClone(before);
    const added = { ...twoListeners.listeners[0]!.routes[0]!, hostname: 'new.example' };
    const after = applyChanges(before, 2, [
      { kind: 'route-put', listener: ':443', route: added },
      { kind: 'firewall-put', rule: { type: 'country', value: 'CN' } },
    ]);
    assert.deepEqual(structuredClone(before), kept);
    assert.equal(before.listeners.get(':443')!.routes.get('new.example'), undefined);
    assert.equal(
      after.listeners.get(':443')!.routes.get('new.example')!.routes[0].ruleId,
      'route/:443/new.example',
    );
    assert.equal(after.listeners.get(':8443'), before.listeners.get(':8443'));
    assert.equal(after.firewall.blocked, before.firewall.blocked);
    assert.equal(after.firewall.countries.get('CN'), 'country/-/CN');
  });

  test('a listener keeps its routes when its options change, and a new limit is one small change', () => {
    const [first, second] = twoListeners.listeners as [ListenerSettings, ListenerSettings];
    const limited = { ...twoListeners, listeners: [{ ...first, maxConnections: 5 }, second] };
    const changes = diffTraffic(twoListeners, limited);
    assert.deepEqual(changes, [{ kind: 'max-connections-set', listener: ':443', maxConnections: 5 }]);
    const { routes: _, ...settings } = { ...first, proxyProtocol: true };
    const put: Change = { kind: 'listener-put', listener: settings };
    const after = applyChanges(buildSnapshot(1, twoListeners, options), 2, [...changes, put]).listeners.get(
      ':443',
    )!;
    assert.equal(after.routes.size, 1);
    assert.equal(after.settings.proxyProtocol, true);
  });

  test('a change to a listener that does not exist is a fault of the caller', () => {
    const change: Change = { kind: 'route-remove', listener: ':1', hostname: 'a.example', pathPrefix: '' };
    assert.throws(
      () => applyChanges(buildSnapshot(1, twoListeners, options), 2, [change]),
      /:1, which is not there/,
    );
  });

  test('a route goes alone: the others of its hostname stay, and the hostname goes with the last', () => {
    const [first] = twoListeners.listeners as [ListenerSettings];
    const l7 = { ...first.routes[0]!, mode: 'l7' as const, hostname: 'l7.example' };
    const put = (pathPrefix: string): Change => {
      return { kind: 'route-put', listener: ':443', route: { ...l7, pathPrefix } };
    };
    const remove = (pathPrefix: string): Change => {
      return { kind: 'route-remove', listener: ':443', hostname: 'l7.example', pathPrefix };
    };
    const before = applyChanges(buildSnapshot(1, twoListeners, options), 2, [put(''), put('/api')]);
    const prefixes = (changes: Change[]): string[] | undefined => {
      const group = applyChanges(before, 3, changes).listeners.get(':443')!.routes.get('l7.example');
      return group?.routes.map(({ pathPrefix }) => pathPrefix);
    };
    assert.deepEqual(prefixes([]), ['/api', '']);
    assert.deepEqual(prefixes([remove('')]), ['/api']);
    assert.deepEqual(prefixes([remove('/none')]), ['/api', '']);
    assert.equal(prefixes([remove(''), remove('/api')]), undefined);
  });

  test('carries the GeoIP database by reference', () => {
    const database = new SharedArrayBuffer(8);
    const after = applyChanges(buildSnapshot(1, twoListeners, options), 2, [{ kind: 'geoip-set', database }]);
    assert.equal(after.firewall.geoip, database);
  });
});

const twoListeners: TrafficSettings = {
  listeners: [':443', ':8443'].map((name) => ({
    ...listenerDefaults,
    name,
    address: { host: '', port: Number(name.slice(1)) },
    routes: [
      {
        ...routeDefaults,
        hostname: 'a.example',
        backend: { kind: 'tcp', host: '127.0.0.1', port: 8443 },
      },
    ],
  })),
  firewall: {
    geoipDatabase: null,
    blockedIps: [],
    blockedCidrs: ['10.0.0.0/8'],
    blockedCountries: [],
    rateLimitExempt: [],
    rateLimit: null,
  },
  egress: null,
};

function sorted<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}
