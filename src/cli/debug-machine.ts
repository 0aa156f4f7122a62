/** What the machine and the server's process look like from outside: /proc, and the disks. Never an environment. */

import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { arch, availableParallelism, cpus, freemem, loadavg, release, totalmem, uptime } from 'node:os';
import { dirname } from 'node:path';

const processesMax = 8;
const threadsMax = 512;
/** What stands before `serve` until a server takes its title, which is all that is left then. */
const programName = /(?:^|\/)(?:portcullis|cli\/main\.[jt]s)$/;

const tuning = [
  'net/core/somaxconn',
  'net/ipv4/ip_local_port_range',
  'net/ipv4/tcp_tw_reuse',
  'net/ipv4/tcp_max_syn_backlog',
  'net/netfilter/nf_conntrack_count',
  'net/netfilter/nf_conntrack_max',
  'fs/file-nr',
];

export function machineFacts(): object {
  return {
    kernel: release(),
    architecture: arch(),
    processor: cpus()[0]?.model ?? '',
    cores: cpus().length,
    cores_usable: availableParallelism(),
    load: loadavg(),
    uptime_seconds: Math.round(uptime()),
    memory_bytes: totalmem(),
    memory_free_bytes: freemem(),
    memory: linesOf('/proc/meminfo').filter((line) => /^(MemAvailable|Swap|Slab|Sockets)/.test(line)),
    cgroup: ['memory.max', 'memory.current', 'memory.events', 'cpu.max', 'pids.max'].map(
      (name) => `${name}: ${textOf(`/sys/fs/cgroup/${name}`) ?? 'not there'}`,
    ),
    pressure: linesOf('/proc/pressure/memory').concat(linesOf('/proc/pressure/cpu')),
    sockets: [...linesOf('/proc/net/sockstat'), ...linesOf('/proc/net/sockstat6')],
    kernel_settings: Object.fromEntries(tuning.map((name) => [name, textOf(`/proc/sys/${name}`)])),
    operating_system: linesOf('/etc/os-release').filter((line) => /^(NAME|VERSION)=/.test(line)),
  };
}

/** Every server process on this machine; during an upgrade there are two. */
export function serverProcesses(): object[] {
  const found = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isServer(commandOf(name)));
  return found.slice(0, processesMax).map((pid) => ({
    pid: Number(pid),
    command: commandOf(pid),
    open_descriptors: countIn(`/proc/${pid}/fd`),
    status: linesOf(`/proc/${pid}/status`).filter((line) => /^(Uid|Vm|Rss|Threads|State)/.test(line)),
    limits: linesOf(`/proc/${pid}/limits`),
    threads: threadsOf(pid),
  }));
}

function commandOf(pid: string): string[] {
  return (textOf(`/proc/${pid}/cmdline`) ?? '').split('\0').filter((word) => word !== '');
}

function isServer(command: readonly string[]): boolean {
  const at = command.indexOf('serve');
  if (command.length === 1) return programName.test(command[0]!);
  return at > 0 && programName.test(command[at - 1]!);
}

/** Processor ticks by thread: which one spins. */
function threadsOf(pid: string): string[] {
  const task = `/proc/${pid}/task`;
  const names = existsSync(task) ? readdirSync(task).slice(0, threadsMax) : [];
  return names.flatMap((tid) => {
    const stat = textOf(`${task}/${tid}/stat`);
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (stat === null || fields === undefined) return [];
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    return [`${tid} ${name} state=${fields[0]} user=${fields[11]} system=${fields[12]}`];
  });
}

/** Of the files that the configuration names: size, owner, and what is left on their disk. */
export function fileFacts(paths: readonly (string | null)[]): object[] {
  return paths.filter((path) => path !== null).flatMap(fileFact);
}

function fileFact(path: string): object[] {
  try {
    const file = statSync(path, { throwIfNoEntry: false });
    const disk = statfsSync(dirname(path));
    const mode = file === undefined ? null : (file.mode & 0o7777).toString(8).padStart(4, '0');
    return [
      {
        path,
        bytes: file?.size ?? null,
        mode,
        owner: file === undefined ? null : `${file.uid}:${file.gid}`,
        modified_at: file?.mtime.toISOString() ?? null,
        disk_free_bytes: disk.bavail * disk.bsize,
        disk_files_free: disk.ffree,
      },
    ];
  } catch (error) {
    return [{ path, error: (error as NodeJS.ErrnoException).code ?? 'unknown' }];
  }
}

function linesOf(path: string): string[] {
  return (textOf(path) ?? '').split('\n').filter((line) => line !== '');
}

/** Null: not there, or not for us. */
function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch {
    return null;
  }
}

function countIn(path: string): number | null {
  try {
    return readdirSync(path).length;
  } catch {
    return null;
  }
}
