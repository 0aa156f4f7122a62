/**
 * What the admin API needs of the server: the one interface between them.
 *
 * Inputs are what an operator wrote, as in the configuration file; whoever implements `Control` checks them and
 * answers a `ControlError` that names the field. A call that changes something resolves when the change is durable
 * and live in every worker, and rejects having changed nothing.
 */
import type { Reason } from '../core/reason.ts';
import type { EgressAction } from '../model/egress-settings.ts';
import type { ListenerSettings, RouteSettings, TrafficSettings } from '../model/settings.ts';

/** Who asks, for the audit log: the subject of a client certificate, `unix`, or `loopback`. */
export interface Actor {
  readonly name: string;
}

export const controlErrorCodes = [
  'invalid-argument',
  'not-found',
  'already-exists',
  'aborted',
  'failed-precondition',
  'unavailable',
  'internal',
] as const;
export type ControlErrorCode = (typeof controlErrorCodes)[number];

/** A call that could not be carried out. Nothing was changed. */
export class ControlError extends Error {
  readonly code: ControlErrorCode;
  /** The field of the request that is at fault, `route.hostname`; null when none is. */
  readonly field: string | null;

  constructor(code: ControlErrorCode, message: string, field: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ControlError';
    this.code = code;
    this.field = field;
  }
}

export interface PolicyInput {
  readonly type: string;
  readonly value: string;
}

/** Which route of a listener, in any spelling. */
export interface RouteName {
  readonly hostname: string;
  /** Absent or empty: the route without one. */
  readonly pathPrefix?: string;
}

/** A name may come again among those that `add` adds. */
export interface HeaderRulesInput {
  readonly remove: readonly string[];
  readonly set: readonly HeaderInput[];
  readonly add: readonly HeaderInput[];
}

export interface HeaderInput {
  readonly name: string;
  readonly value: string;
}

/** A route as in the configuration file; an absent field takes the file's default. */
export interface RouteInput extends RouteName {
  readonly backend: string;
  readonly mode?: string;
  readonly sendProxyProtocol?: boolean;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly clientAuth?: string;
  readonly tlsMinVersion?: string;
  readonly backendProtocol?: string;
  readonly backendTls?: boolean;
  readonly backendCa?: string;
  readonly backendServerName?: string;
  readonly backendInsecure?: boolean;
  readonly forwarded?: boolean;
  readonly requestHeaders?: HeaderRulesInput;
  readonly responseHeaders?: HeaderRulesInput;
  readonly policies?: readonly PolicyInput[];
}

export interface ListenerInput {
  readonly addr: string;
  readonly kind?: string;
  readonly proxyProtocol?: boolean;
  readonly proxyProtocolFrom?: readonly string[];
  readonly maxConnections?: number;
  readonly protocol?: string;
  readonly redirectHttps?: boolean;
  readonly trustedProxies?: readonly string[];
  readonly defaultBackend?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly clientAuth?: string;
  readonly tlsMinVersion?: string;
  readonly routes?: readonly RouteInput[];
}

export interface FirewallRuleInput {
  readonly type: 'ip' | 'cidr' | 'country';
  readonly value: string;
}

export interface FirewallInput {
  readonly geoipDb?: string;
  readonly rules: readonly FirewallRuleInput[];
  /** CIDRs the rate limit never refuses. */
  readonly allowed: readonly string[];
  readonly rateLimit?: RateLimitInput;
}

export interface RateLimitInput {
  /** 0 switches the limit off. */
  readonly connections: number;
  /** A duration as in the file, `1m`; empty: the file's default. */
  readonly window: string;
}

/** The whole traffic configuration. */
export interface ConfigInput {
  readonly listeners: readonly ListenerInput[];
  readonly firewall: FirewallInput;
  /** As section `[egress]` of the file has it; absent: there is no egress. */
  readonly egress?: object;
}

/** Absent: change it whatever the version. Otherwise `aborted` unless this is the present one. */
export interface Precondition {
  readonly ifVersion?: number;
}

export interface Applied {
  /** The version that every worker serves from now on. */
  readonly version: number;
}

export interface AppliedConfig extends Applied {
  /** One line for each difference, `+ route/:443/app.example.com → 10.0.0.1:443`. */
  readonly changes: readonly string[];
  /** What deserves a look: shadowed routes, policies on l4 routes. */
  readonly warnings: readonly string[];
}

export interface AppliedRule extends Applied {
  /** Connections that were ended because the new rule matches them. */
  readonly disconnected: number;
}

export interface ListenerStatus {
  /** The address as configured, which names the listener; and as bound, with the real port. */
  readonly name: string;
  readonly boundPort: number;
  readonly kind: string;
  readonly routes: number;
  readonly active: number;
  /** 0: no limit. */
  readonly maxConnections: number;
  readonly accepted: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Ended connections by reason, those that occurred. */
  readonly ended: ReadonlyMap<Reason, number>;
}

export interface Status {
  /** Of the program: `0.1.0`. */
  readonly programVersion: string;
  /** Of the configuration. */
  readonly configVersion: number;
  readonly uptimeMs: number;
  readonly startedAt: Date;
  readonly active: number;
  readonly accepted: number;
  readonly workers: number;
  readonly workersServing: number;
  readonly isDraining: boolean;
  readonly listeners: readonly ListenerStatus[];
}

