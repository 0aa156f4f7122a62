/** Rules among the routes of one hostname: each path once, one way to end TLS, and l4 alone. */

import { conflictBetween, routesPerHostnameMax } from '../model/route-conflict.ts';
import type { RouteIdentity } from '../model/route-conflict.ts';
import { formatPath, quote } from './problem.ts';
import type { Path } from './problem.ts';
import type { Report } from './report.ts';
import type { RouteValues } from './route-checks.ts';
import { tlsOf } from './settings.ts';

interface Placed {
  readonly route: RouteValues;
  readonly path: Path;
}

/** `path` is that of the routes. */
export function checkHostnames(routes: readonly RouteValues[], path: Path, report: Report): void {
  if (new Set(routes.map(({ hostname }) => hostname)).size === routes.length) return;
  const groups = new Map<string, Placed[]>();
  routes.forEach((route, index) => {
    if (route.hostname === undefined) return;
    const placed = { route, path: [...path, index] };
    const group = groups.get(route.hostname);
    if (group === undefined) groups.set(route.hostname, [placed]);
    else group.push(placed);
  });
  for (const group of groups.values()) checkGroup(group, report);
}

/** Each route is held against the first that has its path, and against the first of all. */
function checkGroup([first, ...others]: readonly Placed[], report: Report): void {
  if (others.length === 0) return;
  if (others.length >= routesPerHostnameMax) {
    const expected = `at most ${routesPerHostnameMax} routes of one hostname`;
    report.error('hostname-crowded', first!.path, expected, `${others.length + 1}`);
    return;
  }
  const byPath = new Map([[first!.route.path_prefix ?? '', first!]]);
  for (const placed of others) {
    const prefix = placed.route.path_prefix ?? '';
    const same = placed.route.path_prefix === undefined ? undefined : byPath.get(prefix);
    if (same === undefined) byPath.set(prefix, placed);
    checkTwo(same ?? first!, placed, report);
  }
}

function checkTwo(first: Placed, second: Placed, report: Report): void {
  const [a, b] = [identityOf(first.route), identityOf(second.route)];
  if (a === undefined || b === undefined) return;
  const other = formatPath(first.path);
  switch (conflictBetween(a, b)) {
    case 'same-path': {
      const expected = `a hostname that no other route of the listener has: ${other} has it`;
      const [name, value] =
        b.pathPrefix === '' ? ['hostname', second.route.hostname] : ['path_prefix', second.route.path_prefix];
      report.error('hostname-duplicate', [...second.path, name!], expected, quote(value));
      break;
    }
    case 'l4-alone': {
      const expected = `a hostname of its own for a route of mode l4, which sees no path: ${other} has this one too`;
      report.error('hostname-mixed', [...second.path, 'hostname'], expected, quote(second.route.hostname));
      break;
    }
    case 'tls-differs': {
      const name = differing(first.route, second.route);
      const expected =
        `the ${name} of ${other}, which has the same hostname: TLS is ended before the path is known, and there ` +
        `it is ${quote(first.route[name])}`;
      report.error('tls-conflict', [...second.path, name], expected, quote(second.route[name]));
      break;
    }
    case null:
      break;
  }
}

/** Undefined where a part of it was refused, which has been reported. */
function identityOf(route: RouteValues): RouteIdentity | undefined {
  const { mode, path_prefix: pathPrefix } = route;
  if (mode === undefined || pathPrefix === undefined || tlsNames.some((name) => route[name] === undefined)) {
    return undefined;
  }
  return { mode, pathPrefix: pathPrefix ?? '', tls: tlsOf(route) };
}

const tlsNames = ['tls_cert', 'tls_key', 'client_ca', 'client_auth', 'tls_min_version'] as const;

function differing(a: RouteValues, b: RouteValues): (typeof tlsNames)[number] {
  return tlsNames.find((name) => a[name] !== b[name]) ?? 'tls_cert';
}
