/**
 * The traffic settings as the supervisor keeps them: rows in maps, so that a change touches its row alone, and
 * plain settings for whoever wants all of them (a new worker, GetConfig), made when asked for.
 */
import { assert } from '../core/errors.ts';
import { diffTraffic } from '../model/change.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import { routeKey, type FirewallRuleType } from '../model/rule-id.ts';
import type {
  FirewallSettings,
  ListenerSettings,
  RateLimitSettings,
  RouteSettings,
  TrafficSettings,
} from '../model/settings.ts';
import type { ListenerOptions } from '../model/snapshot.ts';
import type { StoredChange } from '../store/store.ts';

interface ListenerRows {
  options: ListenerOptions;
  /** By routeKey. */
  readonly routes: Map<string, RouteSettings>;
  /** The path prefixes of each hostname, without the empty one that nearly every route has. */
  readonly prefixes: Map<string, Set<string>>;
}

export class TrafficState {
  #listeners = new Map<string, ListenerRows>();
  readonly #rules: Record<FirewallRuleType, Set<string>>;
  readonly #exempt: Set<string>;
  #rateLimit: RateLimitSettings | null;
  #geoipDatabase: string | null;
  #egress: EgressSettings | null;
  #settings: TrafficSettings | null;

  constructor(settings: TrafficSettings) {
    const { firewall } = settings;
    for (const { routes, ...options } of settings.listeners) {
      const rows: ListenerRows = { options, routes: new Map(), prefixes: new Map() };
      for (const route of routes) putRoute(rows, route);
      this.#listeners.set(options.name, rows);
    }
    this.#rules = {
      ip: new Set(firewall.blockedIps),
      cidr: new Set(firewall.blockedCidrs),
      country: new Set(firewall.blockedCountries),
    };
    this.#exempt = new Set(firewall.rateLimitExempt);
    this.#rateLimit = firewall.rateLimit;
    this.#geoipDatabase = firewall.geoipDatabase;
    this.#egress = settings.egress;
    this.#settings = settings;
  }

  /** All of it, as plain data. The same object until the next change. */
  get settings(): TrafficSettings {
    return (this.#settings ??= {
      listeners: this.#listenerSettings(),
      firewall: this.#firewallSettings(),
      egress: this.#egress,
    });
  }

  get rateLimit(): RateLimitSettings | null {
    return this.#rateLimit;
  }

  get geoipDatabase(): string | null {
    return this.#geoipDatabase;
  }

  get egress(): EgressSettings | null {
    return this.#egress;
  }

  get listenerNames(): readonly string[] {
    return [...this.#listeners.keys()];
  }

  listener(name: string): ListenerOptions | undefined {
    return this.#listeners.get(name)?.options;
  }

  /** With its routes. */
  listenerSettings(name: string): ListenerSettings {
    const { options, routes } = this.#rows(name);
    return { ...options, routes: [...routes.values()] };
  }

  routeCount(listener: string): number {
    return this.#listeners.get(listener)?.routes.size ?? 0;
  }

  route(listener: string, hostname: string, pathPrefix: string): RouteSettings | undefined {
    return this.#listeners.get(listener)?.routes.get(routeKey({ hostname, pathPrefix }));
  }

  /** Every route of the hostname. */
  routesOf(listener: string, hostname: string): RouteSettings[] {
    const rows = this.#listeners.get(listener);
    const prefixes = ['', ...(rows?.prefixes.get(hostname) ?? [])];
    const routes = prefixes.map((pathPrefix) => rows?.routes.get(routeKey({ hostname, pathPrefix })));
    return routes.filter((route) => route !== undefined);
  }

  hasRule(type: FirewallRuleType, value: string): boolean {
    return this.#rules[type].has(value);
  }

  ruleCount(type: FirewallRuleType): number {
    return this.#rules[type].size;
  }

  apply(changes: readonly StoredChange[]): void {
    for (const change of changes) this.#applyOne(change);
    this.#settings = null;
  }

  #applyOne(change: StoredChange): void {
    switch (change.kind) {
      case 'listener-put':
        return this.#putListener(change.listener);
      case 'listener-remove':
        this.#listeners.delete(change.listener);
        return;
      case 'max-connections-set': {
        const rows = this.#rows(change.listener);
        rows.options = { ...rows.options, maxConnections: change.maxConnections };
        return;
      }
      case 'route-put':
        putRoute(this.#rows(change.listener), change.route);
        return;
      case 'route-remove':
        removeRoute(this.#rows(change.listener), change.hostname, change.pathPrefix);
        return;
      case 'firewall-put':
        this.#rules[change.rule.type].add(change.rule.value);
        return;
      case 'firewall-remove':
        this.#rules[change.rule.type].delete(change.rule.value);
        return;
      case 'exempt-put':
        this.#exempt.add(change.cidr);
        return;
      case 'exempt-remove':
        this.#exempt.delete(change.cidr);
        return;
      case 'rate-limit-set':
        this.#rateLimit = change.rateLimit;
        return;
      case 'geoip-path-set':
        this.#geoipDatabase = change.path;
        return;
      case 'egress-set':
        this.#egress = change.egress;
        return;
    }
  }

  #putListener(options: ListenerOptions): void {
    const rows = this.#listeners.get(options.name);
    if (rows === undefined)
      this.#listeners.set(options.name, { options, routes: new Map(), prefixes: new Map() });
    else rows.options = options;
  }

  #rows(listener: string): ListenerRows {
    const rows = this.#listeners.get(listener);
    assert(rows !== undefined, `a change names the listener ${listener}, which is not there`);
    return rows;
  }

  #listenerSettings(): ListenerSettings[] {
    return [...this.#listeners.keys()].map((name) => this.listenerSettings(name));
  }

  #firewallSettings(): FirewallSettings {
    return {
      geoipDatabase: this.#geoipDatabase,
      blockedIps: [...this.#rules.ip],
      blockedCidrs: [...this.#rules.cidr],
      blockedCountries: [...this.#rules.country],
      rateLimitExempt: [...this.#exempt],
      rateLimit: this.#rateLimit,
    };
  }
}

function putRoute({ routes, prefixes }: ListenerRows, route: RouteSettings): void {
  const { hostname, pathPrefix } = route;
  routes.set(routeKey(route), route);
  if (pathPrefix === '') return;
  const known = prefixes.get(hostname);
  if (known === undefined) prefixes.set(hostname, new Set([pathPrefix]));
  else known.add(pathPrefix);
}

function removeRoute({ routes, prefixes }: ListenerRows, hostname: string, pathPrefix: string): void {
  routes.delete(routeKey({ hostname, pathPrefix }));
  const known = prefixes.get(hostname);
  known?.delete(pathPrefix);
  if (known?.size === 0) prefixes.delete(hostname);
}

/** What turns one into the other, as it is stored. */
export function storedDiff(before: TrafficSettings, after: TrafficSettings): StoredChange[] {
  const changes = diffTraffic(before, after).filter((change) => change.kind !== 'geoip-set');
  const path = after.firewall.geoipDatabase;
  // The database comes first: a country rule needs it.
  return path === before.firewall.geoipDatabase ? changes : [{ kind: 'geoip-path-set', path }, ...changes];
}
