/** Rules of listeners and their routes: one owner for each address and each name, and no open door for PROXY headers. */

import type { EndpointAddress, ListenAddress } from '../model/settings.ts';
import { containsHost, formatListenAddress, isLoopbackHost, overlap } from './address.ts';
import type { CheckContext, RawAt } from './check-context.ts';
import { formatPath, quote } from './problem.ts';
import type { Path } from './problem.ts';
import { checkDuplicates } from './report.ts';
import type { Report } from './report.ts';
import { checkModes, checkRoute } from './route-checks.ts';
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
  checkHostnames(listener, path, report);
  checkLoops(listener, path, report);
  checkUse(listener, path, rawAt, report);
  listener.routes.forEach((route, index) => checkRoute(route, [...path, 'routes', index], context));
  checkModes(listener.routes, [...path, 'routes'], report);
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

function checkHostnames({ routes }: Listener, path: Path, report: Report): void {
  if (new Set(routes.map(({ hostname }) => hostname)).size === routes.length) return;
  const seen = new Map<string, number>();
  routes.forEach(({ hostname }, index) => {
    if (hostname === undefined) return;
    const first = seen.get(hostname);
    if (first === undefined) {
      seen.set(hostname, index);
      return;
    }
    const expected = `a hostname that no other route of the listener has: ${formatPath([...path, 'routes', first])} has it`;
    report.error('hostname-duplicate', [...path, 'routes', index, 'hostname'], expected, quote(hostname));
  });
}

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
  if (listener.default_backend !== null || !Array.isArray(routes) || routes.length > 0) return;
  const expected = 'routes or a default_backend: as it is, every connection will be refused';
  report.warning('listener-useless', path, expected, 'neither');
}
