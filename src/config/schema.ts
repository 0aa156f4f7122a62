/**
 * Every setting there is: the one place where a setting's name, kind, default, limits and description stand.
 *
 * The reader, the environment variables, the reference page and the JSON Schema for editors all come from this
 * table. A new section is a new row.
 */

import type { FirewallRuleType } from '../model/rule-id.ts';
import {
  logLevels,
  policiesPerRouteMax,
  policyTypes,
  routesPerListenerMax,
  rulesPerTypeMax,
} from '../model/settings.ts';
import {
  adminAddress,
  boolean,
  cidr,
  country,
  duration,
  endpoint,
  filePath,
  hostPattern,
  integer,
  integerOr,
  ipAddress,
  line,
  listenAddress,
  oneOf,
  secret,
} from './kinds.ts';
import type { Kind } from './kinds.ts';

export type Fields = Readonly<Record<string, Node>>;
export type Node = Setting<unknown> | List<unknown> | Section<Fields> | Rows<Fields>;

/** One value. */
export interface Setting<T> {
  readonly form: 'setting';
  readonly kind: Kind<NonNullable<T>>;
  /** As the file would write it; null: may be left out and is then null; undefined: must be there. */
  readonly fallback: string | number | boolean | null | undefined;
  readonly description: string;
  /** Only types: what reading gives. */
  readonly result?: T;
}

/** A list of values, empty when left out. */
export interface List<T> {
  readonly form: 'list';
  readonly kind: Kind<T>;
  readonly countMax: number;
  readonly description: string;
}

/** A table that is there once: `[server]`. */
export interface Section<F extends Fields> {
  readonly form: 'section';
  readonly fields: F;
  readonly description: string;
}

/** A table that is there any number of times: `[[listeners]]`. */
export interface Rows<F extends Fields> {
  readonly form: 'rows';
  readonly fields: F;
  readonly countMin: number;
  readonly countMax: number;
  readonly description: string;
}

/** What reading a node gives. `undefined` is a value that was refused or is missing, and has been reported. */
export type Read<N> =
  N extends Setting<infer T>
    ? T | undefined
    : N extends List<infer T>
      ? readonly (T | undefined)[]
      : N extends Section<infer F>
        ? ReadFields<F>
        : N extends Rows<infer F>
          ? readonly ReadFields<F>[]
          : never;
export type ReadFields<F extends Fields> = { readonly [K in keyof F]: Read<F[K]> };

const second = 1000;
const hour = 3_600_000;
const day = 24 * hour;

const connectionsMax = 10_000_000;

const policies = rows(
  0,
  policiesPerRouteMax,
  'What a route of mode `l7` refuses. (`type`, `value`) is unique on its route.',
  {
    type: required(
      oneOf(policyTypes),
      '`block_user_agent` refuses a request whose User-Agent contains `value`, `require_header` one without a ' +
        'header of that name.',
    ),
    value: required(
      line(1024),
      'A part of a User-Agent, or the name of a header, whose case does not matter.',
    ),
  },
);

const routes = rows(
  0,
  routesPerListenerMax,
  'Which backend serves which hostname. An exact hostname beats the longest wildcard.',
  {
    hostname: required(
      hostPattern(),
      'The name a client asks for in its TLS ClientHello (SNI), or `*.` and a name for every name below it. ' +
        'Case does not matter; other scripts than Latin are converted to their `xn--` form.',
    ),
    mode: setting(
      oneOf(['l4', 'l7']),
      'l4',
      '`l4` relays bytes without ending TLS. `l7` ends TLS and judges each request; this version keeps such routes ' +
        'and refuses their connections with reason `mode-unavailable`.',
    ),
    backend: required(
      endpoint(),
      'Where connections go: `host:port`, `[v6]:port`, or `unix:` and the path of a socket, at most 107 bytes.',
    ),
    send_proxy_protocol: setting(
      boolean(),
      false,
      'Begin each connection to the backend with a PROXY protocol v2 header that names the client.',
    ),
    tls_cert: optional(
      filePath(),
      'The certificate that a route of mode `l7` presents, in PEM, its chain after it. Required there, refused on `l4`.',
    ),
    tls_key: optional(secret(), 'The private key of `tls_cert`, in PEM, without a passphrase.'),
    backend_tls: setting(boolean(), false, 'Speak TLS to the backend. Only with mode `l7`.'),
    policies,
  },
);

const listeners = rows(1, 1024, 'The addresses that accept connections. At least one.', {
  addr: required(
    listenAddress(),
    '`:443` is every address, IPv4 and IPv6. Port 0 takes a free port. The address is also the name of the listener.',
  ),
  proxy_protocol: setting(
    boolean(),
    false,
    'Every connection must begin with a PROXY protocol header, v1 or v2. When false none is ever read.',
  ),
  proxy_protocol_from: list(
    cidr(),
    4096,
    'The peers that may send a PROXY header. Required with `proxy_protocol` unless `addr` is a loopback address.',
  ),
  max_connections: setting(
    integer(0, connectionsMax),
    0,
    'Connections served at once, over all workers. Further ones are closed right after accept. 0 is no limit.',
  ),
  default_backend: optional(
    endpoint(),
    'Serves connections that no route matches, and those that name no host. Without it they are refused.',
  ),
  routes,
});

