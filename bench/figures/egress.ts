// Egress: HTTPS that is opened and judged, tunnels that are relayed, the first request to a host that was never seen,
// and what many hosts leave in memory. What needs no proxy (minting, deciding) is in egress-parts.ts.

import { connectPortOf, EGRESS_PEERS, startEgressPeer, type EgressMode } from '../egress-peers.ts';
import {
  busyPercent,
  cpuUsPerUnit,
  httpJobOf,
  httpLoadOf,
  type Bench,
  type Figure,
  type Metric,
  type Sample,
} from '../figure.ts';
import type { HttpJob, HttpLoadResult } from '../http-load.ts';
import { certificate } from '../http-peers.ts';
import type { Target } from '../load.ts';
import type { Peer, PeerName } from '../peers.ts';
import { residentKiB } from '../processes.ts';
import { egressParts } from './egress-parts.ts';

const MIB = 1 << 20;
/** Client addresses: 28,000 ports each outlast the minute that a port rests in TIME_WAIT. */
const SOURCES = 60;
/** Hosts that one run may ask for before another's numbers begin. */
const HOSTS_PER_RUN = 10_000_000;
/** Of the short form: in a window of three seconds or more, and in a quick run. */
const MEMORY_REQUESTS = { short: 20_000, quick: 400 } as const;
const MEMORY_WINDOW_SECONDS = 3;
const MEMORY_HOSTS = 10_000;
const MEMORY_REQUESTS_MAX = 100_000_000;
const MEMORY_SECONDS_MAX = 3600;
const CHURN_CONNECTIONS = 16;

/** Every run asks for hosts that no run before it has asked for. */
let runs = 0;

const mitm: Figure = {
  ...egressFigure('egress-mitm', 'mitm', 'squid', 'mitmproxy'),
  metrics: [
    ...rateMetrics('mitm', 'MITM HTTPS kept alive', { default: 1.5, references: { mitmproxy: 20 } }),
    busyMetric('mitm', 'MITM HTTPS kept alive'),
  ],
  measureDirect: (bench) => measureMitm(bench, httpLoadOf(bench).directTarget(1), undefined),
  measure: measureMitm,
};

const BULKS = [
  { key: 'tunnelOne', label: 'CONNECT tunnel, 64 MiB down on 1', connections: 1 },
  { key: 'tunnelFour', label: 'CONNECT tunnel, 64 MiB down on 4', connections: 4 },
] as const;

const tunnel: Figure = {
  ...egressFigure('egress-tunnel', 'raw', 'squid'),
  metrics: [
    ...BULKS.flatMap(({ key, label }) => bulkMetrics(key, label)),
    ...rateMetrics('tunnelOpen', 'CONNECT + request + close', { default: 1 }),
    busyMetric('tunnelOpen', 'CONNECT + request + close'),
  ],
  measureDirect: (bench) => measureTunnel(bench, httpLoadOf(bench).directTarget(1), undefined),
  measure: measureTunnel,
};

const tunnelTls: Figure = {
  ...egressFigure('egress-tunnel-tls', 'tunnel', 'squid'),
  metrics: [
    ...rateMetrics('tunnelTls', 'CONNECT + TLS through it + request + close', { default: 1 }),
    busyMetric('tunnelTls', 'CONNECT + TLS through it + request + close'),
  ],
  measure: measureTunnelTls,
};

const first: Figure = {
  ...egressFigure('egress-first', 'mitm', 'mitmproxy'),
  metrics: [
    ...(['p50', 'p99'] as const).map((share): Metric => {
      const label = `first request to a new host, ${share}`;
      return { key: `firstHost${share}`, label, unit: 'ms', better: 'lower' };
    }),
    { key: 'firstHostCpuUs', label: 'first request to a new host', unit: 'CPU µs', better: 'lower' },
  ],
  measure: measureFirst,
};

const memory: Figure = {
  ...egressFigure('egress-memory', 'mitm'),
  freshProcess: true,
  only: 'portcullis',
  metrics: [
    { key: 'hostsRequests', label: 'many hosts', unit: 'requests', better: 'neither' },
    { key: 'hostsStartMiB', label: 'many hosts, memory before', unit: 'MiB', better: 'neither' },
    { key: 'hostsHalfMiB', label: 'many hosts, memory half-way', unit: 'MiB', better: 'neither' },
    { key: 'hostsEndMiB', label: 'many hosts, memory at the end', unit: 'MiB', better: 'neither' },
    {
      ...{ key: 'hostsGrowth', label: 'many hosts, end ÷ half-way', unit: '×', better: 'lower' },
      absoluteTarget: 1.1,
    },
  ],
  measure: measureMemory,
};

export const egressFigures: readonly Figure[] = [mitm, tunnel, tunnelTls, first, memory, egressParts];

function egressFigure(
  name: string,
  mode: EgressMode,
  ...peers: readonly PeerName[]
): Pick<Required<Figure>, 'name' | 'freshProcess' | 'http'> {
  return {
    ...{ name, freshProcess: false },
    http: {
      peers: EGRESS_PEERS.filter((peer) => peer.name === 'portcullis' || peers.includes(peer.name)),
      start: (peer, bench) =>
        startEgressPeer(peer, { mode, backendPort: httpLoadOf(bench).backendPorts[1] }, bench.place),
    },
  };
}

