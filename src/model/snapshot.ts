/**
 * The snapshot: everything the data plane decides by, immutable, at one version.
 *
 * What a connection needs is prepared here once (tables, rule ids, printed addresses), so that the data path
 * formats and parses nothing. A later version comes from change.ts, which shares with this one all that stays.
 */

import { assert } from '../core/errors.ts';
import { type Cidr, parseCidr } from '../core/ip.ts';
import { CidrTable } from './cidr-table.ts';
import type { EgressSettings } from './egress-settings.ts';
import { HostTable } from './host-table.ts';
import { type RouteGroup, groupRoutes } from './route-group.ts';
import { type Route, prepareDefaultRoute } from './route.ts';
import { firewallRuleId, listenerRuleId, rateLimitRuleId } from './rule-id.ts';
import type { FirewallSettings, ListenerSettings, RateLimitSettings, TrafficSettings } from './settings.ts';

export type { RouteGroup } from './route-group.ts';
export type { Policy, Route } from './route.ts';

export interface Snapshot {
  /** Grows by one with each change. */
  readonly version: number;
  /** Of the host tables; a secret of the process. */
  readonly hashSeed: number;
  /** By the listener's name. */
  readonly listeners: ReadonlyMap<string, ListenerSnapshot>;
  readonly firewall: FirewallSnapshot;
  /** As they were written: src/egress compiles them. The same object as long as nobody changes them. */
  readonly egress: EgressSettings | null;
}

/** A listener without its routes, which change one by one. */
export type ListenerOptions = Omit<ListenerSettings, 'routes'>;

export interface ListenerSnapshot {
  readonly settings: ListenerOptions;
  readonly routes: HostTable<RouteGroup>;
  /** Relays what no hostname matches, and hellos without a name. */
  readonly defaultRoute: Route | null;
  /** Peers that may send a PROXY header; null means that any peer may. */
  readonly proxyPeers: CidrTable<true> | null;
  /** Peers whose X-Forwarded fields are believed; empty: nobody's are. */
  readonly trustedProxies: CidrTable<true>;
  /** Decides `listener-limit`. */
  readonly limitRuleId: string;
  /** Decides `proxy-header-untrusted`. */
  readonly proxyPeersRuleId: string;
}

export interface FirewallSnapshot {
  readonly blocked: CidrTable<BlockRule>;
  /** Rule id by ISO 3166-1 alpha-2 code. */
  readonly countries: ReadonlyMap<string, string>;
  /** Sources that the rate limit never refuses. */
  readonly rateLimitExempt: CidrTable<true>;
  readonly rateLimit: RateLimit | null;
  /** A MaxMind database, shared by all threads; null without one. */
  readonly geoip: SharedArrayBuffer | null;
}

export interface BlockRule {
  readonly reason: 'blocked-ip' | 'blocked-cidr';
  readonly ruleId: string;
  /** The other rule, when an ip rule and a cidr rule name the same single address. The ip rule decides. */
  readonly shadowed: BlockRule | null;
}

export interface RateLimit extends RateLimitSettings {
  readonly ruleId: string;
}

export interface SnapshotOptions {
  readonly hashSeed: number;
  readonly geoip?: SharedArrayBuffer | null;
}

export function buildSnapshot(version: number, traffic: TrafficSettings, options: SnapshotOptions): Snapshot {
  const { hashSeed, geoip = null } = options;
  const listeners = new Map<string, ListenerSnapshot>();
  for (const settings of traffic.listeners) {
    assert(!listeners.has(settings.name), `two listeners are named ${settings.name}`);
    listeners.set(settings.name, buildListener(settings, hashSeed));
  }
  const firewall = buildFirewall(traffic.firewall, geoip);
  return { version, hashSeed, listeners, firewall, egress: traffic.egress };
}

/** A listener whose routes were built before, or not yet. */
export function prepareListener(settings: ListenerOptions, routes: HostTable<RouteGroup>): ListenerSnapshot {
  const { name, defaultBackend, proxyProtocolFrom, trustedProxies } = settings;
  return {
    settings,
    routes,
    defaultRoute: defaultBackend === null ? null : prepareDefaultRoute(name, defaultBackend),
    proxyPeers: proxyProtocolFrom.length === 0 ? null : prepareCidrSet(proxyProtocolFrom),
    trustedProxies: prepareCidrSet(trustedProxies),
    limitRuleId: listenerRuleId(name, 'max_connections'),
    proxyPeersRuleId: listenerRuleId(name, 'proxy_protocol_from'),
  };
}

