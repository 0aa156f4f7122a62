// What a figure is: a piece of work measured on one proxy at a time, and the numbers it yields.

import type { Job, Load, LoadResult, Target } from './load.ts';
import type { Peer, PeerPlace } from './peers.ts';

/** Bounds on Portcullis ÷ the better peer: at most, where lower is better; at least, where higher is better. */
export interface RatioTargets {
  default?: number;
  tuned?: number;
}

export interface Metric {
  key: string;
  label: string;
  unit: string;
  better: 'lower' | 'higher' | 'neither';
  ratioTargets?: RatioTargets;
  /** A bound on Portcullis's own number. */
  absoluteTarget?: number;
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
}

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

export function cpuUsPerUnit(result: LoadResult): number {
  return result.proxyCpuNs / 1e3 / result.units;
}

/** How much of its core the proxy used, in percent: well under 100 means that the generator set the rate. */
export function busyPercent(result: LoadResult): number {
  return result.proxyCpuNs / 1e7 / result.seconds;
}
