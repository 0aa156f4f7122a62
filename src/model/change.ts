/**
 * Changes, row by row: how one version of the configuration becomes the next.
 *
 * A change is plain data: it crosses threads and is what a store keeps. Applying changes copies paths, never
 * tables, so an edit costs the same with a hundred thousand routes as with one, and a connection that still
 * holds the old snapshot is not disturbed. The GeoIP path of the settings belongs to whoever reads the file, so
 * diffTraffic leaves it out; the reader adds a `geoip-set`. The egress settings are one document, set as a whole.
 */

import { assert } from '../core/errors.ts';
import type { EgressSettings } from './egress-settings.ts';
import { HostTable } from './host-table.ts';
import { withoutRoute, withRoute, type RouteGroup } from './route-group.ts';
import { prepareRoute } from './route.ts';
import { firewallRuleId, routeKey, type FirewallRuleType } from './rule-id.ts';
import type {
  FirewallSettings,
  ListenerSettings,
  RateLimitSettings,
  RouteSettings,
  TrafficSettings,
} from './settings.ts';
import {
  type FirewallSnapshot,
  type ListenerOptions,
  type ListenerSnapshot,
  prepareListener,
  prepareRateLimit,
  readCidr,
  type Snapshot,
  withBlocked,
  withoutBlocked,
} from './snapshot.ts';

export interface FirewallRule {
  readonly type: FirewallRuleType;
  /** Canonical: an IP literal, a CIDR with host bits zero, or an upper-case ISO 3166-1 alpha-2 code. */
  readonly value: string;
}

export type Change =
  /** Adds a listener, or sets all options of one; its routes stay. */
  | { readonly kind: 'listener-put'; readonly listener: ListenerOptions }
  /** Its routes go with it. */
  | { readonly kind: 'listener-remove'; readonly listener: string }
  | { readonly kind: 'max-connections-set'; readonly listener: string; readonly maxConnections: number }
  | { readonly kind: 'route-put'; readonly listener: string; readonly route: RouteSettings }
  | {
      readonly kind: 'route-remove';
      readonly listener: string;
      readonly hostname: string;
      readonly pathPrefix: string;
    }
  | { readonly kind: 'firewall-put'; readonly rule: FirewallRule }
  | { readonly kind: 'firewall-remove'; readonly rule: FirewallRule }
  | { readonly kind: 'exempt-put'; readonly cidr: string }
  | { readonly kind: 'exempt-remove'; readonly cidr: string }
  | { readonly kind: 'rate-limit-set'; readonly rateLimit: RateLimitSettings | null }
  | { readonly kind: 'geoip-set'; readonly database: SharedArrayBuffer | null }
  | { readonly kind: 'egress-set'; readonly egress: EgressSettings | null };

/** What turns `before` into `after`, removals first; empty when nothing differs. */
export function diffTraffic(before: TrafficSettings, after: TrafficSettings): Change[] {
  return [
    ...diffListeners(before.listeners, after.listeners),
    ...diffFirewall(before.firewall, after.firewall),
    ...diffEgress(before.egress, after.egress),
  ];
}

/**
 * The snapshot after the changes, in their order. What is put may exist, what is removed may be absent; only a
 * change to a listener that does not exist is a fault of the caller.
 */
export function applyChanges(snapshot: Snapshot, version: number, changes: readonly Change[]): Snapshot {
  const listeners = new Map(snapshot.listeners);
  let { egress, firewall } = snapshot;
  for (const change of changes) {
    switch (change.kind) {
      case 'listener-put': {
        const { name } = change.listener;
        const routes = listeners.get(name)?.routes ?? HostTable.empty<RouteGroup>(snapshot.hashSeed);
        listeners.set(name, prepareListener(change.listener, routes));
        break;
      }
      case 'listener-remove':
        listeners.delete(change.listener);
        break;
      case 'max-connections-set':
      case 'route-put':
      case 'route-remove': {
        const listener = listeners.get(change.listener);
        assert(listener !== undefined, `a change names the listener ${change.listener}, which is not there`);
        listeners.set(change.listener, changeListener(listener, change));
        break;
      }
      case 'egress-set':
        egress = change.egress;
        break;
      default:
        firewall = changeFirewall(firewall, change);
    }
  }
  return { ...snapshot, version, listeners, firewall, egress };
}

type OnListener = Extract<Change, { kind: 'max-connections-set' | 'route-put' | 'route-remove' }>;
type OnFirewall = Exclude<Change, OnListener | { kind: 'listener-put' | 'listener-remove' | 'egress-set' }>;

function changeListener(listener: ListenerSnapshot, change: OnListener): ListenerSnapshot {
  switch (change.kind) {
    case 'max-connections-set':
      return { ...listener, settings: { ...listener.settings, maxConnections: change.maxConnections } };
    case 'route-put': {
      const { hostname } = change.route;
      const group = withRoute(
        listener.routes.getPattern(hostname),
        prepareRoute(change.listener, change.route),
      );
      return { ...listener, routes: listener.routes.with(hostname, group) };
    }
    case 'route-remove': {
      const { hostname, pathPrefix } = change;
      const group = listener.routes.getPattern(hostname);
      if (group === undefined) return listener;
      const rest = withoutRoute(group, pathPrefix);
      const { routes } = listener;
      return {
        ...listener,
        routes: rest === undefined ? routes.without(hostname) : routes.with(hostname, rest),
      };
    }
  }
}

