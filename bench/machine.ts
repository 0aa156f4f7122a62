// The machine a figure was taken on, and what the bench needs from it: two cores and a few Debian packages.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';

const INSTALL_TIMEOUT_MS = 180_000;
/** What the HTTP generator compiles against. */
const OPENSSL_HEADERS = '/usr/include/openssl/ssl.h';
/** Makes certificates for Squid; only the package built with OpenSSL has it. */
export const SQUID_CERTGEN = '/usr/lib/squid/security_file_certgen';
/** mitmproxy comes from pip, into a directory of its own that `npm ci` clears. */
const MITMPROXY_VENV = join(import.meta.dirname, '../node_modules/.cache/mitmproxy');
export const MITMDUMP = join(MITMPROXY_VENV, 'bin/mitmdump');
const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

export interface MachineFacts {
  date: string;
  cpu: string;
  coresAllowed: number[];
  kernel: string;
  governor: string;
  congestionControl: string;
  memoryMiB: number;
  descriptorsMax: number;
  node: string;
  haproxy: string;
  nginx: string;
  caddy: string;
  squid: string;
  mitmproxy: string;
}

/** The cores of one run: the proxy alone on its own, load and backend together or, with three cores, apart. */
export interface Cores {
  proxy: number;
  load: number;
  backend: number;
}

export type Tool = 'haproxy' | 'nginx' | 'caddy' | 'squid' | 'mitmproxy' | 'gcc' | 'openssl';

const PACKAGES: Record<Exclude<Tool, 'mitmproxy'>, string[]> = {
  haproxy: ['haproxy'],
  nginx: ['nginx-light', 'libnginx-mod-stream'],
  caddy: ['caddy'],
  squid: ['squid-openssl'],
  gcc: ['gcc', 'libc6-dev'],
  openssl: ['openssl', 'libssl-dev'],
};

export function machineFacts(): MachineFacts {
  return {
    date: new Date().toISOString(),
    cpu: /model name\s*:\s*(.*)/.exec(read('/proc/cpuinfo'))?.[1] ?? 'unknown',
    coresAllowed: allowedCores(),
    kernel: release(),
    governor: read('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor').trim() || 'not exposed',
    congestionControl: read('/proc/sys/net/ipv4/tcp_congestion_control').trim(),
    memoryMiB: Math.round(Number(/MemTotal:\s+(\d+)/.exec(read('/proc/meminfo'))?.[1] ?? 0) / 1024),
    descriptorsMax: descriptorsMax(),
    node: process.version,
    haproxy: version('haproxy', ['-v'], /version (\S+)/),
    nginx: version('nginx', ['-v'], /nginx\/(\S+)/),
    caddy: version('caddy', ['version'], /^v?(\d\S*)/),
    squid: version('squid', ['-v'], /Version (\S+)/),
    mitmproxy: mitmproxyVersion(),
  };
}

/** Chooses the cores; throws when there are fewer than two, since then no figure would mean anything. */
export function chooseCores(): Cores {
  const cores = allowedCores();
  if (cores.length < 2) throw new Error('the bench needs two cores: one for the proxy, one for the load');
  return { proxy: cores[0]!, load: cores[1]!, backend: cores[2] ?? cores[1]! };
}

/** Keeps this process off the proxy's core. */
export function pinSelf(core: number): void {
  spawnSync('taskset', ['-a', '-c', '-p', String(core), String(process.pid)], { stdio: 'ignore' });
}

/** How many descriptors one process may have: the hard limit, which children are raised to. */
export function descriptorsMax(): number {
  return Number(execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'latin1' }).trim()) || 1_048_576;
}

export function isInstalled(tool: Tool): boolean {
  if (tool === 'mitmproxy') return existsSync(MITMDUMP);
  if (tool === 'squid') return existsSync(SQUID_CERTGEN);
  if (spawnSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore', env: systemPath() }).status !== 0)
    return false;
  if (tool === 'openssl') return existsSync(OPENSSL_HEADERS);
  return tool !== 'nginx' || existsSync(STREAM_MODULE) || nginxHasStream();
}

/** Installs what is missing when it can. Returns the tools still missing, having said in one line each why. */
export function installMissing(tools: readonly Tool[], say: (line: string) => void): Tool[] {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length === 0) return [];
  const packages = missing.flatMap((tool) => (tool === 'mitmproxy' ? [] : PACKAGES[tool]));
  if (missing.includes('mitmproxy')) installMitmproxy(say);
  if (packages.length > 0 && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    say(`installing ${packages.join(', ')}`);
    apt(['update', '-q']);
    apt(['install', '-q', '-y', '--no-install-recommends', ...packages]);
  }
  const stillMissing = missing.filter((tool) => !isInstalled(tool));
  for (const tool of stillMissing) {
    say(
      tool === 'mitmproxy'
        ? 'mitmproxy is missing: it needs python3 with venv and pip, and a package index to install from'
        : `${tool} is missing: as root, apt-get install ${PACKAGES[tool].join(' ')}`,
    );
  }
  return stillMissing;
}

function installMitmproxy(say: (line: string) => void): void {
  say('installing mitmproxy with pip');
  const options = { stdio: 'ignore', timeout: INSTALL_TIMEOUT_MS } as const;
  const pip = join(MITMPROXY_VENV, 'bin/pip');
  const isThere =
    spawnSync('python3', ['-m', 'venv', MITMPROXY_VENV], options).status === 0 &&
    spawnSync(pip, ['install', '-q', 'mitmproxy'], options).status === 0;
  if (!isThere) rmSync(MITMPROXY_VENV, { recursive: true, force: true });
}

/** From the name of its metadata: asking the program takes it a second. */
function mitmproxyVersion(): string {
  if (!isInstalled('mitmproxy')) return 'not installed';
  const libraries = join(MITMPROXY_VENV, 'lib');
  const names = readdirSync(libraries).flatMap((python) =>
    readdirSync(join(libraries, python, 'site-packages')),
  );
  return (
    names.map((name) => /^mitmproxy-(\d[\d.]*)\.dist-info$/.exec(name)?.[1]).find((v) => v !== undefined) ??
    '?'
  );
}

function apt(args: string[]): void {
  // RUNLEVEL=1 keeps the packages' own services from being started where the init scripts honour it.
  const env = { ...systemPath(), DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  spawnSync('apt-get', args, { stdio: 'ignore', env, timeout: INSTALL_TIMEOUT_MS });
}

function nginxHasStream(): boolean {
  const output = spawnSync('nginx', ['-V'], { encoding: 'latin1', env: systemPath() });
  return / --with-stream( |$)/.test(output.stderr ?? '');
}

/** The dynamic stream module to load, or undefined when nginx has it built in. */
export function nginxStreamModule(): string | undefined {
  return existsSync(STREAM_MODULE) ? STREAM_MODULE : undefined;
}

/** Debian keeps both proxies in /usr/sbin, which is not on every user's PATH. */
function systemPath(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
}

function version(command: string, args: string[], pattern: RegExp): string {
  const output = spawnSync(command, args, { encoding: 'latin1', env: systemPath() });
  return pattern.exec(`${output.stdout ?? ''}${output.stderr ?? ''}`)?.[1] ?? 'not installed';
}

/** Ids of the cores that this process may run on. */
export function allowedCores(): number[] {
  const ranges = /Cpus_allowed_list:\s*(\S+)/.exec(read('/proc/self/status'))?.[1] ?? '0';
  return ranges.split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number) as [number, number | undefined];
    return Array.from({ length: (last ?? first) - first + 1 }, (_, i) => first + i);
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
