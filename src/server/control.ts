/**
 * What the admin API asks for, on the supervisor: checks what an operator wrote by the configuration's own rules,
 * turns it into row changes, and has the supervisor carry them out.
 */
import {
  ControlError,
  type Actor,
  type Applied,
  type AppliedConfig,
  type AppliedRule,
  type AuditEntry,
  type ConfigInput,
  type Control,
  type ControlEvent,
  type EventFilter,
  type Explanation,
  type ExplainQuery,
  type FirewallRuleInput,
  type ListenerInput,
  type ListenerStatus,
  type PolicyInput,
  type Precondition,
  type RateLimitInput,
  type RouteInput,
  type RouteName,
  type Status,
} from '../admin/control.ts';
import { readFirewallRule, readListener, readRateLimit, readTraffic } from '../config/rows.ts';
import { isReason, reasons, type Reason } from '../core/reason.ts';
import type { FirewallRule } from '../model/change.ts';
import {
  rulesPerTypeMax,
  type ListenerSettings,
  type RouteSettings,
  type TrafficSettings,
} from '../model/settings.ts';
import type { ListenerOptions } from '../model/snapshot.ts';
import type { Logger } from '../telemetry/logger.ts';
import { describeChanges } from './change-lines.ts';
import { checked, refuseOver } from './control-checks.ts';
import { fileListener, fileTraffic } from './control-input.ts';
import { EventHub } from './event-hub.ts';
import { explain, ExplainError } from './explain.ts';
import {
  findRoute,
  planAddPolicy,
  planAddRoute,
  planRemovePolicy,
  planRemoveRoute,
  planUpdateRoute,
  type RoutePlan,
} from './route-plans.ts';
import type { ChangePlan } from './ledger.ts';
import type { BoundListener, ChangeResult, Supervisor } from './supervisor.ts';
import type { StoredChange } from '../store/store.ts';
import { storedDiff } from './traffic-state.ts';

/** What a database adds; without one, file and environment own the configuration. */
export interface Keeper {
  snapshot(path: string): Promise<{ readonly path: string; readonly bytes: number }>;
  /** A timestamped name beside the database. */
  defaultSnapshotPath(): string;
  audit(limit: number): Promise<readonly AuditEntry[]>;
  /** The error an operator can act on, or null when it is a fault of ours. */
  explainError(error: unknown): ControlError | null;
}

export interface ServerControlOptions {
  readonly supervisor: Supervisor;
  readonly keeper: Keeper | null;
  readonly programVersion: string;
  readonly logger: Logger;
}

export class ServerControl implements Control {
  readonly #supervisor: Supervisor;
  readonly #keeper: Keeper | null;
  readonly #programVersion: string;
  readonly #logger: Logger;
  readonly #startedAt = new Date();
  readonly #events: EventHub;

  constructor({ supervisor, keeper, programVersion, logger }: ServerControlOptions) {
    this.#supervisor = supervisor;
    this.#keeper = keeper;
    this.#programVersion = programVersion;
    this.#logger = logger;
    this.#events = new EventHub((observe) => supervisor.watch(observe));
  }

  status(): Status {
    const { fleet, counters, version } = this.#supervisor;
    return {
      programVersion: this.#programVersion,
      configVersion: version,
      uptimeMs: this.#supervisor.uptimeMs,
      startedAt: this.#startedAt,
      active: this.#supervisor.activeConnections,
      accepted: counters.total('accepted'),
      workers: fleet.workers.length,
      workersServing: fleet.serving,
      isDraining: this.#supervisor.isDraining,
      listeners: this.#supervisor.listeners.map((listener) => this.#listenerStatus(listener)),
    };
  }

