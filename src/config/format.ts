/** Prints traffic settings as a TOML file. What has its default is left out; loading the text gives the same settings. */

import { formatEndpoint } from '../model/endpoint.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import { writeEgress, type Written } from '../model/egress-written.ts';
import type { HeaderRules, RouteTlsSettings } from '../model/http-settings.ts';
import type {
  FirewallSettings,
  ListenerSettings,
  PolicySettings,
  RouteSettings,
  TrafficSettings,
} from '../model/settings.ts';
import { formatDuration } from '../core/quantity.ts';

/** Longer lists have a line for each element. */
const lineCharactersMax = 100;

export function formatTraffic({ listeners, firewall, egress }: TrafficSettings): string {
  const blocks = [
    ...formatFirewall(firewall),
    ...listeners.flatMap(formatListener),
    ...(egress === null ? [] : [formatEgress(egress)]),
  ];
  return blocks.map((lines) => `${lines.join('\n')}\n`).join('\n');
}

/** The lines of one table. */
type Block = readonly string[];
type Value = string | number | boolean | readonly string[] | null;

function formatFirewall(firewall: FirewallSettings): Block[] {
  const { ips, cidrs } = splitExempt(firewall.rateLimitExempt);
  const { rateLimit } = firewall;
  const pairs = formatPairs('', {
    geoip_db: firewall.geoipDatabase,
    blocked_ips: firewall.blockedIps,
    blocked_cidrs: firewall.blockedCidrs,
    blocked_countries: firewall.blockedCountries,
    rate_limit: rateLimit && rateLimit.connections,
    rate_window: rateLimit && formatDuration(rateLimit.windowMs),
    allowed_ips: ips,
    allowed_cidrs: cidrs,
  });
  return pairs.length === 0 ? [] : [['[firewall]', ...pairs]];
}

/** Single addresses that stand first go among the addresses: in the file those are read before the networks. */
function splitExempt(exempt: readonly string[]): { ips: readonly string[]; cidrs: readonly string[] } {
  const first = exempt.findIndex((cidr) => !isSingleAddress(cidr));
  const count = first < 0 ? exempt.length : first;
  return { ips: exempt.slice(0, count).map((cidr) => cidr.split('/')[0]!), cidrs: exempt.slice(count) };
}

function isSingleAddress(cidr: string): boolean {
  return cidr.endsWith(cidr.includes(':') ? '/128' : '/32');
}

function formatListener(listener: ListenerSettings): Block[] {
  const { defaultBackend, protocol, tls } = listener;
  const pairs = formatPairs('', {
    addr: listener.name,
    kind: listener.kind === 'ingress' ? null : listener.kind,
    protocol: protocol === 'tls' ? null : protocol,
    redirect_https: listener.redirectHttps,
    trusted_proxies: listener.trustedProxies,
    proxy_protocol: listener.proxyProtocol,
    proxy_protocol_from: listener.proxyProtocolFrom,
    max_connections: listener.maxConnections,
    default_backend: defaultBackend && formatEndpoint(defaultBackend),
    ...formatTls(tls),
  });
  return [['[[listeners]]', ...pairs], ...listener.routes.flatMap(formatRoute)];
}

function formatRoute(route: RouteSettings): Block[] {
  const { tls, backendTls } = route;
  const pairs = formatPairs('  ', {
    hostname: route.hostname,
    path_prefix: route.pathPrefix || null,
    mode: route.mode === 'l4' ? null : route.mode,
    backend: formatEndpoint(route.backend),
    send_proxy_protocol: route.sendProxyProtocol,
    ...formatTls(tls),
    backend_protocol: route.backendProtocol === 'h2c' ? null : route.backendProtocol,
    backend_tls: backendTls !== null,
    backend_ca: backendTls && backendTls.ca,
    backend_server_name: backendTls && backendTls.serverName,
    backend_insecure: backendTls !== null && backendTls.insecure,
    forwarded: route.forwarded,
  });
  const headers = [
    ...formatHeaders('request_headers', route.requestHeaders),
    ...formatHeaders('response_headers', route.responseHeaders),
  ];
  return [['  [[listeners.routes]]', ...pairs, ...headers], ...route.policies.map(formatPolicy)];
}

