// The forward proxies under test, all doing the same job: take CONNECT for the bench's names, reach all of them at
// the backend's loopback port, log every request to a file. With MITM they show certificates that one CA signs, and
// verify the backend's. One thread each (Squid's certificate maker is a process beside it), all pinned to one core.

import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, HOSTNAMES } from './backend.ts';
import { certificate } from './http-peers.ts';
import { descriptorsMax, MITMDUMP, SQUID_CERTGEN } from './machine.ts';
import {
  portcullisCommand,
  startLaunched,
  type Launch,
  type Peer,
  type PeerName,
  type PeerPlace,
  type RunningPeer,
} from './peers.ts';

export const EGRESS_PEERS: readonly Peer[] = [
  { name: 'portcullis', variant: 'default', label: 'portcullis' },
  { name: 'squid', variant: 'default', label: 'squid' },
  { name: 'mitmproxy', variant: 'reference', label: 'mitmproxy' },
];

/** `mitm` opens HTTPS; `tunnel` relays what begins with a ClientHello for its host; `raw` relays anything. */
export type EgressMode = 'mitm' | 'tunnel' | 'raw';

export interface EgressSetup {
  mode: EgressMode;
  backendPort: number;
}

const DOMAIN = HOSTNAMES[0]!.slice(HOSTNAMES[0]!.indexOf('.') + 1);
const HTTPS_PORT = 443;
const SQUID_USER = 'proxy';
/** What Squid may keep of certificates, in memory and on disk: more than the bench makes. */
const SQUID_CERTIFICATES = '64MB';

export async function startEgressPeer(
  peer: Peer,
  setup: EgressSetup,
  place: PeerPlace,
): Promise<RunningPeer> {
  const launch = launches[peer.name];
  if (launch === undefined) throw new Error(`${peer.name} is no forward proxy here`);
  const port = await freePort();
  const base = join(place.directory, `${peer.label}-${port}`);
  return startLaunched(peer, launch(setup, port, base, place.directory), port, base, place);
}

/** The port that clients ask for: Squid cannot send a host's requests to another one. */
export function connectPortOf(peer: Peer, backendPort: number): number {
  return peer.name === 'squid' ? backendPort : HTTPS_PORT;
}

type LaunchEgress = (setup: EgressSetup, port: number, base: string, directory: string) => Launch;

const launches: Partial<Record<PeerName, LaunchEgress>> = {
  portcullis: launchPortcullis,
  squid: launchSquid,
  mitmproxy: launchMitmproxy,
};

function launchPortcullis(setup: EgressSetup, port: number, base: string, directory: string): Launch {
  const ca = authority(directory);
  const lines = [
    ...['[server]', 'workers = 1'],
    ...['[log]', 'level = "info"', 'format = "json"'],
    ...['[metrics]', `addr = "127.0.0.2:${port}"`],
    ...['[[listeners]]', `addr = "127.0.0.1:${port}"`, 'kind = "egress"'],
    ...['[egress]', 'default_policy = "BLOCK"'],
    ...[`mitm_cert = "${ca.cert}"`, `mitm_key = "${ca.key}"`],
    `outgoing_ca_bundle = "${certificate(directory).cert}"`,
    ...['[[egress.rewrites]]', `pattern = "*.${DOMAIN}"`],
    ...['target_ip = "127.0.0.1"', `target_port = ${setup.backendPort}`],
  ];
  if (setup.mode !== 'mitm') {
    lines.push('[[egress.passthrough]]', `pattern = "*.${DOMAIN}"`, `allow_raw = ${setup.mode === 'raw'}`);
  }
  writeFileSync(`${base}.toml`, `${lines.join('\n')}\n`);
  return portcullisCommand(`${base}.toml`);
}

