/** What the HTTP addresses for operators ask for, on the supervisor: see admin/operations.ts. */
import type {
  CertificateUse,
  ClusterStatus,
  Operations,
  ServerInfo,
  ServerState,
} from '../admin/operations.ts';
import { formatEndpoint } from '../model/endpoint.ts';
import { routeRuleId } from '../model/rule-id.ts';
import type { LogLevel, Settings } from '../model/settings.ts';
import type { LogWriter } from '../telemetry/log-writer.ts';
import type { AdjustableLogger } from '../telemetry/logger.ts';
import type { MetricReading } from '../telemetry/metrics-exposition.ts';
import { collectMetrics } from './metrics-collector.ts';
import type { Supervisor } from './supervisor.ts';

export interface ServerOperationsOptions {
  readonly supervisor: Supervisor;
  readonly logger: AdjustableLogger;
  readonly logWriter: LogWriter;
  readonly programVersion: string;
  /** Begins the end of the process, as SIGTERM does. */
  readonly onDrainAsked: () => void;
  /** Resolves with the process that serves from then on. */
  readonly onUpgradeAsked: () => Promise<number>;
}

export class ServerOperations implements Operations {
  readonly #options: ServerOperationsOptions;
  readonly #startedAt = new Date();
  /** Load balancers are being told to look elsewhere. */
  isLeaving = false;

  constructor(options: ServerOperationsOptions) {
    this.#options = options;
  }

  state(): ServerState {
    const { supervisor } = this.#options;
    if (supervisor.isDraining) return 'draining';
    if (this.isLeaving) return 'leaving';
    return supervisor.fleet.serving > 0 ? 'live' : 'starting';
  }

  info(): ServerInfo {
    const { supervisor, programVersion, logger } = this.#options;
    return {
      version: programVersion,
      state: this.state(),
      pid: process.pid,
      node: process.version,
      startedAt: this.#startedAt,
      uptimeMs: supervisor.uptimeMs,
      configVersion: supervisor.version,
      workers: supervisor.fleet.workers.length,
      workersServing: supervisor.fleet.serving,
      sockets: supervisor.sockets,
      logLevel: logger.level,
      connections: supervisor.activeConnections,
      connectionsMax: supervisor.connectionsMax,
    };
  }

  metrics(): readonly MetricReading[] {
    return collectMetrics(this.#options);
  }

  exemplarEpochMs(): number {
    return Date.now() - Number(process.hrtime.bigint()) / 1e6;
  }

  settings(): Settings {
    const { supervisor } = this.#options;
    return { process: supervisor.processSettings, traffic: supervisor.state.settings };
  }

  clusters(): readonly ClusterStatus[] {
    const { metrics } = this.#options.supervisor;
    const references = this.#backendReferences();
    const dials = new Map(
      metrics.read('portcullis_dial_duration_seconds').map((each) => [each.labels[0], each]),
    );
    const open = new Map(
      metrics.read('portcullis_upstream_connections').map(({ labels, value }) => [labels[0], value]),
    );
    const errors = Map.groupBy(metrics.read('portcullis_dial_errors_total'), ({ labels }) => labels[0]);
    return Array.from(references, ([backend, count]): ClusterStatus => {
      const dialed = dials.get(backend);
      const dialCount = dialed?.counts.reduce((sum, each) => sum + each, 0) ?? 0;
      return {
        backend,
        references: count,
        connections: open.get(backend) ?? 0,
        dials: dialCount,
        dialMeanMs: dialCount === 0 ? null : (dialed!.value / dialCount) * 1_000,
        dialErrors: new Map(errors.get(backend)?.map(({ labels, value }) => [labels[1] ?? '', value])),
      };
    });
  }

  certificates(): readonly CertificateUse[] {
    const { supervisor } = this.#options;
    const uses = new Map<string, string[]>();
    const use = (path: string | null | undefined, user: string): void => {
      if (path == null) return;
      const users = uses.get(path);
      if (users === undefined) uses.set(path, [user]);
      else users.push(user);
    };
    use(supervisor.processSettings.admin.tlsCert, 'admin');
    for (const { name, routes } of supervisor.state.settings.listeners) {
      for (const { hostname, pathPrefix, tls } of routes) {
        if (tls !== null) use(tls.cert, routeRuleId(name, hostname, pathPrefix));
      }
    }
    return Array.from(uses, ([path, usedBy]) => ({ path, usedBy }));
  }

  drain(): void {
    this.#options.onDrainAsked();
  }

  upgrade(): Promise<number> {
    return this.#options.onUpgradeAsked();
  }

  setLogLevel(level: LogLevel): void {
    const { logger, supervisor } = this.#options;
    // Told at the level that was, so that a change is always seen when either shows warnings.
    logger.warn('log level changed', { from: logger.level, to: level });
    logger.level = level;
    supervisor.setLogLevel(level);
  }

  #backendReferences(): Map<string, number> {
    const references = new Map<string, number>();
    const refer = (backend: string): void => void references.set(backend, (references.get(backend) ?? 0) + 1);
    for (const { routes, defaultBackend } of this.#options.supervisor.state.settings.listeners) {
      if (defaultBackend !== null) refer(formatEndpoint(defaultBackend));
      for (const { backend } of routes) refer(formatEndpoint(backend));
    }
    return references;
  }
}
