/** Egress settings of every sort for property tests: canonical, as the configuration leaves them. */
import fc from 'fast-check';
import {
  aclRuleDefaults,
  egressDefaults,
  type AclRuleSettings,
  type AuthoritySettings,
  type CredentialSettings,
  type EgressClientSettings,
  type EgressSettings,
  type ParentProxySettings,
  type RewriteSettings,
} from '../egress-settings.ts';
import { record } from './arbitrary-traffic.ts';

/** Paths and secrets that exist where the settings are checked against files. */
export interface EgressParts {
  readonly file: string;
  readonly secret: fc.Arbitrary<string>;
  readonly authority: fc.Arbitrary<AuthoritySettings | null>;
}

export const anyParts: EgressParts = {
  file: '/etc/portcullis/x.pem',
  secret: fc.constantFrom('/etc/portcullis/secret', 'env:SECRET'),
  authority: fc.constantFrom<AuthoritySettings | null>(
    null,
    { kind: 'pem', cert: '/etc/ca.pem', key: 'env:CA_KEY' },
    { kind: 'keystore', path: '/etc/ca.p12', password: '/etc/ca.pass' },
    { kind: 'keystore', path: '/etc/ca.p12', password: null },
  ),
};

const pattern = fc.constantFrom(
  'api.example.com',
  '*.example.com',
  '192.0.2.7',
  '2001:db8::1',
  '~^api-[0-9]+\\.example\\.com$',
  '~"quoted" and \\\\ slashed$',
);
const clients = fc.uniqueArray(fc.constantFrom('agent', 'ci'), { maxLength: 2 });
const ports = fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { maxLength: 2 });
const mode = fc.constantFrom('enforce' as const, 'report' as const);
const pathPattern = fc.constantFrom(null, '^/v1/', '\\.json$');

const conditions = { pattern, mode, clients };
const methods = fc.uniqueArray(fc.constantFrom('GET', 'POST', 'DELETE'), { maxLength: 2 });
/** What a list has no word for keeps its default. */
const withDefaults = (given: fc.Arbitrary<Partial<AclRuleSettings>>): fc.Arbitrary<AclRuleSettings> =>
  given.map((rule) => ({ ...aclRuleDefaults, pattern: '', ...rule }));
const whitelist = withDefaults(
  record({ ...conditions, methods, pathPattern, ports, allowPrivate: fc.boolean() }),
);
const blacklist = withDefaults(record({ ...conditions, methods, pathPattern }));
const passthrough = withDefaults(
  record({ ...conditions, ports, allowPrivate: fc.boolean(), allowRaw: fc.boolean() }),
);

const rewrite: fc.Arbitrary<RewriteSettings> = record<Omit<RewriteSettings, 'targetIp' | 'targetHost'>>({
  ...conditions,
  ports,
  pathPattern,
  targetPort: fc.constantFrom(null, 8443),
  targetScheme: fc.constantFrom(null, 'http' as const, 'https' as const),
  headers: fc.constantFrom([], [['x-proxy-source', 'a "b" \\']], [
    ['host', 'inner.example'],
    ['x-a', ''],
  ] as const),
  dropHeaders: fc.constantFrom([], ['x-drop', 'cookie']),
  insecure: fc.boolean(),
}).chain((rest) =>
  fc
    .constantFrom(
      { targetIp: '10.20.30.40', targetHost: null },
      { targetIp: null, targetHost: 'inner.example' },
      // Something it has to change.
      { targetIp: '2001:db8::9', targetHost: null },
    )
    .map((target) => ({ ...rest, ...target })),
);

export function egressSettings({ file, secret, authority }: EgressParts): fc.Arbitrary<EgressSettings> {
  const credential: fc.Arbitrary<CredentialSettings> = record({
    pattern,
    pathPattern,
    clients,
    header: fc.constantFrom('authorization', 'x-api-key'),
    prefix: fc.constantFrom('', 'Bearer '),
    secret,
  });
  const identity = fc.constantFrom<Omit<EgressClientSettings, 'name'>>(
    { password: null, secret: null, subject: 'CN=agent,O=Example' },
    { password: `scrypt$16384$8$1$${'a'.repeat(22)}$${'b'.repeat(43)}`, secret: null, subject: null },
  );
  const people = fc.tuple(identity, identity).map(([agent, ci]): EgressClientSettings[] => [
    { name: 'agent', ...agent },
    { name: 'ci', ...ci, subject: ci.subject === null ? null : 'CN=ci' },
  ]);
  const parent: fc.Arbitrary<ParentProxySettings> = fc
    .tuple(
      record({
        patterns: fc.uniqueArray(pattern, { minLength: 1, maxLength: 2 }),
        kind: fc.constantFrom('http' as const, 'socks5' as const),
        host: fc.constantFrom('proxy.example', '192.0.2.9', '2001:db8::2'),
        port: fc.integer({ min: 1, max: 65_535 }),
        trustDns: fc.boolean(),
      }),
      fc.boolean(),
      secret,
    )
    .map(([rest, isNamed, password]) => ({
      ...rest,
      username: isNamed ? 'user' : null,
      password: isNamed ? password : null,
    }));
  return record<EgressSettings>({
    defaultPolicy: fc.constantFrom('ALLOW' as const, 'BLOCK' as const),
    mode,
    whitelist: fc.array(whitelist, { maxLength: 3 }),
    blacklist: fc.array(blacklist, { maxLength: 3 }),
    passthrough: fc.array(passthrough, { maxLength: 3 }),
    rewrites: fc.array(rewrite, { maxLength: 3 }),
    credentials: fc.array(credential, { maxLength: 2 }),
    clients: people,
    allowedClients: fc.constantFrom(egressDefaults.allowedClients, ['10.0.0.0/8'], []),
    connectPorts: fc.constantFrom(egressDefaults.connectPorts, [443, 8443]),
    deniedNetworks: fc.subarray(['198.51.100.0/24', '2001:db8:1::/48']),
    parents: fc.array(parent, { maxLength: 2 }),
    noProxy: fc.uniqueArray(pattern, { maxLength: 2 }),
    authority,
    outgoing: record({
      caBundle: fc.constantFrom(null, file),
      ca: fc.constantFrom(null, file),
      truststore: fc.constant(null),
      truststorePassword: fc.constant(null),
      crl: fc.constant(null),
      insecure: fc.boolean(),
    }),
    blockedLog: fc.constantFrom(null, '/var/log/blocked.log'),
  });
}
