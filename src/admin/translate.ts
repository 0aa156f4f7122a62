/**
 * Between the messages of the API and the types of `Control`: requests to inputs, settings to answers. Shapes only;
 * whether a value is right is for `Control` to say. An empty string is an absent field.
 */

import { create } from '@bufbuild/protobuf';
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { formatDuration } from '../core/quantity.ts';
import { reasons } from '../core/reason.ts';
import { formatEndpoint } from '../model/endpoint.ts';
import { writeEgress } from '../model/egress-written.ts';
import type { HeaderRules } from '../model/http-settings.ts';
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
  HeaderInput,
  HeaderRulesInput,
  ListenerInput,
  ListenerStatus,
  PolicyInput,
  RateLimitInput,
  RouteInput,
  RouteName,
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
const headersMax = 128;
const auditLimitMax = 1000;
const auditLimitDefault = 100;

// Requests ------------------------------------------------------------------------------------------------------

/** The message that a request must carry. */
export function required<T>(message: T | undefined, field: string): T {
  if (message === undefined) throw new ControlError('invalid-argument', 'is missing', field);
  return message;
}

/** What both packages' routes have in common, and what only the newer one has. */
type NewRouteFields =
  | 'pathPrefix'
  | 'clientCa'
  | 'clientAuth'
  | 'tlsMinVersion'
  | 'backendProtocol'
  | 'backendCa'
  | 'backendServerName'
  | 'backendInsecure'
  | 'forwarded'
  | 'requestHeaders'
  | 'responseHeaders';
type PlainRoute = Omit<
  Route,
  '$typeName' | '$unknown' | 'l7Policies' | 'requestHeaders' | 'responseHeaders'
> & {
  requestHeaders?: HeaderRulesMessage;
  responseHeaders?: HeaderRulesMessage;
  l7Policies: PolicyInput[];
};
type RouteFields = Omit<PlainRoute, NewRouteFields> & {
  [Name in NewRouteFields]?: PlainRoute[Name] | undefined;
};
type HeaderRulesMessage = { remove: string[]; set: HeaderInput[]; add: HeaderInput[] };

export function routeInput(route: RouteFields): RouteInput {
  return { ...routeUpdate(route, false), policies: route.l7Policies.map(policyInput) };
}

/** An update leaves the policies alone unless some are given, or their replacement is asked for. */
export function routeUpdate(route: RouteFields, replacesPolicies: boolean): RouteInput {
  return {
    ...routeName(route),
    backend: route.backend,
    sendProxyProtocol: route.sendProxyProtocol,
    backendTls: route.backendTls,
    backendInsecure: route.backendInsecure ?? false,
    forwarded: route.forwarded ?? false,
    ...texts(route, ['mode', 'tlsCert', 'tlsKey', 'clientCa', 'clientAuth', 'tlsMinVersion']),
    ...texts(route, ['backendProtocol', 'backendCa', 'backendServerName']),
    ...(route.requestHeaders === undefined ? {} : { requestHeaders: headerRules(route.requestHeaders) }),
    ...(route.responseHeaders === undefined ? {} : { responseHeaders: headerRules(route.responseHeaders) }),
    ...(replacesPolicies || route.l7Policies.length > 0
      ? { policies: route.l7Policies.map(policyInput) }
      : {}),
  };
}

export function routeName({ hostname, pathPrefix = '' }: RouteFieldsName): RouteName {
  return { hostname, pathPrefix };
}

type RouteFieldsName = { readonly hostname: string; readonly pathPrefix?: string | undefined };

/** Those of the named fields that are there. */
function texts<Name extends string>(
  message: { readonly [N in Name]?: string | undefined },
  names: readonly Name[],
): { [N in Name]?: string } {
  const present: { [N in Name]?: string } = {};
  for (const name of names) if ((message[name] ?? '') !== '') present[name] = message[name]!;
  return present;
}

function headerRules({ remove, set, add }: HeaderRulesInput): HeaderRulesInput {
  return { remove, set: set.map(headerField), add: add.map(headerField) };
}

