/**
 * The YAML form of egress alone: `proxy`, `rewrites`, `acl`, and the PROXY_ variables. The same settings come out of it
 * as of the project's own form; nothing behind knows which it was.
 */

import { addressText, isFraming } from './egress-words.ts';
import type {
  AclRuleSettings,
  AuthoritySettings,
  EgressSettings,
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
import type { CheckContext } from './check-context.ts';
import { checkCertificates } from './certificates.ts';
import { aclPattern, headerTable, pathRegex, portNumber, upperCase } from './egress-kinds.ts';
import { pathKey, type Environment, type Overlay } from './environment.ts';
import { readFault } from './files.ts';
import { boolean, filePath, headerName, hostName, ipAddress, line, oneOf } from './kinds.ts';
import { quote } from './problem.ts';
import { isTable } from './reader.ts';
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
    mitm_keystore_password: optional(line(1024), 'What opens the keystore.'),
    outgoing_ca_bundle: optional(
      filePath(),
      'Certificates that upstreams must chain to, in the place of the system’s.',
    ),
    outgoing_ca: optional(filePath(), 'Certificates beside the system’s.'),
    outgoing_crl: optional(filePath(), 'Revocation lists, PEM.'),
    outgoing_truststore_path: optional(filePath(), 'Certificates beside the system’s, PKCS#12.'),
    outgoing_truststore_password: optional(line(1024), 'What opens it.'),
    insecure_skip_verify: setting(boolean(), false, 'Do not verify upstreams.'),
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
    insecure: setting(boolean(), false, 'Do not verify the certificate.'),
  }),
  acl: section('Who may be reached.', {
    whitelist: list(aclPattern(), aclEntriesMax, 'Allowed.'),
    blacklist: list(aclPattern(), aclEntriesMax, 'Refused, whatever else is said.'),
    passthrough: list(aclPattern(), aclEntriesMax, 'Allowed, and never decrypted.'),
  }),
} as const;

export type EgressFormValues = ReadFields<typeof egressForm>;

/** A file of this form names one of its sections, and none of the project's own. */
export function isEgressForm(root: unknown): root is Record<string, unknown> {
  if (!isTable(root) || Object.hasOwn(root, 'listeners')) return false;
  return Object.keys(egressForm).some((name) => Object.hasOwn(root, name));
}

/** PROXY_PORT and its like, into `root`. An empty one leaves the setting out. */
export function overlayProxy(root: Record<string, unknown>, environment: Environment): Overlay {
  const origins = new Map<string, string>();
  for (const [name, node] of Object.entries(egressForm.proxy.fields)) {
    const variable = `PROXY_${name.toUpperCase()}`;
    const text = environment[variable];
    if (text === undefined || !overridable.has(name)) continue;
    if (!isTable(root['proxy'])) root['proxy'] = {};
    (root['proxy'] as Record<string, unknown>)[name] = text === '' ? null : node.kind.fromText(text);
    origins.set(pathKey(['proxy', name]), variable);
  }
  // The file writes "" for what it leaves out.
  if (isTable(root['proxy'])) {
    for (const [name, value] of Object.entries(root['proxy'])) if (value === '') root['proxy'][name] = null;
  }
  return { findings: [], origins };
}

const overridable: ReadonlySet<string> = new Set(
  Object.keys(egressForm.proxy.fields).filter((name) => name !== 'outgoing_ca' && name !== 'outgoing_crl'),
);

// --- checks ---

export function checkEgressForm(values: EgressFormValues, context: CheckContext): void {
  checkAuthority(values.proxy, context);
  checkFiles(values.proxy, context);
  checkPorts(values.proxy, context);
  values.rewrites.forEach((rewrite, index) => checkRewrite(rewrite, index, context));
  for (const name of ['whitelist', 'passthrough'] as const) {
    values.acl[name].forEach((pattern, index) => {
      if (pattern === undefined || !pattern.startsWith('~') || /[^\\](?:\\\\)*\$\)*$/.test(pattern)) return;
      const expected =
        'an expression that ends in "$": without it, it also allows what merely begins like it';
      context.report.warning('pattern-open', ['acl', name, index], expected, quote(pattern.slice(1)));
    });
  }
}

type Proxy = EgressFormValues['proxy'];

function checkAuthority(proxy: Proxy, context: CheckContext): void {
  const { mitm_cert_path: cert, mitm_key_path: key, mitm_keystore_path: keystore } = proxy;
  const { report, certificates } = context;
  const at = (name: keyof Proxy): (string | number)[] => ['proxy', name];
  if (cert !== null && key === null)
    report.error('tls-missing', at('mitm_cert_path'), 'mitm_key_path beside it', 'none');
  if (key !== null && cert === null)
    report.error('tls-missing', at('mitm_key_path'), 'mitm_cert_path beside it', 'none');
  if (keystore !== null && (cert !== null || key !== null)) {
    report.error('tls-unused', at('mitm_keystore_path'), 'either a keystore or PEM files', 'both');
  }
  if (proxy.mitm_keystore_password !== null && keystore === null) {
    report.warning('tls-unused', at('mitm_keystore_password'), 'mitm_keystore_path beside it', 'none');
  }
  if (typeof cert !== 'string') return;
  checkCertificates(cert, at('mitm_cert_path'), context);
  if (typeof key === 'string' && !certificates.isPair(cert, key)) {
    const expected = 'the key of the first certificate in mitm_cert_path';
    report.error(
      'certificate-mismatch',
      at('mitm_key_path'),
      expected,
      `${quote(key)}, which is the key of another`,
    );
  }
}

