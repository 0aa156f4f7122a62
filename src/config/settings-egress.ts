/** The part of settings.ts for egress. */
import { assert } from '../core/errors.ts';
import type {
  AclRuleSettings,
  AuthoritySettings,
  EgressSettings,
  ParentProxySettings,
  RewriteSettings,
} from '../model/egress-settings.ts';
import { aclRuleDefaults } from '../model/egress-settings.ts';
import type { Values } from './schema.ts';

type Egress = NonNullable<Values['egress']>;
type AclRow = Egress['whitelist'][number] | Egress['blacklist'][number] | Egress['passthrough'][number];

/** Null: there is no such section. */
export function toEgress(egress: Values['egress']): EgressSettings | null {
  if (egress === null) return null;
  return {
    defaultPolicy: known(egress.default_policy),
    mode: known(egress.mode),
    whitelist: egress.whitelist.map(toAclRule),
    blacklist: egress.blacklist.map(toAclRule),
    passthrough: egress.passthrough.map(toAclRule),
    rewrites: egress.rewrites.map(toRewrite),
    credentials: egress.credentials.map((row) => ({
      pattern: known(row.pattern),
      pathPattern: known(row.path_pattern),
      clients: all(row.clients),
      header: known(row.header),
      prefix: known(row.prefix),
      secret: known(row.secret),
    })),
    clients: egress.clients.map((row) => ({
      name: known(row.name),
      password: known(row.password),
      secret: known(row.secret),
      subject: known(row.subject),
    })),
    allowedClients: unique(egress.allowed_clients),
    connectPorts: unique(egress.connect_ports),
    deniedNetworks: unique(egress.denied_networks),
    parents: egress.parents.map(toParent),
    noProxy: unique(egress.no_proxy),
    authority: toAuthority(egress),
    outgoing: {
      caBundle: known(egress.outgoing_ca_bundle),
      ca: known(egress.outgoing_ca),
      truststore: known(egress.outgoing_truststore),
      truststorePassword: known(egress.outgoing_truststore_password),
      crl: known(egress.outgoing_crl),
      insecure: known(egress.insecure_skip_verify),
    },
    blockedLog: known(egress.blocked_log),
  };
}

/** What an entry of one list does not have is as it is where nobody says it. */
function toAclRule(row: AclRow): AclRuleSettings {
  return {
    ...aclRuleDefaults,
    pattern: known(row.pattern),
    mode: known(row.mode),
    clients: all(row.clients),
    ...('methods' in row ? { methods: all(row.methods), pathPattern: known(row.path_pattern) } : {}),
    ...('ports' in row ? { ports: all(row.ports), allowPrivate: known(row.allow_private) } : {}),
    ...('allow_raw' in row ? { allowRaw: known(row.allow_raw) } : {}),
  };
}

function toRewrite(row: Egress['rewrites'][number]): RewriteSettings {
  return {
    pattern: known(row.pattern),
    mode: known(row.mode),
    clients: all(row.clients),
    ports: all(row.ports),
    pathPattern: known(row.path_pattern),
    targetIp: known(row.target_ip),
    targetHost: known(row.target_host),
    targetPort: known(row.target_port),
    targetScheme: known(row.target_scheme),
    headers: row.headers.map(([name, value]) => [known(name), known(value)] as const),
    dropHeaders: all(row.drop_headers),
    insecure: known(row.insecure),
  };
}

function toParent(row: Egress['parents'][number]): ParentProxySettings {
  return {
    ...known(row.url),
    patterns: unique(row.patterns),
    password: known(row.password),
    trustDns: known(row.trust_dns),
  };
}

function toAuthority(egress: Egress): AuthoritySettings | null {
  const { mitm_cert: cert, mitm_key: key, mitm_keystore: path, mitm_keystore_password: password } = egress;
  if (typeof path === 'string') return { kind: 'keystore', path, password: known(password) };
  return typeof cert === 'string' && typeof key === 'string' ? { kind: 'pem', cert, key } : null;
}

function all<T>(list: readonly (T | undefined)[]): readonly T[] {
  return list.map(known);
}

function unique<T>(list: readonly (T | undefined)[]): readonly T[] {
  return [...new Set(list.map(known))];
}

/** A value that is not there was reported as an error, and then nobody comes here. */
function known<T>(value: T | undefined): T {
  assert(value !== undefined, 'a refused value reached the settings');
  return value;
}
