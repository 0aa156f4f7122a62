/**
 * Which route a request takes. The one place that decides it: the data path and `explain` both ask here.
 *
 * A TLS connection was let in under the rules of one hostname. A request on it may name another (browsers reuse a
 * connection when the certificate covers both), and is served when that host's rules would have let the same
 * handshake in; otherwise the client is told to open a connection of its own (421, RFC 9110 §15.5.20). The rules are
 * those of now: a connection let in under ones that have changed since is told the same.
 */
import { normaliseHostname } from '../core/hostname.ts';
import type { Reason } from '../core/reason.ts';
import type { RouteTlsSettings } from '../model/http-settings.ts';
import { matchPath, type RouteGroup } from '../model/route-group.ts';
import type { ListenerSnapshot, Route } from '../model/snapshot.ts';

/** What the handshake settled: the rules it was let in under. Null on plain connections. */
export interface HandshakeFacts {
  readonly tls: RouteTlsSettings;
}

/** The group of the host a request names, or why there is none that it may have. */
export function chooseGroup(
  listener: ListenerSnapshot,
  handshake: HandshakeFacts | null,
  host: string | undefined,
): RouteGroup | Reason {
  const group = host === undefined ? undefined : listener.routes.get(host);
  if (group === undefined) return 'no-route';
  if (handshake === null) {
    // Plain connections show no certificate, whatever the listener takes beside them.
    return group.mode === 'l7' && group.tls?.clientAuth !== 'require' ? group : 'misdirected';
  }
  return group.tls !== null && hasSamePolicy(group.tls, handshake.tls) ? group : 'misdirected';
}

/** The route of a group that a path lies below. */
export function chooseByPath(group: RouteGroup, path: string): Route | Reason {
  return matchPath(group, path) ?? 'no-route';
}

/** The host of an authority, normalised, without its port; undefined for what no route can name. */
export function hostOf(authority: string): string | undefined {
  const colon = authority.lastIndexOf(':');
  return normaliseHostname(colon < 0 ? authority : authority.slice(0, colon));
}

/** Whether two hosts let the same clients in: the certificate they show may differ, whom they ask for may not. */
function hasSamePolicy(a: RouteTlsSettings, b: RouteTlsSettings): boolean {
  return (
    a === b || (a.clientAuth === b.clientAuth && a.clientCa === b.clientCa && a.minVersion === b.minVersion)
  );
}
