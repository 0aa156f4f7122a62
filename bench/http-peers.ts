// The proxies under test at layer 7, all doing the same job: end the client's HTTP (and TLS), route by host among 16
// names, keep connections to the backend, add the forwarded fields and a request id, log every request to a file.
// One thread each, all pinned to one core. Layer 4: peers.ts.

import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, HOSTNAMES } from './backend.ts';
import type { Version } from './canned-heads.ts';
import { descriptorsMax } from './machine.ts';
import {
  BLOCKED_CIDRS,
  connectionsMax,
  portcullisCommand,
  startLaunched,
  TUNED_BUFFER_BYTES,
  type Launch,
  type Peer,
  type PeerName,
  type PeerPlace,
  type RunningPeer,
} from './peers.ts';

export const HTTP_PEERS: readonly Peer[] = [
  { name: 'portcullis', variant: 'default', label: 'portcullis' },
  { name: 'haproxy', variant: 'default', label: 'haproxy' },
  { name: 'nginx', variant: 'default', label: 'nginx' },
  { name: 'haproxy', variant: 'tuned', label: 'haproxy 256k' },
  { name: 'nginx', variant: 'tuned', label: 'nginx 256k' },
  { name: 'caddy', variant: 'reference', label: 'caddy' },
  { name: 'node-http2', variant: 'reference', label: 'node:http2' },
];

/** What a figure asks of every proxy. */
export interface HttpSetup {
  tls: boolean;
  clientVersion: Version;
  backendVersion: Version;
  backendPort: number;
  /** Portcullis only: what a figure of its own adds to the configuration. */
  portcullis?: PortcullisExtras;
}

export interface PortcullisExtras {
  /** `info` logs every request, `warn` none. */
  logLevel?: 'info' | 'warn';
  /** Whether metrics are served; they are unless told otherwise. */
  hasMetrics?: boolean;
  /** Lines of each route. */
  routeLines?: readonly string[];
}

/** Requests on one connection and streams in flight that nothing in the bench reaches. */
const REQUESTS_MAX = 1_000_000_000;
const STREAMS_MAX = 256;
const POOLED_MAX = 512;

export async function startHttpPeer(peer: Peer, setup: HttpSetup, place: PeerPlace): Promise<RunningPeer> {
  const port = await freePort();
  const base = join(place.directory, `${peer.label.replace(/[ :]/g, '-')}-${port}`);
  const launch = launches[peer.name]?.(peer, setup, port, base, place);
  if (launch === undefined) throw new Error(`${peer.name} is no reverse proxy here`);
  return startLaunched(peer, launch, port, base, place);
}

type LaunchHttp = (peer: Peer, setup: HttpSetup, port: number, base: string, place: PeerPlace) => Launch;

const launches: Partial<Record<PeerName, LaunchHttp>> = {
  portcullis: launchPortcullis,
  haproxy: launchHaproxy,
  nginx: launchNginx,
  caddy: launchCaddy,
  'node-http2': launchNodeHttp2,
};

function launchPortcullis(
  _peer: Peer,
  setup: HttpSetup,
  port: number,
  base: string,
  place: PeerPlace,
): Launch {
  writeFileSync(`${base}.toml`, portcullisHttpConfig(setup, port, place));
  const launch = portcullisCommand(`${base}.toml`);
  // At `warn` it does not say that it serves.
  if (setup.portcullis?.logLevel === 'warn') launch.readyText = undefined;
  return launch;
}

function portcullisHttpConfig(setup: HttpSetup, port: number, place: PeerPlace): string {
  const { logLevel = 'info', hasMetrics = true, routeLines = [] } = setup.portcullis ?? {};
  const { cert, key } = setup.tls ? certificate(place.directory) : { cert: '', key: '' };
  const lines = [
    ...['[server]', 'workers = 1'],
    ...['[log]', `level = "${logLevel}"`, 'format = "json"'],
    ...['[firewall]', `blocked_cidrs = [${BLOCKED_CIDRS.map((cidr) => `"${cidr}"`).join(', ')}]`],
    ...(hasMetrics ? ['[metrics]', `addr = "127.0.0.2:${port}"`] : []),
    ...['[[listeners]]', `addr = "127.0.0.1:${port}"`, `protocol = "${setup.tls ? 'tls' : 'http'}"`],
  ];
  for (const hostname of HOSTNAMES) {
    lines.push('[[listeners.routes]]', `hostname = "${hostname}"`, 'mode = "l7"');
    lines.push(`backend = "127.0.0.1:${setup.backendPort}"`);
    lines.push(`backend_protocol = "${setup.backendVersion === 2 ? 'h2c' : 'http1'}"`);
    if (setup.tls) lines.push(`tls_cert = "${cert}"`, `tls_key = "${key}"`);
    lines.push(...routeLines);
  }
  return `${lines.join('\n')}\n`;
}