  config(): { readonly version: number; readonly traffic: TrafficSettings } {
    return { version: this.#supervisor.version, traffic: this.#supervisor.state.settings };
  }

  get version(): number {
    return this.#supervisor.version;
  }

  listener(name: string): ListenerSettings {
    return this.#supervisor.state.listenerSettings(this.#listener(name).name);
  }

  route(listener: string, route: RouteName): RouteSettings {
    return findRoute(this.#supervisor.state, this.#listener(listener).name, route);
  }

  addListener(input: ListenerInput, actor: Actor): Promise<Applied> {
    const listener = checked(readListener(fileListener(input), null), 'listener');
    const { routes, ...options } = listener;
    return this.#change('AddListener', actor, () => {
      if (this.#supervisor.state.listener(listener.name) !== undefined) {
        throw new ControlError('already-exists', `listener ${listener.name} exists already`, 'listener.addr');
      }
      if (listener.kind === 'egress' && this.#supervisor.state.egress === null) {
        const message = 'there are no egress settings to go by; apply a configuration with [egress] first';
        throw new ControlError('failed-precondition', message, 'listener.kind');
      }
      return [
        { kind: 'listener-put', listener: options },
        ...routes.map((route): StoredChange => ({ kind: 'route-put', listener: listener.name, route })),
      ];
    });
  }

