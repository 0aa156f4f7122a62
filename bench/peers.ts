// The proxies under test, all doing the same job: route by SNI to 16 backends, refuse a list of networks, watch
// each source's connection rate, log every connection to a file. One thread each, all pinned to one core.

import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, HOSTNAMES } from './backend.ts';
import type { Target } from './load.ts';
import { descriptorsMax, nginxStreamModule } from './machine.ts';
import { acceptsConnections, says, type Processes } from './processes.ts';

export type PeerName = 'portcullis' | 'haproxy' | 'nginx' | 'caddy' | 'node-http2' | 'squid' | 'mitmproxy';

/**
 * `default` is the proxy's own buffer size; `tuned` gives it the 256 KiB that Portcullis reads with. A `reference`
 * stands for itself: the ratio to it is shown apart, and it is never the better peer.
 */
export type Variant = 'default' | 'tuned' | 'reference';

export interface Peer {
  name: PeerName;
  variant: Variant;
  /** Its column in the tables. */
  label: string;
}

export const PEERS: readonly Peer[] = [
  { name: 'portcullis', variant: 'default', label: 'portcullis' },
  { name: 'haproxy', variant: 'default', label: 'haproxy' },
  { name: 'nginx', variant: 'default', label: 'nginx' },
  { name: 'haproxy', variant: 'tuned', label: 'haproxy 256k' },
  { name: 'nginx', variant: 'tuned', label: 'nginx 256k' },
];

/** None of these holds a loopback address, so nothing is refused; every connection is checked against them. */
export const BLOCKED_CIDRS: readonly string[] = [
  '192.0.2.0/24',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '100.64.0.0/10',
  '240.0.0.0/4',
  '2001:db8::/32',
  ...Array.from({ length: 10 }, (_, i) => `198.18.${i * 16}.0/20`),
];

/** Connections of one source per minute that nothing in the bench comes near. */
const CONNECTION_RATE_MAX = 1_000_000;
const START_TIMEOUT_MS = 20_000;
const LOG_EXCERPT_CHARACTERS = 400;
export const TUNED_BUFFER_BYTES = 256 * 1024;

export interface PeerPlace {
  directory: string;
  core: number;
  backendPorts: readonly number[];
  processes: Processes;
}

/** A started proxy; `stop` ends it. */
export interface RunningPeer {
  peer: Peer;
  target: Required<Target>;
  /** From spawning the process to the first accepted connection. */
  startMs: number;
  stop(): Promise<void>;
}

export interface Launch {
  command: string;
  args: string[];
  /** What its output says once it serves; without it the first accepted connection tells. */
  readyText?: string | undefined;
}

type LaunchTcp = (peer: Peer, port: number, base: string, place: PeerPlace) => Launch;

/** Those that also work at layer 4. */
const launches: Partial<Record<PeerName, LaunchTcp>> = {
  portcullis: launchPortcullis,
  haproxy: launchHaproxy,
  nginx: launchNginx,
};

/** Starts one proxy and waits until it accepts. Throws, with the end of its output, when it does not. */
export async function startPeer(peer: Peer, place: PeerPlace): Promise<RunningPeer> {
  const port = await freePort();
  const base = join(place.directory, `${peer.label.replace(' ', '-')}-${port}`);
  const launch = launches[peer.name]?.(peer, port, base, place);
  if (launch === undefined) throw new Error(`${peer.name} does not work at layer 4`);
  return startLaunched(peer, launch, port, base, place);
}

/** Starts Portcullis on a configuration of the caller's, which must listen on `port`. */
export async function startPortcullis(config: string, port: number, place: PeerPlace): Promise<RunningPeer> {
  const base = join(place.directory, `portcullis-${port}`);
  writeFileSync(`${base}.toml`, config);
  return startLaunched(PEERS[0]!, portcullisCommand(`${base}.toml`), port, base, place);
}

/** The Portcullis configuration of the bench; `routes` may add more hostnames, `blockedCidrs` more networks. */
export function portcullisConfig(
  port: number,
  routes: Iterable<readonly [hostname: string, backendPort: number]>,
  blockedCidrs: Iterable<string>,
): string {
  const lines = [
    '[server]',
    'workers = 1',
    '[log]',
    'level = "info"',
    'format = "json"',
    '[firewall]',
    `blocked_cidrs = [${[...blockedCidrs].map((cidr) => `"${cidr}"`).join(', ')}]`,
    `rate_limit = ${CONNECTION_RATE_MAX}`,
    'rate_window = "1m"',
    '[[listeners]]',
    `addr = "127.0.0.1:${port}"`,
  ];
  for (const [hostname, backendPort] of routes) {
    lines.push('[[listeners.routes]]', `hostname = "${hostname}"`, 'mode = "l4"');
    lines.push(`backend = "127.0.0.1:${backendPort}"`);
  }
  return `${lines.join('\n')}\n`;
}

