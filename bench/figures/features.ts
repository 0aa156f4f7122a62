// Features: what a small HTTP/1.1 request costs more with each feature of Portcullis, one at a time.

import { cpuUsPerUnit, httpJobOf, httpLoadOf, type Bench, type Figure, type Sample } from '../figure.ts';
import { HTTP_PEERS, startHttpPeer, type PortcullisExtras } from '../http-peers.ts';
import type { RunningPeer } from '../peers.ts';
import { httpOf, peersOf } from './http.ts';

const ROUTE = { tls: false, clientVersion: 1, backendVersion: 1 } as const;

/** Small steps that take turns, so that a difference of a microsecond shows on a busy machine too. */
const STEPS = 3;

const FEATURES: readonly { key: string; label: string; extras: PortcullisExtras }[] = [
  { key: 'bare', label: 'HTTP/1.1 without a log', extras: { logLevel: 'warn', hasMetrics: false } },
  { key: 'logged', label: 'with the log', extras: { hasMetrics: false } },
  { key: 'metrics', label: 'with log and metrics', extras: {} },
  {
    key: 'policy',
    label: 'with log, metrics and one policy',
    extras: { routeLines: ['policies = [{ type = "block_user_agent", value = "BadBot" }]'] },
  },
  {
    key: 'headerRules',
    label: 'with log, metrics and two header rules',
    extras: {
      routeLines: [
        'request_headers = { set = { x-team = "a" } }',
        'response_headers = { remove = ["server"] }',
      ],
    },
  },
];

export const features: Figure = {
  name: 'features',
  freshProcess: true,
  only: 'portcullis',
  metrics: FEATURES.map(({ key, label }) => ({ key: `${key}CpuUs`, label, unit: 'CPU µs', better: 'lower' })),
  http: httpOf(ROUTE, peersOf()),
  measure: measureFeatures,
};

async function measureFeatures(bench: Bench): Promise<Sample> {
  const running = await Promise.all(FEATURES.map(({ extras }) => startWith(bench, extras)));
  const sums = FEATURES.map(() => 0);
  const seconds = bench.effort.seconds / STEPS;
  for (let step = 0; step < STEPS; step++) {
    for (const [i, { target }] of running.entries()) {
      const job = httpJobOf(bench, 'request', { seconds, warmupSeconds: bench.effort.warmupSeconds });
      sums[i]! += cpuUsPerUnit(await httpLoadOf(bench).run(target, job));
    }
  }
  await Promise.all(running.map((proxy) => proxy.stop()));
  return Object.fromEntries(FEATURES.map(({ key }, i) => [`${key}CpuUs`, sums[i]! / STEPS]));
}

function startWith(bench: Bench, portcullis: PortcullisExtras): Promise<RunningPeer> {
  const backendPort = httpLoadOf(bench).backendPorts[ROUTE.backendVersion];
  return startHttpPeer(HTTP_PEERS[0]!, { ...ROUTE, backendPort, portcullis }, bench.place);
}
