/** Rules of `[egress]` in the project's own form, and of the listeners that go by it. */
import { formatListenAddress, isLoopbackHost } from './address.ts';
import type { CheckContext } from './check-context.ts';
import { checkAuthority, checkLog, checkOutgoing, checkSecret } from './egress-file-checks.ts';
import { checkHeader, checkOpenEnds, checkRewrites, PatternIndex } from './egress-rule-checks.ts';
import { quote } from './problem.ts';
import type { Path } from './problem.ts';
import { checkDuplicates } from './report.ts';
import type { Report } from './report.ts';
import type { Values } from './schema.ts';
import { nearestName } from './suggestion.ts';

type Egress = NonNullable<Values['egress']>;
type Listener = Values['listeners'][number];
type AclRow = Egress['whitelist'][number] | Egress['blacklist'][number] | Egress['passthrough'][number];

const lists = ['whitelist', 'blacklist', 'passthrough'] as const;
const here: Path = ['egress'];

export function checkEgress(
  { egress, listeners }: Pick<Values, 'egress' | 'listeners'>,
  context: CheckContext,
): void {
  checkUse(egress, listeners, context.report);
  if (egress === null) return;
  checkEgressAlone(egress, context);
  checkDefault(egress, listeners, context.report);
}

/** What can be told without the listeners. */
export function checkEgressAlone(egress: Egress | null, context: CheckContext): void {
  if (egress === null) return;
  checkFiles(egress, context);
  checkLists(egress, context.report);
  checkRewrites(
    egress.rewrites.map((rewrite) => ({
      ...rewrite,
      isForAll: rewrite.clients.length === 0 && rewrite.mode === 'enforce',
    })),
    [...here, 'rewrites'],
    context,
  );
  checkCredentials(egress, context);
  checkClients(egress, context);
  checkNames(egress, context.report);
  checkParents(egress, context);
  checkSight(egress, context.report);
  checkDoor(egress, context.report);
}

function checkUse(egress: Egress | null, listeners: readonly Listener[], report: Report): void {
  const index = listeners.findIndex(({ kind }) => kind === 'egress');
  if (egress === null && index >= 0) {
    const expected = '[egress] beside it, which says what may leave';
    report.error('egress-missing', ['listeners', index, 'kind'], expected, 'none');
  }
  if (egress === null || index >= 0) return;
  report.warning('egress-unused', here, 'a listener with kind = "egress" beside it', 'none');
}

function checkFiles(egress: Egress, context: CheckContext): void {
  const named = <K extends keyof Egress>(name: K): { name: K; value: Egress[K] } => ({
    name,
    value: egress[name],
  });
  checkAuthority(
    {
      cert: named('mitm_cert'),
      key: named('mitm_key'),
      keystore: named('mitm_keystore'),
      password: named('mitm_keystore_password'),
    },
    here,
    context,
  );
  checkOutgoing(
    {
      certificates: [named('outgoing_ca_bundle'), named('outgoing_ca')],
      truststore: named('outgoing_truststore'),
      password: named('outgoing_truststore_password'),
      crl: named('outgoing_crl'),
      insecure: named('insecure_skip_verify'),
    },
    here,
    context,
  );
  for (const { name, value } of [named('mitm_keystore_password'), named('outgoing_truststore_password')]) {
    checkSecret(value, [...here, name], context);
  }
  checkLog(egress.blocked_log, [...here, 'blocked_log'], context);
}

function checkLists(egress: Egress, report: Report): void {
  for (const name of lists) {
    const rules = egress[name];
    checkTwice(rules, [...here, name], report);
    if (name === 'blacklist') continue;
    checkOpenEnds(
      rules.map(({ pattern }) => pattern),
      (index) => [...here, name, index, 'pattern'],
      report,
    );
  }
  const refused = new Set(egress.blacklist.filter(isPlain).map(({ pattern }) => pattern));
  for (const name of ['whitelist', 'passthrough'] as const) {
    egress[name].forEach(({ pattern }, index) => {
      if (pattern === undefined || !refused.has(pattern)) return;
      const expected = 'a pattern that blacklist does not name too: what it names stays refused';
      report.warning('rule-conflict', [...here, name, index, 'pattern'], expected, quote(pattern));
    });
  }
  checkDuplicates(egress.no_proxy, [...here, 'no_proxy'], report);
  checkDuplicates(egress.allowed_clients, [...here, 'allowed_clients'], report);
  checkDuplicates(egress.denied_networks, [...here, 'denied_networks'], report);
}

