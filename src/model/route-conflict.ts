/** What routes may not be beside each other, or on their listener: the rules that the file and the API share. */
import type { ListenerProtocol, RouteTlsSettings } from './http-settings.ts';
import type { RouteMode } from './settings.ts';

/** As much of a route as decides. */
export interface RouteIdentity {
  readonly pathPrefix: string;
  readonly mode: RouteMode;
  readonly tls: RouteTlsSettings | null;
}

/**
 * `same-path`: a request could take either. `l4-alone`: one of them relays TLS, so nobody would see the path the
 * other is chosen by. `tls-differs`: the handshake comes before the path, so both must end TLS the same way.
 */
export type RouteConflict = 'same-path' | 'l4-alone' | 'tls-differs';

/** Of two routes of one hostname on one listener; null when both may be there. */
export function conflictBetween(a: RouteIdentity, b: RouteIdentity): RouteConflict | null {
  if (a.pathPrefix === b.pathPrefix) return 'same-path';
  if (a.mode === 'l4' || b.mode === 'l4') return 'l4-alone';
  return sameTls(a.tls, b.tls) ? null : 'tls-differs';
}

/** `l4-plain`, `tls-plain`: there is no TLS to relay or to end. `tls-missing`: there is, and no certificate. */
export type ListenerConflict = 'l4-plain' | 'tls-plain' | 'tls-missing';

/** Of a route on a listener of that protocol; null when it may be there. */
export function conflictWithListener(
  protocol: ListenerProtocol,
  { mode, tls }: Pick<RouteIdentity, 'mode' | 'tls'>,
): ListenerConflict | null {
  if (protocol === 'http') return mode === 'l4' ? 'l4-plain' : tls === null ? null : 'tls-plain';
  return mode === 'l7' && tls === null ? 'tls-missing' : null;
}

export function sameTls(a: RouteTlsSettings | null, b: RouteTlsSettings | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.cert === b.cert &&
    a.key === b.key &&
    a.clientCa === b.clientCa &&
    a.clientAuth === b.clientAuth &&
    a.minVersion === b.minVersion
  );
}

/** Routes of one hostname on one listener: a request looks at each of them. */
export const routesPerHostnameMax = 1024;