/** Starts the command and waits until it accepts on `port`. */
export async function startLaunched(
  peer: Peer,
  launch: Launch,
  port: number,
  base: string,
  place: PeerPlace,
): Promise<RunningPeer> {
  const startedAt = performance.now();
  const options = { core: place.core, outputFile: `${base}.log` };
  const child: ChildProcess = place.processes.start(launch.command, launch.args, options);
  // Portcullis tries each address before its workers bind it: only its own word tells that it serves.
  const serves =
    launch.readyText === undefined || (await says(`${base}.log`, launch.readyText, child, START_TIMEOUT_MS));
  const accepting = serves && (await acceptsConnections(port, child, START_TIMEOUT_MS));
  const startMs = performance.now() - startedAt;
  if (!accepting || child.pid === undefined) {
    await place.processes.end(child);
    const lastLines = readFileSync(`${base}.log`, 'utf8').trim().split('\n').slice(-3).join(' | ');
    throw new Error(`it does not accept connections: ${lastLines.slice(0, LOG_EXCERPT_CHARACTERS)}`);
  }
  return {
    peer,
    target: { ports: [port], pid: child.pid },
    startMs,
    stop: () => place.processes.end(child),
  };
}

export function portcullisCommand(configFile: string): Launch {
  return {
    command: join(import.meta.dirname, '../bin/portcullis'),
    args: ['serve', '-c', configFile],
    readyText: '"msg":"ready"',
  };
}

function launchPortcullis(_peer: Peer, port: number, base: string, place: PeerPlace): Launch {
  const routes = HOSTNAMES.map((hostname, i) => [hostname, place.backendPorts[i]!] as const);
  writeFileSync(`${base}.toml`, portcullisConfig(port, routes, BLOCKED_CIDRS));
  return portcullisCommand(`${base}.toml`);
}

function launchHaproxy(peer: Peer, port: number, base: string, place: PeerPlace): Launch {
  const tuned = peer.variant === 'tuned';
  writeFileSync(`${base}.blocked`, `${BLOCKED_CIDRS.join('\n')}\n`);
  writeFileSync(`${base}.map`, `${HOSTNAMES.map((hostname, i) => `${hostname} b${i}`).join('\n')}\n`);
  const config = [
    'global',
    '  nbthread 1',
    `  maxconn ${connectionsMax()}`,
    '  log stdout format raw daemon',
    ...(tuned ? [`  tune.bufsize ${TUNED_BUFFER_BYTES}`, `  tune.pipesize ${TUNED_BUFFER_BYTES}`] : []),
    'defaults',
    '  mode tcp',
    '  log global',
    '  option tcplog',
    '  option splice-auto',
    '  timeout connect 5s',
    '  timeout client 5m',
    '  timeout server 5m',
    'frontend ingress',
    `  bind 127.0.0.1:${port}`,
    `  maxconn ${connectionsMax()}`,
    '  backlog 4096',
    '  stick-table type ip size 100k expire 1m store conn_rate(1m)',
    `  tcp-request connection reject if { src -f ${base}.blocked }`,
    '  tcp-request connection track-sc0 src',
    `  tcp-request connection reject if { sc0_conn_rate gt ${CONNECTION_RATE_MAX} }`,
    '  tcp-request inspect-delay 10s',
    '  tcp-request content accept if { req.ssl_hello_type 1 }',
    `  use_backend %[req.ssl_sni,lower,map(${base}.map)]`,
    ...HOSTNAMES.flatMap((_, i) => [`backend b${i}`, `  server s 127.0.0.1:${place.backendPorts[i]!}`]),
  ];
  writeFileSync(`${base}.cfg`, `${config.join('\n')}\n`);
  return { command: '/usr/sbin/haproxy', args: ['-db', '-f', `${base}.cfg`] };
}

function launchNginx(peer: Peer, port: number, base: string, place: PeerPlace): Launch {
  const module = nginxStreamModule();
  const config = [
    ...(module === undefined ? [] : [`load_module ${module};`]),
    'daemon off;',
    'worker_processes 1;',
    `worker_rlimit_nofile ${descriptorsMax()};`,
    `pid ${base}.pid;`,
    `error_log ${base}.error warn;`,
    `events { worker_connections ${descriptorsMax() - 64}; }`,
    'stream {',
    "  log_format each '$remote_addr:$remote_port [$time_iso8601] $ssl_preread_server_name $upstream_addr '",
    "                  '$status $bytes_sent $bytes_received $session_time';",
    `  access_log ${base}.access each;`,
    '  limit_conn_zone $binary_remote_addr zone=sources:10m;',
    '  map $ssl_preread_server_name $backend {',
    ...HOSTNAMES.map((hostname, i) => `    ${hostname} b${i};`),
    '  }',
    ...HOSTNAMES.map((_, i) => `  upstream b${i} { server 127.0.0.1:${place.backendPorts[i]!}; }`),
    '  server {',
    `    listen 127.0.0.1:${port} backlog=4096;`,
    ...BLOCKED_CIDRS.map((cidr) => `    deny ${cidr};`),
    '    limit_conn sources 60000;',
    '    ssl_preread on;',
    '    proxy_connect_timeout 5s;',
    '    proxy_timeout 5m;',
    ...(peer.variant === 'tuned' ? [`    proxy_buffer_size ${TUNED_BUFFER_BYTES};`] : []),
    '    proxy_pass $backend;',
    '  }',
    '}',
  ];
  writeFileSync(`${base}.conf`, `${config.join('\n')}\n`);
  return { command: '/usr/sbin/nginx', args: ['-c', `${base}.conf`, '-e', `${base}.error`] };
}

/** HAProxy refuses to start when its descriptors do not suffice: two a connection, and pipes to splice through. */
export function connectionsMax(): number {
  return Math.min(50_000, Math.floor((descriptorsMax() - 512) / 2.6));
}
