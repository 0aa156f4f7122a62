/** Turns values that were read without an error into the model's `Settings`. From here on nothing re-checks them. */

import { assert } from '../core/errors.ts';
import { formatCidr, hostCidr, parseIp } from '../core/ip.ts';
import type { FirewallRule } from '../model/change.ts';
import { formatEndpoint } from '../model/endpoint.ts';
import { noHeaderRules } from '../model/http-settings.ts';
import type {
  BackendTlsSettings,
  HeaderRules,
  HttpSettings,
  RouteTlsSettings,
} from '../model/http-settings.ts';
import { formatPolicy, parsePolicy } from '../model/policy-value.ts';
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
import { toEgress } from './settings-egress.ts';
import { toOperate } from './settings-operate.ts';
import type { ReadEntry, ReadFields, Values, firewallRuleFields } from './schema.ts';

type RouteValues = Values['listeners'][number]['routes'][number];
type PolicyValues = RouteValues['policies'][number];
type RateLimitValues = Pick<Values['firewall'], 'rate_limit' | 'rate_window'>;

/** `cores` is what `workers = "auto"` stands for. */
export function toSettings(values: Values, cores: number): Settings {
  const { server, http, log, database, admin } = values;
  return {
    process: {
      server: toServer(server, cores),
      http: toHttp(http),
      log: { level: known(log.level), format: known(log.format) },
      database: { path: known(database.path) },
      admin: toAdmin(admin),
      operate: toOperate(values),
    },
    traffic: toTraffic(values),
  };
}

export function toTraffic({
  listeners,
  firewall,
  egress,
}: Pick<Values, 'listeners' | 'firewall' | 'egress'>): TrafficSettings {
  return {
    listeners: listeners.map(toListener),
    firewall: toFirewall(firewall),
    egress: toEgress(egress),
  };
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

function toHttp(http: Values['http']): HttpSettings {
  return {
    tlsHandshakeTimeoutMs: known(http.tls_handshake_timeout),
    headTimeoutMs: known(http.head_timeout),
    bodyIdleTimeoutMs: known(http.body_idle_timeout),
    bodyRateMin: known(http.body_rate_min),
    responseTimeoutMs: known(http.response_timeout),
    keepAliveTimeoutMs: known(http.keep_alive_timeout),
    upstreamIdleTimeoutMs: known(http.upstream_idle_timeout),
    tunnelIdleTimeoutMs: known(http.tunnel_idle_timeout),
    headBytesMax: known(http.head_bytes_max),
    headerCountMax: known(http.header_count_max),
    targetBytesMax: known(http.target_bytes_max),
    pipelinedMax: known(http.pipelined_max),
    streamsMax: known(http.streams_max),
    handshakesMax: known(http.handshakes_max),
    upstreamConnectionsMax: known(http.upstream_connections_max),
    upstreamWaitingMax: known(http.upstream_waiting_max),
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
    kind: known(listener.kind),
    name: formatListenAddress(address),
    address,
    proxyProtocol: known(listener.proxy_protocol),
    proxyProtocolFrom: unique(listener.proxy_protocol_from),
    maxConnections: known(listener.max_connections),
    protocol: known(listener.protocol),
    redirectHttps: known(listener.redirect_https),
    trustedProxies: unique(listener.trusted_proxies),
    defaultBackend: known(listener.default_backend),
    tls: tlsOf(listener),
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
    hostname: known(route.hostname),
    pathPrefix: known(route.path_prefix) ?? '',
    mode: known(route.mode),
    backend: share(known(route.backend)),
    sendProxyProtocol: known(route.send_proxy_protocol),
    tls: tlsOf(route),
    backendProtocol: known(route.backend_protocol),
    backendTls: toBackendTls(route),
    forwarded: known(route.forwarded),
    requestHeaders: toHeaderRules(route.request_headers),
    responseHeaders: toHeaderRules(route.response_headers),
    policies: route.policies.length === 0 ? noPolicies : route.policies.map(toPolicy),
  };
}

/** Null without a certificate. */
export function tlsOf(
  route: Pick<RouteValues, 'tls_cert' | 'tls_key' | 'client_ca' | 'client_auth' | 'tls_min_version'>,
): RouteTlsSettings | null {
  const cert = known(route.tls_cert);
  const key = known(route.tls_key);
  if (cert === null || key === null) return null;
  return {
    cert,
    key,
    clientCa: known(route.client_ca),
    clientAuth: known(route.client_auth),
    minVersion: known(route.tls_min_version),
  };
}

function toBackendTls(route: RouteValues): BackendTlsSettings | null {
  if (!known(route.backend_tls)) return null;
  return {
    ca: known(route.backend_ca),
    serverName: known(route.backend_server_name),
    insecure: known(route.backend_insecure),
  };
}

/** Most routes have none; they share those. */
function toHeaderRules({ remove, set, add }: RouteValues['request_headers']): HeaderRules {
  if (remove.length + set.length + add.length === 0) return noHeaderRules;
  const pairs = (read: readonly ReadEntry[]): [string, string][] =>
    read.map(([name, value]) => [known(name), known(value)]);
  return { remove: unique(remove), set: pairs(set), add: pairs(add) };
}

export function toPolicy({ type, value }: PolicyValues): PolicySettings {
  const parsed = parsePolicy(known(type), known(value));
  assert(parsed.type !== 'fault', 'a refused policy reached the settings');
  return { type: parsed.type, value: formatPolicy(parsed) };
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
