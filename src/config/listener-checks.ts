/** Rules of listeners and their routes: one owner for each address and each name, and no open door for PROXY headers. */

import { formatEndpoint } from '../model/endpoint.ts';
import type { EndpointAddress, ListenAddress } from '../model/settings.ts';
import { containsHost, formatListenAddress, isLoopbackHost, overlap } from './address.ts';
import { checkPair } from './certificates.ts';
import type { CheckContext, RawAt } from './check-context.ts';
import { checkKind } from './egress-checks.ts';
import { checkHostnames } from './hostname-checks.ts';
import { parsedOf } from './policy-values.ts';
import { formatPath, quote } from './problem.ts';
import type { Path } from './problem.ts';
import { checkDuplicates } from './report.ts';
import type { Report } from './report.ts';
import { checkClientAuth, checkRoute } from './route-checks.ts';
import type { Values } from './schema.ts';

type Listener = Values['listeners'][number];

export function checkListeners({ listeners }: Pick<Values, 'listeners'>, context: CheckContext): void {
  checkAddresses(listeners, context.report);
  listeners.forEach((listener, index) => checkListener(listener, ['listeners', index], context));
}

/** All that concerns one listener alone. */
export function checkListener(listener: Listener, path: Path, context: CheckContext): void {
  const { rawAt, report } = context;
  checkProxyProtocol(listener, path, rawAt, report);
  checkDuplicates(listener.proxy_protocol_from, [...path, 'proxy_protocol_from'], report);
  checkKind(listener, path, context);
  if (listener.kind === 'egress') return checkOwnTls(listener, path, context);
  checkProtocol(listener, path, report);
  checkTrust(listener, path, report);
  checkHostnames(listener.routes, [...path, 'routes'], report);
  checkLoops(listener, path, report);
  checkUse(listener, path, rawAt, report);
  const { protocol } = listener;
  listener.routes.forEach((route, index) => checkRoute(route, [...path, 'routes', index], context, protocol));
}

/** Of an egress listener, which may end the TLS of its clients itself. */
function checkOwnTls(listener: Listener, path: Path, context: CheckContext): void {
  const { tls_cert: cert, tls_key: key } = listener;
  const missing = (['tls_cert', 'tls_key'] as const).filter((name) => listener[name] === null);
  if (missing.length === 1) {
    const present = cert === null ? 'tls_key' : 'tls_cert';
    context.report.error('tls-missing', [...path, present], `${missing[0]!} beside it`, 'none');
  }
  checkPair({ tls_cert: cert, tls_key: key }, path, context);
  checkClientAuth(listener, path, context, missing.length === 2);
}

interface Placed {
  readonly address: ListenAddress;
  readonly path: Path;
}

function checkAddresses(listeners: readonly Listener[], report: Report): void {
  const byPort = new Map<number, Placed[]>();
  listeners.forEach(({ addr: address }, index) => {
    if (address === undefined) return;
    const placed = { address, path: ['listeners', index, 'addr'] };
    const others = byPort.get(address.port) ?? [];
    const clash = others.find((other) => overlap(other.address, address));
    if (clash !== undefined) reportClash(clash, placed, report);
    byPort.set(address.port, [...others, placed]);
  });
}

function reportClash(first: Placed, second: Placed, report: Report): void {
  const other = `${formatPath(first.path)} is ${quote(formatListenAddress(first.address))}`;
  const found = quote(formatListenAddress(second.address));
  if (first.address.host === second.address.host) {
    report.error('listener-duplicate', second.path, `an address that no other listener has: ${other}`, found);
  } else {
    const expected = `an address apart from every other listener's: ${other}, and one of the two contains the other`;
    report.error('listener-overlap', second.path, expected, found);
  }
}

function checkProxyProtocol(listener: Listener, path: Path, rawAt: RawAt, report: Report): void {
  const { addr, proxy_protocol: isDemanded, proxy_protocol_from: senders } = listener;
  const sendersPath = [...path, 'proxy_protocol_from'];
  if (isDemanded === false && senders.length > 0) {
    report.warning('proxy-protocol-unused', sendersPath, 'proxy_protocol = true beside it', 'false');
  }
  const rawSenders = rawAt(sendersPath) ?? [];
  const isSendersRefused = !Array.isArray(rawSenders) || rawSenders.length !== senders.length;
  if (isDemanded !== true || senders.length > 0 || isSendersRefused) return;
  if (addr === undefined || isLoopbackHost(addr.host)) return;
  const expected =
    'proxy_protocol_from beside it, with the networks of the proxies in front: without it anybody who ' +
    `reaches ${quote(formatListenAddress(addr))} could claim any client address`;
  report.error('proxy-protocol-open', [...path, 'proxy_protocol'], expected, 'none');
}

