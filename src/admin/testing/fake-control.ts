/** A server in memory for tests of the API: keeps listeners, routes and rules, records who called, checks little. */

import { noHeaderRules } from '../../model/http-settings.ts';
import { listenerDefaults, routeDefaults } from '../../model/settings.ts';
import type {
  EndpointAddress,
  ListenerSettings,
  RouteSettings,
  TrafficSettings,
} from '../../model/settings.ts';
import { ControlError } from '../control.ts';
import type {
  Actor,
  Applied,
  AppliedConfig,
  AppliedRule,
  AuditEntry,
  ConfigInput,
  Control,
  ControlEvent,
  EventFilter,
  Explanation,
  ExplainQuery,
  FirewallRuleInput,
  HeaderInput,
  HeaderRulesInput,
  ListenerInput,
  PolicyInput,
  Precondition,
  RateLimitInput,
  RouteInput,
  RouteName,
  Status,
} from '../control.ts';

const lists = { ip: 'blockedIps', cidr: 'blockedCidrs', country: 'blockedCountries' } as const;

const emptyFirewall: TrafficSettings['firewall'] = {
  geoipDatabase: null,
  blockedIps: [],
  blockedCidrs: [],
  blockedCountries: [],
  rateLimitExempt: [],
  rateLimit: null,
};

export class FakeControl implements Control {
  version = 1;
  traffic: TrafficSettings = {
    listeners: [listenerOf({ addr: ':443' })],
    firewall: emptyFirewall,
    egress: null,
  };
  isDraining = false;
  /** The next call that changes something throws this. */
  failure: Error | null = null;
  /** Resolves a change later, for tests of what happens meanwhile. */
  delay: Promise<void> = Promise.resolve();
  readonly log: AuditEntry[] = [];
  readonly queries: ExplainQuery[] = [];
  readonly #watchers = new Map<(event: ControlEvent) => void, EventFilter>();

  get watcherCount(): number {
    return this.#watchers.size;
  }

  emit(event: ControlEvent): void {
    for (const [observe, filter] of this.#watchers) {
      if (event.kind !== 'change' ? filter.connections : filter.changes) observe(event);
    }
  }

  status(): Status {
    const listeners = this.traffic.listeners.map((listener) => ({
      name: listener.name,
      boundPort: 443,
      kind: listener.kind,
      routes: listener.routes.length,
      active: 12,
      maxConnections: listener.maxConnections,
      accepted: 1247,
      bytesIn: 5_000_000_000,
      bytesOut: 7,
      ended: new Map([
        ['client-closed', 1000],
        ['no-route', 200],
        ['blocked-ip', 35],
      ] as const),
    }));
    return {
      programVersion: '0.1.0',
      configVersion: this.version,
      uptimeMs: 16_330_500,
      startedAt: new Date('2026-01-02T03:04:05Z'),
      active: 12,
      accepted: 1247,
      workers: 2,
      workersServing: 2,
      isDraining: this.isDraining,
      listeners,
    };
  }

  config(): { version: number; traffic: TrafficSettings } {
    return { version: this.version, traffic: this.traffic };
  }