function headerField({ name, value }: HeaderInput): HeaderInput {
  return { name, value };
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
    redirectHttps: listener.redirectHttps,
    trustedProxies: listener.trustedProxies,
    ...texts(listener, ['kind', 'protocol', 'defaultBackend', 'tlsCert', 'tlsKey']),
    ...texts(listener, ['clientCa', 'clientAuth', 'tlsMinVersion']),
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
    ...(config.egress === undefined ? {} : { egress: config.egress }),
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

export function explainQuery(request: ExplainRequest): ExplainQuery {
  const { host, port, listenerAddr, from, alpn, path, method, headers, scheme, client } = request;
  if (port > 65_535) throw new ControlError('invalid-argument', 'must be at most 65535', 'port');
  if (alpn.length > alpnCountMax)
    throw new ControlError('invalid-argument', `must name at most ${alpnCountMax} protocols`, 'alpn');
  if (headers.length > headersMax)
    throw new ControlError('invalid-argument', `must be at most ${headersMax}`, 'headers');
  if (scheme !== '' && scheme !== 'http' && scheme !== 'https')
    throw new ControlError('invalid-argument', 'must be http or https', 'scheme');
  const asksRequest = path !== '' || method !== '' || headers.length > 0;
  return {
    host,
    port: port === 0 ? null : port,
    listener: listenerAddr || null,
    from: from || null,
    alpn,
    path: asksRequest ? path || '/' : null,
    method,
    headers: headers.length === 0 ? null : headers.map(headerField),
    scheme: scheme === 'http' ? 'http' : 'https',
    client: client || null,
  };
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

export function listenerSummary(
  listener: ListenerSettings,
): Omit<Listener, '$typeName' | '$unknown' | 'routes'> {
  return {
    addr: listener.name,
    kind: listener.kind,
    proxyProtocol: listener.proxyProtocol,
    proxyProtocolFrom: [...listener.proxyProtocolFrom],
    maxConnections: listener.maxConnections,
    protocol: listener.protocol,
    redirectHttps: listener.redirectHttps,
    trustedProxies: [...listener.trustedProxies],
    defaultBackend: listener.defaultBackend === null ? '' : formatEndpoint(listener.defaultBackend),
    tlsCert: listener.tls?.cert ?? '',
    tlsKey: listener.tls?.key ?? '',
    clientCa: listener.tls?.clientCa ?? '',
    clientAuth: listener.tls?.clientAuth ?? '',
    tlsMinVersion: listener.tls?.minVersion ?? '',
  };
}

export function routeMessage(route: RouteSettings): PlainRoute {
  const { tls, backendTls } = route;
  return {
    hostname: route.hostname,
    pathPrefix: route.pathPrefix,
    backend: formatEndpoint(route.backend),
    mode: route.mode,
    tlsCert: tls?.cert ?? '',
    tlsKey: tls?.key ?? '',
    clientCa: tls?.clientCa ?? '',
    clientAuth: tls?.clientAuth ?? '',
    tlsMinVersion: tls?.minVersion ?? '',
    backendProtocol: route.mode === 'l7' ? route.backendProtocol : '',
    backendTls: backendTls !== null,
    backendCa: backendTls?.ca ?? '',
    backendServerName: backendTls?.serverName ?? '',
    backendInsecure: backendTls?.insecure ?? false,
    sendProxyProtocol: route.sendProxyProtocol,
    forwarded: route.forwarded,
    ...(hasRules(route.requestHeaders) ? { requestHeaders: headerMessage(route.requestHeaders) } : {}),
    ...(hasRules(route.responseHeaders) ? { responseHeaders: headerMessage(route.responseHeaders) } : {}),
    l7Policies: route.policies.map(policyInput),
  };
}

function hasRules({ remove, set, add }: HeaderRules): boolean {
  return remove.length + set.length + add.length > 0;
}

function headerMessage({ remove, set, add }: HeaderRules): HeaderRulesMessage {
  const fields = (pairs: HeaderRules['set']): HeaderInput[] =>
    pairs.map(([name, value]) => ({ name, value }));
  return { remove: [...remove], set: fields(set), add: fields(add) };
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
    ...(traffic.egress === null ? {} : { egress: writeEgress(traffic.egress) as JsonObject }),
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
    target: explanation.target ?? '',
    action: explanation.action ?? '',
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
