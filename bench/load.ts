// Drives the load generator (generator.c): compiles it, runs one job at a time, and samples the proxy's CPU
// around exactly the work that the job counts.

import type { ChildProcess } from 'node:child_process';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { HOSTNAMES, type Backend } from './backend.ts';
import { clientHello } from './client-hello.ts';
import type { Cores } from './machine.ts';
import { cpuTimeNs, type Processes } from './processes.ts';

const COMPILE_TIMEOUT_MS = 60_000;
const SETUP_TIMEOUT_MS = 45_000;
const END_TIMEOUT_MS = 25_000;

export interface Job {
  kind: 'exchange' | 'connection' | 'download' | 'upload' | 'latency' | 'idle';
  connections: number;
  seconds: number;
  warmupSeconds: number;
  /** Client addresses, 127.0.0.2 and up; 1 leaves the choice to the kernel. */
  sources?: number;
  /** Latency only: exchanges per second in all. */
  rate?: number;
  /** Bulk only: bytes per transfer; the next starts when one is complete. */
  transferBytes?: number;
  /** Compare every byte instead of letting the kernel discard bulk data. */
  verify?: boolean;
}

/** What one run did. `checksum` sums the bytes received: of exchanges always, of bulk data only when verifying. */
export interface LoadResult {
  seconds: number;
  units: number;
  bytes: number;
  failures: number;
  corrupt: number;
  checksum: number;
  open: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
  /** CPU of the proxy during exactly this work; 0 when there was none. */
  proxyCpuNs: number;
}

/** Where the load goes: a proxy's one port, or the backend's ports directly. */
export interface Target {
  ports: readonly number[];
  /** The proxy's process, absent when the load goes straight to the backend. */
  pid?: number;
}

/** Compiles the generator into `directory`; returns the program's path. */
export function compileGenerator(directory: string): string {
  const program = join(directory, 'generator');
  compile(program, [join(import.meta.dirname, 'generator.c')]);
  return program;
}

/** `sources` may end with libraries. */
export function compile(program: string, sources: readonly string[]): void {
  const result = spawnSync('gcc', ['-O3', '-o', program, ...sources], {
    encoding: 'utf8',
    timeout: COMPILE_TIMEOUT_MS,
  });
  if (result.status !== 0) throw new Error(`the load generator does not compile: ${result.stderr}`);
}

export class Load {
  readonly #generator: string;
  readonly #hellosFile: string;
  readonly #backend: Backend;
  readonly #cores: Cores;
  readonly #processes: Processes;

  constructor(generator: string, directory: string, backend: Backend, cores: Cores, processes: Processes) {
    this.#generator = generator;
    this.#hellosFile = join(directory, 'hellos');
    this.#backend = backend;
    this.#cores = cores;
    this.#processes = processes;
    writeFileSync(this.#hellosFile, Buffer.concat(HOSTNAMES.map(clientHello)));
  }

  directTarget(): Target {
    return { ports: this.#backend.ports };
  }

  /** Runs one job to its end. Throws when a byte was wrong or the generator gave up. */
  async run(target: Target, job: Job): Promise<LoadResult> {
    const held = await this.hold(target, job, true);
    const cpuBefore = target.pid === undefined ? 0 : cpuTimeNs(target.pid);
    const result = await held.work();
    const cpuAfter = target.pid === undefined ? 0 : cpuTimeNs(target.pid);
    await held.end();
    if (result.corrupt > 0) throw new Error(`${result.corrupt} replies were not what was sent`);
    return { ...result, proxyCpuNs: cpuAfter - cpuBefore };
  }

  /** Opens and warms up, then waits: `work` runs the counted window, `end` closes everything. */
  async hold(target: Target, job: Job, hostsBackend: boolean): Promise<HeldLoad> {
    const child = this.#processes.start(this.#generator, this.#arguments(target, job, hostsBackend), {
      core: this.#cores.load,
    });
    const held = new HeldLoad(child, this.#processes, job);
    await held.ready();
    return held;
  }

  #arguments(target: Target, job: Job, hostsBackend: boolean): string[] {
    return [
      ['--job', job.kind, '--targets', target.ports.join(','), '--hellos', this.#hellosFile],
      ['--connections', String(job.connections), '--sources', String(job.sources ?? 1)],
      ['--seconds', String(job.seconds), '--warmup', String(job.warmupSeconds)],
      job.rate === undefined ? [] : ['--rate', String(job.rate)],
      job.transferBytes === undefined ? [] : ['--bytes', String(job.transferBytes)],
      job.verify === true ? ['--verify', '1'] : [],
      hostsBackend ? this.#backend.hostArguments() : [],
    ].flat();
  }
}

/** What the steps of a run need to know of its job. */
type HeldJob = Readonly<{ kind: string; seconds: number; warmupSeconds: number }>;

/** A generator process between its steps; each step has a time limit. */
export class HeldLoad {
  readonly #child: ChildProcess;
  readonly #processes: Processes;
  readonly #job: HeldJob;
  readonly #lines: AsyncIterator<string>;

  constructor(child: ChildProcess, processes: Processes, job: HeldJob) {
    this.#child = child;
    this.#processes = processes;
    this.#job = job;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stdin?.on('error', () => undefined);
  }

  async ready(): Promise<void> {
    const line = await this.#line(SETUP_TIMEOUT_MS + this.#job.warmupSeconds * 1000);
    if (line !== 'ready') throw new Error(`the load generator said ${line}`);
  }

  async work(): Promise<LoadResult> {
    this.#child.stdin!.write('\n');
    const line = await this.#line(END_TIMEOUT_MS + this.#job.seconds * 1000);
    return { ...(JSON.parse(line) as LoadResult), proxyCpuNs: 0 };
  }

  async end(): Promise<void> {
    this.#child.stdin!.end('\n\n');
    await this.#processes.end(this.#child);
  }

  async #line(timeoutMs: number): Promise<string> {
    const timeout = setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs);
    const next = await this.#lines.next();
    clearTimeout(timeout);
    if (next.done === true) throw new Error(`the load generator gave up during ${this.#job.kind}`);
    return next.value;
  }
}