  addListener(listener: ListenerInput, actor: Actor): Promise<Applied> {
    return this.#change('AddListener', actor, [`+ listener/${listener.addr}`], () => {
      if (listener.addr === '')
        throw new ControlError('invalid-argument', 'must not be empty', 'listener.addr');
      this.#setListeners([...this.traffic.listeners, listenerOf(listener)]);
    });
  }

  removeListener(name: string, actor: Actor): Promise<Applied> {
    return this.#change('RemoveListener', actor, [`- listener/${name}`], () => {
      this.listener(name);
      this.#setListeners(this.traffic.listeners.filter((each) => each.name !== name));
    });
  }

  setListenerMaxConnections(name: string, maxConnections: number, actor: Actor): Promise<Applied> {
    return this.#change('SetListenerMaxConnections', actor, [`~ listener/${name}`], () =>
      this.#replaceListener({ ...this.listener(name), maxConnections }),
    );
  }

  addRoute(name: string, input: RouteInput, actor: Actor): Promise<Applied> {
    const change = `+ route/${name}/${input.hostname} → ${input.backend}`;
    return this.#change('AddRoute', actor, [change], () => {
      const listener = this.listener(name);
      if (input.hostname.includes(' '))
        throw new ControlError('invalid-argument', 'must be a host name', 'route.hostname');
      if (listener.routes.some((each) => keyOf(each) === keyOf(input)))
        throw new ControlError('already-exists', `${name} has a route ${input.hostname}`, 'route.hostname');
      this.#replaceListener({ ...listener, routes: [...listener.routes, routeOf(input)] });
    });
  }

  async updateRoute(
    name: string,
    input: RouteInput,
    { ifVersion }: Precondition,
    actor: Actor,
  ): Promise<Applied> {
    if (ifVersion !== undefined && ifVersion !== this.version)
      throw new ControlError('aborted', `the present version is ${this.version}`, 'if_version');
    return this.#change('UpdateRoute', actor, [`~ route/${name}/${keyOf(input)}`], () => {
      const { policies } = this.route(name, input);
      this.#replaceRoute(name, routeOf({ policies, ...input }));
    });
  }

  removeRoute(name: string, route: RouteName, actor: Actor): Promise<Applied> {
    return this.#change('RemoveRoute', actor, [`- route/${name}/${keyOf(route)}`], () => {
      this.route(name, route);
      const listener = this.listener(name);
      const routes = listener.routes.filter((each) => keyOf(each) !== keyOf(route));
      this.#replaceListener({ ...listener, routes });
    });
  }

  addPolicy(name: string, named: RouteName, policy: PolicyInput, actor: Actor): Promise<Applied> {
    return this.#change('AddL7Policy', actor, [`+ policy/${name}/${keyOf(named)}`], () => {
      const route = this.route(name, named);
      const policies = [...route.policies, policy] as RouteSettings['policies'];
      this.#replaceRoute(name, { ...route, policies });
    });
  }

  removePolicy(name: string, named: RouteName, policy: PolicyInput, actor: Actor): Promise<Applied> {
    return this.#change('RemoveL7Policy', actor, [`- policy/${name}/${keyOf(named)}`], () => {
      const route = this.route(name, named);
      const policies = route.policies.filter(
        ({ type, value }) => type !== policy.type || value !== policy.value,
      );
      this.#replaceRoute(name, { ...route, policies });
    });
  }

  async addFirewallRule(rule: FirewallRuleInput, disconnect: boolean, actor: Actor): Promise<AppliedRule> {
    const applied = await this.#change('AddFirewallRule', actor, [`+ ${rule.type}/-/${rule.value}`], () => {
      const list = lists[rule.type];
      const { firewall } = this.traffic;
      this.traffic = { ...this.traffic, firewall: { ...firewall, [list]: [...firewall[list], rule.value] } };
    });
    return { ...applied, disconnected: disconnect ? 3 : 0 };
  }

  removeFirewallRule(rule: FirewallRuleInput, actor: Actor): Promise<Applied> {
    return this.#change('RemoveFirewallRule', actor, [`- ${rule.type}/-/${rule.value}`], () => {
      const list = lists[rule.type];
      const { firewall } = this.traffic;
      if (!firewall[list].includes(rule.value))
        throw new ControlError('not-found', `there is no rule ${rule.type}/-/${rule.value}`, 'rule.value');
      const rest = firewall[list].filter((value) => value !== rule.value);
      this.traffic = { ...this.traffic, firewall: { ...firewall, [list]: rest } };
    });
  }

  setRateLimit({ connections }: RateLimitInput, actor: Actor): Promise<Applied> {
    return this.#change('SetRateLimit', actor, [`~ rate-limit ${connections}`], () => {
      const rateLimit = connections === 0 ? null : { connections, windowMs: 90_000 };
      this.traffic = { ...this.traffic, firewall: { ...this.traffic.firewall, rateLimit } };
    });
  }

  async reloadGeoip(): Promise<void> {
    if (this.traffic.firewall.geoipDatabase === null)
      throw new ControlError('failed-precondition', 'no geoip_db is configured');
  }

  async applyConfig(
    config: ConfigInput,
    { ifVersion, dryRun }: { readonly ifVersion?: number; readonly dryRun: boolean },
    actor: Actor,
  ): Promise<AppliedConfig> {
    if (ifVersion !== undefined && ifVersion !== this.version)
      throw new ControlError('aborted', `the present version is ${this.version}`, 'if_version');
    const changes = config.listeners.map(({ addr }) => `+ listener/${addr}`);
    const listeners = config.listeners.map(listenerOf);
    if (!dryRun) await this.#change('ApplyConfig', actor, changes, () => this.#setListeners(listeners));
    return { version: this.version, changes, warnings: [] };
  }

  async snapshot(path: string): Promise<{ path: string; bytes: number }> {
    return { path: path === '' ? '/var/lib/portcullis/default.db' : path, bytes: 4096 };
  }

  explain(query: ExplainQuery): Explanation[] {
    this.queries.push(query);
    const ruleId = `route/:443/${query.host}`;
    const steps = [{ ruleId, outcome: 'matched' as const, detail: 'exact hostname' }];
    return [{ listener: ':443', steps, verdict: 'route', reason: null, ruleId, backend: '10.0.0.1:443' }];
  }

  async audit(limit: number): Promise<readonly AuditEntry[]> {
    return this.log.toReversed().slice(0, limit);
  }

  watch(filter: EventFilter, observe: (event: ControlEvent) => void): () => void {
    this.#watchers.set(observe, filter);
    return () => this.#watchers.delete(observe);
  }

  async #change(action: string, actor: Actor, changes: string[], apply: () => void): Promise<Applied> {
    await this.delay;
    const { failure } = this;
    this.failure = null;
    if (failure !== null) throw failure;
    apply();
    this.version++;
    const at = new Date();
    this.log.push({ version: this.version, at, actor: actor.name, action, changes });
    this.emit({ kind: 'change', at, version: this.version, actor: actor.name, action, changes });
    return { version: this.version };
  }

  listener(name: string): ListenerSettings {
    const listener = this.traffic.listeners.find((each) => each.name === name);
    if (listener === undefined)
      throw new ControlError('not-found', `there is no listener ${name}`, 'listener_addr');
    return listener;
  }

  route(name: string, named: RouteName): RouteSettings {
    const wanted = keyOf({ ...named, hostname: named.hostname.toLowerCase() });
    const route = this.listener(name).routes.find((each) => keyOf(each) === wanted);
    if (route === undefined)
      throw new ControlError('not-found', `${name} has no route ${keyOf(named)}`, 'hostname');
    return route;
  }

  #setListeners(listeners: readonly ListenerSettings[]): void {
    this.traffic = { ...this.traffic, listeners };
  }

  #replaceListener(listener: ListenerSettings): void {
    this.#setListeners(this.traffic.listeners.map((each) => (each.name === listener.name ? listener : each)));
  }

  #replaceRoute(name: string, route: RouteSettings): void {
    const listener = this.listener(name);
    const routes = listener.routes.map((each) => (keyOf(each) === keyOf(route) ? route : each));
    this.#replaceListener({ ...listener, routes });
  }
}

