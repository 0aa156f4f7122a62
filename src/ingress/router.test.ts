import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listenerDefaults, routeDefaults } from '../model/settings.ts';
import type { EndpointAddress, TrafficSettings } from '../model/settings.ts';
import { buildSnapshot } from '../model/snapshot.ts';
import { chooseRoute } from './router.ts';

function listener(hostnames: readonly string[], defaultBackend: EndpointAddress | null) {
  const traffic: TrafficSettings = {
    listeners: [
      {
        ...listenerDefaults,
        name: ':443',
        address: { host: '', port: 443 },
        defaultBackend,
        routes: hostnames.map((hostname) => ({
          ...routeDefaults,
          hostname,
          backend: { kind: 'tcp', host: '10.0.0.1', port: 443 },
        })),
      },
    ],
    firewall: {
      geoipDatabase: null,
      blockedIps: [],
      blockedCidrs: [],
      blockedCountries: [],
      rateLimitExempt: [],
      rateLimit: null,
    },
    egress: null,
  };
  return buildSnapshot(1, traffic, { hashSeed: 1 }).listeners.get(':443')!;
}

function decide(
  hostnames: readonly string[],
  name: string | null,
  fallback: EndpointAddress | null = null,
): string {
  const route = chooseRoute(listener(hostnames, fallback), name);
  return typeof route === 'string' ? route : (route.hostname ?? 'default');
}

test('an exact name beats the longest wildcard, which beats a shorter one', () => {
  const hostnames = ['*.example.com', '*.api.example.com', 'v1.api.example.com'];
  assert.equal(decide(hostnames, 'v1.api.example.com'), 'v1.api.example.com');
  assert.equal(decide(hostnames, 'v2.api.example.com'), '*.api.example.com');
  assert.equal(decide(hostnames, 'a.b.example.com'), '*.example.com');
  assert.equal(decide(hostnames, 'example.com'), 'no-route', 'a wildcard does not take the name it hangs on');
});

test('the default backend takes what nothing matches, and hellos without a name', () => {
  const fallback: EndpointAddress = { kind: 'unix', path: '/run/fallback.sock' };
  assert.equal(decide(['app.example.com'], 'other.test', fallback), 'default');
  assert.equal(decide(['app.example.com'], null, fallback), 'default');
  assert.equal(decide(['app.example.com'], null), 'no-sni');
});
