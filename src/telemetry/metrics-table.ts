/**
 * Every metric there is: the one place where a metric's name, type, help, labels, buckets and bound stand.
 *
 * The shared memory, the exposition and docs/reference/metrics.md all come from this table. `recorded` metrics are
 * counted by workers into shared memory; `gathered` ones are read, when somebody asks, from what the process counts
 * anyway, so they cost the data path nothing.
 */

export type MetricType = 'counter' | 'gauge' | 'histogram';

export interface MetricDefinition {
  readonly type: MetricType;
  readonly source: 'recorded' | 'gathered';
  /** One sentence for whoever reads a dashboard. */
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds, rising, in the metric's unit; a bucket without bound follows. Histograms only. */
  readonly buckets?: readonly number[];
  /** Label sets kept apart; whatever comes beyond shares one whose label values are all `other`. */
  readonly seriesMax: number;
  /** What the label values are, where the names do not say it. */
  readonly note?: string;
}

/** From a loopback dial to a slow DNS answer and beyond, in seconds. */
const dialBuckets = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** The client library's usual ones, with two below for a proxy beside its backend. */
const requestBuckets = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Connections live from milliseconds to days. */
const lifetimeBuckets = [0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 43_200];

/** Routes, backends and domains: an operator may have far more, and a scrape of all of them serves nobody. */
const namesMax = 1_024;

function counter(help: string, labels: readonly string[], seriesMax: number, note?: string) {
  return define('counter', 'recorded', help, labels, seriesMax, note);
}

function histogram(
  help: string,
  labels: readonly string[],
  seriesMax: number,
  buckets: readonly number[],
  note?: string,
) {
  return { ...define('histogram', 'recorded', help, labels, seriesMax, note), buckets };
}

function gathered(type: MetricType, help: string, labels: readonly string[], seriesMax = 1, note?: string) {
  return define(type, 'gathered', help, labels, seriesMax, note);
}

function define(
  type: MetricType,
  source: MetricDefinition['source'],
  help: string,
  labels: readonly string[],
  seriesMax: number,
  note?: string,
): MetricDefinition {
  return { type, source, help, labels, seriesMax, ...(note === undefined ? {} : { note }) };
}

const listeners = 1_024;
const workers = 256;

