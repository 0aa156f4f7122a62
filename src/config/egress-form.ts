/**
 * The YAML form of egress alone: `proxy`, `rewrites`, `acl`, and the PROXY_ variables. The same settings come out of it
 * as of the project's own form; nothing behind knows which it was.
 *
 * `*.x` is a wildcard, an entry with one of `\ ^ $ * + ? ( ) [ ] { } |` a regular expression used as written, which may
 * match anywhere in the host unless it is tied, and all others are hosts.
 */
import type {
  AclRuleSettings,
  AuthoritySettings,
  EgressSettings,
  OutgoingTlsSettings,
  RewriteSettings,
} from '../model/egress-settings.ts';
import {
  aclEntriesMax,
  aclRuleDefaults,
  defaultPolicies,
  egressDefaults,
  rewriteDefaults,
  rewritesMax,
} from '../model/egress-settings.ts';
import type { SecretReference } from '../model/settings.ts';
import {
  aclPattern,
  headerTable,
  pathRegex,
  portNumber,
  secretText,
  truthValue,
  upperCase,
} from './egress-kinds.ts';
import { pathKey, type Environment, type Overlay } from './environment.ts';
import { filePath, headerName, hostName, ipAddress, oneOf } from './kinds.ts';
import { isTable } from './reader.ts';
import { schema } from './schema.ts';
import { list, optional, required, rows, section, setting } from './schema-nodes.ts';
import type { ReadFields } from './schema.ts';

export const egressForm = {
  proxy: section('The gateway.', {
    port: setting(portNumber(), '8080', 'Where clients connect, on every address.'),
    metrics_port: setting(
      portNumber(),
      '9090',
      'Where /metrics, /healthz and /readyz are, on every address.',
    ),
    default_policy: setting(upperCase(defaultPolicies), 'BLOCK', 'What becomes of hosts that no rule names.'),
    mitm_cert_path: optional(filePath(), 'The CA that signs for hosts, PEM, its chain after it.'),
    mitm_key_path: optional(filePath(), 'Its key.'),
    mitm_keystore_path: optional(filePath(), 'Both in a PKCS#12 keystore.'),
    mitm_keystore_password: optional(secretText(), 'What opens the keystore.'),
    outgoing_ca_bundle: optional(filePath(), "Certificates beside the system's that upstreams may chain to."),
    outgoing_ca: optional(filePath(), 'The same, by another name.'),
    outgoing_crl: optional(filePath(), 'Revocation lists, PEM.'),
    outgoing_truststore_path: optional(filePath(), "Certificates beside the system's, PKCS#12."),
    outgoing_truststore_password: optional(secretText(), 'What opens it.'),
    insecure_skip_verify: setting(truthValue(), false, 'Do not verify upstreams.'),
    blocked_log_path: optional(filePath(), 'JSON lines of what was refused.'),
  }),
  rewrites: rows(0, rewritesMax, 'Where requests for a host really go; the first that matches decides.', {
    domain: required(aclPattern(), 'The host that is asked for.'),
    target_ip: optional(ipAddress(), 'The address to connect to.'),
    target_host: optional(hostName(), 'The name to connect to.'),
    target_port: optional(portNumber(), 'The port to connect to.'),
    target_scheme: optional(oneOf(['http', 'https']), 'The scheme to speak.'),
    path_pattern: optional(pathRegex(), 'Only requests whose path matches.'),
    headers: optional(headerTable(), 'Headers to set.'),
    drop_headers: list(headerName(), 100, 'Headers to take out.'),
    insecure: setting(truthValue(), false, 'Do not verify the certificate.'),
  }),
  acl: section('Who may be reached.', {
    whitelist: list(aclPattern(), aclEntriesMax, 'Allowed.'),
    blacklist: list(aclPattern(), aclEntriesMax, 'Refused, whatever else is said.'),
    passthrough: list(aclPattern(), aclEntriesMax, 'Allowed, and never decrypted.'),
  }),
} as const;

export type EgressFormValues = ReadFields<typeof egressForm>;
type Proxy = EgressFormValues['proxy'];

/** A file with `proxy` is of this form, and so is one with only its other sections. */
export function isEgressForm(root: unknown): root is Record<string, unknown> {
  if (!isTable(root)) return false;
  if (Object.hasOwn(root, 'proxy')) return true;
  const isOwn = Object.keys(schema).some((name) => Object.hasOwn(root, name));
  return !isOwn && Object.keys(egressForm).some((name) => Object.hasOwn(root, name));
}

