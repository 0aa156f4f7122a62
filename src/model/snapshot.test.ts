import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseIp } from '../core/ip.ts';
import { buildSnapshot, withBlocked, withoutBlocked } from './snapshot.ts';
import { listenerDefaults, routeDefaults } from './settings.ts';
import type { ListenerSettings, TrafficSettings } from './settings.ts';

const listener: ListenerSettings = {
  ...listenerDefaults,
  name: ':443',
  address: { host: '', port: 443 },
  proxyProtocol: true,
  proxyProtocolFrom: ['10.0.0.0/8'],
  defaultBackend: { kind: 'unix', path: '/run/other.sock' },
  routes: [
    {
      ...routeDefaults,
      hostname: '*.example.com',
      backend: { kind: 'tcp', host: '2001:db8::1', port: 8443 },
      sendProxyProtocol: true,
    },
  ],
};

const traffic: TrafficSettings = {
  listeners: [listener],
  firewall: {
    geoipDatabase: null,
    blockedIps: ['192.0.2.1'],
    blockedCidrs: ['192.0.2.0/24', '192.0.2.1/32'],
    blockedCountries: ['CN'],
    rateLimitExempt: ['127.0.0.1/32'],
    rateLimit: { connections: 10, windowMs: 60_000 },
  },
  egress: null,
};

describe('buildSnapshot', () => {
  const snapshot = buildSnapshot(3, traffic, { hashSeed: 1 });

  test('prepares routes with their rule id and their backend in print', () => {
    const { routes, defaultRoute } = snapshot.listeners.get(':443')!;
    const group = routes.get('app.example.com');
    assert.deepEqual([group?.hostname, group?.mode, group?.tls], ['*.example.com', 'l4', null]);
    assert.deepEqual(group?.routes[0], {
      ruleId: 'route/:443/*.example.com',
      ...routeDefaults,
      hostname: '*.example.com',
      backend: { kind: 'tcp', host: '2001:db8::1', port: 8443 },
      backendName: '[2001:db8::1]:8443',
      authority: null,
      sendProxyProtocol: true,
    });
    assert.equal(defaultRoute?.ruleId, 'default-backend/:443/-');
    assert.equal(defaultRoute.backendName, 'unix:/run/other.sock');
    assert.equal(defaultRoute.hostname, null);
  });

  test('prepares who may send a PROXY header, and null for any peer', () => {
    const { proxyPeers, proxyPeersRuleId, limitRuleId } = snapshot.listeners.get(':443')!;
    assert.equal(proxyPeers?.lookup(parseIp('10.1.1.1')!), true);
    assert.equal(proxyPeers.lookup(parseIp('11.1.1.1')!), undefined);
    assert.equal(proxyPeersRuleId, 'listener/:443/proxy_protocol_from');
    assert.equal(limitRuleId, 'listener/:443/max_connections');
  });

  test('prepares whose X-Forwarded fields are believed, which is nobody when left out', () => {
    const { trustedProxies } = snapshot.listeners.get(':443')!;
    assert.equal(trustedProxies.lookup(parseIp('10.1.1.1')!), undefined);
    const trusting = { ...traffic, listeners: [{ ...listener, trustedProxies: ['10.0.0.0/8'] }] };
    const { listeners } = buildSnapshot(1, trusting, { hashSeed: 1 });
    assert.equal(listeners.get(':443')!.trustedProxies.lookup(parseIp('10.1.1.1')!), true);
    const open = { ...traffic, listeners: [{ ...listener, proxyProtocolFrom: [] }] };
    assert.equal(buildSnapshot(1, open, { hashSeed: 1 }).listeners.get(':443')!.proxyPeers, null);
  });

  test('prepares the firewall; the ip rule decides before the network around it', () => {
    const { blocked, countries, rateLimit, rateLimitExempt } = snapshot.firewall;
    const rule = blocked.lookup(parseIp('192.0.2.1')!);
    assert.deepEqual([rule?.reason, rule?.ruleId], ['blocked-ip', 'ip/-/192.0.2.1']);
    assert.equal(rule?.shadowed?.ruleId, 'cidr/-/192.0.2.1/32');
    assert.equal(blocked.lookup(parseIp('192.0.2.2')!)?.ruleId, 'cidr/-/192.0.2.0/24');
    assert.equal(countries.get('CN'), 'country/-/CN');
    assert.deepEqual(rateLimit, { connections: 10, windowMs: 60_000, ruleId: 'rate-limit/-/source' });
    assert.equal(rateLimitExempt.lookup(parseIp('127.0.0.1')!), true);
  });

  test('removing an ip rule leaves the cidr rule for the same address in force, and the other way round', () => {
    const address = parseIp('192.0.2.1')!;
    const { blocked } = snapshot.firewall;
    const without = withoutBlocked(blocked, 'ip', '192.0.2.1');
    assert.equal(without.lookup(address)?.ruleId, 'cidr/-/192.0.2.1/32');
    assert.equal(
      withoutBlocked(without, 'cidr', '192.0.2.1/32').lookup(address)?.ruleId,
      'cidr/-/192.0.2.0/24',
    );
    assert.equal(withoutBlocked(blocked, 'cidr', '192.0.2.1/32').lookup(address)?.shadowed, null);
    assert.deepEqual(withBlocked(without, 'ip', '192.0.2.1'), blocked);
  });

  test('refuses settings that nobody checked', () => {
    const firewall = { ...traffic.firewall, blockedCidrs: ['10.0.0.1/8'] };
    assert.throws(() => buildSnapshot(1, { ...traffic, firewall }, { hashSeed: 1 }), /not canonical/);
    assert.throws(
      () => buildSnapshot(1, { ...traffic, listeners: [listener, listener] }, { hashSeed: 1 }),
      /two listeners/,
    );
  });
});
