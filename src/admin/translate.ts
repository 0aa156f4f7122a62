/**
 * Between the messages of the API and the types of `Control`: requests to inputs, settings to answers. Shapes only;
 * whether a value is right is for `Control` to say. An empty string is an absent field.
 */

import { create } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { reasons } from '../core/reason.ts';
import { formatEndpoint } from '../model/endpoint.ts';
import type {
  FirewallSettings,
  ListenerSettings,
  RouteSettings,
  TrafficSettings,
} from '../model/settings.ts';
import { ControlError } from './control.ts';
import type {
  AuditEntry,
  ConfigInput,
  ControlEvent,
  ExplainQuery,
  Explanation,
  FirewallInput,
  FirewallRuleInput,
  ListenerInput,
  ListenerStatus,
  PolicyInput,
  RateLimitInput,
  RouteInput,
  Status,
} from './control.ts';
import { FirewallRuleType, WatchEventsResponseSchema } from './gen/portcullis/v1/admin_pb.ts';
import type {
  AuditEntrySchema,
  Config,
  ConfigSchema,
  ExplainRequest,
  ExplanationSchema,
  Firewall,
  FirewallRule,
  GetStatusResponseSchema,
  Listener,
  ListenerStatusSchema,
  RateLimit,
  RateLimitSchema,
  Route,
  WatchEventsResponse,
} from './gen/portcullis/v1/admin_pb.ts';

const alpnCountMax = 32;
const auditLimitMax = 1000;
const auditLimitDefault = 100;

// Requests ------------------------------------------------------------------------------------------------------

/** The message that a request must carry. */
export function required<T>(message: T | undefined, field: string): T {
  if (message === undefined) throw new ControlError('invalid-argument', 'is missing', field);
  return message;
}

/** What both packages' routes have in common; the drop-in's is structurally the same. */
type RouteFields = Omit<Route, '$typeName' | '$unknown' | 'l7Policies'> & { l7Policies: PolicyInput[] };

export function routeInput(route: RouteFields): RouteInput {
  return { ...routeUpdate(route, false), policies: route.l7Policies.map(policyInput) };
}

/** An update leaves the policies alone unless some are given, or their replacement is asked for. */
export function routeUpdate(route: RouteFields, replacesPolicies: boolean): RouteInput {
  return {
    hostname: route.hostname,
    backend: route.backend,
    sendProxyProtocol: route.sendProxyProtocol,
    backendTls: route.backendTls,
    ...(route.mode === '' ? {} : { mode: route.mode }),
    ...(route.tlsCert === '' ? {} : { tlsCert: route.tlsCert }),
    ...(route.tlsKey === '' ? {} : { tlsKey: route.tlsKey }),
    ...(replacesPolicies || route.l7Policies.length > 0
      ? { policies: route.l7Policies.map(policyInput) }
      : {}),
  };
}

export function policyInput({ type, value }: PolicyInput): PolicyInput {
  return { type, value };
}

export function listenerInput(listener: Listener): ListenerInput {
  return {
    addr: listener.addr,
    proxyProtocol: listener.proxyProtocol,
    proxyProtocolFrom: listener.proxyProtocolFrom,
    maxConnections: listener.maxConnections,
    routes: listener.routes.map(routeInput),
    ...(listener.kind === '' ? {} : { kind: listener.kind }),
    ...(listener.defaultBackend === '' ? {} : { defaultBackend: listener.defaultBackend }),
  };
}

/** The numbers of the rule types are the same in both packages. */
export function ruleInput(
  rule: { readonly type: number; readonly value: string },
  field: string,
): FirewallRuleInput {
  switch (rule.type) {
    case FirewallRuleType.IP:
      return { type: 'ip', value: rule.value };
    case FirewallRuleType.CIDR:
      return { type: 'cidr', value: rule.value };
    case FirewallRuleType.COUNTRY:
      return { type: 'country', value: rule.value };
    default:
      throw new ControlError(
        'invalid-argument',
        'must be FIREWALL_RULE_TYPE_IP, FIREWALL_RULE_TYPE_CIDR or FIREWALL_RULE_TYPE_COUNTRY',
        `${field}.type`,
      );
  }
}

export function rateLimitInput({ connections, window }: RateLimit): RateLimitInput {
  return { connections, window };
}