/** What the CPU may be follows from what the rate must be: the proxy has one core. */
function rateMetrics(key: string, label: string, rate: Required<Metric>['ratioTargets']): Metric[] {
  const references = Object.entries(rate.references ?? {}).map(([peer, bound]) => [peer, 1 / bound] as const);
  const cpu = { default: 1 / rate.default!, references: Object.fromEntries(references) };
  return [
    { key: `${key}CpuUs`, label, unit: 'CPU µs', better: 'lower', ratioTargets: cpu },
    { key: `${key}PerSecond`, label, unit: '/s', better: 'higher', isRate: true, ratioTargets: rate },
  ];
}

function bulkMetrics(key: string, label: string): Metric[] {
  return [
    {
      ...{ key: `${key}Gbps`, label, unit: 'Gbit/s', better: 'higher', isRate: true },
      ratioTargets: { default: 1 },
    },
    { key: `${key}CpuMsPerGb`, label, unit: 'CPU ms/GB', better: 'lower', ratioTargets: { default: 1 } },
    busyMetric(key, label),
  ];
}

function busyMetric(key: string, label: string): Metric {
  return { key: `${key}Busy`, label, unit: '% of core', better: 'neither' };
}

async function measureMitm(bench: Bench, target: Target, peer: Peer | undefined): Promise<Sample> {
  return ratesOf('mitm', await runOn(bench, target, peer, 'request', { ...tlsOf(bench) }));
}

async function measureTunnel(bench: Bench, target: Target, peer: Peer | undefined): Promise<Sample> {
  const sample: Sample = {};
  const responseBytes = bench.effort.judged ? 64 * MIB : 8 * MIB;
  for (const { key, connections } of BULKS) {
    const result = await runOn(bench, target, peer, 'request', { connections, responseBytes });
    sample[`${key}Gbps`] = (result.bytes * 8) / 1e9 / result.seconds;
    sample[`${key}CpuMsPerGb`] = result.proxyCpuNs / 1e6 / (result.bytes / 1e9);
    sample[`${key}Busy`] = busyPercent(result);
  }
  const shape = { connections: 64, sources: SOURCES };
  return { ...sample, ...ratesOf('tunnelOpen', await runOn(bench, target, peer, 'connection', shape)) };
}

async function measureTunnelTls(bench: Bench, target: Target, peer: Peer): Promise<Sample> {
  const shape = { ...tlsOf(bench), connections: 64, sources: SOURCES };
  return ratesOf('tunnelTls', await runOn(bench, target, peer, 'connection', shape));
}

async function measureFirst(bench: Bench, target: Target, peer: Peer): Promise<Sample> {
  const shape = { ...tlsOf(bench), ...newHosts(), sources: SOURCES };
  const result = await runOn(bench, target, peer, 'fresh', { ...shape, connections: 1 });
  return {
    firstHostp50: result.p50Us / 1000,
    firstHostp99: result.p99Us / 1000,
    firstHostCpuUs: cpuUsPerUnit(result),
  };
}

/** The first half asks for every host at least once, the second for all of them again. */
async function measureMemory(bench: Bench, target: Required<Target>, peer: Peer): Promise<Sample> {
  const requests = memoryRequests(bench);
  const hosts = Math.min(MEMORY_HOSTS, requests / 2);
  const limits = { seconds: MEMORY_SECONDS_MAX, warmupSeconds: 0, count: requests / 2 };
  const shape = { ...tlsOf(bench), ...newHosts(), ...limits, hosts, sources: SOURCES };
  const resident = [residentKiB(target.pid) / 1024];
  for (let half = 0; half < 2; half++) {
    await runOn(bench, target, peer, 'fresh', { ...shape, connections: CHURN_CONNECTIONS });
    resident.push(residentKiB(target.pid) / 1024);
  }
  const [hostsStartMiB, hostsHalfMiB, hostsEndMiB] = resident as [number, number, number];
  const hostsGrowth = hostsEndMiB / hostsHalfMiB;
  return { hostsRequests: requests, hostsStartMiB, hostsHalfMiB, hostsEndMiB, hostsGrowth };
}

function memoryRequests(bench: Bench): number {
  const text = process.env['PORTCULLIS_BENCH_EGRESS_REQUESTS'];
  if (text === undefined) {
    const share = Math.min(1, bench.effort.seconds / MEMORY_WINDOW_SECONDS);
    return bench.effort.judged ? 2 * Math.ceil((MEMORY_REQUESTS.short / 2) * share) : MEMORY_REQUESTS.quick;
  }
  const requests = Number(text);
  if (!Number.isInteger(requests / 2) || requests < 2 || requests > MEMORY_REQUESTS_MAX) {
    throw new RangeError(
      `PORTCULLIS_BENCH_EGRESS_REQUESTS is not an even number up to ${MEMORY_REQUESTS_MAX}`,
    );
  }
  return requests;
}

function runOn(
  bench: Bench,
  target: Target,
  peer: Peer | undefined,
  kind: HttpJob['kind'],
  shape: Partial<HttpJob>,
): Promise<HttpLoadResult> {
  const load = httpLoadOf(bench);
  const connect = peer === undefined ? {} : { connectPort: connectPortOf(peer, load.backendPorts[1]) };
  return load.run(target, httpJobOf(bench, kind, { ...connect, ...shape }));
}

/** TLS from the client and to the backend. */
function tlsOf({ place }: Bench): Pick<HttpJob, 'tls' | 'backendTls'> {
  return { tls: true, backendTls: certificate(place.directory).pem };
}

function newHosts(): Pick<HttpJob, 'firstHost'> {
  return { firstHost: runs++ * HOSTS_PER_RUN };
}

function ratesOf(key: string, result: HttpLoadResult): Sample {
  return {
    [`${key}CpuUs`]: cpuUsPerUnit(result),
    [`${key}PerSecond`]: result.units / result.seconds,
    [`${key}Busy`]: busyPercent(result),
  };
}
