/** Changes in words, one line each, old → new: for the audit log, a dry run and whoever watches. */
import { formatEndpoint } from '../model/endpoint.ts';
import type { BackendTlsSettings, HeaderRules, RouteTlsSettings } from '../model/http-settings.ts';
import { firewallRuleId, rateLimitRuleId, routeRuleId } from '../model/rule-id.ts';
import type { PolicySettings, RateLimitSettings, RouteSettings } from '../model/settings.ts';
import type { ListenerOptions } from '../model/snapshot.ts';
import type { StoredChange } from '../store/store.ts';
import { describeEgressChange } from './egress-lines.ts';
import type { TrafficState } from './traffic-state.ts';

/** `+` is added, `-` removed, `~` changed. `before` is the state the changes are about to be applied to. */
export function describeChanges(before: TrafficState, changes: readonly StoredChange[]): string[] {
  return changes.flatMap((change) =>
    change.kind === 'egress-set'
      ? describeEgressChange(before.egress, change.egress)
      : describeChange(before, change),
  );
}

function describeChange(before: TrafficState, change: Exclude<StoredChange, { kind: 'egress-set' }>): string {
  switch (change.kind) {
    case 'listener-put': {
      const { name } = change.listener;
      return describe(`listener/${name}`, before.listener(name), change.listener, describeListener);
    }
    case 'listener-remove':
      return `- listener/${change.listener} (${before.routeCount(change.listener)} routes)`;
    case 'max-connections-set': {
      const old = before.listener(change.listener)?.maxConnections ?? 0;
      return `~ listener/${change.listener}/max_connections: ${old} → ${change.maxConnections}`;
    }
    case 'route-put': {
      const { listener, route } = change;
      const { hostname, pathPrefix } = route;
      const id = routeRuleId(listener, hostname, pathPrefix);
      return describe(id, before.route(listener, hostname, pathPrefix), route, describeRoute);
    }
    case 'route-remove': {
      const { listener, hostname, pathPrefix } = change;
      const old = before.route(listener, hostname, pathPrefix);
      const was = old === undefined ? '' : ` (${describeRoute(old)})`;
      return `- ${routeRuleId(listener, hostname, pathPrefix)}${was}`;
    }
    case 'firewall-put':
      return `+ ${firewallRuleId(change.rule.type, change.rule.value)}`;
    case 'firewall-remove':
      return `- ${firewallRuleId(change.rule.type, change.rule.value)}`;
    case 'exempt-put':
      return `+ allowed/-/${change.cidr}`;
    case 'exempt-remove':
      return `- allowed/-/${change.cidr}`;
    case 'rate-limit-set':
      return `~ ${rateLimitRuleId}: ${describeRate(before.rateLimit)} → ${describeRate(change.rateLimit)}`;
    case 'geoip-path-set':
      return `~ firewall/geoip_db: ${before.geoipDatabase ?? 'none'} → ${change.path ?? 'none'}`;
  }
}

function describe<T>(id: string, before: T | undefined, after: T, words: (value: T) => string): string {
  return before === undefined ? `+ ${id}: ${words(after)}` : `~ ${id}: ${words(before)} → ${words(after)}`;
}

function describeListener(options: ListenerOptions): string {
  const { kind, proxyProtocol, proxyProtocolFrom, maxConnections, defaultBackend } = options;
  const { protocol, redirectHttps, trustedProxies, tls } = options;
  return [
    kind,
    ...(proxyProtocol ? [`proxy_protocol from ${proxyProtocolFrom.join(', ') || 'anyone'}`] : []),
    ...(maxConnections === 0 ? [] : [`max_connections ${maxConnections}`]),
    ...(protocol === 'tls' ? [] : [`protocol ${protocol}`]),
    ...describeTls(tls),
    ...(redirectHttps ? ['redirect_https'] : []),
    ...(trustedProxies.length === 0 ? [] : [`trusted_proxies ${trustedProxies.join(', ')}`]),
    ...(defaultBackend === null ? [] : [`default_backend ${formatEndpoint(defaultBackend)}`]),
  ].join(', ');
}

function describeRoute(route: RouteSettings): string {
  return [
    `${route.mode} ${formatEndpoint(route.backend)}`,
    ...(route.sendProxyProtocol ? ['send_proxy_protocol'] : []),
    ...(route.mode === 'l7' ? [`backend_protocol ${route.backendProtocol}`] : []),
    ...describeBackendTls(route.backendTls),
    ...describeTls(route.tls),
    ...(route.forwarded ? ['forwarded'] : []),
    ...describeHeaders('request_headers', route.requestHeaders),
    ...describeHeaders('response_headers', route.responseHeaders),
    ...route.policies.map(describePolicy),
  ].join(', ');
}

function describeTls(tls: RouteTlsSettings | null): string[] {
  if (tls === null) return [];
  return [
    `tls_cert ${tls.cert}`,
    `tls_key ${tls.key}`,
    ...(tls.clientCa === null ? [] : [`client_ca ${tls.clientCa}`, `client_auth ${tls.clientAuth}`]),
    ...(tls.minVersion === '1.2' ? [] : [`tls_min_version ${tls.minVersion}`]),
  ];
}

function describeBackendTls(tls: BackendTlsSettings | null): string[] {
  if (tls === null) return [];
  return [
    'backend_tls',
    ...(tls.ca === null ? [] : [`backend_ca ${tls.ca}`]),
    ...(tls.serverName === null ? [] : [`backend_server_name ${tls.serverName}`]),
    ...(tls.insecure ? ['backend_insecure'] : []),
  ];
}

/** Names alone: a value may be a secret of the backend, and the audit log is read by many. */
function describeHeaders(setting: string, { remove, set, add }: HeaderRules): string[] {
  const names = [
    ...remove.map((name) => `-${name}`),
    ...set.map(([name]) => `=${name}`),
    ...add.map(([name]) => `+${name}`),
  ];
  return names.length === 0 ? [] : [`${setting} ${names.join(' ')}`];
}

function describePolicy({ type, value }: PolicySettings): string {
  return `${type} ${JSON.stringify(value)}`;
}

function describeRate(limit: RateLimitSettings | null): string {
  return limit === null ? 'none' : `${limit.connections} in ${limit.windowMs / 1000} s`;
}
