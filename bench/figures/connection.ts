// Connection: open, hello, one 32-byte exchange, close by FIN from the client; 64 at a time, hostnames in turn.

import { busyPercent, cpuUsPerUnit, jobOf, type Bench, type Figure, type Sample } from '../figure.ts';
import type { Target } from '../load.ts';

const CONCURRENCY = 64;

/** Client addresses: 28,000 ports each outlast the minute that a port rests in TIME_WAIT. */
const SOURCES = 60;

export const connection: Figure = {
  name: 'connection',
  freshProcess: false,
  metrics: [
    {
      key: 'connectionCpuUs',
      label: 'open + exchange + close',
      unit: 'CPU µs',
      better: 'lower',
      ratioTargets: { default: 1, tuned: 1 },
    },
    {
      key: 'connectionsPerSecond',
      label: 'open + exchange + close',
      unit: '/s',
      better: 'higher',
      isRate: true,
    },
    { key: 'connectionBusy', label: 'open + exchange + close', unit: '% of core', better: 'neither' },
    { key: 'connectionFailures', label: 'failed connections', unit: 'count', better: 'neither' },
  ],
  measureDirect: (bench) => measureConnection(bench, bench.load.directTarget()),
  measure: (bench, target) => measureConnection(bench, target),
};

async function measureConnection(bench: Bench, target: Target): Promise<Sample> {
  const job = jobOf(bench, 'connection', { connections: CONCURRENCY, sources: SOURCES });
  const result = await bench.load.run(target, job);
  return {
    connectionCpuUs: cpuUsPerUnit(result),
    connectionsPerSecond: result.units / result.seconds,
    connectionBusy: busyPercent(result),
    connectionFailures: result.failures,
  };
}