function launchHaproxy(peer: Peer, setup: HttpSetup, port: number, base: string, place: PeerPlace): Launch {
  const tuned = peer.variant === 'tuned';
  writeFileSync(`${base}.map`, `${HOSTNAMES.map((hostname) => `${hostname} origin`).join('\n')}\n`);
  const bind = setup.tls
    ? `ssl crt ${certificate(place.directory).pem} alpn h2,http/1.1`
    : setup.clientVersion === 2
      ? 'proto h2'
      : '';
  const config = [
    'global',
    '  nbthread 1',
    `  maxconn ${connectionsMax()}`,
    '  log stdout format raw daemon',
    `  tune.h2.max-concurrent-streams ${STREAMS_MAX}`,
    ...(tuned ? [`  tune.bufsize ${TUNED_BUFFER_BYTES}`, `  tune.pipesize ${TUNED_BUFFER_BYTES}`] : []),
    'defaults',
    '  mode http',
    '  log global',
    '  option httplog',
    '  option splice-auto',
    '  option forwardfor',
    '  http-reuse always',
    '  timeout connect 5s',
    '  timeout client 5m',
    '  timeout server 5m',
    'frontend ingress',
    `  bind 127.0.0.1:${port} ${bind}`,
    `  maxconn ${connectionsMax()}`,
    '  backlog 4096',
    '  unique-id-format %{+X}o%ci%cp%fi%fp%Ts%rt%pid',
    '  unique-id-header X-Request-ID',
    '  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]',
    '  http-request set-header X-Forwarded-Host %[req.hdr(host)]',
    '  http-request set-header X-Real-IP %[src]',
    '  http-request add-header Via 1.1\\ haproxy',
    `  use_backend %[req.hdr(host),lower,map(${base}.map)]`,
    'backend origin',
    `  server s 127.0.0.1:${setup.backendPort} pool-max-conn ${POOLED_MAX}${setup.backendVersion === 2 ? ' proto h2' : ''}`,
  ];
  writeFileSync(`${base}.cfg`, `${config.join('\n')}\n`);
  return { command: '/usr/sbin/haproxy', args: ['-db', '-f', `${base}.cfg`] };
}

function launchNginx(peer: Peer, setup: HttpSetup, port: number, base: string, place: PeerPlace): Launch {
  const config = [
    'daemon off;',
    'worker_processes 1;',
    `worker_rlimit_nofile ${descriptorsMax()};`,
    `pid ${base}.pid;`,
    `error_log ${base}.error warn;`,
    `events { worker_connections ${descriptorsMax() - 64}; }`,
    'http {',
    ...nginxHttpLines(peer, base),
    '  upstream origin {',
    `    server 127.0.0.1:${setup.backendPort} max_fails=0;`,
    `    keepalive ${POOLED_MAX};`,
    `    keepalive_requests ${REQUESTS_MAX};`,
    '  }',
    '  server {',
    `    listen 127.0.0.1:${port} backlog=4096${setup.tls ? ' ssl' : ''}${setup.clientVersion === 2 ? ' http2' : ''};`,
    `    server_name ${HOSTNAMES.join(' ')};`,
    ...(setup.tls ? nginxTlsLines(place.directory) : []),
    '    location / { proxy_pass http://origin; }',
    '  }',
    '}',
  ];
  writeFileSync(`${base}.conf`, `${config.join('\n')}\n`);
  return { command: '/usr/sbin/nginx', args: ['-c', `${base}.conf`, '-e', `${base}.error`] };
}