function listenerOf(input: ListenerInput): ListenerSettings {
  return {
    ...listenerDefaults,
    name: input.addr,
    address: { host: '', port: Number(input.addr.slice(input.addr.lastIndexOf(':') + 1)) },
    proxyProtocol: input.proxyProtocol ?? false,
    proxyProtocolFrom: input.proxyProtocolFrom ?? [],
    maxConnections: input.maxConnections ?? 0,
    protocol: (input.protocol ?? 'tls') as ListenerSettings['protocol'],
    redirectHttps: input.redirectHttps ?? false,
    trustedProxies: input.trustedProxies ?? [],
    defaultBackend: input.defaultBackend === undefined ? null : endpointOf(input.defaultBackend),
    routes: (input.routes ?? []).map(routeOf),
  };
}

function routeOf(input: RouteInput): RouteSettings {
  return {
    ...routeDefaults,
    hostname: input.hostname,
    pathPrefix: input.pathPrefix ?? '',
    mode: input.mode === 'l7' ? 'l7' : 'l4',
    backend: endpointOf(input.backend),
    sendProxyProtocol: input.sendProxyProtocol ?? false,
    tls: tlsOf(input),
    backendProtocol: (input.backendProtocol ?? 'h2c') as RouteSettings['backendProtocol'],
    backendTls: backendTlsOf(input),
    forwarded: input.forwarded ?? false,
    requestHeaders: headersOf(input.requestHeaders),
    responseHeaders: headersOf(input.responseHeaders),
    policies: (input.policies ?? []) as RouteSettings['policies'],
  };
}

function tlsOf(input: RouteInput): RouteSettings['tls'] {
  const { tlsCert: cert, tlsKey: key, clientCa = null, clientAuth = 'none', tlsMinVersion = '1.2' } = input;
  if (cert === undefined || key === undefined) return null;
  return { cert, key, clientCa, clientAuth, minVersion: tlsMinVersion } as RouteSettings['tls'];
}

function backendTlsOf(input: RouteInput): RouteSettings['backendTls'] {
  if (input.backendTls !== true) return null;
  const { backendCa: ca = null, backendServerName: serverName = null, backendInsecure = false } = input;
  return { ca, serverName, insecure: backendInsecure };
}

function headersOf(rules: HeaderRulesInput | undefined): RouteSettings['requestHeaders'] {
  if (rules === undefined) return noHeaderRules;
  const pairs = (fields: readonly HeaderInput[]): [string, string][] =>
    fields.map(({ name, value }) => [name, value]);
  return { remove: rules.remove, set: pairs(rules.set), add: pairs(rules.add) };
}

function keyOf({ hostname, pathPrefix = '' }: RouteName): string {
  return hostname + pathPrefix;
}

function endpointOf(text: string): EndpointAddress {
  if (text.startsWith('unix:')) return { kind: 'unix', path: text.slice(5) };
  const colon = text.lastIndexOf(':');
  return { kind: 'tcp', host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}
