/** Prints traffic settings as a TOML file. What has its default is left out; loading the text gives the same settings. */

import { formatEndpoint } from '../model/endpoint.ts';
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

export function formatTraffic({ listeners, firewall }: TrafficSettings): string {
  const blocks = [...formatFirewall(firewall), ...listeners.flatMap(formatListener)];
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
  const { defaultBackend } = listener;
  const pairs = formatPairs('', {
    addr: listener.name,
    proxy_protocol: listener.proxyProtocol,
    proxy_protocol_from: listener.proxyProtocolFrom,
    max_connections: listener.maxConnections,
    default_backend: defaultBackend && formatEndpoint(defaultBackend),
  });
  return [['[[listeners]]', ...pairs], ...listener.routes.flatMap(formatRoute)];
}

function formatRoute(route: RouteSettings): Block[] {
  const pairs = formatPairs('  ', {
    hostname: route.hostname,
    mode: route.mode === 'l4' ? null : route.mode,
    backend: formatEndpoint(route.backend),
    send_proxy_protocol: route.sendProxyProtocol,
    tls_cert: route.tls && route.tls.cert,
    tls_key: route.tls && route.tls.key,
    backend_tls: route.backendTls !== null,
  });
  return [['  [[listeners.routes]]', ...pairs], ...route.policies.map(formatPolicy)];
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
