/**
 * Egress settings as the project's own form writes them: the keys of section `[egress]`, what has its default left
 * out. The admin API answers it, and a file that holds it gives the same settings again.
 */
import {
  aclRuleDefaults,
  egressDefaults,
  rewriteDefaults,
  type AclRuleSettings,
  type AuthoritySettings,
  type CredentialSettings,
  type EgressClientSettings,
  type EgressSettings,
  type OutgoingTlsSettings,
  type ParentProxySettings,
  type RewriteSettings,
} from './egress-settings.ts';
import type { SecretReference } from './settings.ts';

export type Written =
  | string
  | number
  | boolean
  | readonly Written[]
  /** A section, or a row. */
  | { readonly [name: string]: Written };
export type WrittenTable = { readonly [name: string]: Written };

export function writeEgress(settings: EgressSettings): WrittenTable {
  return table({
    default_policy: changed(settings.defaultPolicy, egressDefaults.defaultPolicy),
    mode: changed(settings.mode, egressDefaults.mode),
    ...authority(settings.authority),
    ...outgoing(settings.outgoing),
    blocked_log: settings.blockedLog,
    allowed_clients: changedList(settings.allowedClients, egressDefaults.allowedClients),
    connect_ports: changedList(settings.connectPorts, egressDefaults.connectPorts),
    denied_networks: filled(settings.deniedNetworks),
    no_proxy: filled(settings.noProxy),
    whitelist: filled(settings.whitelist.map(aclRule)),
    blacklist: filled(settings.blacklist.map(aclRule)),
    passthrough: filled(settings.passthrough.map(aclRule)),
    rewrites: filled(settings.rewrites.map(rewrite)),
    credentials: filled(settings.credentials.map(credential)),
    clients: filled(settings.clients.map(client)),
    parents: filled(settings.parents.map(parent)),
  });
}

/** A rule that asks for nothing but its host is written as the pattern alone. */
export function aclRule(rule: AclRuleSettings): Written {
  const { pattern, ...rest } = rule;
  const written = table({
    mode: changed(rest.mode, aclRuleDefaults.mode),
    methods: filled(rest.methods),
    path_pattern: rest.pathPattern,
    clients: filled(rest.clients),
    ports: filled(rest.ports),
    allow_private: rest.allowPrivate || null,
    allow_raw: rest.allowRaw || null,
  });
  return Object.keys(written).length === 0 ? pattern : { pattern, ...written };
}

export function rewrite(rule: RewriteSettings): WrittenTable {
  return table({
    pattern: rule.pattern,
    target_ip: rule.targetIp,
    target_host: rule.targetHost,
    target_port: rule.targetPort,
    target_scheme: rule.targetScheme,
    path_pattern: rule.pathPattern,
    headers: rule.headers.length === 0 ? null : Object.fromEntries(rule.headers),
    drop_headers: filled(rule.dropHeaders),
    insecure: rule.insecure || null,
    mode: changed(rule.mode, rewriteDefaults.mode),
    clients: filled(rule.clients),
    ports: filled(rule.ports),
  });
}

function credential(rule: CredentialSettings): WrittenTable {
  return table({
    pattern: rule.pattern,
    path_pattern: rule.pathPattern,
    clients: filled(rule.clients),
    header: changed(rule.header, 'authorization'),
    prefix: changed(rule.prefix, ''),
    secret: reference(rule.secret),
  });
}

function client({ name, password, secret, subject }: EgressClientSettings): WrittenTable {
  return table({ name, password, secret: reference(secret), subject });
}

function parent({
  patterns,
  kind,
  host,
  port,
  username,
  password,
  trustDns,
}: ParentProxySettings): WrittenTable {
  const user = username === null ? '' : `${encodeURIComponent(username)}@`;
  const address = host.includes(':') ? `[${host}]` : host;
  return table({
    patterns,
    url: `${kind}://${user}${address}:${port}`,
    password: reference(password),
    trust_dns: trustDns || null,
  });
}

function authority(settings: AuthoritySettings | null): Optional {
  if (settings === null) return {};
  if (settings.kind === 'pem') return { mitm_cert: settings.cert, mitm_key: reference(settings.key) };
  return { mitm_keystore: settings.path, mitm_keystore_password: reference(settings.password) };
}

function outgoing(settings: OutgoingTlsSettings): Optional {
  return {
    outgoing_ca_bundle: settings.caBundle,
    outgoing_ca: settings.ca,
    outgoing_truststore: settings.truststore,
    outgoing_truststore_password: reference(settings.truststorePassword),
    outgoing_crl: settings.crl,
    insecure_skip_verify: settings.insecure || null,
  };
}

/** A secret that stands in the settings themselves, as only the YAML form has them, is shown to nobody. */
function reference(secret: SecretReference | null): string | null {
  return secret?.startsWith('text:') === true ? 'text:' : secret;
}

/** Null is left out. */
type Optional = { readonly [name: string]: Written | null };

function table(fields: Optional): WrittenTable {
  const written: Record<string, Written> = {};
  for (const [name, value] of Object.entries(fields)) if (value !== null) written[name] = value;
  return written;
}

function changed<T extends string>(value: T, fallback: T): T | null {
  return value === fallback ? null : value;
}

/** An empty list says something where the default is none. */
function changedList<T extends string | number>(
  list: readonly T[],
  fallback: readonly T[],
): readonly T[] | null {
  const isDefault = list.length === fallback.length && list.every((item, index) => item === fallback[index]);
  return isDefault ? null : list;
}

function filled<T extends Written>(list: readonly T[]): readonly T[] | null {
  return list.length === 0 ? null : list;
}