function checkFiles(proxy: Proxy, context: CheckContext): void {
  for (const name of ['outgoing_ca_bundle', 'outgoing_ca'] as const) {
    const path = proxy[name];
    if (typeof path === 'string') checkCertificates(path, ['proxy', name], context);
  }
  for (const name of [
    'mitm_key_path',
    'mitm_keystore_path',
    'outgoing_truststore_path',
    'outgoing_crl',
  ] as const) {
    const path = proxy[name];
    const fault = typeof path === 'string' ? readFault(path) : undefined;
    if (fault === undefined) continue;
    context.report.error(
      'file-unreadable',
      ['proxy', name],
      'a file that can be read',
      `${quote(path)}: ${fault}`,
    );
  }
  if (proxy.insecure_skip_verify === true) {
    const expected = 'false: with true anybody on the way can read and change what is sent';
    context.report.warning('egress-insecure', ['proxy', 'insecure_skip_verify'], expected, 'true');
  }
}

function checkPorts({ port, metrics_port: metricsPort }: Proxy, { report }: CheckContext): void {
  if (port === undefined || port !== metricsPort) return;
  report.error(
    'listener-duplicate',
    ['proxy', 'metrics_port'],
    'another port than that of clients',
    String(port),
  );
}

function checkRewrite(
  rewrite: EgressFormValues['rewrites'][number],
  index: number,
  { report }: CheckContext,
): void {
  const { target_ip: ip, target_host: host, headers, drop_headers: dropped } = rewrite;
  if (typeof ip === 'string' && typeof host === 'string') {
    report.error(
      'rewrite-conflict',
      ['rewrites', index, 'target_host'],
      'either target_ip or target_host',
      'both',
    );
  }
  for (const [name] of headers ?? []) {
    if (!isFraming(name)) continue;
    const expected = 'no header that frames a message or names the connection';
    report.error('header-reserved', ['rewrites', index, 'headers', name], expected, quote(name));
  }
  const { target_port: port, target_scheme: scheme } = rewrite;
  // A value that was refused was meant to change something.
  const isIdle = [ip, host, port, scheme].every((target) => target === null);
  if (isIdle && (headers ?? []).length === 0 && dropped.length === 0 && rewrite.insecure === false) {
    const expected = 'something that changes: target_ip, target_host, target_port, target_scheme, headers';
    report.warning('rewrite-useless', ['rewrites', index], expected, 'none');
  }
}

// --- settings ---

/** What the process's own sections are to this form, as the project's schema reads them. */
export function processOf({ proxy }: EgressFormValues): Record<string, unknown> {
  return { metrics: { addr: addressText(proxy.metrics_port ?? 0) }, listeners: [] };
}

export function toEgressSettings(
  { proxy, rewrites, acl }: EgressFormValues,
  environment: Environment,
): EgressSettings {
  const secretOf = (name: 'mitm_keystore_password' | 'outgoing_truststore_password'): string | null => {
    const value = proxy[name];
    if (typeof value !== 'string') return null;
    const variable = `PROXY_${name.toUpperCase()}`;
    return (environment[variable] ?? '') === '' ? `text:${value}` : `env:${variable}`;
  };
  return {
    ...egressDefaults,
    defaultPolicy: proxy.default_policy ?? 'BLOCK',
    whitelist: acl.whitelist.map((pattern) => toRule(pattern!, true)),
    blacklist: acl.blacklist.map((pattern) => toRule(pattern!, false)),
    passthrough: acl.passthrough.map((pattern) => toRule(pattern!, true)),
    rewrites: rewrites.map(toRewrite),
    authority: toAuthority(proxy, secretOf('mitm_keystore_password')),
    outgoing: {
      caBundle: proxy.outgoing_ca_bundle ?? null,
      ca: proxy.outgoing_ca ?? null,
      truststore: proxy.outgoing_truststore_path ?? null,
      truststorePassword: secretOf('outgoing_truststore_password'),
      crl: proxy.outgoing_crl ?? null,
      insecure: proxy.insecure_skip_verify === true,
    },
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
    dropHeaders: rewrite.drop_headers.map((name) => name!.toLowerCase()),
    insecure: rewrite.insecure === true,
  };
}

function toAuthority(proxy: Proxy, password: string | null): AuthoritySettings | null {
  const { mitm_cert_path: cert, mitm_key_path: key, mitm_keystore_path: path } = proxy;
  if (typeof path === 'string') return { kind: 'keystore', path, password };
  return typeof cert === 'string' && typeof key === 'string' ? { kind: 'pem', cert, key } : null;
}