export function configInput(config: Config): ConfigInput {
  return {
    listeners: config.listeners.map(listenerInput),
    firewall: config.firewall === undefined ? { rules: [], allowed: [] } : firewallInput(config.firewall),
  };
}

function firewallInput({ rules, allowed, geoipDb, rateLimit }: Firewall): FirewallInput {
  return {
    rules: rules.map((rule, index) => ruleInput(rule, `config.firewall.rules[${index}]`)),
    allowed,
    ...(geoipDb === '' ? {} : { geoipDb }),
    ...(rateLimit === undefined ? {} : { rateLimit: rateLimitInput(rateLimit) }),
  };
}

export function explainQuery({ host, port, listenerAddr, from, alpn }: ExplainRequest): ExplainQuery {
  if (port > 65_535) throw new ControlError('invalid-argument', 'must be at most 65535', 'port');
  if (alpn.length > alpnCountMax)
    throw new ControlError('invalid-argument', `must name at most ${alpnCountMax} protocols`, 'alpn');
  return { host, port: port === 0 ? null : port, listener: listenerAddr || null, from: from || null, alpn };
}

export function auditLimit(limit: number): number {
  if (limit > auditLimitMax)
    throw new ControlError('invalid-argument', `must be at most ${auditLimitMax}`, 'limit');
  return limit === 0 ? auditLimitDefault : limit;
}

/** A number of the wire that JavaScript's numbers hold exactly. */
export function exactNumber(value: bigint, field: string): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new ControlError('invalid-argument', 'must be from 0 to 9007199254740991', field);
  return Number(value);
}

// Answers -------------------------------------------------------------------------------------------------------

export function statusMessage(status: Status): MessageInitShape<typeof GetStatusResponseSchema> {
  return {
    version: status.programVersion,
    startedAt: timestampFromDate(status.startedAt),
    uptime: durationFromMs(Math.round(status.uptimeMs)),
    totalConnections: BigInt(status.accepted),
    activeConnections: BigInt(status.active),
    configVersion: BigInt(status.configVersion),
    workers: status.workers,
    workersServing: status.workersServing,
    draining: status.isDraining,
    listeners: status.listeners.map(listenerStatusMessage),
  };
}

function listenerStatusMessage(listener: ListenerStatus): MessageInitShape<typeof ListenerStatusSchema> {
  const ended = [...listener.ended]
    .map(([reason, count]) => ({ reason, outcome: reasons[reason].outcome, count: BigInt(count) }))
    .toSorted((a, b) => Number(b.count - a.count));
  const refused = ended.filter(({ outcome }) => outcome === 'refused');
  return {
    addr: listener.name,
    routeCount: listener.routes,
    activeConnections: BigInt(listener.active),
    maxConnections: listener.maxConnections,
    kind: listener.kind,
    boundPort: listener.boundPort,
    accepted: BigInt(listener.accepted),
    refused: refused.reduce((sum, { count }) => sum + count, 0n),
    bytesIn: BigInt(listener.bytesIn),
    bytesOut: BigInt(listener.bytesOut),
    ended,
  };
}

export function findListener(traffic: TrafficSettings, name: string): ListenerSettings {
  const listener = traffic.listeners.find((each) => each.name === name);
  if (listener === undefined)
    throw new ControlError('not-found', `there is no listener ${JSON.stringify(name)}`, 'listener_addr');
  return listener;
}

export function findRoute(traffic: TrafficSettings, listenerName: string, hostname: string): RouteSettings {
  const wanted = hostname.toLowerCase();
  const route = findListener(traffic, listenerName).routes.find((each) => each.hostname === wanted);
  if (route === undefined) {
    const text = `listener ${listenerName} has no route ${JSON.stringify(hostname)}`;
    throw new ControlError('not-found', text, 'hostname');
  }
  return route;
}

export function listenerSummary(
  listener: ListenerSettings,
): Omit<Listener, '$typeName' | '$unknown' | 'routes'> {
  return {
    addr: listener.name,
    kind: listener.kind,
    proxyProtocol: listener.proxyProtocol,
    proxyProtocolFrom: [...listener.proxyProtocolFrom],
    maxConnections: listener.maxConnections,
    defaultBackend: listener.defaultBackend === null ? '' : formatEndpoint(listener.defaultBackend),
  };
}