function changeFirewall(firewall: FirewallSnapshot, change: OnFirewall): FirewallSnapshot {
  switch (change.kind) {
    case 'firewall-put':
      return putRule(firewall, change.rule);
    case 'firewall-remove':
      return removeRule(firewall, change.rule);
    case 'exempt-put':
      return { ...firewall, rateLimitExempt: firewall.rateLimitExempt.with(readCidr(change.cidr), true) };
    case 'exempt-remove':
      return { ...firewall, rateLimitExempt: firewall.rateLimitExempt.without(readCidr(change.cidr)) };
    case 'rate-limit-set':
      return { ...firewall, rateLimit: prepareRateLimit(change.rateLimit) };
    case 'geoip-set':
      return { ...firewall, geoip: change.database };
  }
}

function putRule(firewall: FirewallSnapshot, { type, value }: FirewallRule): FirewallSnapshot {
  if (type !== 'country') return { ...firewall, blocked: withBlocked(firewall.blocked, type, value) };
  // A few hundred countries exist: copying is cheap.
  const countries = new Map(firewall.countries).set(value, firewallRuleId('country', value));
  return { ...firewall, countries };
}

function removeRule(firewall: FirewallSnapshot, { type, value }: FirewallRule): FirewallSnapshot {
  if (type !== 'country') return { ...firewall, blocked: withoutBlocked(firewall.blocked, type, value) };
  const countries = new Map(firewall.countries);
  countries.delete(value);
  return { ...firewall, countries };
}

function diffListeners(before: readonly ListenerSettings[], after: readonly ListenerSettings[]): Change[] {
  const changes: Change[] = [];
  const old = new Map(before.map((listener) => [listener.name, listener]));
  const kept = new Set(after.map((listener) => listener.name));
  for (const listener of old.keys()) {
    if (!kept.has(listener)) changes.push({ kind: 'listener-remove', listener });
  }
  for (const listener of after) changes.push(...diffListener(old.get(listener.name), listener));
  return changes;
}

function diffListener(before: ListenerSettings | undefined, after: ListenerSettings): Change[] {
  const { routes, ...options } = after;
  const changes: Change[] = [];
  if (before === undefined) {
    changes.push({ kind: 'listener-put', listener: options });
  } else {
    const { routes: _, ...oldOptions } = before;
    const { name, maxConnections } = after;
    if (!sameData({ ...oldOptions, maxConnections }, options)) {
      changes.push({ kind: 'listener-put', listener: options });
    } else if (before.maxConnections !== maxConnections) {
      changes.push({ kind: 'max-connections-set', listener: name, maxConnections });
    }
  }
  return changes.concat(diffRoutes(after.name, before?.routes ?? [], routes));
}

function diffRoutes(
  listener: string,
  before: readonly RouteSettings[],
  after: readonly RouteSettings[],
): Change[] {
  const changes: Change[] = [];
  const old = new Map(before.map((route) => [routeKey(route), route]));
  const kept = new Set(after.map(routeKey));
  for (const [key, { hostname, pathPrefix }] of old) {
    if (!kept.has(key)) changes.push({ kind: 'route-remove', listener, hostname, pathPrefix });
  }
  for (const route of after) {
    if (!sameData(old.get(routeKey(route)), route)) changes.push({ kind: 'route-put', listener, route });
  }
  return changes;
}

function diffFirewall(before: FirewallSettings, after: FirewallSettings): Change[] {
  const changes: Change[] = [
    ...diffRules('ip', before.blockedIps, after.blockedIps),
    ...diffRules('cidr', before.blockedCidrs, after.blockedCidrs),
    ...diffRules('country', before.blockedCountries, after.blockedCountries),
  ];
  const exempt = diffSets(before.rateLimitExempt, after.rateLimitExempt);
  for (const cidr of exempt.removed) changes.push({ kind: 'exempt-remove', cidr });
  for (const cidr of exempt.added) changes.push({ kind: 'exempt-put', cidr });
  if (!sameData(before.rateLimit, after.rateLimit)) {
    changes.push({ kind: 'rate-limit-set', rateLimit: after.rateLimit });
  }
  return changes;
}

function diffEgress(before: EgressSettings | null, after: EgressSettings | null): Change[] {
  return sameData(before, after) ? [] : [{ kind: 'egress-set', egress: after }];
}

function diffRules(type: FirewallRuleType, before: readonly string[], after: readonly string[]): Change[] {
  const { removed, added } = diffSets(before, after);
  return [
    ...removed.map((value): Change => ({ kind: 'firewall-remove', rule: { type, value } })),
    ...added.map((value): Change => ({ kind: 'firewall-put', rule: { type, value } })),
  ];
}

function diffSets(
  before: readonly string[],
  after: readonly string[],
): { removed: string[]; added: string[] } {
  const old = new Set(before);
  const now = new Set(after);
  return {
    removed: [...old].filter((item) => !now.has(item)),
    added: [...now].filter((item) => !old.has(item)),
  };
}

/** Equality of plain data: what JSON can say. */
function sameData(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [left, right] = [Object.entries(a), Object.entries(b)];
  return (
    left.length === right.length &&
    left.every(
      ([key, value]) => Object.hasOwn(b, key) && sameData(value, (b as Record<string, unknown>)[key]),
    )
  );
}
