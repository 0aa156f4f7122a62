/**
 * What the HTTP addresses for operators (metrics, health, admin) need of the server beside `Control`. Everything here
 * is a look at what is, except `drain`, `upgrade` and `setLogLevel`.
 */
import type { LogLevel, Settings } from '../model/settings.ts';
import type { MetricReading } from '../telemetry/metrics-exposition.ts';

/** `live`: it accepts. `leaving`: it still accepts, and tells load balancers to look elsewhere. */
export type ServerState = 'starting' | 'live' | 'leaving' | 'draining';

export interface ServerInfo {
  readonly version: string;
  readonly state: ServerState;
  readonly pid: number;
  readonly node: string;
  readonly startedAt: Date;
  readonly uptimeMs: number;
  readonly configVersion: number;
  readonly workers: number;
  readonly workersServing: number;
  /** How sockets are driven. */
  readonly sockets: 'fast' | 'public';
  readonly logLevel: LogLevel;
  /** Connections in all, now and at most. */
  readonly connections: number;
  readonly connectionsMax: number;
}

/** A backend that some route or listener names, and what dialling it came to. */
export interface ClusterStatus {
  readonly backend: string;
  /** Routes and default backends that name it. */
  readonly references: number;
  /** HTTP connections open now, idle ones among them. */
  readonly connections: number;
  readonly dials: number;
  readonly dialMeanMs: number | null;
  /** By reason, those that occurred. */
  readonly dialErrors: ReadonlyMap<string, number>;
}

/** A certificate file that the configuration names. */
export interface CertificateUse {
  readonly path: string;
  /** `route/:443/app.example.com`, `admin`. */
  readonly usedBy: readonly string[];
}

/** The program that was to take over does not serve. The message is for the operator. */
export class UpgradeError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UpgradeError';
  }
}

export interface Operations {
  state(): ServerState;
  info(): ServerInfo;
  metrics(): readonly MetricReading[];
  /** Unix time less the clock of exemplars, in milliseconds. */
  exemplarEpochMs(): number;
  /** All settings that are served. Shared and immutable; may be huge. */
  settings(): Settings;
  clusters(): readonly ClusterStatus[];
  certificates(): readonly CertificateUse[];
  /** Ends the server in order, as SIGTERM does. */
  drain(): void;
  /**
   * Starts the program anew, hands it the listening sockets, and answers its process id once it serves; this one drains
   * then and ends. Throws UpgradeError when it does not come to serve: then nothing has changed.
   */
  upgrade(): Promise<number>;
  setLogLevel(level: LogLevel): void;
}
