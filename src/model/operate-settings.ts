/** How the process is watched and operated: plain data, parsed and checked, from file and environment (see settings.ts). */
import type { AdminAddress, ListenAddress } from './settings.ts';

/** Fields of the access lines (connections and requests) that may be left out; the others are always there. */
export const accessFields = [
  'client',
  'peer',
  'listener',
  'sni',
  'route',
  'backend',
  'method',
  'host',
  'path',
  'protocol',
  'upgrade',
  'status',
  'bytes_in',
  'bytes_out',
  'duration_ms',
  'queue_ms',
  'connect_ms',
  'first_byte_ms',
  'total_ms',
  'upstream',
  'upstream_protocol',
  'retried',
  'user_agent',
  'trace_id',
  'rule',
  'detail',
] as const;
export type AccessField = (typeof accessFields)[number];

export interface AccessLogSettings {
  /** Those that are written; empty: all. */
  readonly fields: readonly AccessField[];
  /** The share of lines about what was served that are written, 0–1. Refusals and failures always are. */
  readonly sampleRate: number;
}

export interface TracingSettings {
  /** Where spans go by OTLP/HTTP, `http://127.0.0.1:4318/v1/traces`; null: nowhere, and none are made. */
  readonly endpoint: string | null;
  /** The share of new traces that are recorded, 0–1. A trace that a client brings keeps its own decision. */
  readonly sampleRate: number;
}

export interface MetricsSettings {
  /** Where metrics and health are served; null: nowhere but at the admin HTTP address. */
  readonly address: ListenAddress | null;
  readonly path: string;
}

export interface OperateSettings {
  readonly metrics: MetricsSettings;
  /** Where the pages for operators are: loopback or a Unix socket; null: nowhere. */
  readonly adminHttp: AdminAddress | null;
  readonly tracing: TracingSettings;
  /** Absolute path of the log; null: standard output. */
  readonly logFile: string | null;
  readonly accessLog: AccessLogSettings;
  /** How long /readyz answers 503 before anything else of a shutdown begins. */
  readonly prestopGraceMs: number;
}

export const operateDefaults: OperateSettings = {
  metrics: { address: null, path: '/metrics' },
  adminHttp: null,
  tracing: { endpoint: null, sampleRate: 0.01 },
  logFile: null,
  accessLog: { fields: [], sampleRate: 1 },
  prestopGraceMs: 0,
};
