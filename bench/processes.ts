// Child processes of the bench: started pinned to one core, sampled through /proc, ended by id whatever happens.

import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';

const END_GRACE_MS = 3000;
const LISTEN_POLL_MS = 2;

/** Raises the descriptor limit to the hard one, pins to a core, and becomes the command: one id all along. */
const LAUNCH = 'ulimit -n "$(ulimit -Hn)"; core=$1; shift; exec taskset -c "$core" "$@"';

export interface StartOptions {
  core: number;
  /** Both outputs go to this file; without it stdin and stdout are pipes and stderr is inherited. */
  outputFile?: string;
}

/** Owns every process it started. `endAll` is safe to call at any time and more than once. */
export class Processes {
  readonly #children = new Set<ChildProcess>();

  start(command: string, args: readonly string[], options: StartOptions): ChildProcess {
    const output = options.outputFile === undefined ? undefined : openSync(options.outputFile, 'a');
    const child = spawn('sh', ['-c', LAUNCH, 'sh', String(options.core), command, ...args], {
      stdio: output === undefined ? ['pipe', 'pipe', 'inherit'] : ['ignore', output, output],
    });
    if (output !== undefined) closeSync(output);
    child.on('error', () => undefined);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Asks the process to end, then makes it and what it started end. */
  async end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const family = processTree(child.pid);
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    const forced = setTimeout(() => killAll(family), END_GRACE_MS);
    await ended;
    clearTimeout(forced);
  }

  async endAll(): Promise<void> {
    await Promise.all([...this.#children].map((child) => this.end(child)));
  }

  /** For the exit handler, where nothing can be awaited. */
  killAllNow(): void {
    for (const child of this.#children) if (child.pid !== undefined) killAll(processTree(child.pid));
  }
}

/** CPU time (user and system, every thread, every descendant) in nanoseconds since start. */
export function cpuTimeNs(pid: number): number {
  let total = 0;
  for (const member of processTree(pid)) {
    for (const thread of listThreads(member)) {
      total += Number(readIfThere(`/proc/${member}/task/${thread}/schedstat`).split(' ')[0] ?? 0);
    }
  }
  return total;
}

/** Resident memory of a process and its descendants, in KiB. */
export function residentKiB(pid: number): number {
  let total = 0;
  for (const member of processTree(pid)) {
    total += Number(/^VmRSS:\s+(\d+)/m.exec(readIfThere(`/proc/${member}/status`))?.[1] ?? 0);
  }
  return total;
}

/** Waits until something accepts TCP connections on a loopback port; returns false when it never does. */
export async function acceptsConnections(
  port: number,
  child: ChildProcess,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
    if (await tryConnect(port)) return true;
    await delay(LISTEN_POLL_MS);
  }
  return false;
}

/** Waits until a program has written `text` into its output file; returns false when it never does. */
export async function says(
  file: string,
  text: string,
  child: ChildProcess,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
    if (readIfThere(file).includes(text)) return true;
    await delay(LISTEN_POLL_MS);
  }
  return false;
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function tryConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function processTree(pid: number): number[] {
  const tree = [pid];
  for (let i = 0; i < tree.length; i++) {
    for (const thread of listThreads(tree[i]!)) {
      const children = readIfThere(`/proc/${tree[i]}/task/${thread}/children`).trim();
      if (children !== '') tree.push(...children.split(' ').map(Number));
    }
  }
  return tree;
}

function listThreads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return []; // it has just ended
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }
}