/** What plain HTTP needs, and what it makes useless. */
function checkProtocol(listener: Listener, path: Path, report: Report): void {
  const { protocol, routes, redirect_https: redirects, default_backend: fallback } = listener;
  if (protocol === 'tls' && redirects === true) {
    const expected = 'protocol = "http" or "auto" beside it: as it is, nobody without TLS is answered';
    report.error('redirect-unused', [...path, 'redirect_https'], expected, '"tls"');
  }
  if (protocol !== 'http') return;
  routes.forEach(({ mode }, index) => {
    if (mode !== 'l4') return;
    const expected = 'mode = "l7": the listener has protocol = "http", so there is no TLS to relay';
    report.error('mode-misplaced', [...path, 'routes', index, 'mode'], expected, '"l4"');
  });
  if (fallback !== null && fallback !== undefined) {
    const expected = 'none on a listener with protocol = "http": it relays TLS as it is, and there is none';
    report.error('mode-misplaced', [...path, 'default_backend'], expected, quote(formatEndpoint(fallback)));
  }
  if (redirects !== true || routes.length === 0) return;
  const expected =
    'no routes beside it: with protocol = "http" every request is redirected, and none is routed';
  report.warning('redirect-unused', [...path, 'redirect_https'], expected, 'true');
}

function checkTrust(listener: Listener, path: Path, report: Report): void {
  const { trusted_proxies: trusted, routes } = listener;
  checkDuplicates(trusted, [...path, 'trusted_proxies'], report);
  trusted.forEach((network, index) => {
    if (network === undefined || !network.endsWith('/0')) return;
    const expected = 'the networks of the proxies in front: as it is, every client may claim any address';
    report.warning('proxies-all', [...path, 'trusted_proxies', index], expected, quote(network));
  });
  if (trusted.length > 0) return;
  routes.forEach(({ policies }, route) => {
    policies.forEach((policy, index) => {
      if (policy.type !== 'rate_limit') return;
      const parsed = parsedOf(policy);
      if (parsed?.type !== 'rate_limit' || parsed.header === null || !forgeable.has(parsed.header)) return;
      const expected =
        'trusted_proxies on the listener: as it is, every client writes this header as it likes';
      const here = [...path, 'routes', route, 'policies', index, 'value'];
      report.warning('rate-key-forged', here, expected, quote(policy.value));
    });
  });
}

/** Headers by which proxies in front name the client. */
const forgeable: ReadonlySet<string> = new Set(['forwarded', 'x-forwarded-for', 'x-real-ip']);

function checkLoops({ addr, default_backend: fallback, routes }: Listener, path: Path, report: Report): void {
  if (addr === undefined) return;
  const check = (backend: EndpointAddress | null | undefined, where: Path): void => {
    if (!backend || !reaches(backend, addr)) return;
    const expected =
      'another address than the one the listener itself has: connections would go round in a circle';
    report.warning('backend-loop', [...path, ...where], expected, quote(formatListenAddress(addr)));
  };
  check(fallback, ['default_backend']);
  routes.forEach(({ backend }, index) => check(backend, ['routes', index, 'backend']));
}

/** As far as it can be told without asking DNS or the interfaces. */
function reaches(backend: EndpointAddress, { host, port }: ListenAddress): boolean {
  if (backend.kind !== 'tcp' || backend.port !== port) return false;
  if (backend.host === 'localhost') return isLoopbackHost(host) || containsHost(host, '127.0.0.1');
  return backend.host === host || (isLoopbackHost(backend.host) && containsHost(host, backend.host));
}

function checkUse(listener: Listener, path: Path, rawAt: RawAt, report: Report): void {
  const routes = rawAt([...path, 'routes']) ?? [];
  if (
    listener.default_backend !== null ||
    listener.redirect_https === true ||
    !Array.isArray(routes) ||
    routes.length > 0
  )
    return;
  const expected = 'routes or a default_backend: as it is, every connection will be refused';
  report.warning('listener-useless', path, expected, 'neither');
}
