import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ExplainQuery, Explanation } from '../admin/control.ts';
import {
  aclRuleDefaults,
  egressDefaults,
  rewriteDefaults,
  type AclRuleSettings,
  type EgressSettings,
} from '../model/egress-settings.ts';
import { listenerDefaults, type ListenerSettings } from '../model/settings.ts';
import { buildSnapshot } from '../model/snapshot.ts';
import { explain, ExplainError } from './explain.ts';

const own = { addresses: ['203.0.113.7'], ports: [8080] };
const firewall = {
  geoipDatabase: null,
  blockedIps: [],
  blockedCidrs: ['192.0.2.0/24'],
  blockedCountries: [],
  rateLimitExempt: [],
  rateLimit: null,
};
const gateway: ListenerSettings = {
  ...listenerDefaults,
  kind: 'egress',
  name: ':8080',
  address: { host: '', port: 8080 },
  routes: [],
};
const web: ListenerSettings = { ...gateway, kind: 'ingress', name: ':443', address: { host: '', port: 443 } };

function ask(
  settings: Partial<EgressSettings>,
  query: Partial<ExplainQuery>,
  listeners: readonly ListenerSettings[] = [gateway],
): Explanation {
  const authority = { kind: 'pem', cert: '/ca.pem', key: '/ca.key' } as const;
  const egress = { ...egressDefaults, authority, ...settings };
  const snapshot = buildSnapshot(1, { listeners, firewall, egress }, { hashSeed: 1 });
  const nothing = { listener: null, port: null, from: null, alpn: [], path: null, method: '', headers: null };
  const asked = { ...nothing, host: 'api.example.com', scheme: 'https', client: null, ...query } as const;
  return explain(snapshot, asked, undefined, own)[0]!;
}

function rule(pattern: string, changed: Partial<AclRuleSettings> = {}): AclRuleSettings {
  return { ...aclRuleDefaults, pattern, ...changed };
}

function lines({ steps }: Explanation): string[] {
  return steps.map(({ outcome, ruleId, detail }) => `${outcome} ${ruleId} | ${detail}`);
}

function verdict({ verdict: said, reason, action, ruleId, backend }: Explanation): unknown[] {
  return [said, reason, action, ruleId, backend];
}

const guarded = 'judged network-guard/-/- | public addresses only, once api.example.com is resolved';

