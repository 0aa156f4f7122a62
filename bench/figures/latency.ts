// Latency: 32-byte exchanges at a fixed modest rate, each timed from the moment it was due. What the proxy adds
// is the difference to the same exchanges straight to the backend in the same run; report.ts subtracts.

import { jobOf, type Bench, type Figure, type Sample } from '../figure.ts';
import type { Target } from '../load.ts';

const CONNECTIONS = 16;
const RATE_PER_SECOND = 2000;

export const latency: Figure = {
  name: 'latency',
  freshProcess: false,
  metrics: [
    { key: 'latencyP50Us', label: 'exchange at 2,000/s, p50', unit: 'µs', better: 'lower' },
    { key: 'latencyP99Us', label: 'exchange at 2,000/s, p99', unit: 'µs', better: 'lower' },
    {
      key: 'addedP50Us',
      label: 'added by the proxy, p50',
      unit: 'µs',
      better: 'lower',
      addedTo: 'latencyP50Us',
    },
    {
      key: 'addedP99Us',
      label: 'added by the proxy, p99',
      unit: 'µs',
      better: 'lower',
      addedTo: 'latencyP99Us',
    },
  ],
  measureDirect: (bench) => measureLatency(bench, bench.load.directTarget()),
  measure: (bench, target) => measureLatency(bench, target),
};

async function measureLatency(bench: Bench, target: Target): Promise<Sample> {
  const job = jobOf(bench, 'latency', { connections: CONNECTIONS, rate: RATE_PER_SECOND });
  const result = await bench.load.run(target, job);
  return { latencyP50Us: result.p50Us, latencyP99Us: result.p99Us };
}
