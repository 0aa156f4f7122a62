// Layer 7 requests: the same small request over and over, on kept connections or on one connection each, in every
// pairing of versions that the proxies are compared in.

import {
  busyPercent,
  cpuUsPerUnit,
  httpJobOf,
  httpLoadOf,
  type Bench,
  type Figure,
  type Metric,
  type RatioTargets,
  type Sample,
} from '../figure.ts';
import type { HttpJob } from '../http-load.ts';
import { HTTP_PEERS, startHttpPeer, type HttpSetup } from '../http-peers.ts';
import type { Target } from '../load.ts';
import type { Peer } from '../peers.ts';

/** One kind of request through one kind of route. */
interface Shape {
  /** What every metric's key begins with. */
  key: string;
  label: string;
  kind: HttpJob['kind'];
  job: Partial<HttpJob>;
  cpu?: RatioTargets;
  rate?: RatioTargets;
}

type Route = Omit<HttpSetup, 'backendPort'>;

const PLAIN: Route = { tls: false, clientVersion: 1, backendVersion: 1 };
const TLS: Route = { tls: true, clientVersion: 1, backendVersion: 1 };
const H2C: Route = { tls: false, clientVersion: 2, backendVersion: 2 };

/** Client addresses: 28,000 ports each outlast the minute that a port rests in TIME_WAIT. */
const SOURCES = 60;

const http1 = figureOf('http1', PLAIN, peersOf('haproxy', 'nginx', 'caddy'), [
  {
    key: 'http1',
    label: 'HTTP/1.1 kept alive',
    kind: 'request',
    job: {},
    cpu: { default: 1.1, references: { caddy: 0.25 } },
  },
]);

const https = figureOf('https', TLS, peersOf('haproxy', 'nginx'), [
  { key: 'https', label: 'HTTPS kept alive', kind: 'request', job: {}, cpu: { default: 1.2 } },
]);

const handshake = figureOf(
  'handshake',
  TLS,
  [...peersOf('nginx'), asReference('haproxy')],
  [
    {
      key: 'fullHandshake',
      label: 'TLS 1.3 full handshake + request',
      kind: 'connection',
      job: { connections: 64, sources: SOURCES },
      cpu: { default: 1.5 },
    },
    {
      key: 'resumedHandshake',
      label: 'TLS 1.3 resumed handshake + request',
      kind: 'resumed',
      job: { connections: 64, sources: SOURCES },
      cpu: { default: 1.5 },
    },
  ],
);

const h2c = figureOf('h2c', H2C, peersOf('haproxy', 'node-http2'), [
  {
    key: 'h2c',
    label: 'h2c → h2c, 16 × 32 streams',
    kind: 'request',
    job: { connections: 16, streams: 32 },
    rate: { default: 0.9, references: { 'node:http2': 4 } },
  },
]);

const h2Tls = figureOf('h2-tls', { ...TLS, clientVersion: 2 }, peersOf('haproxy', 'nginx'), [
  {
    key: 'h2Tls',
    label: 'h2 over TLS → HTTP/1.1, 16 × 8 streams',
    kind: 'request',
    job: { connections: 16, streams: 8 },
    cpu: { default: 1.2 },
  },
]);

const headers = figureOf('headers', PLAIN, peersOf('haproxy'), [
  {
    key: 'headers',
    label: '20 headers each way, HTTP/1.1',
    kind: 'request',
    job: { heads: 'realistic', responseBytes: 1024 },
    cpu: { default: 1.3 },
  },
]);

const headersH2 = figureOf('headers-h2', H2C, peersOf('haproxy'), [
  {
    key: 'headersH2',
    label: '20 headers each way, h2c, 16 × 8 streams',
    kind: 'request',
    job: { heads: 'realistic', responseBytes: 1024, connections: 16, streams: 8 },
    cpu: { default: 1.3 },
  },
]);

export const requestFigures: readonly Figure[] = [http1, https, handshake, h2c, h2Tls, headers, headersH2];

/** The columns of a figure: Portcullis and those named, each with its own buffer size. */
export function peersOf(...names: readonly Peer['name'][]): Peer[] {
  return HTTP_PEERS.filter(
    ({ name, variant }) => name === 'portcullis' || (names.includes(name) && variant !== 'tuned'),
  );
}

/** A peer that is shown, while the targets are held against others. */
function asReference(name: Peer['name']): Peer {
  return { ...peersOf(name).find((peer) => peer.name === name)!, variant: 'reference' };
}

/** Starts proxies for one kind of route. */
export function httpOf(route: Route, peers: readonly Peer[]): Required<Figure>['http'] {
  return {
    peers,
    start: (peer, bench) =>
      startHttpPeer(
        peer,
        { ...route, backendPort: httpLoadOf(bench).backendPorts[route.backendVersion] },
        bench.place,
      ),
  };
}

function figureOf(name: string, route: Route, peers: readonly Peer[], shapes: readonly Shape[]): Figure {
  const figure: Figure = {
    name,
    freshProcess: false,
    metrics: shapes.flatMap(metricsOf),
    http: httpOf(route, peers),
    measure: (bench, target) => measureShapes(bench, target, route, shapes),
  };
  // Without a proxy the client meets the backend, which speaks no TLS.
  if (route.tls || route.clientVersion !== route.backendVersion) return figure;
  return {
    ...figure,
    measureDirect: (bench) =>
      measureShapes(bench, httpLoadOf(bench).directTarget(route.backendVersion), route, shapes),
  };
}

function metricsOf({ key, label, cpu, rate }: Shape): Metric[] {
  return [
    {
      ...{ key: `${key}CpuUs`, label, unit: 'CPU µs', better: 'lower' },
      ...(cpu === undefined ? {} : { ratioTargets: cpu }),
    },
    {
      ...{ key: `${key}PerSecond`, label, unit: '/s', better: 'higher', isRate: true },
      ...(rate === undefined ? {} : { ratioTargets: rate }),
    },
    { key: `${key}Busy`, label, unit: '% of core', better: 'neither' },
  ];
}

async function measureShapes(
  bench: Bench,
  target: Target,
  route: Route,
  shapes: readonly Shape[],
): Promise<Sample> {
  const sample: Sample = {};
  for (const { key, kind, job } of shapes) {
    const { tls, clientVersion: version, backendVersion } = route;
    const whole = httpJobOf(bench, kind, { tls, version, backendVersion, ...job });
    const result = await httpLoadOf(bench).run(target, whole);
    sample[`${key}CpuUs`] = cpuUsPerUnit(result);
    sample[`${key}PerSecond`] = result.units / result.seconds;
    sample[`${key}Busy`] = busyPercent(result);
  }
  return sample;
}