function formatTls(tls: RouteTlsSettings | null): Readonly<Record<string, Value>> {
  if (tls === null) return {};
  return {
    tls_cert: tls.cert,
    tls_key: tls.key,
    client_ca: tls.clientCa,
    client_auth: tls.clientAuth === 'none' ? null : tls.clientAuth,
    tls_min_version: tls.minVersion === '1.2' ? null : tls.minVersion,
  };
}

/** Entries are written within `[egress]`, each on its line: some are text and some are tables. */
function formatEgress(egress: EgressSettings): Block {
  const lines = Object.entries(writeEgress(egress)).flatMap(([name, value]) => {
    const oneLine = `${name} = ${formatInline(value)}`;
    if (!Array.isArray(value) || (oneLine.length <= lineCharactersMax && !value.some(isTable)))
      return [oneLine];
    return [`${name} = [`, ...(value as Written[]).map((item) => `  ${formatInline(item)},`), ']'];
  });
  return ['[egress]', ...lines];
}

function formatInline(value: Written): string {
  if (typeof value !== 'object') return formatScalar(value);
  if (Array.isArray(value)) return `[${(value as Written[]).map(formatInline).join(', ')}]`;
  const items = Object.entries(value).map(([name, each]) => {
    return `${/^[\w-]+$/.test(name) ? name : formatScalar(name)} = ${formatInline(each as Written)}`;
  });
  return `{ ${items.join(', ')} }`;
}

function isTable(value: unknown): boolean {
  return typeof value === 'object';
}

/** One line, for a table of its own would end the route's. */
function formatHeaders(name: string, { remove, set, add }: HeaderRules): string[] {
  const parts = [
    ...(remove.length === 0 ? [] : [`remove = [${remove.map(formatScalar).join(', ')}]`]),
    ...(set.length === 0 ? [] : [`set = ${formatFields(set)}`]),
    ...(add.length === 0 ? [] : [`add = ${formatFields(add)}`]),
  ];
  return parts.length === 0 ? [] : [`  ${name} = { ${parts.join(', ')} }`];
}

/** `{ "x-a" = "1", "x-b" = ["2", "3"] }` */
function formatFields(fields: HeaderRules['add']): string {
  const byName = Map.groupBy(fields, ([name]) => name);
  const items = [...byName].map(([name, same]) => {
    const values = same.map(([, value]) => formatScalar(value));
    return `${formatScalar(name)} = ${values.length === 1 ? values[0]! : `[${values.join(', ')}]`}`;
  });
  return `{ ${items.join(', ')} }`;
}

function formatPolicy({ type, value }: PolicySettings): Block {
  return ['    [[listeners.routes.policies]]', ...formatPairs('    ', { type, value })];
}

/** `name = value`, but for what is off, empty, or not there: those are the defaults of all of them. */
function formatPairs(indent: string, table: Readonly<Record<string, Value>>): string[] {
  const lines: string[] = [];
  for (const [name, value] of Object.entries(table)) {
    if (value === null || value === false || value === 0) continue;
    if (typeof value !== 'object') lines.push(`${indent}${name} = ${formatScalar(value)}`);
    else if (value.length > 0) lines.push(...formatList(indent, name, value));
  }
  return lines;
}

function formatList(indent: string, name: string, list: readonly string[]): string[] {
  const items = list.map(formatScalar);
  const oneLine = `${indent}${name} = [${items.join(', ')}]`;
  if (oneLine.length <= lineCharactersMax) return [oneLine];
  return [`${indent}${name} = [`, ...items.map((item) => `${indent}  ${item},`), `${indent}]`];
}

/** JSON writes text as TOML does, but leaves DEL, which TOML wants escaped. */
function formatScalar(value: string | number | boolean): string {
  return JSON.stringify(value).replaceAll('\x7f', '\\u007F');
}
