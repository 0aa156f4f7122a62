/**
 * Calls about routes and policies as row changes. Each plan is made when it is its change's turn, on the state that
 * it will change, and refuses with a `ControlError` what does not fit that state.
 */
import { ControlError, type PolicyInput, type RouteInput, type RouteName } from '../admin/control.ts';
import { readPolicy, readRoute } from '../config/rows.ts';
import { formatHostPattern, parseHostPattern } from '../core/hostname.ts';
import { canonicalPrefix } from '../model/path-prefix.ts';
import {
  conflictBetween,
  conflictWithListener,
  routesPerHostnameMax,
  sameTls,
  type ListenerConflict,
} from '../model/route-conflict.ts';
import { routeRuleId } from '../model/rule-id.ts';
import {
  policiesPerRouteMax,
  routesPerListenerMax,
  type PolicySettings,
  type RouteSettings,
} from '../model/settings.ts';
import type { ListenerOptions } from '../model/snapshot.ts';
import type { StoredChange } from '../store/store.ts';
import { checked, refuseOver } from './control-checks.ts';
import { fileRoute } from './control-input.ts';
import type { TrafficState } from './traffic-state.ts';

/** Makes the changes of one call, on the listener as it is by then. */
export type RoutePlan = (state: TrafficState, listener: ListenerOptions) => readonly StoredChange[];

export function planAddRoute(input: RouteInput): RoutePlan {
  const route = checked(readRoute(fileRoute(input), null), 'route');
  return (state, listener) => {
    const { name } = listener;
    const siblings = state.routesOf(name, route.hostname);
    refuseMisfit(listener, siblings, route);
    refuseOver(state.routeCount(name), routesPerListenerMax, 'routes on a listener');
    refuseOver(siblings.length, routesPerHostnameMax, 'routes of a hostname');
    return [{ kind: 'route-put', listener: name, route }];
  };
}

/**
 * Routes of one hostname end TLS the same way, so an update of how applies to all of them: otherwise no call could
 * give two routes another certificate.
 */
export function planUpdateRoute(input: RouteInput): RoutePlan {
  const wanted = checked(readRoute(fileRoute(input), null), 'route');
  return (state, listener) => {
    const { name } = listener;
    const present = findRoute(state, name, wanted);
    const route = input.policies === undefined ? { ...wanted, policies: present.policies } : wanted;
    const siblings = state
      .routesOf(name, route.hostname)
      .filter((other) => other.pathPrefix !== route.pathPrefix);
    const moved = siblings
      .filter(({ tls }) => !sameTls(tls, route.tls))
      .map((other): RouteSettings => ({ ...other, tls: route.tls }));
    const unmoved = siblings.filter(({ tls }) => sameTls(tls, route.tls));
    refuseMisfit(listener, [...moved, ...unmoved], route);
    return [route, ...moved].map((each): StoredChange => ({
      kind: 'route-put',
      listener: name,
      route: each,
    }));
  };
}

export function planRemoveRoute(named: RouteName): RoutePlan {
  return (state, { name }) => {
    const { hostname, pathPrefix } = findRoute(state, name, named);
    return [{ kind: 'route-remove', listener: name, hostname, pathPrefix }];
  };
}

export function planAddPolicy(named: RouteName, input: PolicyInput): RoutePlan {
  const policy = checked(readPolicy(input), 'policy');
  return (state, { name }) => {
    const route = findRoute(state, name, named);
    if (route.policies.some((other) => samePolicy(other, policy))) {
      throw new ControlError('already-exists', 'the route has this policy already', 'policy');
    }
    refuseOver(route.policies.length, policiesPerRouteMax, 'policies on a route');
    const policies = [...route.policies, policy];
    return [{ kind: 'route-put', listener: name, route: { ...route, policies } }];
  };
}

export function planRemovePolicy(named: RouteName, input: PolicyInput): RoutePlan {
  const policy = checked(readPolicy(input), 'policy');
  return (state, { name }) => {
    const route = findRoute(state, name, named);
    const policies = route.policies.filter((other) => !samePolicy(other, policy));
    if (policies.length === route.policies.length) {
      throw new ControlError('not-found', 'the route has no such policy', 'policy');
    }
    return [{ kind: 'route-put', listener: name, route: { ...route, policies } }];
  };
}

/** By hostname and path prefix, in any spelling of the two. */
export function findRoute(
  state: TrafficState,
  listener: string,
  { hostname, pathPrefix = '' }: RouteName,
): RouteSettings {
  const pattern = parseHostPattern(hostname);
  const name = pattern.kind === 'refused' ? hostname : formatHostPattern(pattern);
  const prefix = canonicalPrefix(pathPrefix);
  const route = state.route(listener, name, prefix);
  if (route !== undefined) return route;
  const others = state.routesOf(listener, name).map((each) => each.pathPrefix || '/');
  const hint = others.length === 0 ? '' : `; it has ${others.slice(0, 8).join(', ')}`;
  const text = `listener ${listener} has no route for ${name}${prefix}${hint}`;
  throw new ControlError('not-found', text, others.length === 0 ? 'hostname' : 'path_prefix');
}

function refuseMisfit(
  { name, protocol }: ListenerOptions,
  siblings: readonly RouteSettings[],
  route: RouteSettings,
): void {
  const misfit = conflictWithListener(protocol, route);
  if (misfit !== null) {
    const { text, field } = misfits[misfit];
    throw new ControlError('invalid-argument', `${text}: listener ${name} has protocol ${protocol}`, field);
  }
  for (const sibling of siblings) {
    const conflict = conflictBetween(route, sibling);
    if (conflict === null) continue;
    const id = routeRuleId(name, sibling.hostname, sibling.pathPrefix);
    switch (conflict) {
      case 'same-path':
        throw new ControlError('already-exists', `${id} exists already`, 'route.hostname');
      case 'l4-alone': {
        const text = `a hostname with a route of mode l4 has no other route, and there is ${id}`;
        throw new ControlError('invalid-argument', text, 'route.mode');
      }
      case 'tls-differs': {
        const text = `routes of one hostname end TLS the same way, and ${id} does otherwise`;
        throw new ControlError('invalid-argument', text, 'route.tls_cert');
      }
    }
  }
}

const misfits: Record<ListenerConflict, { readonly text: string; readonly field: string }> = {
  'l4-plain': { text: 'a route of mode l4 relays TLS, and there is none', field: 'route.mode' },
  'tls-plain': { text: 'there is no TLS to end', field: 'route.tls_cert' },
  'tls-missing': { text: 'a route of mode l7 needs tls_cert and tls_key', field: 'route.tls_cert' },
};

function samePolicy(a: PolicySettings, b: PolicySettings): boolean {
  return a.type === b.type && a.value === b.value;
}
