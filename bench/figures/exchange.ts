// Exchange: 32 kept connections play ping-pong with 32 bytes, as fast as they can.

import { busyPercent, cpuUsPerUnit, jobOf, type Bench, type Figure, type Sample } from '../figure.ts';
import type { Target } from '../load.ts';

const CONNECTIONS = 32;

export const exchange: Figure = {
  name: 'exchange',
  freshProcess: false,
  metrics: [
    {
      key: 'exchangeCpuUs',
      label: 'kept-alive exchange',
      unit: 'CPU µs',
      better: 'lower',
      ratioTargets: { default: 1.15, tuned: 1.15 },
    },
    { key: 'exchangesPerSecond', label: 'kept-alive exchange', unit: '/s', better: 'higher', isRate: true },
    { key: 'exchangeBusy', label: 'kept-alive exchange', unit: '% of core', better: 'neither' },
  ],
  measureDirect: (bench) => measureExchange(bench, bench.load.directTarget()),
  measure: (bench, target) => measureExchange(bench, target),
};

async function measureExchange(bench: Bench, target: Target): Promise<Sample> {
  const result = await bench.load.run(target, jobOf(bench, 'exchange', { connections: CONNECTIONS }));
  return {
    exchangeCpuUs: cpuUsPerUnit(result),
    exchangesPerSecond: result.units / result.seconds,
    exchangeBusy: busyPercent(result),
  };
}
