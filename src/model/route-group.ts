/**
 * The routes of one hostname: what a listener's table holds. A handshake decides by the hostname alone, so the group
 * carries the mode and the TLS settings that its routes share; a request then chooses among them by its path.
 */
import type { RouteTlsSettings } from './http-settings.ts';
import { isBelow, isPlainPath, lenientPath, normalisePath } from './path-prefix.ts';
import { prepareRoute, type Route } from './route.ts';
import type { RouteMode, RouteSettings } from './settings.ts';

export interface RouteGroup {
  /** The pattern. */
  readonly hostname: string;
  readonly mode: RouteMode;
  /** Null for l4, and on listeners without TLS. */
  readonly tls: RouteTlsSettings | null;
  /** The longest path prefix first; exactly one, without a prefix, for l4. */
  readonly routes: readonly [Route, ...Route[]];
}

/**
 * The route of the longest prefix that the path lies below, or undefined. The path is a request's, with or without
 * its query. One that a backend could read differently, so that another route would have been right, has none:
 * `/x%2F..%2Fadmin` where `/admin` has a route of its own.
 */
export function matchPath({ routes }: RouteGroup, path: string): Route | undefined {
  if (routes.length === 1 && routes[0].pathPrefix === '') return routes[0];
  if (isPlainPath(path)) return firstAbove(routes, path);
  const route = firstAbove(routes, normalisePath(path));
  return firstAbove(routes, lenientPath(path)) === route ? route : undefined;
}

/** Of each hostname the routes that it has. Of routes with the same prefix the last one stays. */
export function groupRoutes(listener: string, settings: readonly RouteSettings[]): [string, RouteGroup][] {
  const groups = new Map<string, RouteSettings[]>();
  for (const route of settings) {
    const others = groups.get(route.hostname);
    if (others === undefined) groups.set(route.hostname, [route]);
    else others.push(route);
  }
  return [...groups].map(([hostname, routes]) => {
    const unique = new Map(routes.map((route) => [route.pathPrefix, prepareRoute(listener, route)]));
    return [hostname, makeGroup(hostname, [...unique.values()])!];
  });
}

/** The group with one more route, or with that one in the place of the one that had its prefix. */
export function withRoute(
  group: RouteGroup | undefined,
  route: Route & { readonly hostname: string },
): RouteGroup {
  const others = (group?.routes ?? []).filter(({ pathPrefix }) => pathPrefix !== route.pathPrefix);
  return makeGroup(route.hostname, [...others, route])!;
}

/** Undefined when that was the last route. */
export function withoutRoute(group: RouteGroup, pathPrefix: string): RouteGroup | undefined {
  return makeGroup(
    group.hostname,
    group.routes.filter((route) => route.pathPrefix !== pathPrefix),
  );
}

/**
 * Mode and TLS settings are taken from the shortest prefix. Between the changes of one transaction a group may hold
 * routes that disagree; after the last of them none does.
 */
function makeGroup(hostname: string, routes: Route[]): RouteGroup | undefined {
  routes.sort(byPrefix);
  const last = routes.at(-1);
  if (last === undefined) return undefined;
  return { hostname, mode: last.mode, tls: last.tls, routes: routes as [Route, ...Route[]] };
}

/** Prefixes of the same length never match the same path; the order is only there to be the same every time. */
function byPrefix(a: Route, b: Route): number {
  if (a.pathPrefix.length !== b.pathPrefix.length) return b.pathPrefix.length - a.pathPrefix.length;
  return a.pathPrefix < b.pathPrefix ? -1 : 1;
}

function firstAbove(routes: readonly Route[], path: string): Route | undefined {
  for (const route of routes) if (isBelow(path, route.pathPrefix)) return route;
  return undefined;
}