/** Refuses without looking at anything but the host. */
function isPlain(rule: Egress['blacklist'][number]): boolean {
  const { mode, methods, path_pattern: path, clients } = rule;
  return mode === 'enforce' && path === null && methods.length + clients.length === 0;
}

function checkTwice(rules: readonly AclRow[], path: Path, report: Report): void {
  const seen = new Map<string, number>();
  rules.forEach((rule, index) => {
    if (rule.pattern === undefined) return;
    const key = JSON.stringify(rule);
    const first = seen.get(key);
    if (first === undefined) seen.set(key, index);
    else {
      const expected = `each entry once, and [${first}] is the same`;
      report.warning('list-duplicate', [...path, index], expected, quote(rule.pattern));
    }
  });
}

function checkCredentials({ credentials, rewrites }: Egress, context: CheckContext): void {
  const { report } = context;
  const inClear = new PatternIndex();
  rewrites.forEach(({ target_scheme: scheme, pattern, mode }, index) => {
    if (scheme === 'http' && mode === 'enforce' && pattern !== undefined) inClear.add(pattern, index);
  });
  credentials.forEach((credential, index) => {
    const path = [...here, 'credentials', index];
    const { pattern, header, secret } = credential;
    checkHeader(header, [...path, 'header'], report);
    checkSecret(secret, [...path, 'secret'], context);
    if (pattern === undefined) return;
    const rewrite = inClear.meeting(pattern);
    if (rewrite === undefined) return;
    const expected =
      `no rewrite to target_scheme = "http" for its hosts, and rewrites[${rewrite}] is one: a ` +
      'secret is never sent in clear';
    report.error('credential-clear', [...path, 'pattern'], expected, quote(pattern));
  });
}

function checkClients({ clients }: Egress, context: CheckContext): void {
  const { report } = context;
  for (const name of ['name', 'subject'] as const) {
    const seen = new Map<string, number>();
    clients.forEach((client, index) => {
      const value = client[name];
      if (typeof value !== 'string') return;
      const first = seen.get(value);
      if (first === undefined) seen.set(value, index);
      else {
        const expected = `another ${name} than every other client's, and [${first}] has the same`;
        report.error('client-duplicate', [...here, 'clients', index, name], expected, quote(value));
      }
    });
  }
  clients.forEach(({ password, secret, subject }, index) => {
    const path = [...here, 'clients', index];
    checkSecret(secret, [...path, 'secret'], context);
    if (password !== null || secret !== null || subject !== null) return;
    const expected = 'password, secret or subject beside its name: as it is, he can not show who he is';
    report.error('client-unknown', path, expected, 'none');
  });
}

/** A slip is looked for among so many clients; with more, many slips would take hours. */
const namesComparedMax = 1000;

/** A rule for a client that nobody is would never hold, and a refusal that never holds is a hole. */
function checkNames(egress: Egress, report: Report): void {
  const known = new Set(egress.clients.map(({ name }) => name).filter((name) => name !== undefined));
  for (const section of [...lists, 'rewrites', 'credentials'] as const) {
    egress[section].forEach(({ clients }, index) => {
      clients.forEach((name, at) => {
        if (name === undefined || known.has(name)) return;
        const nearest = known.size > namesComparedMax ? null : nearestName(name, known);
        report.error(
          'client-unknown',
          [...here, section, index, 'clients', at],
          'the name of one of [[egress.clients]]',
          quote(name),
          nearest === null ? null : quote(nearest),
        );
      });
    });
  }
}