describe('what the gateway would say', () => {
  test('of a host that a rule allows: the tunnel, and then the request inside', () => {
    const explained = ask({ whitelist: [rule('*.example.com')] }, { path: '/v1' });
    assert.equal(explained.target, 'https://api.example.com:443');
    assert.deepEqual(lines(explained), [
      'matched whitelist/-/*.example.com | CONNECT: allows',
      'matched whitelist/-/*.example.com | GET /v1: allows',
      guarded,
    ]);
    assert.deepEqual(verdict(explained), [
      'route',
      null,
      'WHITE-LISTED',
      'whitelist/-/*.example.com',
      'https://api.example.com:443',
    ]);
  });

  test('of a host that no rule names', () => {
    const explained = ask({}, {});
    assert.deepEqual(lines(explained), ['refused default-policy/-/BLOCK | CONNECT: no rule decides']);
    assert.deepEqual(verdict(explained).slice(0, 3), ['refuse', 'host-blocked', 'BLOCKED']);
  });

  test('of a request that a rule refuses by its method, which the tunnel does not show yet', () => {
    const deny = rule('api.example.com', { methods: ['DELETE'], pathPattern: '^/v1' });
    const settings = { whitelist: [rule('*.example.com')], blacklist: [deny] };
    const explained = ask(settings, { path: '/v1/x', method: 'DELETE' });
    assert.deepEqual(lines(explained), [
      'judged blacklist/-/api.example.com DELETE ^/v1 | CONNECT: refuses, DELETE, path ^/v1',
      'matched whitelist/-/*.example.com | CONNECT: allows',
      'refused blacklist/-/api.example.com DELETE ^/v1 | DELETE /v1/x: refuses, DELETE, path ^/v1',
      'shadowed whitelist/-/*.example.com | DELETE /v1/x: allows',
    ]);
    assert.deepEqual(verdict(explained).slice(0, 3), ['refuse', 'host-blacklisted', 'BLACK-LISTED']);
    assert.equal(ask(settings, { path: '/v1/x', method: 'GET' }).verdict, 'route');
  });

  test('of a host that passes through, and of one that is refused all the same', () => {
    const passthrough = [rule('*.example.com', { allowPrivate: true })];
    assert.deepEqual(lines(ask({ passthrough }, { path: '/' })), [
      'matched passthrough/-/*.example.com | CONNECT: allows, not decrypted, private addresses too',
      'judged network-guard/-/- | public and private addresses, once api.example.com is resolved',
    ]);
    const both = ask({ passthrough, blacklist: [rule('api.example.com')] }, {});
    assert.deepEqual(lines(both), [
      'refused blacklist/-/api.example.com | CONNECT: refuses',
      'shadowed passthrough/-/*.example.com | CONNECT: allows, not decrypted, private addresses too',
    ]);
  });

  test('of a rewrite: where it leads, what it sets, and the credential that goes with it', () => {
    const rewrites = [
      { ...rewriteDefaults, pattern: 'api.example.com', clients: ['ci'], targetIp: '10.0.0.1' },
      {
        ...rewriteDefaults,
        pattern: '*.example.com',
        targetIp: '10.20.30.40',
        targetPort: 8443,
        headers: [['x-proxy-source', 'hidden']] as const,
      },
    ];
    const credentials = [
      {
        pattern: 'api.example.com',
        pathPattern: null,
        clients: [],
        header: 'authorization',
        prefix: '',
        secret: 'env:K',
      },
    ];
    const explained = ask({ rewrites, credentials }, { path: '/' });
    assert.deepEqual(lines(explained).slice(2), [
      'passed rewrite/-/api.example.com | GET /: rewrites to 10.0.0.1, clients ci',
      'matched rewrite/-/*.example.com | GET /: rewrites to 10.20.30.40 port 8443, sets x-proxy-source',
      'matched credential/-/api.example.com authorization | sets authorization from env:K',
      'passed network-guard/-/- | 10.20.30.40 may be dialled: whatever address the rewrite leads to',
    ]);
    assert.equal(explained.backend, 'https://10.20.30.40:8443');
    assert.equal(JSON.stringify(explained).includes('hidden'), false);
  });

  const literals: [string, string][] = [
    ['127.0.0.1', 'loopback'],
    ['169.254.169.254', 'metadata'],
    ['10.0.0.1', 'private'],
    ['::ffff:10.0.0.1', 'private'],
    ['64:ff9b::a00:1', 'private'],
    ['203.0.113.7', 'reserved'],
  ];
  for (const [host, denial] of literals) {
    test(`of the address ${host}, which is ${denial}`, () => {
      const explained = ask({ defaultPolicy: 'ALLOW' }, { host });
      assert.match(lines(explained).at(-1)!, new RegExp(`^refused network-guard/-/- \\| .* is ${denial}$`));
      assert.deepEqual(verdict(explained).slice(0, 2), ['refuse', 'address-denied']);
    });
  }

  test('of our own listener, even where a rewrite leads to it', () => {
    const rewrites = [
      { ...rewriteDefaults, pattern: 'api.example.com', targetIp: '127.0.0.1', targetPort: 8080 },
    ];
    assert.match(lines(ask({ rewrites }, {})).at(-1)!, /127\.0\.0\.1 is own-listener$/);
  });

  test('of a port that may not be connected to', () => {
    const explained = ask({ defaultPolicy: 'ALLOW' }, { port: 25 });
    assert.equal(
      lines(explained).at(-1),
      'refused connect-ports/-/- | CONNECT: port 25 is none that may be connected to',
    );
    assert.equal(explained.reason, 'port-denied');
  });

  test('in report mode: what would have been refused, which goes on', () => {
    const explained = ask({ mode: 'report', blacklist: [rule('api.example.com')] }, {});
    assert.equal(explained.action, 'ALLOWED-BY-DEFAULT');
    assert.match(lines(explained)[1]!, /^passed blacklist\/.*would have been refused, and is only logged$/);
    const single = ask({ blacklist: [rule('api.example.com', { mode: 'report' })] }, {});
    assert.equal(lines(single)[0], 'passed blacklist/-/api.example.com | CONNECT: refuses, only reports');
  });

  test('without a CA: relayed unread, unless a rule asks what is inside', () => {
    const relayed = ask({ authority: null, whitelist: [rule('*.example.com')] }, { path: '/' });
    assert.match(lines(relayed)[1]!, /^passed authority\/-\/- \| there is no CA/);
    const settings = { authority: null, whitelist: [rule('*.example.com', { methods: ['GET'] })] };
    assert.equal(ask(settings, { path: '/' }).reason, 'authority-unavailable');
  });

  test('of clients: by address, and by name', () => {
    assert.equal(ask({}, { from: '198.51.100.1' }).reason, 'client-denied');
    assert.equal(ask({}, { from: '192.0.2.1' }).reason, 'blocked-cidr');
    const people = { clients: [{ name: 'ci', password: null, secret: 'env:P', subject: null }] };
    assert.equal(ask(people, { from: '198.51.100.1' }).reason, 'proxy-auth-required');
    const settings = { ...people, whitelist: [rule('*.example.com', { clients: ['ci'] })] };
    assert.equal(ask(settings, { client: 'ci', from: '198.51.100.1' }).verdict, 'route');
    assert.equal(ask(settings, {}).verdict, 'refuse');
    assert.equal(ask(settings, { client: 'who' }).reason, 'proxy-auth-required');
  });

  test('of a parent proxy, and of a host that none is asked for', () => {
    const parent = {
      patterns: ['*.example.com'],
      kind: 'http',
      host: 'proxy.internal',
      port: 3128,
      username: 'u',
      password: 'env:P',
      trustDns: false,
    } as const;
    const open = { defaultPolicy: 'ALLOW', parents: [parent] } as const;
    assert.equal(lines(ask(open, {}))[1], 'matched parent/-/http://proxy.internal:3128 | through this proxy');
    const direct = ask({ ...open, noProxy: ['api.example.com'] }, {});
    assert.equal(lines(direct)[1], 'matched no-proxy/-/api.example.com | no parent is asked');
  });

  test('beside a listener of ingress: each is asked, an address and a client are for egress alone', () => {
    const both = [web, gateway];
    assert.equal(ask({}, {}, both).listener, ':443');
    assert.equal(ask({}, { host: '10.0.0.1' }, both).listener, ':8080');
    assert.equal(ask({}, { client: 'ci' }, both).listener, ':8080');
    assert.throws(() => ask({}, { client: 'ci' }, [web]), ExplainError);
    assert.throws(() => ask({}, { host: '0x7f.1' }, [gateway]), ExplainError);
    assert.throws(() => ask({}, { host: '10.0.0.1' }, [web]), /expected a host name/);
  });
});
