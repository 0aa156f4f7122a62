// Bodies: HTTP/1.1 down and up, 1 MiB on four kept connections and 100 MiB on two.

import {
  busyPercent,
  httpJobOf,
  httpLoadOf,
  type Bench,
  type Figure,
  type Metric,
  type Sample,
} from '../figure.ts';
import { HTTP_PEERS } from '../http-peers.ts';
import type { LoadResult, Target } from '../load.ts';
import { httpOf } from './http.ts';

const MIB = 1 << 20;
const SIZES = [
  { name: '1 MiB', key: 'Small', bytes: MIB, quickBytes: MIB, connections: 4 },
  { name: '100 MiB', key: 'Large', bytes: 100 * MIB, quickBytes: 10 * MIB, connections: 2 },
] as const;
const DIRECTIONS = ['down', 'up'] as const;

export const bodies: Figure = {
  name: 'bodies',
  freshProcess: false,
  metrics: DIRECTIONS.flatMap((direction) =>
    SIZES.flatMap(({ name, key }) => metricsOf(`${direction}${key}`, `${name} ${direction}`)),
  ),
  http: httpOf(
    { tls: false, clientVersion: 1, backendVersion: 1 },
    HTTP_PEERS.filter(({ variant }) => variant !== 'reference'),
  ),
  measureDirect: (bench) => measureBodies(bench, httpLoadOf(bench).directTarget(1)),
  measure: (bench, target) => measureBodies(bench, target),
};

function metricsOf(key: string, label: string): Metric[] {
  return [
    {
      key: `${key}Gbps`,
      label,
      unit: 'Gbit/s',
      better: 'higher',
      ratioTargets: { default: 0.9, tuned: 0.9 },
      isRate: true,
    },
    { key: `${key}CpuMsPerGb`, label, unit: 'CPU ms/GB', better: 'lower' },
    { key: `${key}Busy`, label, unit: '% of core', better: 'neither' },
  ];
}

async function measureBodies(bench: Bench, target: Target): Promise<Sample> {
  const sample: Sample = {};
  for (const direction of DIRECTIONS) {
    for (const { key, bytes, quickBytes, connections } of SIZES) {
      const length = bench.effort.judged ? bytes : quickBytes;
      const shape = direction === 'down' ? { responseBytes: length } : { requestBytes: length };
      const job = httpJobOf(bench, 'request', { connections, ...shape });
      Object.assign(sample, numbersOf(`${direction}${key}`, await httpLoadOf(bench).run(target, job)));
    }
  }
  return sample;
}

function numbersOf(key: string, result: LoadResult): Sample {
  return {
    [`${key}Gbps`]: (result.bytes * 8) / 1e9 / result.seconds,
    [`${key}CpuMsPerGb`]: result.proxyCpuNs / 1e6 / (result.bytes / 1e9),
    [`${key}Busy`]: busyPercent(result),
  };
}
