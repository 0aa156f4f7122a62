/** The gRPC health service: SERVING, and NOT_SERVING as soon as the server drains. */

import { Code, ConnectError } from '@connectrpc/connect';
import type { ServiceImpl } from '@connectrpc/connect';
import { setTimeout as sleep } from 'node:timers/promises';
import { HealthCheckResponse_ServingStatus as ServingStatus } from './gen/grpc/health/v1/health_pb.ts';
import type { Health } from './gen/grpc/health/v1/health_pb.ts';
import type { AdminLimits } from './limits.ts';
import { Seats } from './seats.ts';

/** `isServing` is asked again and again; `services` are the full names it holds for. */
export function healthService(
  isServing: () => boolean,
  services: ReadonlySet<string>,
  limits: AdminLimits,
  shutdown: AbortSignal,
): ServiceImpl<typeof Health> {
  const seats = new Seats('health watchers', limits.watchersMax);
  const isKnown = (service: string): boolean => service === '' || services.has(service);
  const present = (): ServingStatus =>
    isServing() && !shutdown.aborted ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  return {
    check({ service }) {
      if (!isKnown(service)) throw new ConnectError(`there is no service ${service}`, Code.NotFound);
      return { status: present() };
    },
    async *watch({ service }, context) {
      const leave = seats.take();
      const ended = AbortSignal.any([context.signal, shutdown]);
      try {
        const look = isKnown(service) ? present : (): ServingStatus => ServingStatus.SERVICE_UNKNOWN;
        for (let told: ServingStatus | null = null; !context.signal.aborted;) {
          const status = look();
          if (status !== told) yield { status };
          told = status;
          if (ended.aborted) return;
          await sleep(limits.healthIntervalMs, undefined, { signal: ended, ref: false }).catch(
            () => undefined,
          );
        }
      } finally {
        leave();
      }
    },
  };
}
