import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExplainQuery, Explanation } from '../admin/control.ts';
import { listenerDefaults, routeDefaults } from '../model/settings.ts';
import type { ListenerSettings, PolicySettings, RouteSettings } from '../model/settings.ts';
import { buildSnapshot } from '../model/snapshot.ts';
import { explain } from './explain.ts';

const tls = { cert: '/a.pem', key: '/a.key', clientCa: null, clientAuth: 'none', minVersion: '1.2' } as const;
const backend = { kind: 'tcp', host: '10.0.0.1', port: 1 } as const;

function routeOf(hostname: string, pathPrefix: string, policies: PolicySettings[] = []): RouteSettings {
  return { ...routeDefaults, mode: 'l7', tls, hostname, pathPrefix, backend, policies };
}

const routes = [
  routeOf('app.example.com', ''),
  routeOf('app.example.com', '/api', [
    { type: 'require_header', value: 'x-api-key' },
    { type: 'allow_methods', value: 'GET,HEAD' },
    { type: 'block_user_agent', value: 'Bad' },
    { type: 'max_body', value: '1MiB' },
  ]),
  routeOf('*.example.com', ''),
];

function ask(query: Partial<ExplainQuery>, changed: Partial<ListenerSettings> = {}): Explanation {
  const listener = {
    ...listenerDefaults,
    name: ':443',
    address: { host: '', port: 443 },
    routes,
    ...changed,
  };
  const firewall = {
    geoipDatabase: null,
    blockedIps: [],
    blockedCidrs: [],
    blockedCountries: [],
    rateLimitExempt: [],
    rateLimit: null,
  };
  const snapshot = buildSnapshot(1, { listeners: [listener], firewall, egress: null }, { hashSeed: 1 });
  return explain(snapshot, { ...nothing, host: 'app.example.com', ...query })[0]!;
}

const nothing = {
  listener: null,
  port: null,
  from: null,
  alpn: [],
  path: null,
  method: '',
  headers: null,
  scheme: 'https',
  client: null,
} as const;

function steps({ steps: all }: Explanation): string[] {
  return all.map(({ ruleId, outcome }) => `${outcome} ${ruleId}`);
}

const api = 'route/:443/app.example.com/api';
const policy = 'policy/:443/app.example.com/api';

test('a request is told its hostname, its path, and the policies it would meet, in order', () => {
  const explanation = ask({ path: '/x/../api/users?id=1' });
  assert.deepEqual(steps(explanation), [
    `matched ${api}`,
    'shadowed route/:443/app.example.com',
    'shadowed route/:443/*.example.com',
    `judged ${policy}/require_header/x-api-key`,
    `judged ${policy}/allow_methods/GET,HEAD`,
    `judged ${policy}/block_user_agent/Bad`,
    `judged ${policy}/max_body/1MiB`,
  ]);
  assert.deepEqual(
    [explanation.verdict, explanation.ruleId, explanation.backend],
    ['route', api, '10.0.0.1:1'],
  );
});

test('a path that no prefix takes passes them, and one that servers read differently has no route', () => {
  assert.deepEqual(steps(ask({ path: '/apix' })), [
    `passed ${api}`,
    'matched route/:443/app.example.com',
    'shadowed route/:443/*.example.com',
  ]);
  const odd = ask({ path: '/x%2F..%2Fapi' });
  assert.deepEqual([odd.verdict, odd.reason, odd.ruleId], ['refuse', 'no-route', null]);
});

test('method and headers decide the policies that judge by them', () => {
  const refused = ask({ path: '/api', method: 'POST', headers: [{ name: 'X-Api-Key', value: '1' }] });
  assert.deepEqual(steps(refused).slice(3), [
    `passed ${policy}/require_header/x-api-key`,
    `refused ${policy}/allow_methods/GET,HEAD`,
  ]);
  assert.deepEqual(
    [refused.verdict, refused.reason, refused.ruleId],
    ['refuse', 'method-refused', `${policy}/allow_methods/GET,HEAD`],
  );
  const headers = [
    { name: 'x-api-key', value: '1' },
    { name: 'user-agent', value: 'Bad/1' },
  ];
  assert.equal(ask({ path: '/api', method: 'GET', headers }).reason, 'user-agent-blocked');
  assert.equal(ask({ path: '/api', headers: headers.slice(1) }).reason, 'header-missing');
});

test('a connection without a request is told its routes and no policies', () => {
  assert.equal(steps(ask({})).length, 3);
  assert.equal(ask({}).verdict, 'route');
  assert.deepEqual(steps(ask({ host: 'b.example.com' })), ['matched route/:443/*.example.com']);
});

test('a listener that redirects says so', () => {
  const redirected = ask({ path: '/' }, { protocol: 'http', redirectHttps: true });
  assert.deepEqual(
    [redirected.verdict, redirected.reason, redirected.ruleId],
    ['refuse', 'redirected', 'listener/:443/redirect_https'],
  );
});
