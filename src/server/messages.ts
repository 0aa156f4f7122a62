/** What supervisor and workers say to each other. Plain data and shared memory; everything here crosses threads. */
import type { MessagePort } from 'node:worker_threads';
import type { EgressMaterials } from '../egress/materials.ts';
import type { Change, FirewallRule } from '../model/change.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { AccessLogSettings, TracingSettings } from '../model/operate-settings.ts';
import type { LogLevel, ServerSettings, TrafficSettings } from '../model/settings.ts';
import type { ConnectionSummary } from '../telemetry/connection-log.ts';
import type { RateBuffers } from './request-rates.ts';

/** Given to a worker when it starts. */
export interface WorkerStart {
  /** Its number, 0 to workers − 1: its shares and cells in shared memory. A replacement takes the same number. */
  readonly worker: number;
  readonly idPrefix: string;
  readonly server: ServerSettings;
  readonly http: HttpSettings;
  /** Keys of TLS session tickets are derived from it: the same in every worker, never written anywhere. */
  readonly ticketSecret: Uint8Array;
  /** Names this process in `Via` and `Proxy-Status`. */
  readonly pseudonym: string;
  readonly connectionsMax: number;
  readonly version: number;
  readonly traffic: TrafficSettings;
  readonly hashSeed: number;
  readonly bindings: readonly Binding[];
  readonly gauges: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly metrics: SharedArrayBuffer;
  /** Null without a rate limit. */
  readonly rateTable: SharedArrayBuffer | null;
  /** The shared tables of rate_limit policies. */
  readonly requestRates: RateBuffers;
  /** What the egress settings need of the world; null without them. */
  readonly egressMaterials: EgressMaterials | null;
  /** Null without a GeoIP database. */
  readonly geoip: SharedArrayBuffer | null;
  readonly logLevel: LogLevel;
  readonly accessLog: AccessLogSettings;
  readonly tracing: TracingSettings;
  readonly programVersion: string;
  readonly isWatched: boolean;
  readonly logPort: MessagePort;
}

/** A listener as the worker binds it: port 0 is resolved by now. */
export interface Binding {
  readonly listener: string;
  /** Of the shared gauges and counters. */
  readonly slot: number;
  readonly host: string;
  readonly port: number;
  /** Listening sockets of the process that this one takes over from, for this worker to accept on; empty: bind. */
  readonly inherited: readonly number[];
}

/** A listening socket of a worker, as a successor of the process takes it over. */
export interface ListeningSocket {
  readonly listener: string;
  readonly fd: number;
  /** Of the socket: the descriptor of a worker that dies may be somebody else's a moment later. */
  readonly inode: number;
}

/** One version of the configuration as the difference from the one before. */
export interface Publication {
  readonly version: number;
  readonly changes: readonly Change[];
  /** What the changes add. A worker that was started after `prepare` was sent binds it now. */
  readonly added: readonly Binding[];
  /** The new rate table when the limit changed, null when it was switched off; undefined leaves it. */
  readonly rateTable: SharedArrayBuffer | null | undefined;
  /** Tables of rate_limit policies that the changes add. */
  readonly requestRates: RateBuffers;
  /** Those of new egress settings; undefined leaves them. */
  readonly egressMaterials: EgressMaterials | null | undefined;
  /** End open connections from addresses that this new rule matches. */
  readonly disconnect: FirewallRule | null;
}

export type ToWorker =
  /** Bind what the next version adds, and hold what arrives there; answer `prepared`. */
  | { readonly kind: 'prepare'; readonly bindings: readonly Binding[] }
  /** The next version will not come: unbind again. */
  | { readonly kind: 'discard' }
  /** Serve by this version from now on; answer `published`. */
  | { readonly kind: 'publish'; readonly publication: Publication }
  | { readonly kind: 'geoip'; readonly database: SharedArrayBuffer }
  /** Timeouts and limits as read again from file and environment; certificate files are looked at again. */
  | { readonly kind: 'settings'; readonly server: ServerSettings; readonly http: HttpSettings }
  | { readonly kind: 'log-level'; readonly level: LogLevel }
  /** Name your listening sockets; answer `sockets`. */
  | { readonly kind: 'sockets' }
  /** Files of egress as read again: certificates, secrets, logs that a rotator moved. */
  | { readonly kind: 'egress'; readonly materials: EgressMaterials }
  /** Tell how connections end, or stop telling. */
  | { readonly kind: 'watch'; readonly isOn: boolean }
  /** Stop accepting; answer `drained` when the last connection has ended. */
  | { readonly kind: 'drain' }
  /** End what is left. */
  | { readonly kind: 'abort' };

export type FromWorker =
  | { readonly kind: 'ready'; readonly transport: 'fast' | 'public'; readonly note: string | null }
  /** It could not start; it ends by itself. */
  | { readonly kind: 'failed'; readonly message: string }
  /** `problem` says why a binding failed; nothing is bound then. */
  | { readonly kind: 'prepared'; readonly problem: string | null }
  | { readonly kind: 'sockets'; readonly sockets: readonly ListeningSocket[] }
  | { readonly kind: 'published'; readonly version: number; readonly disconnected: number }
  /** Connections that ended while watched, and how many more there was no room for. */
  | { readonly kind: 'ended'; readonly summaries: readonly ConnectionSummary[]; readonly missed: number }
  | { readonly kind: 'drained' };
