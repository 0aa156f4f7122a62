/**
 * What the data path counts, in its own words: the one place that knows which metric an event belongs to. A request
 * costs about 60 ns, look-ups included, every other event less.
 */
import type { Reason } from '../core/reason.ts';
import type { Counter, Histogram } from './metrics-cells.ts';
import type { MetricFamily, SharedMetrics } from './metrics.ts';

/** The registered methods that a gate sees; others are `other`, else a client could fill the table (RFC 9110 §9). */
const countedMethods = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
] as const;
const methodIndexes: ReadonlyMap<string, number> = new Map(
  countedMethods.map((method, index) => [method, index]),
);
const otherMethod = countedMethods.length;
/** Statuses have three digits; 0 is a request that got no answer. */
const statusesMax = 1_000;
/** Routes whose cells are kept at hand. Beyond, each request looks them up. */
const routesMax = 1_024;

export class ConnectionMetrics {
  readonly #durations: Histogram;
  readonly #dials: MetricFamily<Histogram>;
  readonly #dialErrors: MetricFamily<Counter>;
  readonly #upstreamConnections: MetricFamily<Counter>;

  constructor(metrics: SharedMetrics) {
    this.#durations = metrics.histograms('portcullis_connection_duration_seconds').at();
    this.#dials = metrics.histograms('portcullis_dial_duration_seconds');
    this.#dialErrors = metrics.counters('portcullis_dial_errors_total');
    this.#upstreamConnections = metrics.gauges('portcullis_upstream_connections');
  }

  ended(id: string, durationMs: number, nowMs: number): void {
    this.#durations.observeFor(id, durationMs / 1_000, nowMs);
  }

  dialed(backend: string, durationMs: number): void {
    this.#dials.at(backend).observe(durationMs / 1_000);
  }

  dialFailed(backend: string, reason: Reason): void {
    this.#dialErrors.at(backend, reason).add(1);
  }

  /** Connections that a pool keeps to a backend. */
  pooled(backend: string, change: 1 | -1): void {
    this.#upstreamConnections.at(backend).add(change);
  }
}

/** The cells of one route. */
class RouteCells {
  readonly name: string;
  readonly duration: Histogram;
  /** By method and status. */
  readonly requests = new Map<number, Counter>();

  constructor(name: string, duration: Histogram) {
    this.name = name;
    this.duration = duration;
  }
}

export class HttpMetrics {
  readonly #requests: MetricFamily<Counter>;
  readonly #durations: MetricFamily<Histogram>;
  readonly #policyBlocks: MetricFamily<Counter>;
  readonly #handshakes: MetricFamily<Counter>;
  readonly #abuse: MetricFamily<Counter>;
  readonly #routes = new Map<string, RouteCells>();

  constructor(metrics: SharedMetrics) {
    this.#requests = metrics.counters('portcullis_http_requests_total');
    this.#durations = metrics.histograms('portcullis_http_request_duration_seconds');
    this.#policyBlocks = metrics.counters('portcullis_http_policy_blocks_total');
    this.#handshakes = metrics.counters('portcullis_tls_handshakes_total');
    this.#abuse = metrics.counters('portcullis_http2_abuse_total');
  }

  /** `route` is its rule id, empty where none was found; `status` is 0 when there was no answer. */
  request(
    route: string,
    method: string,
    status: number,
    durationMs: number,
    id: string,
    nowMs: number,
  ): void {
    const cells = this.#routes.get(route) ?? this.#meet(route);
    const key = (methodIndexes.get(method) ?? otherMethod) * statusesMax + status;
    (cells.requests.get(key) ?? this.#meetOutcome(cells, key)).add(1);
    cells.duration.observeFor(id, durationMs / 1_000, nowMs);
  }

  /** `policy` is its type. */
  policyBlock(route: string, policy: string): void {
    this.#policyBlocks.at(route, policy).add(1);
  }

  handshake(result: 'full' | 'resumed' | Reason): void {
    this.#handshakes.at(result).add(1);
  }

  http2Abuse(kind: string): void {
    this.#abuse.at(kind).add(1);
  }

  #meet(route: string): RouteCells {
    const cells = new RouteCells(route, this.#durations.at(route));
    // Routes come and go with the configuration: what left is forgotten with the rest.
    if (this.#routes.size >= routesMax) this.#routes.clear();
    this.#routes.set(route, cells);
    return cells;
  }

  #meetOutcome(cells: RouteCells, key: number): Counter {
    const method = countedMethods[Math.floor(key / statusesMax)] ?? 'other';
    const counter = this.#requests.at(cells.name, method, String(key % statusesMax));
    cells.requests.set(key, counter);
    return counter;
  }
}

export type EgressAction =
  'REWRITTEN' | 'WHITE-LISTED' | 'BLACK-LISTED' | 'ALLOWED-BY-DEFAULT' | 'BLOCKED' | 'PASSTHROUGH';

export class EgressMetrics {
  readonly #traffic: MetricFamily<Counter>;
  readonly #durations: MetricFamily<Histogram>;
  readonly #active: Counter;
  readonly #upstreamErrors: MetricFamily<Counter>;
  readonly #statuses: readonly Counter[];
  readonly #requestBytes: Counter;
  readonly #responseBytes: Counter;

  constructor(metrics: SharedMetrics) {
    this.#traffic = metrics.counters('proxy_traffic_total');
    this.#durations = metrics.histograms('proxy_request_duration_seconds');
    this.#active = metrics.gauges('proxy_active_connections').at();
    this.#upstreamErrors = metrics.counters('proxy_upstream_errors_total');
    const classes = metrics.counters('proxy_response_status_total');
    this.#statuses = [1, 2, 3, 4, 5].map((digit) => classes.at(`${digit}xx`));
    const bytes = metrics.counters('proxy_bytes_total');
    this.#requestBytes = bytes.at('request');
    this.#responseBytes = bytes.at('response');
  }

  /** `domain` is the pattern of the rule that decided, or the host where none did. */
  judged(domain: string, action: EgressAction): void {
    this.#traffic.at(domain, action).add(1);
  }

  request(action: EgressAction, durationMs: number, id: string, nowMs: number): void {
    this.#durations.at(action).observeFor(id, durationMs / 1_000, nowMs);
  }

  /** A status of three digits. */
  response(status: number): void {
    this.#statuses[Math.floor(status / 100) - 1]?.add(1);
  }

  bytes(request: number, response: number): void {
    this.#requestBytes.add(request);
    this.#responseBytes.add(response);
  }

  upstreamError(reason: Reason): void {
    this.#upstreamErrors.at(reason).add(1);
  }

  opened(): void {
    this.#active.add(1);
  }

  closed(): void {
    this.#active.add(-1);
  }
}