function nginxHttpLines(peer: Peer, base: string): string[] {
  const buffer = `${TUNED_BUFFER_BYTES}`;
  return [
    '  log_format each \'$request_id $remote_addr:$remote_port [$time_iso8601] $host "$request" $status $bytes_sent \'',
    "                  '$upstream_addr $request_time $upstream_connect_time $upstream_response_time';",
    `  access_log ${base}.access each buffer=64k flush=1s;`,
    `  client_body_temp_path ${base}.body; proxy_temp_path ${base}.proxy;`,
    `  fastcgi_temp_path ${base}.fastcgi; uwsgi_temp_path ${base}.uwsgi; scgi_temp_path ${base}.scgi;`,
    '  server_names_hash_bucket_size 128;',
    `  keepalive_requests ${REQUESTS_MAX};`,
    '  keepalive_timeout 300s;',
    `  http2_max_concurrent_streams ${STREAMS_MAX};`,
    '  client_max_body_size 0;',
    '  proxy_http_version 1.1;',
    '  proxy_request_buffering off;',
    '  proxy_max_temp_file_size 0;',
    '  proxy_set_header Connection "";',
    '  proxy_set_header Host $host;',
    '  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
    '  proxy_set_header X-Forwarded-Proto $scheme;',
    '  proxy_set_header X-Forwarded-Host $host;',
    '  proxy_set_header X-Real-IP $remote_addr;',
    '  proxy_set_header X-Request-ID $request_id;',
    '  proxy_set_header Via "1.1 nginx";',
    ...(peer.variant === 'tuned'
      ? [`  proxy_buffer_size ${buffer}; proxy_buffers 8 ${buffer}; client_body_buffer_size ${buffer};`]
      : []),
  ];
}

function nginxTlsLines(directory: string): string[] {
  const { cert, key } = certificate(directory);
  return [
    `    ssl_certificate ${cert};`,
    `    ssl_certificate_key ${key};`,
    '    ssl_protocols TLSv1.2 TLSv1.3;',
    '    ssl_session_tickets on;',
    '    ssl_session_cache shared:tls:10m;',
  ];
}

/** Layer 7 of HTTP/1.1 in plain text only: the figure it has a part in. */
function launchCaddy(_peer: Peer, setup: HttpSetup, port: number, base: string, _place: PeerPlace): Launch {
  const config = [
    '{',
    '  admin off',
    '  auto_https off',
    `  storage file_system ${base}.storage`,
    '}',
    `${HOSTNAMES.map((hostname) => `http://${hostname}:${port}`).join(', ')} {`,
    '  bind 127.0.0.1',
    `  log {\n    output file ${base}.access {\n      roll_disabled\n    }\n  }`,
    `  reverse_proxy 127.0.0.1:${setup.backendPort} {`,
    '    header_up X-Real-IP {remote_host}',
    '    header_up X-Request-ID {http.request.uuid}',
    '    header_up Via "1.1 caddy"',
    `    transport http {\n      keepalive_idle_conns_per_host ${POOLED_MAX}\n    }`,
    '  }',
    '}',
  ];
  writeFileSync(`${base}.caddyfile`, `${config.join('\n')}\n`);
  return {
    command: '/usr/bin/caddy',
    args: ['run', '--adapter', 'caddyfile', '--config', `${base}.caddyfile`],
  };
}

function launchNodeHttp2(_peer: Peer, setup: HttpSetup, port: number): Launch {
  const script = join(import.meta.dirname, 'reference/node-http2-proxy.ts');
  return { command: process.execPath, args: [script, String(port), String(setup.backendPort)] };
}

/** A P-256 certificate for the bench's names, made once per directory; `pem` holds certificate and key. */
export function certificate(directory: string): { cert: string; key: string; pem: string } {
  const [cert, key, pem] = ['tls.cert', 'tls.key', 'tls.pem'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  if (!existsSync(pem)) {
    const subject = ['-subj', '/CN=bench.example', '-addext', 'subjectAltName=DNS:*.bench.example'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const files = ['-keyout', key, '-out', cert];
    execFileSync('openssl', ['req', '-x509', ...curve, '-days', '2', ...subject, ...files], {
      stdio: 'ignore',
    });
    execFileSync('sh', ['-c', 'cat "$1" "$2" > "$3"', 'sh', cert, key, pem]);
  }
  return { cert, key, pem };
}
