/** The part of settings.ts for watching and operating the process. */
import { assert } from '../core/errors.ts';
import type { OperateSettings } from '../model/operate-settings.ts';
import type { Values } from './schema.ts';

export function toOperate({
  server,
  log,
  admin,
  metrics,
  tracing,
}: Pick<Values, 'server' | 'log' | 'admin' | 'metrics' | 'tracing'>): OperateSettings {
  return {
    metrics: { address: known(metrics.addr), path: known(metrics.path) },
    adminHttp: known(admin.http_addr),
    tracing: { endpoint: known(tracing.endpoint), sampleRate: known(tracing.sample_rate) },
    logFile: known(log.file),
    accessLog: {
      fields: [...new Set(log.access.fields.map(known))],
      sampleRate: known(log.access.sample_rate),
    },
    prestopGraceMs: known(server.prestop_grace),
  };
}

/** A value that is not there was reported as an error, and then nobody comes here. */
function known<T>(value: T | undefined): T {
  assert(value !== undefined, 'a refused value reached the settings');
  return value;
}
