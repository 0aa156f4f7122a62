/**
 * Every setting there is: the one place where a setting's name, kind, default, limits and description stand.
 *
 * The reader, the environment variables, the reference page and the JSON Schema for editors all come from this
 * table. A new section is a new row.
 */

import type { FirewallRuleType } from '../model/rule-id.ts';
import { logLevels, rulesPerTypeMax } from '../model/settings.ts';
import {
  adminAddress,
  boolean,
  cidr,
  country,
  duration,
  filePath,
  integer,
  integerOr,
  ipAddress,
  line,
  oneOf,
  secret,
} from './kinds.ts';
import { egress } from './schema-egress.ts';
import { http } from './schema-http.ts';
import { connectionsMax, listeners } from './schema-listeners.ts';
import { access, metrics, operatorAddress, tracing } from './schema-operate.ts';
import { list, optional, required, section, setting } from './schema-nodes.ts';
import type { ReadFields } from './schema-nodes.ts';

export type * from './schema-nodes.ts';

const second = 1000;
const hour = 3_600_000;
const day = 24 * hour;

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
    prestop_grace: setting(
      duration(0, hour),
      '0s',
      'How long, after SIGTERM, `/readyz` answers 503 while everything is still served: the time that load balancers ' +
        'take to look elsewhere.',
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
  http,
  log: section('What is logged, and where. The level is read again on SIGHUP.', {
    level: setting(oneOf(logLevels), 'info', 'The least severe level that is logged.'),
    format: optional(oneOf(['json', 'pretty']), 'Left out: `pretty` on a terminal, `json` elsewhere.'),
    file: optional(
      filePath(),
      'The file that lines are appended to; SIGUSR2 opens it again after it was moved away. Left out: standard output.',
    ),
    access,
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
    http_addr: optional(
      operatorAddress(),
      'Where the pages for operators are, by plain HTTP: statistics, the configuration, draining. A loopback address, or ' +
        '`unix:` and the path of a socket. Left out: nowhere.',
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
  metrics,
  tracing,
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
  egress,
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
