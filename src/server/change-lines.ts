/** Changes in words, one line each, old → new: for the audit log, a dry run and whoever watches. */
import { formatEndpoint } from '../model/endpoint.ts';
import { firewallRuleId, rateLimitRuleId, routeRuleId } from '../model/rule-id.ts';
import type { PolicySettings, RateLimitSettings, RouteSettings } from '../model/settings.ts';
import type { ListenerOptions } from '../model/snapshot.ts';
import type { StoredChange } from '../store/store.ts';
import type { TrafficState } from './traffic-state.ts';

/** `+` is added, `-` removed, `~` changed. `before` is the state the changes are about to be applied to. */
export function describeChanges(before: TrafficState, changes: readonly StoredChange[]): string[] {
  return changes.map((change) => describeChange(before, change));
}

function describeChange(before: TrafficState, change: StoredChange): string {
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
      const id = routeRuleId(listener, route.hostname);
      return describe(id, before.route(listener, route.hostname), route, describeRoute);
    }
    case 'route-remove': {
      const old = before.route(change.listener, change.hostname);
      const was = old === undefined ? '' : ` (${describeRoute(old)})`;
      return `- ${routeRuleId(change.listener, change.hostname)}${was}`;
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
  return [
    kind,
    ...(proxyProtocol ? [`proxy_protocol from ${proxyProtocolFrom.join(', ') || 'anyone'}`] : []),
    ...(maxConnections === 0 ? [] : [`max_connections ${maxConnections}`]),
    ...(defaultBackend === null ? [] : [`default_backend ${formatEndpoint(defaultBackend)}`]),
  ].join(', ');
}

function describeRoute(route: RouteSettings): string {
  return [
    `${route.mode} ${formatEndpoint(route.backend)}`,
    ...(route.sendProxyProtocol ? ['send_proxy_protocol'] : []),
    ...(route.backendTls !== null ? ['backend_tls'] : []),
    ...(route.tls === null ? [] : [`tls_cert ${route.tls.cert}`, `tls_key ${route.tls.key}`]),
    ...route.policies.map(describePolicy),
  ].join(', ');
}

function describePolicy({ type, value }: PolicySettings): string {
  return `${type} ${JSON.stringify(value)}`;
}

function describeRate(limit: RateLimitSettings | null): string {
  return limit === null ? 'none' : `${limit.connections} in ${limit.windowMs / 1000} s`;
}