export function prepareRateLimit(settings: RateLimitSettings | null): RateLimit | null {
  return settings === null ? null : { ...settings, ruleId: rateLimitRuleId };
}

/** The table with one more blocked address or network. */
export function withBlocked(
  table: CidrTable<BlockRule>,
  type: 'ip' | 'cidr',
  value: string,
): CidrTable<BlockRule> {
  const cidr = readCidr(value);
  const reason = type === 'ip' ? 'blocked-ip' : 'blocked-cidr';
  const rules = [
    { reason, ruleId: firewallRuleId(type, value) } as const,
    ...rulesBut(table.get(cidr), reason),
  ];
  return withRules(table, cidr, rules);
}

/** The table without that one rule; another rule for the same address stays. */
export function withoutBlocked(
  table: CidrTable<BlockRule>,
  type: 'ip' | 'cidr',
  value: string,
): CidrTable<BlockRule> {
  const cidr = readCidr(value);
  return withRules(table, cidr, rulesBut(table.get(cidr), type === 'ip' ? 'blocked-ip' : 'blocked-cidr'));
}

/** Reads what the configuration has already checked. */
export function readCidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert(parsed !== undefined && !parsed.hostBitsSet, 'a CIDR of the settings is not canonical');
  return parsed.cidr;
}

function buildListener({ routes, ...options }: ListenerSettings, hashSeed: number): ListenerSnapshot {
  return prepareListener(options, HostTable.from(hashSeed, groupRoutes(options.name, routes)));
}

function buildFirewall(settings: FirewallSettings, geoip: SharedArrayBuffer | null): FirewallSnapshot {
  return {
    blocked: buildBlocked(settings),
    countries: new Map(settings.blockedCountries.map((code) => [code, firewallRuleId('country', code)])),
    rateLimitExempt: prepareCidrSet(settings.rateLimitExempt),
    rateLimit: prepareRateLimit(settings.rateLimit),
    geoip,
  };
}

function buildBlocked({ blockedCidrs, blockedIps }: FirewallSettings): CidrTable<BlockRule> {
  const networks = blockedCidrs.map((value): [Cidr, BlockRule] => [
    readCidr(value),
    { reason: 'blocked-cidr', ruleId: firewallRuleId('cidr', value), shadowed: null },
  ]);
  const table = CidrTable.from(networks);
  if (blockedIps.length === 0) return table;
  const addresses = blockedIps.map((value): [Cidr, BlockRule] => {
    const cidr = readCidr(value);
    const shadowed = table.get(cidr) ?? null;
    return [cidr, { reason: 'blocked-ip', ruleId: firewallRuleId('ip', value), shadowed }];
  });
  // Of two rules for one address the later entry stays: the ip rule, with the cidr rule behind it.
  return CidrTable.from([...networks, ...addresses]);
}

function prepareCidrSet(cidrs: readonly string[]): CidrTable<true> {
  return CidrTable.from(cidrs.map((cidr): [Cidr, true] => [readCidr(cidr), true]));
}

type LoneRule = Omit<BlockRule, 'shadowed'>;

function rulesBut(rule: BlockRule | undefined, reason: BlockRule['reason']): LoneRule[] {
  const rules: LoneRule[] = [];
  for (let next: BlockRule | null = rule ?? null; next !== null; next = next.shadowed) {
    if (next.reason !== reason) rules.push({ reason: next.reason, ruleId: next.ruleId });
  }
  return rules;
}

/** At most one of each reason. */
function withRules(
  table: CidrTable<BlockRule>,
  cidr: Cidr,
  rules: readonly LoneRule[],
): CidrTable<BlockRule> {
  if (rules.length === 0) return table.without(cidr);
  const [ip, net] = [
    rules.find((r) => r.reason === 'blocked-ip'),
    rules.find((r) => r.reason === 'blocked-cidr'),
  ];
  const inner: BlockRule | null = net === undefined ? null : { ...net, shadowed: null };
  return table.with(cidr, ip === undefined ? inner! : { ...ip, shadowed: inner });
}
