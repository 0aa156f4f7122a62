/** How a route is named on the command line: `app.example.com`, or `app.example.com/api` with its path prefix. */

import { canonicalPrefix } from '../model/path-prefix.ts';

export const routeArgument = [
  '<route>',
  'app.example.com, or *.example.com for every name below; app.example.com/api for a path',
] as const;

export interface NamedRoute {
  readonly hostname: string;
  /** Canonical but for what only a server knows to refuse. */
  readonly pathPrefix: string;
}

export function parseRouteName(text: string): NamedRoute {
  const slash = text.indexOf('/');
  if (slash < 0) return { hostname: text, pathPrefix: '' };
  return { hostname: text.slice(0, slash), pathPrefix: canonicalPrefix(text.slice(slash)) };
}

export function isRoute(route: NamedRoute, { hostname, pathPrefix }: NamedRoute): boolean {
  return route.hostname === hostname.toLowerCase() && route.pathPrefix === pathPrefix;
}
