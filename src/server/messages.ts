/** What supervisor and workers say to each other. Plain data and shared memory; everything here crosses threads. */
import type { MessagePort } from 'node:worker_threads';
import type { LogLevel, ServerSettings, TrafficSettings } from '../model/settings.ts';

/** Given to a worker when it starts. */
export interface WorkerStart {
  /** Its number, 0 to workers − 1: its shares and cells in shared memory. A replacement takes the same number. */
  readonly worker: number;
  readonly idPrefix: string;
  readonly server: ServerSettings;
  readonly connectionsMax: number;
  readonly version: number;
  readonly traffic: TrafficSettings;
  readonly hashSeed: number;
  readonly bindings: readonly Binding[];
  readonly gauges: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  /** Null without a rate limit. */
  readonly rateTable: SharedArrayBuffer | null;
  /** Null without a GeoIP database. */
  readonly geoip: SharedArrayBuffer | null;
  readonly logLevel: LogLevel;
  readonly logPort: MessagePort;
}

/** A listener as the worker binds it: port 0 is resolved by now. */
export interface Binding {
  readonly listener: string;
  /** Of the shared gauges and counters. */
  readonly slot: number;
  readonly host: string;
  readonly port: number;
}

export type ToWorker =
  /** Stop accepting; answer `drained` when the last connection has ended. */
  | { readonly kind: 'drain' }
  /** End what is left. */
  | { readonly kind: 'abort' }
  | { readonly kind: 'geoip'; readonly database: SharedArrayBuffer };

export type FromWorker =
  | { readonly kind: 'ready'; readonly transport: 'fast' | 'public'; readonly note: string | null }
  /** It could not start; it ends by itself. */
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'drained' };