/** PROXY_PORT and its like, into `root`. An empty one leaves the setting out, as `""` does in the file. */
export function overlayProxy(root: Record<string, unknown>, environment: Environment): Overlay {
  const origins = new Map<string, string>();
  for (const name of overridable) {
    const variable = variableOf(name);
    const text = environment[variable];
    if (text === undefined) continue;
    root['proxy'] ??= {};
    if (!isTable(root['proxy'])) break;
    root['proxy'][name] = text;
    origins.set(pathKey(['proxy', name]), variable);
  }
  leaveOutEmpty(root['proxy']);
  if (Array.isArray(root['rewrites'])) root['rewrites'].forEach(leaveOutEmpty);
  return { findings: [], origins };
}

/** Settings that have a variable. */
export const overridable = [
  'port',
  'metrics_port',
  'default_policy',
  'mitm_cert_path',
  'mitm_key_path',
  'mitm_keystore_path',
  'mitm_keystore_password',
  'outgoing_ca_bundle',
  'outgoing_truststore_path',
  'outgoing_truststore_password',
  'insecure_skip_verify',
  'blocked_log_path',
] as const satisfies readonly (keyof Proxy)[];

export function variableOf(name: (typeof overridable)[number]): string {
  return `PROXY_${name.toUpperCase()}`;
}

function leaveOutEmpty(table: unknown): void {
  if (!isTable(table)) return;
  for (const [name, value] of Object.entries(table)) if (value === '') table[name] = null;
}

/** What the rest of the project's own form would say, for the parts of the process that this form does not name. */
export function ownFormOf({ proxy }: EgressFormValues): Record<string, unknown> {
  return {
    metrics: { addr: `:${proxy.metrics_port ?? 0}` },
    listeners: [{ addr: `:${proxy.port ?? 0}`, kind: 'egress' }],
    egress: {},
  };
}

/** Sections that PORTCULLIS_ variables may set beside a file of this form. */
export const processSections = {
  server: schema.server,
  http: schema.http,
  log: schema.log,
  admin: schema.admin,
  metrics: schema.metrics,
  tracing: schema.tracing,
  firewall: schema.firewall,
} as const;

/** Of values without an error. */
export function toEgressSettings(
  { proxy, rewrites, acl }: EgressFormValues,
  environment: Environment,
): EgressSettings {
  return {
    ...egressDefaults,
    defaultPolicy: proxy.default_policy ?? 'BLOCK',
    whitelist: acl.whitelist.map((pattern) => toRule(pattern!, true)),
    blacklist: acl.blacklist.map((pattern) => toRule(pattern!, false)),
    passthrough: acl.passthrough.map((pattern) => toRule(pattern!, true)),
    rewrites: rewrites.map(toRewrite),
    authority: toAuthority(proxy, environment),
    outgoing: toOutgoing(proxy, environment),
    blockedLog: proxy.blocked_log_path ?? null,
  };
}

/** In this form whoever is listed may be in one's own network. */
function toRule(pattern: string, allowPrivate: boolean): AclRuleSettings {
  return { ...aclRuleDefaults, pattern, allowPrivate };
}

function toRewrite(rewrite: EgressFormValues['rewrites'][number]): RewriteSettings {
  return {
    ...rewriteDefaults,
    pattern: rewrite.domain!,
    targetIp: rewrite.target_ip ?? null,
    targetHost: rewrite.target_host ?? null,
    targetPort: rewrite.target_port ?? null,
    targetScheme: rewrite.target_scheme ?? null,
    pathPattern: rewrite.path_pattern ?? null,
    headers: rewrite.headers ?? [],
    dropHeaders: rewrite.drop_headers.map((name) => name!),
    insecure: rewrite.insecure === true,
  };
}

function toAuthority(proxy: Proxy, environment: Environment): AuthoritySettings | null {
  const { mitm_cert_path: cert, mitm_key_path: key, mitm_keystore_path: path } = proxy;
  const password = secretOf('mitm_keystore_password', proxy, environment);
  if (typeof path === 'string') return { kind: 'keystore', path, password };
  return typeof cert === 'string' && typeof key === 'string' ? { kind: 'pem', cert, key } : null;
}

/** Beside the system's certificates, whatever the name says. */
function toOutgoing(proxy: Proxy, environment: Environment): OutgoingTlsSettings {
  return {
    caBundle: null,
    ca: proxy.outgoing_ca_bundle ?? proxy.outgoing_ca ?? null,
    truststore: proxy.outgoing_truststore_path ?? null,
    truststorePassword: secretOf('outgoing_truststore_password', proxy, environment),
    crl: proxy.outgoing_crl ?? null,
    insecure: proxy.insecure_skip_verify === true,
  };
}

/** A secret of the environment stays there; only its name goes on. */
function secretOf(
  name: 'mitm_keystore_password' | 'outgoing_truststore_password',
  proxy: Proxy,
  environment: Environment,
): SecretReference | null {
  const value = proxy[name];
  if (typeof value !== 'string') return null;
  const variable = variableOf(name);
  if (environment[variable] !== undefined) return `env:${variable}`;
  return value.startsWith('env:') ? value : `text:${value}`;
}