function launchSquid(setup: EgressSetup, port: number, base: string, directory: string): Launch {
  const isMitm = setup.mode === 'mitm';
  const own = `${base}.squid`;
  mkdirSync(own);
  copyFileSync(authority(directory).pem, join(own, 'ca.pem'));
  copyFileSync(certificate(directory).cert, join(own, 'backend.pem'));
  writeFileSync(join(own, 'hosts'), `${HOSTNAMES.map((name) => `127.0.0.1 ${name}`).join('\n')}\n`);
  const bump = `ssl-bump tls-cert=${own}/ca.pem generate-host-certificates=on dynamic_cert_mem_cache_size=${SQUID_CERTIFICATES}`;
  const config = [
    `http_port 127.0.0.1:${port} ${isMitm ? bump : ''}`,
    ...(isMitm ? squidMitmLines(own) : []),
    'workers 1',
    'http_access allow all',
    'cache deny all',
    'cache_mem 0',
    `hosts_file ${own}/hosts`,
    `access_log stdio:${own}/access.log`,
    'buffered_logs on',
    `cache_log ${own}/cache.log`,
    'cache_store_log none',
    'netdb_filename none',
    'pid_filename none',
    'pinger_enable off',
    'visible_hostname bench',
    `coredump_dir ${own}`,
    `max_filedescriptors ${Math.min(descriptorsMax(), 65_536)}`,
    'shutdown_lifetime 0 seconds',
  ];
  if (isMitm) {
    execFileSync(SQUID_CERTGEN, ['-c', '-s', join(own, 'certificates'), '-M', SQUID_CERTIFICATES]);
  }
  writeFileSync(`${base}.conf`, `${config.join('\n')}\n`);
  // Started as root it becomes another user, who must reach its files.
  if (process.getuid?.() === 0) {
    chmodSync(directory, 0o711);
    execFileSync('chown', ['-R', SQUID_USER, own]);
  }
  return {
    command: '/usr/sbin/squid',
    args: ['-N', '-d', '1', '-f', `${base}.conf`],
    readyText: isMitm ? 'Accepting SSL bumped HTTP Socket' : 'Accepting HTTP Socket',
  };
}

/** Server first, as its manual advises: peeks at the name, meets the server, then shows the client a certificate. */
function squidMitmLines(own: string): string[] {
  return [
    `sslcrtd_program ${SQUID_CERTGEN} -s ${own}/certificates -M ${SQUID_CERTIFICATES}`,
    'sslcrtd_children 1 startup=1 idle=1',
    'acl hello at_step SslBump1',
    'ssl_bump peek hello',
    'ssl_bump bump all',
    `tls_outgoing_options cafile=${own}/backend.pem`,
  ];
}

/** Its add-on turns every server's address into the backend's, as a rewrite does. */
function launchMitmproxy(setup: EgressSetup, port: number, base: string, directory: string): Launch {
  if (setup.mode !== 'mitm') throw new Error('mitmproxy has a part in MITM only');
  const own = `${base}.mitmproxy`;
  mkdirSync(own);
  copyFileSync(authority(directory).pem, join(own, 'mitmproxy-ca.pem'));
  const script = [
    'def server_connect(data):',
    `    data.server.address = ("127.0.0.1", ${setup.backendPort})`,
  ];
  writeFileSync(`${base}.py`, `${script.join('\n')}\n`);
  const settings = [`confdir=${own}`, `ssl_verify_upstream_trusted_ca=${certificate(directory).cert}`];
  const listen = ['--listen-host', '127.0.0.1', '--listen-port', String(port)];
  const options = settings.flatMap((setting) => ['--set', setting]);
  return {
    command: '/usr/bin/env',
    args: ['PYTHONUNBUFFERED=1', MITMDUMP, ...listen, ...options, '-s', `${base}.py`],
    readyText: 'proxy listening at',
  };
}

/** The CA of the run, made once per directory; `pem` holds key and certificate. */
function authority(directory: string): { cert: string; key: string; pem: string } {
  const own = join(directory, 'authority');
  const [cert, key, pem] = [join(own, 'ca.crt'), join(own, 'ca.key'), join(own, 'ca.pem')];
  if (mkdirSync(own, { recursive: true }) !== undefined) {
    execFileSync(portcullisCommand('').command, ['gencert', '--out', own], { stdio: 'ignore' });
    writeFileSync(pem, `${readFileSync(key, 'latin1')}${readFileSync(cert, 'latin1')}`, { mode: 0o600 });
  }
  return { cert, key, pem };
}