function checkParents({ parents }: Egress, context: CheckContext): void {
  const { report } = context;
  parents.forEach(({ patterns, url, password, trust_dns: trustsDns }, index) => {
    const path = [...here, 'parents', index];
    if (patterns.length === 0) {
      const expected = 'at least one pattern, such as "~." for every host';
      report.error('key-missing', [...path, 'patterns'], expected, 'none');
    }
    checkSecret(password, [...path, 'password'], context);
    if (url !== undefined && url.username === null && password !== null) {
      const expected = 'a user in url, whose password it is: "http://user@host:port"';
      report.error('option-unused', [...path, 'password'], expected, 'none');
    }
    if (trustsDns !== true) return;
    const expected = 'false: as it is, nobody judges the addresses that names lead to';
    report.warning('egress-open', [...path, 'trust_dns'], expected, 'true');
  });
}

/** Without a CA nobody looks into HTTPS, so what rules say of requests holds for plain HTTP alone. */
function checkSight(egress: Egress, report: Report): void {
  if (egress.mitm_cert !== null || egress.mitm_keystore !== null) return;
  const expected = 'mitm_cert and mitm_key, or mitm_keystore, in [egress]: without, HTTPS is not looked into';
  const warn = (section: string, index: number, name: string): void =>
    report.warning('mitm-missing', [...here, section, index, name], expected, 'none');
  for (const section of ['whitelist', 'blacklist'] as const) {
    egress[section].forEach(({ methods, path_pattern: pathPattern }, index) => {
      if (pathPattern !== null) warn(section, index, 'path_pattern');
      else if (methods.length > 0) warn(section, index, 'methods');
    });
  }
  egress.rewrites.forEach(({ path_pattern: pathPattern, headers, drop_headers: dropped }, index) => {
    if (pathPattern !== null) warn('rewrites', index, 'path_pattern');
    else if (headers.length > 0) warn('rewrites', index, 'headers');
    else if (dropped.length > 0) warn('rewrites', index, 'drop_headers');
  });
  egress.credentials.forEach((_, index) => warn('credentials', index, 'header'));
}

function checkDoor(egress: Egress, report: Report): void {
  egress.allowed_clients.forEach((network, index) => {
    if (network === undefined || !network.endsWith('/0')) return;
    const expected = 'the networks of your own clients: as it is, the proxy serves everybody who reaches it';
    report.warning('egress-open', [...here, 'allowed_clients', index], expected, quote(network));
  });
}

/** What is reached when nobody said anything, and from where. */
function checkDefault(egress: Egress, listeners: readonly Listener[], report: Report): void {
  const open = listeners.find(
    ({ kind, addr }) => kind === 'egress' && addr !== undefined && !isLoopbackHost(addr.host),
  );
  if (egress.default_policy !== 'ALLOW' || open === undefined) return;
  const address = quote(formatListenAddress(open.addr!));
  const expected = `"BLOCK" and a whitelist: others than this machine reach ${address}, and may reach everything`;
  report.warning('egress-open', [...here, 'default_policy'], expected, '"ALLOW"');
}

/** What of a listener's settings says something on one kind only, and what it is where nobody says it. */
const kindDefaults = {
  ingress: { protocol: 'tls', redirect_https: false, trusted_proxies: [], default_backend: null, routes: [] },
  egress: { tls_cert: null, tls_key: null, client_ca: null, client_auth: 'none', tls_min_version: '1.2' },
} as const;

/** Nothing of the other kind; a default that is spelt out, as the admin API does, says nothing. */
export function checkKind(listener: Listener, path: Path, { rawAt, report }: CheckContext): void {
  const isEgress = listener.kind === 'egress';
  const foreign: object = isEgress ? kindDefaults.ingress : kindDefaults.egress;
  for (const [name, fallback] of Object.entries(foreign)) {
    const value: unknown = listener[name as keyof Listener];
    const isEmpty = Array.isArray(value) && value.length === 0;
    if (value === undefined || value === fallback || isEmpty) continue;
    const expected = isEgress
      ? 'none on a listener with kind = "egress", which goes by [egress]'
      : 'kind = "egress" beside it: on "ingress" each route has its own';
    const found = isEgress ? quote(rawAt([...path, name])) : '"ingress"';
    report.error('listener-kind', [...path, name], expected, found);
  }
}
