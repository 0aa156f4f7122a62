// Drives the HTTP load generator (http-load/): compiles it, writes its canned heads, runs one job at a time, and
// samples the proxy's CPU around exactly the work that the job counts.

import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOSTNAMES, reservePorts } from './backend.ts';
import { requestRecords, responseRecords, trailerRecords, type Version } from './canned-heads.ts';
import { headSet, type HeadSetName } from './head-sets.ts';
import { compile, HeldLoad, type LoadResult, type Target } from './load.ts';
import type { Cores } from './machine.ts';
import { cpuTimeNs, type Processes } from './processes.ts';

const SOURCE = join(import.meta.dirname, 'http-load');

export interface HttpJob {
  kind: 'request' | 'connection' | 'resumed' | 'latency' | 'fresh';
  version: Version;
  tls: boolean;
  /** What the proxy speaks to the backend. */
  backendVersion: Version;
  connections: number;
  /** Requests in flight on each connection; 1 with HTTP/1.1. */
  streams: number;
  seconds: number;
  warmupSeconds: number;
  heads: HeadSetName;
  requestBytes: number;
  responseBytes: number;
  /** Client addresses, 127.0.0.2 and up; 1 leaves the choice to the kernel. */
  sources?: number;
  /** Latency only: requests per second in all. */
  rate?: number;
  /** The proxy is a forward one: each connection asks it for a tunnel to its name and this port. */
  connectPort?: number;
  /** Certificate and key in one file: the backend speaks TLS. */
  backendTls?: string;
  /** Fresh only: the number of the first host, and after how many they come again. */
  firstHost?: number;
  hosts?: number;
  /** Requests after which the window ends, however long it may be. */
  count?: number;
  /** Compare every byte of large bodies too. */
  verify: boolean;
}

export interface HttpLoadResult extends LoadResult {
  /** Handshakes that took up an earlier session. */
  resumptions: number;
}

/** Compiles the generator into `directory`; returns the program's path. */
export function compileHttpLoad(directory: string): string {
  const sources = readdirSync(SOURCE).filter((name) => name.endsWith('.c'));
  const program = join(directory, 'http-load');
  compile(program, [...sources.map((name) => join(SOURCE, name)), '-lssl', '-lcrypto']);
  return program;
}

export class HttpLoad {
  readonly #program: string;
  readonly #directory: string;
  readonly #cores: Cores;
  readonly #processes: Processes;
  /** One port of the backend for each version; the load's own process serves both. */
  readonly backendPorts: Readonly<Record<Version, number>>;

  private constructor(
    program: string,
    directory: string,
    cores: Cores,
    processes: Processes,
    backendPorts: Readonly<Record<Version, number>>,
  ) {
    this.#program = program;
    this.#directory = directory;
    this.#cores = cores;
    this.#processes = processes;
    this.backendPorts = backendPorts;
  }

  /** `generator` is the layer 4 generator, which also holds ports. */
  static async start(
    generator: string,
    directory: string,
    cores: Cores,
    processes: Processes,
  ): Promise<HttpLoad> {
    const [http1, http2] = (await reservePorts(generator, 2, cores.load, processes)) as [number, number];
    const program = compileHttpLoad(directory);
    return new HttpLoad(program, directory, cores, processes, { 1: http1, 2: http2 });
  }

  /** The backend without a proxy, where the client can speak its version. */
  directTarget(version: Version): Target {
    return { ports: [this.backendPorts[version]] };
  }

  /** Runs one job to its end. Throws when an answer was wrong or the generator gave up. */
  async run(target: Target, job: HttpJob): Promise<HttpLoadResult> {
    const child = this.#processes.start(this.#program, this.#arguments(target, job), {
      core: this.#cores.load,
    });
    const held = new HeldLoad(child, this.#processes, job);
    await held.ready();
    const cpuBefore = target.pid === undefined ? 0 : cpuTimeNs(target.pid);
    const result = (await held.work()) as HttpLoadResult;
    const cpuAfter = target.pid === undefined ? 0 : cpuTimeNs(target.pid);
    await held.end();
    checkResult(job, result);
    return { ...result, proxyCpuNs: cpuAfter - cpuBefore };
  }

  #arguments(target: Target, job: HttpJob): string[] {
    const set = headSet(job.heads, job.tls ? 'https' : 'http', job.requestBytes, job.responseBytes);
    const { trailers } = set;
    return [
      ['--job', job.kind, '--version', String(job.version), '--tls', job.tls ? '1' : '0'],
      ['--targets', target.ports.join(','), '--names', HOSTNAMES.join(',')],
      [`--backends-http${job.backendVersion}`, String(this.backendPorts[job.backendVersion])],
      ['--requests', this.#file('requests', requestRecords(set, job.version, authoritiesOf(job)))],
      ['--responses', this.#file('responses', responseRecords(set, job.backendVersion))],
      trailers === undefined ? [] : ['--trailers', this.#file('trailers', trailerRecords(trailers))],
      ['--request-body', String(job.requestBytes), '--response-body', String(job.responseBytes)],
      ['--connections', String(job.connections), '--streams', String(job.streams)],
      ['--sources', String(job.sources ?? 1), '--verify', job.verify ? '1' : '0'],
      ['--seconds', String(job.seconds), '--warmup', String(job.warmupSeconds)],
      job.rate === undefined ? [] : ['--rate', String(job.rate)],
      job.connectPort === undefined ? [] : ['--connect', String(job.connectPort)],
      job.backendTls === undefined ? [] : ['--backend-tls', job.backendTls],
      job.firstHost === undefined ? [] : ['--first-host', String(job.firstHost)],
      job.hosts === undefined ? [] : ['--hosts', String(job.hosts)],
      job.count === undefined ? [] : ['--count', String(job.count)],
    ].flat();
  }

  #file(name: string, bytes: Buffer): string {
    const path = join(this.#directory, `canned-${name}`);
    writeFileSync(path, bytes);
    return path;
  }
}

/** What Host says: a port that is not the scheme's own belongs to it. */
function authoritiesOf({ tls, connectPort }: HttpJob): readonly string[] {
  const isDefault = connectPort === undefined || connectPort === (tls ? 443 : 80);
  return isDefault ? HOSTNAMES : HOSTNAMES.map((name) => `${name}:${connectPort}`);
}

function checkResult(job: HttpJob, result: HttpLoadResult): void {
  if (result.corrupt > 0) throw new Error(`${result.corrupt} answers were not what the backend sent`);
  if (result.units === 0) throw new Error('no request was answered');
  if (job.kind === 'resumed' && result.resumptions < result.units * 0.99) {
    throw new Error(`${result.resumptions} of ${result.units} sessions were resumed`);
  }
}
