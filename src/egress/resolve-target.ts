/** From a target to the addresses that may be dialled: resolved once, each judged, in the resolver's order. */
import { formatIp, parseIp, type IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import type { Network } from '../net/network.ts';
import type { ResolveResult } from '../net/resolver.ts';
import type { Denial, GuardLevel, NetworkGuard } from './network-guard.ts';

/** Where a connection is to lead. */
export interface Destination {
  /** Canonical: a name or an address without brackets. */
  readonly host: string;
  readonly port: number;
  readonly level: GuardLevel;
}

export interface JudgedObserver {
  /** At least one literal. */
  onJudged(addresses: readonly string[]): void;
  onUnresolved(reason: Reason, detail: string): void;
}

/** Addresses of one name that are tried; what DNS adds beyond is left out. */
const addressesMax = 16;

/** Calls back exactly once, perhaps before it returns. The observer must not throw. */
export function resolveJudged(
  network: Network,
  guard: NetworkGuard,
  destination: Destination,
  timeoutMs: number,
  observer: JudgedObserver,
): void {
  const { host } = destination;
  const ip = parseIp(host);
  if (ip !== undefined) return judgeAll([ip], guard, destination, observer);
  const nowMs = network.refresh();
  const known = network.resolver.peek(host, nowMs);
  if (known !== undefined) return judgeAll(parseAll(known), guard, destination, observer);
  network.resolver.resolve(host, nowMs, timeoutMs, (result: ResolveResult) => {
    if (result.kind === 'failed') return observer.onUnresolved(result.reason, 'DNS');
    judgeAll(parseAll(result.addresses), guard, destination, observer);
  });
}

/** One denied address among good ones is left out; when none is left, the first denial says why. */
function judgeAll(
  addresses: readonly IpAddress[],
  guard: NetworkGuard,
  { port, level }: Destination,
  observer: JudgedObserver,
): void {
  const allowed: string[] = [];
  let denial: Denial | null = null;
  for (const ip of addresses) {
    const denied = guard.judge(ip, port, level);
    if (denied === null) allowed.push(formatIp(ip));
    else denial ??= denied;
  }
  if (allowed.length > 0) observer.onJudged(allowed);
  else if (denial !== null) observer.onUnresolved('address-denied', denial);
  else observer.onUnresolved('name-not-found', 'DNS');
}

function parseAll(texts: readonly string[]): IpAddress[] {
  const addresses: IpAddress[] = [];
  for (const text of texts.slice(0, addressesMax)) {
    const ip = parseIp(text);
    if (ip !== undefined) addresses.push(ip);
  }
  return addresses;
}
