import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary, toJsonString } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { ConfigSchema } from '../admin/gen/portcullis/v1/admin_pb.ts';
import { configMessage } from '../admin/translate.ts';
import { egressDefaults } from '../model/egress-settings.ts';
import { anyParts, egressSettings } from '../model/testing/arbitrary-egress.ts';
import { listenerDefaults, routeDefaults } from '../model/settings.ts';
import type { TrafficSettings } from '../model/settings.ts';
import { trafficOf } from './traffic-message.ts';

const traffic: TrafficSettings = {
  listeners: [
    {
      ...listenerDefaults,
      name: '[::1]:8443',
      address: { host: '::1', port: 8443 },
      protocol: 'auto',
      redirectHttps: true,
      trustedProxies: ['192.0.2.0/24'],
      proxyProtocol: true,
      proxyProtocolFrom: ['10.0.0.0/8'],
      maxConnections: 100,
      defaultBackend: { kind: 'unix', path: '/run/web.sock' },
      routes: [
        {
          ...routeDefaults,
          hostname: '*.example.com',
          pathPrefix: '/api',
          mode: 'l7',
          backend: { kind: 'tcp', host: '2001:db8::1', port: 443 },
          sendProxyProtocol: true,
          tls: {
            cert: '/etc/app.pem',
            key: 'env:APP_KEY',
            clientCa: '/etc/ca.pem',
            clientAuth: 'request',
            minVersion: '1.3',
          },
          backendProtocol: 'auto',
          backendTls: { ca: '/etc/b.pem', serverName: 'inner.example', insecure: true },
          forwarded: true,
          requestHeaders: {
            remove: ['x-a'],
            set: [['x-b', '']],
            add: [
              ['x-c', '1'],
              ['x-c', '2'],
            ],
          },
          responseHeaders: { remove: ['server'], set: [], add: [] },
          policies: [{ type: 'require_header', value: 'x-token' }],
        },
      ],
    },
  ],
  firewall: {
    geoipDatabase: '/var/lib/countries.mmdb',
    blockedIps: ['192.0.2.1'],
    blockedCidrs: ['198.51.100.0/24'],
    blockedCountries: ['KP'],
    rateLimitExempt: ['10.0.0.1/32'],
    rateLimit: { connections: 6000, windowMs: 90_000 },
  },
  egress: null,
};

test('settings that went through the API are the same settings', () => {
  assert.deepEqual(trafficOf(create(ConfigSchema, configMessage(traffic))), traffic);
  const bare: TrafficSettings = {
    listeners: [],
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
  assert.deepEqual(trafficOf(create(ConfigSchema, configMessage(bare))), bare);
});

test('egress settings and listeners that went through the API are the same', () => {
  const gateway = {
    ...listenerDefaults,
    kind: 'egress',
    name: ':8080',
    address: { host: '', port: 8080 },
    tls: traffic.listeners[0]!.routes[0]!.tls,
    routes: [],
  } as const;
  fc.assert(
    fc.property(egressSettings(anyParts), (egress) => {
      const all: TrafficSettings = { ...traffic, listeners: [gateway], egress };
      const message = create(ConfigSchema, configMessage(all));
      const sent = fromBinary(ConfigSchema, toBinary(ConfigSchema, message));
      assert.deepEqual(trafficOf(sent), all);
    }),
    { numRuns: 50 },
  );
});

test('a secret that stands in the settings themselves is not sent', () => {
  const authority = { kind: 'keystore', path: '/ca.p12', password: 'text:hush' } as const;
  const message = create(
    ConfigSchema,
    configMessage({ ...traffic, egress: { ...egressDefaults, authority } }),
  );
  assert.doesNotMatch(toJsonString(ConfigSchema, message), /hush/);
});

test('what a newer server says is refused in a sentence', () => {
  const message = create(ConfigSchema, { listeners: [{ addr: 'quic:443' }] });
  const future = create(ConfigSchema, { egress: { whitelist: [{ pattern: 'a.example', moon: 'full' }] } });
  assert.throws(
    () => trafficOf(future),
    /the server says "egress\.whitelist\[0\]\.moon", which this version/,
  );
  assert.throws(
    () => trafficOf(message),
    /the server says "quic:443", which this version does not understand/,
  );
});
