/** Turns values that were read without an error into the model's `Settings`. From here on nothing re-checks them. */

import { assert } from '../core/errors.ts';
import { formatCidr, hostCidr, parseIp } from '../core/ip.ts';
import type {
  FirewallSettings,
  ListenerSettings,
  RouteSettings,
  ServerSettings,
  Settings,
} from '../model/settings.ts';
import { formatListenAddress } from './address.ts';
import type { Values } from './schema.ts';

/** `cores` is what `workers = "auto"` stands for. */
export function toSettings({ server, log, firewall, listeners }: Values, cores: number): Settings {
  return {
    process: {
      server: toServer(server, cores),
      log: { level: known(log.level), format: known(log.format) },
      database: { path: null },
      admin: { address: null, tlsCert: null, tlsKey: null, clientCa: null, insecureLoopback: false },
    },
    traffic: { listeners: listeners.map(toListener), firewall: toFirewall(firewall) },
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

function toListener(listener: Values['listeners'][number]): ListenerSettings {
  const address = known(listener.addr);
  return {
    kind: 'ingress',
    name: formatListenAddress(address),
    address,
    proxyProtocol: known(listener.proxy_protocol),
    proxyProtocolFrom: unique(listener.proxy_protocol_from),
    maxConnections: known(listener.max_connections),
    defaultBackend: known(listener.default_backend),
    routes: listener.routes.map(toRoute),
  };
}

function toRoute(route: Values['listeners'][number]['routes'][number]): RouteSettings {
  return {
    hostname: known(route.hostname),
    mode: known(route.mode),
    backend: known(route.backend),
    sendProxyProtocol: known(route.send_proxy_protocol),
    tlsCert: null,
    tlsKey: null,
    backendTls: false,
    policies: [],
  };
}

function toFirewall(firewall: Values['firewall']): FirewallSettings {
  const connections = known(firewall.rate_limit);
  const allowedIps = firewall.allowed_ips.map((ip) => formatCidr(hostCidr(known(parseIp(known(ip))))));
  return {
    geoipDatabase: known(firewall.geoip_db),
    blockedIps: unique(firewall.blocked_ips),
    blockedCidrs: unique(firewall.blocked_cidrs),
    blockedCountries: unique(firewall.blocked_countries),
    rateLimitExempt: unique([...allowedIps, ...firewall.allowed_cidrs]),
    rateLimit: connections === null ? null : { connections, windowMs: known(firewall.rate_window) },
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
