/**
 * What an operator configures, parsed and checked: plain data that may cross threads and be stored.
 *
 * `ProcessSettings` come from file and environment and last as long as the process; `TrafficSettings` are
 * what a store owns and the admin API changes at run time. Past `src/config` nothing re-checks them.
 */

import type { EgressSettings } from './egress-settings.ts';
import { noHeaderRules } from './http-settings.ts';
import type { OperateSettings } from './operate-settings.ts';
import type {
  BackendProtocol,
  BackendTlsSettings,
  HeaderRules,
  HttpSettings,
  ListenerProtocol,
  RouteTlsSettings,
} from './http-settings.ts';

/** Where a listener binds. `host` is an IP literal without brackets; `''` is every address, v6 and v4. */
export interface ListenAddress {
  readonly host: string;
  /** 0–65535; 0 asks the system for a free port. */
  readonly port: number;
}

/** Where a backend listens. */
export type EndpointAddress =
  | {
      readonly kind: 'tcp';
      /** IP literal without brackets, or a DNS name in lower case. */
      readonly host: string;
      /** 1–65535. */
      readonly port: number;
    }
  | {
      readonly kind: 'unix';
      /** Absolute path of a stream socket, at most 107 bytes. */
      readonly path: string;
    };

export type RouteMode = 'l4' | 'l7';

/**
 * What a policy refuses: a user agent that contains the value, a request without the header it names, a method
 * that it does not list (`GET,HEAD`), a body above it (`10MiB`), or more requests than it allows of one key
 * (`100/1m` by client address, `100/1m by x-api-key` by a header).
 */
export const policyTypes = [
  'block_user_agent',
  'require_header',
  'allow_methods',
  'max_body',
  'rate_limit',
] as const;
export type PolicyType = (typeof policyTypes)[number];

/** An L7 policy. (route, type, value) is unique. */
export interface PolicySettings {
  readonly type: PolicyType;
  /** Not empty, at most 1,024 characters, in the canonical form of its type (policy-value.ts). */
  readonly value: string;
}

/** Routes of one listener, and firewall rules of one type. */
export const routesPerListenerMax = 1_000_000;
export const rulesPerTypeMax = 1_000_000;

/** Policies of one route. */
export const policiesPerRouteMax = 256;

/** Where a secret stands; its value is never configuration: `/etc/portcullis/app.key` or `env:APP_KEY`. */
export type SecretReference = string;

export interface RouteSettings {
  /** `app.example.com` or `*.example.com`, normalised by core's parseHostPattern. */
  readonly hostname: string;
  /**
   * `/api`, matching `/api` and what lies below it; `''` matches every path. (hostname, pathPrefix) is unique on
   * its listener. An l4 route has none, and its hostname no other route.
   */
  readonly pathPrefix: string;
  readonly mode: RouteMode;
  readonly backend: EndpointAddress;
  /** Begin the upstream connection with a PROXY protocol v2 header that names the real client. */
  readonly sendProxyProtocol: boolean;
  /** How an l7 route terminates TLS. Null on l4 routes, and on listeners with `protocol` http. */
  readonly tls: RouteTlsSettings | null;
  readonly backendProtocol: BackendProtocol;
  readonly backendTls: BackendTlsSettings | null;
  /** Also send `Forwarded` (RFC 7239), beside the X-Forwarded fields. */
  readonly forwarded: boolean;
  readonly requestHeaders: HeaderRules;
  readonly responseHeaders: HeaderRules;
  /** In the order they are judged. On an l4 route they wait for the day it becomes l7. */
  readonly policies: readonly PolicySettings[];
}

/** What a route is beside its name and backend when nobody says otherwise: the defaults of the file. */
export const routeDefaults: Omit<RouteSettings, 'hostname' | 'backend'> = {
  pathPrefix: '',
  mode: 'l4',
  sendProxyProtocol: false,
  tls: null,
  backendProtocol: 'h2c',
  backendTls: null,
  forwarded: false,
  requestHeaders: noHeaderRules,
  responseHeaders: noHeaderRules,
  policies: [],
};

/** `ingress` serves routes to those outside; `egress` is the proxy through which those inside go out. */
export const listenerKinds = ['ingress', 'egress'] as const;
export type ListenerKind = (typeof listenerKinds)[number];

