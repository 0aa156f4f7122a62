/**
 * What the admin API was given, under the names the configuration file has for it, so that one schema checks both.
 * An empty string is an absent field.
 */
import type {
  ConfigInput,
  FirewallInput,
  FirewallRuleInput,
  HeaderInput,
  HeaderRulesInput,
  ListenerInput,
  RouteInput,
} from '../admin/control.ts';

export function fileRoute(route: RouteInput): object {
  return {
    hostname: route.hostname,
    backend: route.backend,
    ...present('path_prefix', route.pathPrefix),
    ...present('mode', route.mode),
    ...present('send_proxy_protocol', route.sendProxyProtocol),
    ...present('tls_cert', route.tlsCert),
    ...present('tls_key', route.tlsKey),
    ...present('client_ca', route.clientCa),
    ...present('client_auth', route.clientAuth),
    ...present('tls_min_version', route.tlsMinVersion),
    ...present('backend_protocol', route.backendProtocol),
    ...present('backend_tls', route.backendTls),
    ...present('backend_ca', route.backendCa),
    ...present('backend_server_name', route.backendServerName),
    ...present('backend_insecure', route.backendInsecure),
    ...present('forwarded', route.forwarded),
    ...present('request_headers', route.requestHeaders && fileHeaders(route.requestHeaders)),
    ...present('response_headers', route.responseHeaders && fileHeaders(route.responseHeaders)),
    ...present('policies', route.policies),
  };
}

export function fileListener(listener: ListenerInput): object {
  return {
    addr: listener.addr,
    ...present('kind', listener.kind),
    ...present('proxy_protocol', listener.proxyProtocol),
    ...present('proxy_protocol_from', listener.proxyProtocolFrom),
    ...present('max_connections', listener.maxConnections),
    ...present('protocol', listener.protocol),
    ...present('redirect_https', listener.redirectHttps),
    ...present('trusted_proxies', listener.trustedProxies),
    ...present('default_backend', listener.defaultBackend),
    ...present('tls_cert', listener.tlsCert),
    ...present('tls_key', listener.tlsKey),
    ...present('client_ca', listener.clientCa),
    ...present('client_auth', listener.clientAuth),
    ...present('tls_min_version', listener.tlsMinVersion),
    routes: (listener.routes ?? []).map(fileRoute),
  };
}

/** Of names that come twice among those to set, the reader sees both and refuses them. */
function fileHeaders({ remove, set, add }: HeaderRulesInput): object {
  return { remove, set: fieldTable(set), add: fieldTable(add) };
}

/** As the file has them: a name with its value, or with the list of its values. */
function fieldTable(fields: readonly HeaderInput[]): object {
  const table = new Map<string, string | string[]>();
  for (const { name, value } of fields) {
    const present = table.get(name);
    if (present === undefined) table.set(name, value);
    else table.set(name, [present, value].flat());
  }
  return Object.fromEntries(table);
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

export function fileTraffic({ listeners, firewall, egress }: ConfigInput): object {
  return {
    listeners: listeners.map(fileListener),
    firewall: fileFirewall(firewall),
    ...present('egress', egress),
  };
}

function present(key: string, value: unknown): object {
  return value === undefined || value === '' ? {} : { [key]: value };
}
