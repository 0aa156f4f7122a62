// gRPC: unary calls over h2c at a fixed modest rate, each timed from the moment it was due. What the proxy adds is
// the difference to the same calls straight to the backend in the same round; report.ts subtracts.

import { cpuUsPerUnit, httpJobOf, httpLoadOf, type Bench, type Figure, type Sample } from '../figure.ts';
import type { Target } from '../load.ts';
import { httpOf, peersOf } from './http.ts';

const CONNECTIONS = 16;
const RATE_PER_SECOND = 2000;
const MESSAGE_BYTES = 100;

export const grpc: Figure = {
  name: 'grpc',
  freshProcess: false,
  metrics: [
    { key: 'grpcP50Us', label: 'gRPC unary at 2,000/s, p50', unit: 'µs', better: 'lower' },
    { key: 'grpcP99Us', label: 'gRPC unary at 2,000/s, p99', unit: 'µs', better: 'lower' },
    {
      key: 'grpcAddedP50Us',
      label: 'gRPC, added by the proxy, p50',
      unit: 'µs',
      better: 'lower',
      addedTo: 'grpcP50Us',
    },
    {
      key: 'grpcAddedP99Us',
      label: 'gRPC, added by the proxy, p99',
      unit: 'µs',
      better: 'lower',
      addedTo: 'grpcP99Us',
      ratioTargets: { default: 1.3 },
    },
    { key: 'grpcCpuUs', label: 'gRPC unary at 2,000/s', unit: 'CPU µs', better: 'lower' },
  ],
  http: httpOf({ tls: false, clientVersion: 2, backendVersion: 2 }, peersOf('haproxy')),
  measureDirect: (bench) => measureGrpc(bench, httpLoadOf(bench).directTarget(2)),
  measure: (bench, target) => measureGrpc(bench, target),
};

async function measureGrpc(bench: Bench, target: Target): Promise<Sample> {
  const job = httpJobOf(bench, 'latency', {
    ...{ version: 2, backendVersion: 2, heads: 'grpc', rate: RATE_PER_SECOND },
    // More than one in flight, so that a stall is not also a queue of our own making.
    ...{ connections: CONNECTIONS, streams: 32, requestBytes: MESSAGE_BYTES, responseBytes: MESSAGE_BYTES },
  });
  const result = await httpLoadOf(bench).run(target, job);
  return { grpcP50Us: result.p50Us, grpcP99Us: result.p99Us, grpcCpuUs: cpuUsPerUnit(result) };
}