export interface ExplainQuery {
  /** The server name a client would send; empty for none. */
  readonly host: string;
  /** A listener's name; null: every listener on `port`, or every one. */
  readonly listener: string | null;
  readonly port: number | null;
  /** The client's address; null: a stranger that no rule names. */
  readonly from: string | null;
  readonly alpn: readonly string[];
  /** What a request would ask for, with its query or without. Null: judge the connection alone. */
  readonly path: string | null;
  /** Of that request; empty: any, so a policy that judges by it is told and not decided. */
  readonly method: string;
  /** The fields it would carry; null: any. */
  readonly headers: readonly HeaderInput[] | null;
  /** How the target would be asked for, on an egress listener. */
  readonly scheme: 'http' | 'https';
  /** The name of the authenticated client; null: one that nobody knows. Only egress listeners know names. */
  readonly client: string | null;
}

/** A rule that was looked at, in order, and whether it decided. */
export interface ExplainStep {
  readonly ruleId: string;
  readonly outcome: 'passed' | 'matched' | 'shadowed' | 'refused' | 'judged';
  readonly detail: string;
}

export interface Explanation {
  readonly listener: string;
  readonly steps: readonly ExplainStep[];
  readonly verdict: 'route' | 'refuse';
  /** Why it would be refused; null when it would be routed. */
  readonly reason: Reason | null;
  /** The rule that decides. */
  readonly ruleId: string | null;
  readonly backend: string | null;
  /** Of an egress listener: what is asked for, `https://example.com:443`, and what is decided. */
  readonly target?: string;
  readonly action?: EgressAction;
}

/** What happened: a connection's verdict, or a change of the configuration. */
export type ControlEvent =
  | {
      readonly kind: 'connection';
      readonly at: Date;
      readonly id: string;
      readonly client: string;
      readonly listener: string;
      readonly sni: string | null;
      readonly route: string | null;
      readonly backend: string | null;
      readonly bytesIn: number;
      readonly bytesOut: number;
      readonly durationMs: number;
      readonly verdict: string;
      readonly reason: string;
      readonly rule: string | null;
    }
  | {
      readonly kind: 'change';
      readonly at: Date;
      readonly version: number;
      readonly actor: string;
      /** The call, `AddRoute`. */
      readonly action: string;
      /** As in AppliedConfig. */
      readonly changes: readonly string[];
    }
  /** The watcher was too slow: this many events were left out before the next. */
  | { readonly kind: 'missed'; readonly count: number };

export interface EventFilter {
  readonly connections: boolean;
  readonly changes: boolean;
}

export interface AuditEntry {
  readonly version: number;
  readonly at: Date;
  readonly actor: string;
  readonly action: string;
  readonly changes: readonly string[];
}

export interface Control {
  status(): Status;
  /** Of the configuration that every worker serves. */
  readonly version: number;
  /** The present traffic configuration and its version. Shared and immutable: not to be changed. */
  config(): { readonly version: number; readonly traffic: TrafficSettings };

  /** By any spelling of its address, and its route by any of the hostname; `not-found` otherwise. */
  listener(name: string): ListenerSettings;
  route(listener: string, route: RouteName): RouteSettings;

  addListener(listener: ListenerInput, actor: Actor): Promise<Applied>;
  removeListener(name: string, actor: Actor): Promise<Applied>;
  setListenerMaxConnections(name: string, maxConnections: number, actor: Actor): Promise<Applied>;

  addRoute(listener: string, route: RouteInput, actor: Actor): Promise<Applied>;
  /** Replaces every field of an existing route; its policies stay unless given. */
  updateRoute(
    listener: string,
    route: RouteInput,
    precondition: Precondition,
    actor: Actor,
  ): Promise<Applied>;
  removeRoute(listener: string, route: RouteName, actor: Actor): Promise<Applied>;

  addPolicy(listener: string, route: RouteName, policy: PolicyInput, actor: Actor): Promise<Applied>;
  removePolicy(listener: string, route: RouteName, policy: PolicyInput, actor: Actor): Promise<Applied>;

  /** With `disconnect`, open connections of clients that the rule matches are ended too. */
  addFirewallRule(rule: FirewallRuleInput, disconnect: boolean, actor: Actor): Promise<AppliedRule>;
  removeFirewallRule(rule: FirewallRuleInput, actor: Actor): Promise<Applied>;
  setRateLimit(limit: RateLimitInput, actor: Actor): Promise<Applied>;
  reloadGeoip(actor: Actor): Promise<void>;

  applyConfig(
    config: ConfigInput,
    options: Precondition & { readonly dryRun: boolean },
    actor: Actor,
  ): Promise<AppliedConfig>;

  /** A verified backup on the server's disk; an empty path takes a timestamped default name beside the database. */
  snapshot(path: string, actor: Actor): Promise<{ readonly path: string; readonly bytes: number }>;
  explain(query: ExplainQuery): Explanation[];
  /** The newest first. */
  audit(limit: number): Promise<readonly AuditEntry[]>;
  /** Calls `observe` from now on for what the filter takes, until the answered function is called. */
  watch(filter: EventFilter, observe: (event: ControlEvent) => void): () => void;
}
