import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { applyChanges, type Change, diffTraffic } from './change.ts';
import { buildSnapshot } from './snapshot.ts';
import type { ListenerSettings, PolicySettings, RouteSettings, TrafficSettings } from './settings.ts';

const backend = fc.constantFrom(
  { kind: 'tcp', host: 'app.internal', port: 8443 } as const,
  { kind: 'tcp', host: '2001:db8::1', port: 443 } as const,
  { kind: 'unix', path: '/run/app.sock' } as const,
);
const route: fc.Arbitrary<RouteSettings> = fc.record({
  hostname: fc.constantFrom('a.example', 'b.example', '*.example', '*.a.example', 'c.example'),
  mode: fc.constantFrom('l4', 'l7'),
  backend,
  sendProxyProtocol: fc.boolean(),
  tlsCert: fc.option(fc.constant('/etc/app.pem')),
  tlsKey: fc.option(fc.constant('env:APP_KEY')),
  backendTls: fc.boolean(),
  policies: fc.shuffledSubarray<PolicySettings>([
    { type: 'block_user_agent', value: 'bot' },
    { type: 'require_header', value: 'x-api-key' },
  ]),
});
const listener: fc.Arbitrary<ListenerSettings> = fc.record({
  kind: fc.constant('ingress'),
  name: fc.constantFrom(':443', ':8443', '[::1]:9443'),
  address: fc.constantFrom({ host: '', port: 443 }, { host: '::1', port: 9443 }),
  proxyProtocol: fc.boolean(),
  proxyProtocolFrom: fc.subarray(['10.0.0.0/8', '2001:db8::/32']),
  maxConnections: fc.nat(2),
  defaultBackend: fc.option(backend),
  routes: fc.uniqueArray(route, { selector: (item) => item.hostname }),
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
    assert.equal(after.listeners.get(':443')!.routes.get('new.example')!.ruleId, 'route/:443/new.example');
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
    const change: Change = { kind: 'route-remove', listener: ':1', hostname: 'a.example' };
    assert.throws(
      () => applyChanges(buildSnapshot(1, twoListeners, options), 2, [change]),
      /:1, which is not there/,
    );
  });

  test('carries the GeoIP database by reference', () => {
    const database = new SharedArrayBuffer(8);
    const after = applyChanges(buildSnapshot(1, twoListeners, options), 2, [{ kind: 'geoip-set', database }]);
    assert.equal(after.firewall.geoip, database);
  });
});

const twoListeners: TrafficSettings = {
  listeners: [':443', ':8443'].map((name) => ({
    kind: 'ingress',
    name,
    address: { host: '', port: Number(name.slice(1)) },
    proxyProtocol: false,
    proxyProtocolFrom: [],
    maxConnections: 0,
    defaultBackend: null,
    routes: [
      {
        hostname: 'a.example',
        mode: 'l4',
        backend: { kind: 'tcp', host: '127.0.0.1', port: 8443 },
        sendProxyProtocol: false,
        tlsCert: null,
        tlsKey: null,
        backendTls: false,
        policies: [],
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
};

function sorted<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}
