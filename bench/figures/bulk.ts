// Bulk: 64 MiB transfers back to back on kept connections, down on one, down on four, up on one.

import { busyPercent, jobOf, type Bench, type Figure, type Metric, type Sample } from '../figure.ts';
import type { Job, LoadResult, Target } from '../load.ts';

const SHAPES: readonly { key: string; label: string; kind: Job['kind']; connections: number }[] = [
  { key: 'down1', label: 'download, 1 connection', kind: 'download', connections: 1 },
  { key: 'down4', label: 'download, 4 connections', kind: 'download', connections: 4 },
  { key: 'up1', label: 'upload, 1 connection', kind: 'upload', connections: 1 },
];

export const bulk: Figure = {
  name: 'bulk',
  freshProcess: false,
  metrics: SHAPES.flatMap(metricsOf),
  measureDirect: (bench) => measureShapes(bench, bench.load.directTarget()),
  measure: (bench, target) => measureShapes(bench, target),
};

function metricsOf({ key, label }: (typeof SHAPES)[number]): Metric[] {
  return [
    {
      key: `${key}Gbps`,
      label,
      unit: 'Gbit/s',
      better: 'higher',
      ratioTargets: { default: 1.5, tuned: 1 },
      isRate: true,
    },
    {
      key: `${key}CpuMsPerGb`,
      label,
      unit: 'CPU ms/GB',
      better: 'lower',
      ratioTargets: { default: 1 / 1.5, tuned: 1 },
    },
    { key: `${key}Busy`, label, unit: '% of core', better: 'neither' },
  ];
}

async function measureShapes(bench: Bench, target: Target): Promise<Sample> {
  const sample: Sample = {};
  const transferBytes = bench.effort.verify ? 4 << 20 : 64 << 20;
  for (const { key, kind, connections } of SHAPES) {
    const result = await bench.load.run(target, jobOf(bench, kind, { connections, transferBytes }));
    Object.assign(sample, bulkNumbers(key, result));
  }
  return sample;
}

function bulkNumbers(key: string, result: LoadResult): Sample {
  return {
    [`${key}Gbps`]: (result.bytes * 8) / 1e9 / result.seconds,
    [`${key}CpuMsPerGb`]: result.proxyCpuNs / 1e6 / (result.bytes / 1e9),
    [`${key}Busy`]: busyPercent(result),
  };
}