export const schema = {
  server: section('The process and its limits. Read at start.', {
    workers: setting(
      integerOr('auto', 1, 256),
      'auto',
      'Threads that carry traffic. `auto` is one for each core the process may use.',
    ),
    shutdown_timeout: setting(
      duration(0, day),
      '30s',
      'How long connections may go on after SIGTERM or SIGINT before they are closed.',
    ),
    connect_timeout: setting(
      duration(1, hour),
      '5s',
      'How long reaching a backend may take, the DNS answer and all its addresses included.',
    ),
    idle_timeout: setting(
      duration(second, 7 * day),
      '5m',
      'A connection over which no byte moved for this long, either way, is closed.',
    ),
    client_hello_timeout: setting(
      duration(1, hour),
      '10s',
      'How long a client may take to send what the routing decision needs: PROXY header and ClientHello.',
    ),
    max_connections: setting(
      integer(0, connectionsMax),
      0,
      'Connections served at once over all listeners. 0 derives it from the limit of open files: ' +
        '(`RLIMIT_NOFILE` − 256) / 2.',
    ),
    sockets: setting(
      oneOf(['auto', 'fast', 'public']),
      'auto',
      'How sockets are driven. `fast` uses the TCP handles inside Node.js, `public` only its documented API, ' +
        '`auto` is `fast` where this Node.js supports it.',
    ),
  }),
  log: section('What is logged, to standard output.', {
    level: setting(oneOf(logLevels), 'info', 'The least severe level that is logged.'),
    format: optional(oneOf(['json', 'pretty']), 'Left out: `pretty` on a terminal, `json` elsewhere.'),
  }),
  database: section('Where listeners, routes, policies and firewall rules are kept between starts.', {
    path: optional(
      filePath(),
      'A SQLite file. The first start fills it from this file; from then on it is the truth and changes through the ' +
        'admin API. Left out: file and environment own everything.',
    ),
  }),
  admin: section('The API that shows and changes the configuration of the running process. Read at start.', {
    grpc_addr: optional(
      adminAddress(),
      'Where the API answers gRPC, gRPC-Web and JSON over HTTP: an address, or `unix:` and the path of a socket that ' +
        'only its owner may open. Left out: nowhere.',
    ),
    tls_cert: optional(
      filePath(),
      'The certificate of the API in PEM, its chain after it. Read again on change.',
    ),
    tls_key: optional(secret(), 'The private key of `tls_cert`, in PEM, without a passphrase.'),
    client_ca: optional(
      filePath(),
      'Certificates in PEM; a caller must show a certificate that one of them signed. Required beyond loopback.',
    ),
    insecure_loopback: setting(
      boolean(),
      false,
      'Answer without TLS on a loopback address, where every user of the machine may change the configuration.',
    ),
  }),
  firewall: section(
    'Who may connect. Rules hold for every listener and see both the peer of the socket and the client that a PROXY ' +
      'header names. Blocked beats allowed.',
    {
      geoip_db: optional(filePath(), 'A MaxMind database with countries. Read again on SIGHUP.'),
      blocked_ips: list(ipAddress(), rulesPerTypeMax, 'Addresses whose connections are refused.'),
      blocked_cidrs: list(cidr(), rulesPerTypeMax, 'Networks whose connections are refused.'),
      blocked_countries: list(country(), 256, 'Countries whose connections are refused. Needs `geoip_db`.'),
      rate_limit: optional(
        integer(1, 1_000_000),
        'Connections that one source may open within `rate_window`. An IPv6 source is its /64. Left out: no limit.',
      ),
      rate_window: setting(duration(second, day), '1m', 'The sliding window of `rate_limit`.'),
      allowed_ips: list(ipAddress(), rulesPerTypeMax, 'Addresses that the rate limit never refuses.'),
      allowed_cidrs: list(cidr(), rulesPerTypeMax, 'Networks that the rate limit never refuses.'),
    },
  ),
  listeners,
} as const;

export const firewallRuleTypes: readonly FirewallRuleType[] = ['ip', 'cidr', 'country'];

/** A firewall rule as a row of its own: its value is what the list of its type takes. */
export function firewallRuleFields(type: FirewallRuleType | undefined) {
  const { blocked_ips: ip, blocked_cidrs: cidrs, blocked_countries: countries } = schema.firewall.fields;
  const kind = type === undefined ? line(1024) : { ip, cidr: cidrs, country: countries }[type].kind;
  return {
    type: required(oneOf(firewallRuleTypes), 'What is blocked.'),
    value: required(kind, 'An address, a network or the code of a country.'),
  };
}

/** The whole file, read. */
export type Values = ReadFields<typeof schema>;

/** Settings of the values that one of them is left out of are `null`. */
function optional<T>(kind: Kind<NonNullable<T>>, description: string): Setting<T | null> {
  return { form: 'setting', kind, fallback: null, description };
}

function required<T>(kind: Kind<NonNullable<T>>, description: string): Setting<T> {
  return { form: 'setting', kind, fallback: undefined, description };
}

function setting<T>(
  kind: Kind<NonNullable<T>>,
  fallback: string | number | boolean,
  description: string,
): Setting<T> {
  return { form: 'setting', kind, fallback, description };
}

function list<T>(kind: Kind<T>, countMax: number, description: string): List<T> {
  return { form: 'list', kind, countMax, description };
}

function section<const F extends Fields>(description: string, fields: F): Section<F> {
  return { form: 'section', fields, description };
}

function rows<const F extends Fields>(
  countMin: number,
  countMax: number,
  description: string,
  fields: F,
): Rows<F> {
  return { form: 'rows', fields, countMin, countMax, description };
}
