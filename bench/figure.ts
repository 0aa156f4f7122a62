// What a figure is: a piece of work measured on one proxy at a time, and the numbers it yields.

import type { HttpJob, HttpLoad } from './http-load.ts';
import type { Job, Load, LoadResult, Target } from './load.ts';
import type { Peer, PeerPlace, RunningPeer } from './peers.ts';

/** Bounds on Portcullis ÷ the better peer: at most, where lower is better; at least, where higher is better. */
export interface RatioTargets {
  default?: number;
  tuned?: number;
  /** By a reference's label. */
  references?: Readonly<Record<string, number>>;
}

export interface Metric {
  key: string;
  label: string;
  unit: string;
  better: 'lower' | 'higher' | 'neither';
  ratioTargets?: RatioTargets;
  /** A bound on Portcullis's own number. */
  absoluteTarget?: number;
  /** The key of the metric that this one is without its direct run: report.ts subtracts. */
  addedTo?: string;
  /** A rate that the generator could limit: the direct run beside it says how much more the generator can do. */
  isRate?: boolean;
}

/** Numbers by metric key. */
export type Sample = Record<string, number>;

/** How long and how large; `--quick` shrinks everything so that a figure takes a second or two. */
export interface Effort {
  rounds: number;
  seconds: number;
  warmupSeconds: number;
  idleConnections: number;
  verify: boolean;
  /** Whether the run is long enough for PASS and MISS to mean something. */
  judged: boolean;
}

export interface Bench {
  load: Load;
  /** There when a figure of layer 7 is measured. */
  http: HttpLoad | undefined;
  effort: Effort;
  place: PeerPlace;
}

export interface Figure {
  name: string;
  metrics: readonly Metric[];
  /** A new process for each round, for figures that an earlier round would change. */
  freshProcess: boolean;
  measureDirect?: (bench: Bench) => Promise<Sample>;
  measure: (bench: Bench, target: Required<Target>, peer: Peer) => Promise<Sample>;
  /** Which proxies it applies to; all when absent. */
  only?: Peer['name'];
  /** The proxies of a layer 7 figure, and how they are started for it. */
  http?: { peers: readonly Peer[]; start: (peer: Peer, bench: Bench) => Promise<RunningPeer> };
}

/** The body of a small response. */
const SMALL_RESPONSE_BYTES = 128;

export const EFFORTS = {
  full: {
    rounds: 3,
    seconds: 3,
    warmupSeconds: 1,
    idleConnections: 4000,
    verify: false,
    judged: true,
  },
  quick: {
    rounds: 1,
    seconds: 0.4,
    warmupSeconds: 0.3,
    idleConnections: 300,
    verify: true,
    judged: false,
  },
} as const satisfies Record<string, Effort>;

/** A job of the run's length. */
export function jobOf(bench: Bench, kind: Job['kind'], shape: Partial<Job>): Job {
  const { seconds, warmupSeconds, verify } = bench.effort;
  return { kind, connections: 1, seconds, warmupSeconds, verify, ...shape };
}

/** A layer 7 job of the run's length: small heads, no request body. */
export function httpJobOf(bench: Bench, kind: HttpJob['kind'], shape: Partial<HttpJob>): HttpJob {
  const { seconds, warmupSeconds, verify } = bench.effort;
  return {
    ...{ kind, version: 1, tls: false, backendVersion: 1, connections: 32, streams: 1, heads: 'small' },
    ...{ seconds, warmupSeconds, verify, requestBytes: 0, responseBytes: SMALL_RESPONSE_BYTES },
    ...shape,
  };
}

/** The generator of a layer 7 figure. */
export function httpLoadOf(bench: Bench): HttpLoad {
  if (bench.http === undefined) throw new Error('the HTTP load generator is not there');
  return bench.http;
}

export function cpuUsPerUnit(result: LoadResult): number {
  return result.proxyCpuNs / 1e3 / result.units;
}

/** How much of its core the proxy used, in percent: well under 100 means that the generator set the rate. */
export function busyPercent(result: LoadResult): number {
  return result.proxyCpuNs / 1e7 / result.seconds;
}