export const metrics = {
  // --- connections ---
  portcullis_connections_total: gathered(
    'counter',
    'Connections that have ended, by what became of them.',
    ['listener', 'verdict'],
    listeners * 3,
    '`verdict` is `served`, `refused` or `failed`.',
  ),
  portcullis_connections_active: gathered('gauge', 'Connections open now.', ['listener'], listeners),
  portcullis_connection_duration_seconds: histogram(
    'From accept to the end of a connection.',
    [],
    1,
    lifetimeBuckets,
  ),
  portcullis_bytes_total: gathered(
    'counter',
    'Bytes relayed; those of a connection are added when it ends.',
    ['listener', 'direction'],
    listeners * 2,
    '`direction` is `in`, from clients, or `out`, to them.',
  ),
  portcullis_firewall_blocked_total: gathered(
    'counter',
    'Connections that the firewall refused.',
    ['reason'],
    4,
    '`reason` is `blocked-ip`, `blocked-cidr`, `blocked-country` or `rate-limited`.',
  ),
  portcullis_dial_duration_seconds: histogram(
    'From the decision to dial a backend to the open connection.',
    ['backend'],
    namesMax,
    dialBuckets,
  ),
  portcullis_dial_errors_total: counter(
    'Backends that could not be reached.',
    ['backend', 'reason'],
    namesMax * 2,
    '`reason` is one of the [reasons](reasons.md) that begin with `dial-` or `name-`.',
  ),
  portcullis_upstream_connections: {
    ...counter(
      'HTTP connections to a backend that are open now, idle ones among them.',
      ['backend'],
      namesMax,
    ),
    type: 'gauge',
  },

  // --- HTTP ---
  portcullis_http_requests_total: counter(
    'Requests answered, whoever answered them.',
    ['route', 'method', 'status'],
    namesMax * 8,
    '`method` is one of the registered methods, or `other`; `status` is the code of the answer, `0` for none.',
  ),
  portcullis_http_request_duration_seconds: histogram(
    'From the first byte of a request to the last of its answer.',
    ['route'],
    namesMax,
    requestBuckets,
  ),
  portcullis_http_policy_blocks_total: counter(
    'Requests that a policy refused.',
    ['route', 'policy'],
    namesMax * 2,
    '`policy` is the type of the policy.',
  ),
  portcullis_tls_handshakes_total: counter(
    'TLS handshakes with clients.',
    ['result'],
    16,
    '`result` is `full`, `resumed`, or the [reason](reasons.md) why there was none.',
  ),
  portcullis_http2_abuse_total: counter(
    'HTTP/2 connections ended because a limit against abuse was crossed.',
    ['kind'],
    32,
    '`kind` names the limit.',
  ),

  // --- the process ---
  portcullis_config_version: gathered('gauge', 'Version of the configuration that is served.', []),
  portcullis_config_changes_total: counter(
    'Changes of the configuration that were asked for.',
    ['result'],
    2,
    '`result` is `applied` or `refused`.',
  ),
  portcullis_workers: gathered(
    'gauge',
    'Worker threads, by what they do.',
    ['state'],
    2,
    '`serving` or `not-serving`.',
  ),
  portcullis_worker_restarts_total: gathered('counter', 'Workers that died and were replaced.', []),
  portcullis_worker_event_loop_delay_seconds: {
    ...gathered(
      'gauge',
      'How late a worker came to what was due, over the last seconds.',
      ['worker', 'quantile'],
      3 * workers,
    ),
    source: 'recorded',
    note: '`quantile` is `0.5`, `0.99` or `1`.',
  },
  portcullis_worker_heap_bytes: {
    ...gathered('gauge', 'JavaScript heap in use by a worker.', ['worker'], workers),
    source: 'recorded',
  },
  portcullis_process_resident_bytes: gathered('gauge', 'Memory of the whole process that is in RAM.', []),
  portcullis_process_cpu_seconds_total: gathered(
    'counter',
    'Processor time of the whole process.',
    ['mode'],
    2,
    '`user` or `system`.',
  ),
  portcullis_process_open_descriptors: gathered('gauge', 'Open file descriptors of the process.', []),
  portcullis_process_start_time_seconds: gathered('gauge', 'When the process started, in Unix time.', []),
  portcullis_build_info: gathered('gauge', 'Always 1; its label is the version of the program.', ['version']),
  portcullis_log_lines_dropped_total: counter('Log lines for which there was no room.', [], 1),
  portcullis_spans_dropped_total: counter(
    'Spans for which there was no room, or that the collector did not take.',
    [],
    1,
  ),
  portcullis_metric_overflow_total: gathered(
    'counter',
    'Times that a label set found no room, so that its numbers went to `other`.',
    ['metric'],
    64,
    'Only where it happened.',
  ),

  // --- egress ---
  proxy_traffic_total: counter(
    'Requests and tunnels that were judged.',
    ['domain', 'action'],
    namesMax * 2,
    '`domain` is the pattern of the rule that decided, or the host itself until there is no more room; `action` is ' +
      '`REWRITTEN`, `WHITE-LISTED`, `BLACK-LISTED`, `ALLOWED-BY-DEFAULT`, `BLOCKED` or `PASSTHROUGH`.',
  ),
  proxy_request_duration_seconds: histogram(
    'From the first byte of a request to the last of its answer.',
    ['action'],
    8,
    requestBuckets,
  ),
  proxy_active_connections: {
    ...counter('Connections open now on listeners of kind egress.', [], 1),
    type: 'gauge',
  },
  proxy_config_load_errors_total: counter('Configurations that were refused whole.', [], 1),
  proxy_config_reloads_total: counter('Configurations that were read again and applied.', [], 1),
  proxy_upstream_errors_total: counter(
    'Requests that failed on the way to their target.',
    ['type'],
    32,
    '`type` is one of the [reasons](reasons.md).',
  ),
  proxy_response_status_total: counter(
    'Answers, by the class of their status.',
    ['class'],
    8,
    '`class` is `1xx` to `5xx`.',
  ),
  proxy_bytes_total: counter(
    'Bytes of requests and answers.',
    ['direction'],
    2,
    '`direction` is `request` or `response`.',
  ),

  // --- filters ---
  portcullis_filter_count_total: counter('Counters that filters define at run time.', ['name'], 256),
  portcullis_filter_value: {
    ...counter('Gauges that filters define at run time.', ['name'], 256),
    type: 'gauge',
  },
  portcullis_filter_distribution: histogram(
    'Histograms that filters define at run time.',
    ['name'],
    64,
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000],
  ),
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof metrics;

export const metricNames = Object.keys(metrics) as readonly MetricName[];

/** The definition without its literal type, for code that treats all alike. */
export function definitionOf(name: MetricName): MetricDefinition {
  return metrics[name];
}