export interface ListenerSettings {
  readonly kind: ListenerKind;
  /** The address as people write it, `:443`, and the listener's name everywhere. Unique. */
  readonly name: string;
  readonly address: ListenAddress;
  /** True: every connection must begin with a PROXY header. False: none is ever read. */
  readonly proxyProtocol: boolean;
  /** Peers that may send a PROXY header, as canonical CIDRs. Empty only for loopback addresses: any peer may. */
  readonly proxyProtocolFrom: readonly string[];
  /** Connections served at once, over all workers; 0 is no limit. */
  readonly maxConnections: number;
  readonly protocol: ListenerProtocol;
  /** Answer plain HTTP with a redirect to https. Only where `protocol` is http or auto. */
  readonly redirectHttps: boolean;
  /** Peers whose X-Forwarded fields are believed, as canonical CIDRs. */
  readonly trustedProxies: readonly string[];
  /** Takes what no route matches, and hellos without a name. */
  readonly defaultBackend: EndpointAddress | null;
  /** The listener's own certificate, for clients that speak to an egress proxy by TLS. Null on ingress. */
  readonly tls: RouteTlsSettings | null;
  /** None on egress, which goes by the egress settings. */
  readonly routes: readonly RouteSettings[];
}

/** The same of a listener. */
export const listenerDefaults: Omit<ListenerSettings, 'name' | 'address' | 'routes'> = {
  kind: 'ingress',
  proxyProtocol: false,
  proxyProtocolFrom: [],
  maxConnections: 0,
  protocol: 'tls',
  redirectHttps: false,
  trustedProxies: [],
  defaultBackend: null,
  tls: null,
};

export interface RateLimitSettings {
  /** Connections one source may open per window. */
  readonly connections: number;
  readonly windowMs: number;
}

export interface FirewallSettings {
  /** Absolute path of a MaxMind DB with countries, or null. */
  readonly geoipDatabase: string | null;
  /** Canonical IP literals. */
  readonly blockedIps: readonly string[];
  /** Canonical CIDRs, host bits zero. */
  readonly blockedCidrs: readonly string[];
  /** ISO 3166-1 alpha-2, upper case. */
  readonly blockedCountries: readonly string[];
  /** Canonical CIDRs (a single address as /32 or /128) that the rate limit never refuses. */
  readonly rateLimitExempt: readonly string[];
  readonly rateLimit: RateLimitSettings | null;
}

/** The configuration the data plane runs by. */
export interface TrafficSettings {
  readonly listeners: readonly ListenerSettings[];
  readonly firewall: FirewallSettings;
  /** What every egress listener goes by; null: there is none. */
  readonly egress: EgressSettings | null;
}

export interface ServerSettings {
  /** Data-plane threads, 1–256. `auto` in the file is resolved to the number of usable cores. */
  readonly workers: number;
  readonly shutdownTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Also bounds the PROXY header: everything before the routing decision. */
  readonly clientHelloTimeoutMs: number;
  /** Connections in all; 0 derives it from RLIMIT_NOFILE. */
  readonly maxConnections: number;
  /** `fast` drives libuv's TCP handles, `public` uses net.Socket only, `auto` takes fast where it works. */
  readonly sockets: 'auto' | 'fast' | 'public';
}

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LogSettings {
  readonly level: LogLevel;
  /** null: pretty on a terminal, JSON elsewhere. */
  readonly format: 'json' | 'pretty' | null;
}

export interface DatabaseSettings {
  /** Absolute path of the SQLite file that holds the traffic settings once it is seeded; null: file and environment own everything. */
  readonly path: string | null;
}

export interface AdminSettings {
  /** Where the admin API answers; null: nowhere. */
  readonly address: AdminAddress | null;
  /** PEM files, absolute paths. All null: no TLS, on a Unix socket or by `insecureLoopback`. */
  readonly tlsCert: string | null;
  readonly tlsKey: SecretReference | null;
  /** Clients must show a certificate that this CA signed. Needed beyond loopback. */
  readonly clientCa: string | null;
  /** Asked for by name: a loopback TCP address without TLS, which every local user can reach. */
  readonly insecureLoopback: boolean;
}

export type AdminAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** The configuration of the process itself. */
export interface ProcessSettings {
  readonly server: ServerSettings;
  readonly http: HttpSettings;
  readonly log: LogSettings;
  readonly database: DatabaseSettings;
  readonly admin: AdminSettings;
  readonly operate: OperateSettings;
}

export interface Settings {
  readonly process: ProcessSettings;
  readonly traffic: TrafficSettings;
}
