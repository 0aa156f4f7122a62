/**
 * What the admin API was given, under the names the configuration file has for it, so that one schema checks both.
 * An empty string is an absent field.
 */
import type {
  ConfigInput,
  FirewallInput,
  FirewallRuleInput,
  ListenerInput,
  RouteInput,
} from '../admin/control.ts';

export function fileRoute(route: RouteInput): object {
  return {
    hostname: route.hostname,
    backend: route.backend,
    ...present('mode', route.mode),
    ...present('send_proxy_protocol', route.sendProxyProtocol),
    ...present('tls_cert', route.tlsCert),
    ...present('tls_key', route.tlsKey),
    ...present('backend_tls', route.backendTls),
    ...present('policies', route.policies),
  };
}

export function fileListener(listener: ListenerInput): object {
  return {
    addr: listener.addr,
    ...present('proxy_protocol', listener.proxyProtocol),
    ...present('proxy_protocol_from', listener.proxyProtocolFrom),
    ...present('max_connections', listener.maxConnections),
    ...present('default_backend', listener.defaultBackend),
    routes: (listener.routes ?? []).map(fileRoute),
  };
}

function fileFirewall({ geoipDb, rules, allowed, rateLimit }: FirewallInput): object {
  const values = (type: FirewallRuleInput['type']): string[] => {
    return rules.filter((rule) => rule.type === type).map(({ value }) => value);
  };
  const isLimited = rateLimit !== undefined && rateLimit.connections !== 0;
  return {
    ...present('geoip_db', geoipDb),
    blocked_ips: values('ip'),
    blocked_cidrs: values('cidr'),
    blocked_countries: values('country'),
    allowed_cidrs: allowed,
    ...(isLimited ? { rate_limit: rateLimit.connections, ...present('rate_window', rateLimit.window) } : {}),
  };
}

export function fileTraffic({ listeners, firewall }: ConfigInput): object {
  return { listeners: listeners.map(fileListener), firewall: fileFirewall(firewall) };
}

function present(key: string, value: unknown): object {
  return value === undefined || value === '' ? {} : { [key]: value };
}
