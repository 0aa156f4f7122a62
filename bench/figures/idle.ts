// Idle: how much resident memory a proxy gains for each further open connection that has exchanged once and is
// now silent. Taken from a warmed process, so that what it allocates once is not counted as per connection.

import { jobOf, type Bench, type Figure, type Sample } from '../figure.ts';
import type { Target } from '../load.ts';
import { descriptorsMax } from '../machine.ts';
import { delay, residentKiB } from '../processes.ts';

const WARM_CONNECTIONS = 200;
const WARM_EXCHANGE_CONNECTIONS = 64;
const SETTLE_MS = 1000;

export const idle: Figure = {
  name: 'idle',
  freshProcess: true,
  metrics: [
    { key: 'idleKiB', label: 'idle connection', unit: 'KiB', better: 'lower', absoluteTarget: 4 },
    { key: 'baseMiB', label: 'process, few connections', unit: 'MiB', better: 'neither' },
  ],
  measure: measureIdle,
};

/** Two descriptors each in the proxy, and two in the generator, which is also the backend. */
export function idleConnectionsPossible(wanted: number): number {
  return Math.min(wanted, Math.floor((descriptorsMax() - 512) / 2) - WARM_CONNECTIONS);
}

async function measureIdle(bench: Bench, target: Required<Target>): Promise<Sample> {
  await bench.load.run(target, jobOf(bench, 'exchange', { connections: WARM_EXCHANGE_CONNECTIONS }));
  const warm = await bench.load.hold(target, jobOf(bench, 'idle', { connections: WARM_CONNECTIONS }), true);
  await delay(SETTLE_MS);
  const before = residentKiB(target.pid);
  const connections = idleConnectionsPossible(bench.effort.idleConnections);
  const crowd = await bench.load.hold(target, jobOf(bench, 'idle', { connections, sources: 4 }), false);
  await delay(SETTLE_MS);
  const after = residentKiB(target.pid);
  await crowd.end();
  await warm.end();
  return { idleKiB: (after - before) / connections, baseMiB: before / 1024 };
}