export function routeMessage(route: RouteSettings): RouteFields {
  return {
    hostname: route.hostname,
    backend: formatEndpoint(route.backend),
    mode: route.mode,
    tlsCert: route.tls?.cert ?? '',
    tlsKey: route.tls?.key ?? '',
    backendTls: route.backendTls !== null,
    sendProxyProtocol: route.sendProxyProtocol,
    l7Policies: route.policies.map(policyInput),
  };
}

export function firewallMessage(firewall: FirewallSettings): Pick<Firewall, 'allowed' | 'geoipDb'> & {
  rules: FirewallRuleMessage[];
  rateLimit?: MessageInitShape<typeof RateLimitSchema>;
} {
  const limit = firewall.rateLimit;
  return {
    rules: ruleMessages(firewall),
    allowed: [...firewall.rateLimitExempt],
    geoipDb: firewall.geoipDatabase ?? '',
    ...(limit === null
      ? {}
      : { rateLimit: { connections: limit.connections, window: formatDuration(limit.windowMs) } }),
  };
}

type FirewallRuleMessage = Pick<FirewallRule, 'type' | 'value'>;

export function ruleMessages(firewall: FirewallSettings): FirewallRuleMessage[] {
  const rules = (type: FirewallRuleType, values: readonly string[]): FirewallRuleMessage[] =>
    values.map((value) => ({ type, value }));
  return [
    ...rules(FirewallRuleType.IP, firewall.blockedIps),
    ...rules(FirewallRuleType.CIDR, firewall.blockedCidrs),
    ...rules(FirewallRuleType.COUNTRY, firewall.blockedCountries),
  ];
}

export function configMessage(traffic: TrafficSettings): MessageInitShape<typeof ConfigSchema> {
  return {
    listeners: traffic.listeners.map((listener) => ({
      ...listenerSummary(listener),
      routes: listener.routes.map(routeMessage),
    })),
    firewall: firewallMessage(traffic.firewall),
  };
}

export function explanationMessage(explanation: Explanation): MessageInitShape<typeof ExplanationSchema> {
  return {
    listenerAddr: explanation.listener,
    steps: explanation.steps.map(({ ruleId, outcome, detail }) => ({ ruleId, outcome, detail })),
    verdict: explanation.verdict,
    reason: explanation.reason ?? '',
    ruleId: explanation.ruleId ?? '',
    backend: explanation.backend ?? '',
  };
}

export function auditMessage(entry: AuditEntry): MessageInitShape<typeof AuditEntrySchema> {
  return {
    version: BigInt(entry.version),
    at: timestampFromDate(entry.at),
    actor: entry.actor,
    action: entry.action,
    changes: [...entry.changes],
  };
}

export function eventMessage(event: ControlEvent): WatchEventsResponse {
  return create(WatchEventsResponseSchema, { event: eventCase(event) });
}

function eventCase(
  event: ControlEvent,
): NonNullable<MessageInitShape<typeof WatchEventsResponseSchema>['event']> {
  switch (event.kind) {
    case 'missed':
      return { case: 'missed', value: { count: BigInt(event.count) } };
    case 'change':
      return {
        case: 'change',
        value: {
          at: timestampFromDate(event.at),
          version: BigInt(event.version),
          actor: event.actor,
          action: event.action,
          changes: [...event.changes],
        },
      };
    case 'connection':
      return {
        case: 'connection',
        value: {
          at: timestampFromDate(event.at),
          id: event.id,
          client: event.client,
          listenerAddr: event.listener,
          sni: event.sni ?? '',
          route: event.route ?? '',
          backend: event.backend ?? '',
          bytesIn: BigInt(event.bytesIn),
          bytesOut: BigInt(event.bytesOut),
          duration: durationFromMs(Math.round(event.durationMs)),
          verdict: event.verdict,
          reason: event.reason,
          ruleId: event.rule ?? '',
        },
      };
  }
}

/** As the file writes it: `1m30s`. */
export function formatDuration(durationMs: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
    ['ms', 1],
  ] as const;
  let text = '';
  let restMs = durationMs;
  for (const [unit, unitMs] of units) {
    const count = Math.floor(restMs / unitMs);
    if (count > 0) text += `${count}${unit}`;
    restMs -= count * unitMs;
  }
  return text === '' ? '0s' : text;
}
