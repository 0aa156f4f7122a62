/** What a worker needs to serve HTTP, made once: pools, TLS both ways, the access log, and what they count. */
import type { Reason } from '../core/reason.ts';
import type { DownstreamFacts } from '../http/exchange-context.ts';
import { FlushQueue } from '../http/flush-queue.ts';
import { makeRequestId } from '../http/request-id.ts';
import { RequestTracing } from '../http/request-tracing.ts';
import { HttpSessionFactory } from '../http/session-factory.ts';
import type { HttpVersion } from '../http/stream.ts';
import { UpstreamPool, type PoolContext } from '../http/upstream-pool.ts';
import type { UpstreamTarget } from '../http/upstream-target.ts';
import { RouteFilters } from '../ingress/route-filters.ts';
import { RouteRuntimes } from '../ingress/route-runtime.ts';
import type { HttpServices } from '../ingress/services.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import { policyTypeIn } from '../model/rule-id.ts';
import type { TracingSettings } from '../model/operate-settings.ts';
import type { LogLevel, ServerSettings } from '../model/settings.ts';
import type { Network } from '../net/network.ts';
import { OpenSslConnector } from '../net/tls-connector.ts';
import { TlsFiles } from '../net/tls-files.ts';
import { OpenSslTerminator } from '../net/tls-terminator.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { RequestLog, RequestSummary } from '../telemetry/request-log.ts';
import { SpanExporter } from '../telemetry/trace-export.ts';
import type { ConnectionMetrics, HttpMetrics } from '../telemetry/traffic-metrics.ts';
import type { RateBuffers } from './request-rates.ts';
import { RouteFilterSource } from './route-filter-source.ts';

export interface HttpPlaneOptions {
  readonly worker: number;
  readonly requestRates: RateBuffers;
  readonly network: Network;
  readonly server: ServerSettings;
  readonly http: HttpSettings;
  readonly ticketSecret: Uint8Array;
  readonly pseudonym: string;
  readonly log: RequestLog;
  readonly logger: Logger;
  readonly tracing: TracingSettings;
  readonly programVersion: string;
  readonly onSpansDropped: (count: number) => void;
  readonly metrics: HttpMetrics;
  readonly connectionMetrics: ConnectionMetrics;
}

export class HttpPlane implements HttpServices {
  readonly pool: UpstreamPool;
  readonly flushes = new FlushQueue();
  readonly terminator: OpenSslTerminator;
  readonly connector: OpenSslConnector;
  readonly certificates: TlsFiles;
  readonly routes: RouteRuntimes;
  readonly filters: RouteFilters;
  readonly pseudonym: string;
  readonly metrics: HttpMetrics;
  readonly tracing: RequestTracing | null;
  readonly #spans: SpanExporter | null;
  readonly #filterSource: RouteFilterSource;
  readonly #network: Network;
  readonly #log: RequestLog;
  readonly #sessions: HttpSessionFactory;
  readonly #poolContext: PoolContext;

  constructor(options: HttpPlaneOptions) {
    const { network, server, http, logger, connectionMetrics } = options;
    this.#network = network;
    this.#log = options.log;
    this.metrics = options.metrics;
    this.pseudonym = options.pseudonym;
    this.#spans = spanExporter(options);
    this.tracing = this.#spans === null ? null : new RequestTracing(this.#spans, options.tracing.sampleRate);
    this.terminator = new OpenSslTerminator(network, {
      secret: options.ticketSecret,
      handshakesMax: http.handshakesMax,
    });
    this.connector = new OpenSslConnector(network);
    this.certificates = new TlsFiles({ logger, environment: process.env });
    this.routes = new RouteRuntimes(network);
    this.#filterSource = new RouteFilterSource(options.worker, network, options.requestRates);
    this.filters = new RouteFilters(this.#filterSource);
    this.#sessions = new HttpSessionFactory(network, this.flushes, http);
    this.#poolContext = {
      network,
      tls: this.connector,
      sessions: this.#sessions,
      http,
      connectTimeoutMs: server.connectTimeoutMs,
      onDialEnded: ({ name }: UpstreamTarget, durationMs: number, failure: Reason | null) => {
        if (failure === null) connectionMetrics.dialed(name, durationMs);
        else connectionMetrics.dialFailed(name, failure);
      },
      onConnections: ({ name }, change) => connectionMetrics.pooled(name, change),
      onFault: (error) => logger.error('a request failed by a fault of portcullis', { err: error }),
    };
    this.pool = new UpstreamPool(this.#poolContext);
  }

  /** Takes timeouts and limits that were read again, and looks at every file again. */
  adopt(server: ServerSettings, http: HttpSettings): void {
    this.#sessions.settings = http;
    this.#poolContext.http = http;
    this.#poolContext.connectTimeoutMs = server.connectTimeoutMs;
    this.routes.reload();
    void this.certificates.reload();
  }

  /** No request is under way any more: what is kept open to backends ends, and the last spans leave. */
  async close(): Promise<void> {
    this.pool.abort('drained');
    await this.#spans?.close();
  }

  setLogLevel(level: LogLevel): void {
    this.#log.setLevel(level);
  }

  /** Tables that the next version's policies need. */
  addRates(rates: RateBuffers): void {
    this.#filterSource.addRates(rates);
  }

  onHandshake(result: 'full' | 'resumed' | Reason): void {
    this.metrics.handshake(result);
  }

  onRequestEnd(record: RequestSummary): void {
    const { routeId, method, status, reason, ruleId, totalMs, id } = record;
    this.#log.write(record);
    this.metrics.request(routeId ?? '', method, status, totalMs, id, this.#network.nowMs);
    if (ruleId === null || routeId === null || !policyReasons.has(reason)) return;
    const type = policyTypeIn(routeId, ruleId);
    if (type !== null) this.metrics.policyBlock(routeId, type);
  }

  onHttp2Abuse(kind: string): void {
    this.metrics.http2Abuse(kind);
  }

  onRefusal(
    facts: DownstreamFacts,
    version: HttpVersion,
    reason: Reason,
    status: number,
    detail: string | undefined,
  ): void {
    this.onRequestEnd({
      id: makeRequestId(),
      client: facts.client,
      listener: facts.listener,
      routeId: null,
      method: '',
      host: facts.serverName ?? '',
      path: '',
      status,
      reason,
      ruleId: null,
      detail,
      bytesIn: 0,
      bytesOut: 0,
      queueMs: 0,
      connectMs: 0,
      firstByteMs: 0,
      totalMs: 0,
      upstreamName: null,
      downstreamVersion: version,
      upstreamVersion: null,
      protocol: null,
      isRetried: false,
      userAgent: undefined,
      trace: null,
    });
  }
}

function spanExporter({ tracing, programVersion, pseudonym, onSpansDropped }: HttpPlaneOptions) {
  if (tracing.endpoint === null) return null;
  return new SpanExporter({
    endpoint: tracing.endpoint,
    serviceVersion: programVersion,
    instance: pseudonym,
    onDropped: onSpansDropped,
  });
}

/** Reasons of requests that a policy refused. */
const policyReasons: ReadonlySet<Reason> = new Set([
  'user-agent-blocked',
  'header-missing',
  'method-refused',
  'body-oversized',
  'request-rate-limited',
]);