  removeListener(name: string, actor: Actor): Promise<Applied> {
    return this.#change('RemoveListener', actor, () => {
      const listener = this.#listener(name);
      if (this.#supervisor.state.listenerNames.length === 1) {
        const message = `${listener.name} is the last listener; add another first, or stop the server`;
        throw new ControlError('failed-precondition', message, 'listener_addr');
      }
      return [{ kind: 'listener-remove', listener: listener.name }];
    });
  }

  setListenerMaxConnections(name: string, maxConnections: number, actor: Actor): Promise<Applied> {
    if (!Number.isSafeInteger(maxConnections) || maxConnections < 0) {
      throw new ControlError(
        'invalid-argument',
        'expected a whole number, 0 for no limit',
        'max_connections',
      );
    }
    return this.#change('SetListenerMaxConnections', actor, () => {
      return [{ kind: 'max-connections-set', listener: this.#listener(name).name, maxConnections }];
    });
  }

  addRoute(listener: string, input: RouteInput, actor: Actor): Promise<Applied> {
    return this.#changeRoute('AddRoute', listener, planAddRoute(input), actor);
  }

  updateRoute(
    listener: string,
    input: RouteInput,
    { ifVersion }: Precondition,
    actor: Actor,
  ): Promise<Applied> {
    return this.#changeRoute('UpdateRoute', listener, planUpdateRoute(input), actor, ifVersion);
  }

  removeRoute(listener: string, route: RouteName, actor: Actor): Promise<Applied> {
    return this.#changeRoute('RemoveRoute', listener, planRemoveRoute(route), actor);
  }

  addPolicy(listener: string, route: RouteName, input: PolicyInput, actor: Actor): Promise<Applied> {
    return this.#changeRoute('AddL7Policy', listener, planAddPolicy(route, input), actor);
  }

  removePolicy(listener: string, route: RouteName, input: PolicyInput, actor: Actor): Promise<Applied> {
    return this.#changeRoute('RemoveL7Policy', listener, planRemovePolicy(route, input), actor);
  }

  async addFirewallRule(input: FirewallRuleInput, disconnect: boolean, actor: Actor): Promise<AppliedRule> {
    const rule = checked(readFirewallRule(input), 'rule');
    return this.#change(
      'AddFirewallRule',
      actor,
      () => {
        const { state } = this.#supervisor;
        if (state.hasRule(rule.type, rule.value)) {
          throw new ControlError(
            'already-exists',
            `the ${rule.type} ${rule.value} is blocked already`,
            'rule.value',
          );
        }
        refuseOver(state.ruleCount(rule.type), rulesPerTypeMax, `rules of type ${rule.type}`);
        if (rule.type === 'country' && state.geoipDatabase === null) {
          const message = 'a country rule needs firewall.geoip_db, and none is configured';
          throw new ControlError('failed-precondition', message, 'rule.type');
        }
        return [{ kind: 'firewall-put', rule }];
      },
      disconnect ? rule : null,
    );
  }

  removeFirewallRule(input: FirewallRuleInput, actor: Actor): Promise<Applied> {
    const rule = checked(readFirewallRule(input), 'rule');
    return this.#change('RemoveFirewallRule', actor, () => {
      if (!this.#supervisor.state.hasRule(rule.type, rule.value)) {
        throw new ControlError('not-found', `the ${rule.type} ${rule.value} is not blocked`, 'rule.value');
      }
      return [{ kind: 'firewall-remove', rule }];
    });
  }

  setRateLimit({ connections, window }: RateLimitInput, actor: Actor): Promise<Applied> {
    const raw = { rate_limit: connections, ...(window === '' ? {} : { rate_window: window }) };
    const wanted = connections === 0 ? null : checked(readRateLimit(raw), 'rate_limit');
    return this.#change('SetRateLimit', actor, () => {
      // Without a window the present one stays.
      const present = this.#supervisor.state.rateLimit;
      const windowMs = window === '' ? present?.windowMs : wanted?.windowMs;
      const rateLimit = wanted === null ? null : { ...wanted, windowMs: windowMs ?? wanted.windowMs };
      return [{ kind: 'rate-limit-set', rateLimit }];
    });
  }

  async reloadGeoip(actor: Actor): Promise<void> {
    this.#logger.info('reloading GeoIP database', { actor: actor.name });
    if (this.#supervisor.state.geoipDatabase === null) {
      throw new ControlError('failed-precondition', 'no GeoIP database is configured');
    }
    if (!(await this.#supervisor.reloadGeoip())) {
      throw new ControlError(
        'failed-precondition',
        'the database could not be read, the old one stays; see the log',
      );
    }
  }

  async applyConfig(
    input: ConfigInput,
    { ifVersion, dryRun }: Precondition & { readonly dryRun: boolean },
    actor: Actor,
  ): Promise<AppliedConfig> {
    const reading = readTraffic(fileTraffic(input), null);
    const traffic = checked(reading, '');
    const warnings = [
      ...reading.problems.filter(({ severity }) => severity === 'warning').map(({ message }) => message),
      ...shadowedRoutes(traffic),
    ];
    let lines: readonly string[] = [];
    const plan = (): StoredChange[] => {
      this.#checkVersion(ifVersion);
      const { state } = this.#supervisor;
      const changes = storedDiff(state.settings, traffic);
      lines = describeChanges(state, changes);
      return changes;
    };
    if (dryRun) {
      plan();
      return { version: this.#supervisor.version, changes: lines, warnings };
    }
    const { version } = await this.#change('ApplyConfig', actor, plan);
    return { version, changes: lines, warnings };
  }

  async snapshot(path: string, actor: Actor): Promise<{ readonly path: string; readonly bytes: number }> {
    const keeper = this.#keeper;
    if (keeper === null) throw withoutDatabase();
    if (path !== '' && !path.startsWith('/')) {
      throw new ControlError('invalid-argument', 'expected an absolute path on the server', 'path');
    }
    const made = await this.#translate(() =>
      keeper.snapshot(path === '' ? keeper.defaultSnapshotPath() : path),
    );
    this.#logger.info('snapshot taken', { actor: actor.name, ...made });
    return made;
  }

  explain(query: ExplainQuery): Explanation[] {
    try {
      const { snapshot, ownAddresses } = this.#supervisor;
      return explain(snapshot, query, (name) => this.#boundPort(name), ownAddresses ?? undefined);
    } catch (error) {
      if (!(error instanceof ExplainError)) throw error;
      const code = error.field === 'listener' ? 'not-found' : 'invalid-argument';
      throw new ControlError(code, error.message, error.field);
    }
  }

  async audit(limit: number): Promise<readonly AuditEntry[]> {
    const keeper = this.#keeper;
    if (keeper === null) throw withoutDatabase();
    return this.#translate(() => keeper.audit(limit));
  }

  watch(filter: EventFilter, observe: (event: ControlEvent) => void): () => void {
    return this.#events.watch(filter, observe);
  }

  #changeRoute(
    action: string,
    listener: string,
    plan: RoutePlan,
    actor: Actor,
    ifVersion?: number,
  ): Promise<Applied> {
    return this.#change(action, actor, () => {
      this.#checkVersion(ifVersion);
      return plan(this.#supervisor.state, this.#listener(listener));
    });
  }

  /** Carries a change out. `plan` runs when it is this change's turn, on the state it will change. */
  async #change(
    action: string,
    actor: Actor,
    plan: () => readonly StoredChange[],
    disconnect: FirewallRule | null = null,
  ): Promise<ChangeResult> {
    if (this.#keeper === null) throw withoutDatabase();
    let lines: readonly string[] = [];
    const result = await this.#translate(() =>
      this.#supervisor.change((): ChangePlan => {
        const changes = plan();
        lines = describeChanges(this.#supervisor.state, changes);
        return { changes, entry: { actor: actor.name, action, changes: lines }, disconnect };
      }),
    );
    if (lines.length > 0) {
      this.#logger.info('configuration changed', { version: result.version, actor: actor.name, action });
      this.#events.emit({
        kind: 'change',
        at: new Date(),
        version: result.version,
        actor: actor.name,
        action,
        changes: lines,
      });
    }
    return result;
  }

  async #translate<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ControlError) throw error;
      throw this.#keeper?.explainError(error) ?? error;
    }
  }

  #checkVersion(ifVersion: number | undefined): void {
    const { version } = this.#supervisor;
    if (ifVersion === undefined || ifVersion === version) return;
    throw new ControlError(
      'aborted',
      `the configuration is at version ${version}, not ${ifVersion}`,
      'if_version',
    );
  }

  #boundPort(listener: string): number | undefined {
    return this.#supervisor.listeners.find(({ name }) => name === listener)?.port;
  }

  /** By the name it is listed under, or another spelling of the same address. */
  #listener(text: string): ListenerOptions {
    const { state } = this.#supervisor;
    const found = state.listener(text) ?? state.listener(canonicalName(text));
    if (found === undefined) {
      const known = state.listenerNames.slice(0, 8).join(', ');
      throw new ControlError(
        'not-found',
        `no listener ${text}; there are: ${known || 'none'}`,
        'listener_addr',
      );
    }
    return found;
  }

  #listenerStatus({ name, port, slot }: BoundListener): ListenerStatus {
    const { state, counters, gauges } = this.#supervisor;
    const ended = new Map<Reason, number>();
    for (const reason of Object.keys(reasons).filter(isReason)) {
      const count = counters.sum(slot, reason);
      if (count > 0) ended.set(reason, count);
    }
    return {
      name,
      boundPort: port,
      kind: state.listener(name)?.kind ?? 'ingress',
      routes: state.routeCount(name),
      active: gauges.value(slot),
      maxConnections: state.listener(name)?.maxConnections ?? 0,
      accepted: counters.sum(slot, 'accepted'),
      bytesIn: counters.sum(slot, 'bytesIn'),
      bytesOut: counters.sum(slot, 'bytesOut'),
      ended,
    };
  }
}

/** Exact names that a wildcard of the same listener would have taken: they win, and that may surprise. */
export function shadowedRoutes(traffic: TrafficSettings): string[] {
  const lines: string[] = [];
  for (const { name, routes } of traffic.listeners) {
    const wildcards = new Map(
      routes.filter(({ hostname }) => hostname.startsWith('*.')).map((route) => [route.hostname, route]),
    );
    for (const hostname of new Set(routes.map((route) => route.hostname))) {
      const rest = hostname.startsWith('*.') ? hostname.slice(2) : hostname;
      for (let dot = rest.indexOf('.'); dot !== -1; dot = rest.indexOf('.', dot + 1)) {
        const wider = `*.${rest.slice(dot + 1)}`;
        if (wildcards.has(wider))
          lines.push(`route/${name}/${hostname} shadows part of route/${name}/${wider}`);
      }
    }
  }
  return lines;
}

function withoutDatabase(): ControlError {
  const message =
    'this server runs without a database: change its file and send SIGHUP, or set [database] path';
  return new ControlError('failed-precondition', message);
}

function canonicalName(text: string): string {
  return readListener({ addr: text }, null).value?.name ?? text;
}
