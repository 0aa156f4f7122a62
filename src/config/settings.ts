/** Turns values that were read without an error into the model's `Settings`. From here on nothing re-checks them. */

import { assert } from '../core/errors.ts';
import { formatCidr, hostCidr, parseIp } from '../core/ip.ts';
import type { FirewallRule } from '../model/change.ts';
import { formatEndpoint } from '../model/endpoint.ts';
import { httpDefaults } from '../model/http-settings.ts';
import type { RouteTlsSettings } from '../model/http-settings.ts';
import { listenerDefaults, routeDefaults } from '../model/settings.ts';
import type {
  AdminSettings,
  EndpointAddress,
  FirewallSettings,
  ListenerSettings,
  PolicySettings,
  RateLimitSettings,
  RouteSettings,
  ServerSettings,
  Settings,
  TrafficSettings,
} from '../model/settings.ts';
import { formatListenAddress } from './address.ts';
import type { ReadFields, Values, firewallRuleFields } from './schema.ts';

type RouteValues = Values['listeners'][number]['routes'][number];
type PolicyValues = RouteValues['policies'][number];
type RateLimitValues = Pick<Values['firewall'], 'rate_limit' | 'rate_window'>;

/** `cores` is what `workers = "auto"` stands for. */
export function toSettings(values: Values, cores: number): Settings {
  const { server, log, database, admin } = values;
  return {
    process: {
      server: toServer(server, cores),
      http: httpDefaults,
      log: { level: known(log.level), format: known(log.format) },
      database: { path: known(database.path) },
      admin: toAdmin(admin),
    },
    traffic: toTraffic(values),
  };
}

export function toTraffic({ listeners, firewall }: Pick<Values, 'listeners' | 'firewall'>): TrafficSettings {
  return { listeners: listeners.map(toListener), firewall: toFirewall(firewall) };
}

function toServer(server: Values['server'], cores: number): ServerSettings {
  const workers = known(server.workers);
  return {
    workers: workers === 'auto' ? Math.min(cores, 256) : workers,
    shutdownTimeoutMs: known(server.shutdown_timeout),
    connectTimeoutMs: known(server.connect_timeout),
    idleTimeoutMs: known(server.idle_timeout),
    clientHelloTimeoutMs: known(server.client_hello_timeout),
    maxConnections: known(server.max_connections),
    sockets: known(server.sockets),
  };
}

function toAdmin(admin: Values['admin']): AdminSettings {
  return {
    address: known(admin.grpc_addr),
    tlsCert: known(admin.tls_cert),
    tlsKey: known(admin.tls_key),
    clientCa: known(admin.client_ca),
    insecureLoopback: known(admin.insecure_loopback),
  };
}

export function toListener(listener: Values['listeners'][number]): ListenerSettings {
  const address = known(listener.addr);
  const share = backendSharer();
  return {
    ...listenerDefaults,
    name: formatListenAddress(address),
    address,
    proxyProtocol: known(listener.proxy_protocol),
    proxyProtocolFrom: unique(listener.proxy_protocol_from),
    maxConnections: known(listener.max_connections),
    defaultBackend: known(listener.default_backend),
    routes: listener.routes.map((route) => toRoute(route, share)),
  };
}

/**
 * Gives routes with the same backend one object: settings are cloned into every worker, which costs a quarter of a
 * second for 100,000 routes when each has a backend of its own (bench: tables).
 */
function backendSharer(): (backend: EndpointAddress) => EndpointAddress {
  const backends = new Map<string, EndpointAddress>();
  return (backend) => {
    const text = formatEndpoint(backend);
    const known = backends.get(text);
    if (known === undefined) backends.set(text, backend);
    return known ?? backend;
  };
}

/** Most routes have no policies; they share this. */
const noPolicies: readonly PolicySettings[] = [];

export function toRoute(route: RouteValues, share = (backend: EndpointAddress) => backend): RouteSettings {
  return {
    ...routeDefaults,
    hostname: known(route.hostname),
    mode: known(route.mode),
    backend: share(known(route.backend)),
    sendProxyProtocol: known(route.send_proxy_protocol),
    tls: toTls(route),
    backendTls: known(route.backend_tls) ? { ca: null, serverName: null, insecure: false } : null,
    policies: route.policies.length === 0 ? noPolicies : route.policies.map(toPolicy),
  };
}

function toTls(route: RouteValues): RouteTlsSettings | null {
  const cert = known(route.tls_cert);
  const key = known(route.tls_key);
  if (cert === null || key === null) return null;
  return { cert, key, clientCa: null, clientAuth: 'none', minVersion: '1.2' };
}

/** Header names are compared in lower case. */
export function toPolicy({ type, value }: PolicyValues): PolicySettings {
  const text = known(value);
  return { type: known(type), value: type === 'require_header' ? text.toLowerCase() : text };
}

export function toRateLimit(values: RateLimitValues): RateLimitSettings | null {
  const connections = known(values.rate_limit);
  return connections === null ? null : { connections, windowMs: known(values.rate_window) };
}

export function toFirewallRule({
  type,
  value,
}: ReadFields<ReturnType<typeof firewallRuleFields>>): FirewallRule {
  return { type: known(type), value: known(value) };
}

function toFirewall(firewall: Values['firewall']): FirewallSettings {
  const allowedIps = firewall.allowed_ips.map((ip) => formatCidr(hostCidr(known(parseIp(known(ip))))));
  return {
    geoipDatabase: known(firewall.geoip_db),
    blockedIps: unique(firewall.blocked_ips),
    blockedCidrs: unique(firewall.blocked_cidrs),
    blockedCountries: unique(firewall.blocked_countries),
    rateLimitExempt: unique([...allowedIps, ...firewall.allowed_cidrs]),
    rateLimit: toRateLimit(firewall),
  };
}

function unique<T>(list: readonly (T | undefined)[]): readonly T[] {
  return [...new Set(list.map(known))];
}

/** A value that is not there was reported as an error, and then nobody comes here. */
function known<T>(value: T | undefined): T {
  assert(value !== undefined, 'a refused value reached the settings');
  return value;
}
