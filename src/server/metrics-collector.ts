/**
 * Every metric's present numbers: those that workers recorded, and those that are gathered, when somebody asks, from
 * what the process counts anyway.
 */
import { readdirSync } from 'node:fs';
import { reasons, type Outcome, type Reason } from '../core/reason.ts';
import type { LogWriter } from '../telemetry/log-writer.ts';
import type { MetricReading, Sample } from '../telemetry/metrics-exposition.ts';
import { definitionOf, metricNames, type MetricName } from '../telemetry/metrics-table.ts';
import type { Supervisor } from './supervisor.ts';

export interface MetricSources {
  readonly supervisor: Supervisor;
  readonly logWriter: LogWriter;
  readonly programVersion: string;
}

export function collectMetrics(sources: MetricSources): MetricReading[] {
  return metricNames.map((name) => ({ name, samples: samplesOf(name, sources) }));
}

function samplesOf(name: MetricName, sources: MetricSources): readonly Sample[] {
  const gather = gatherers[name];
  return gather === undefined ? sources.supervisor.metrics.read(name) : gather(sources);
}

type Gatherer = (sources: MetricSources) => readonly Sample[];

const gatherers: Partial<Record<MetricName, Gatherer>> = {
  portcullis_connections_total: connections,
  portcullis_connections_active: ({ supervisor: { listeners, gauges } }) =>
    listeners.map(({ name, slot }) => sample(gauges.value(slot), name)),
  portcullis_bytes_total: ({ supervisor: { listeners, counters } }) =>
    listeners.flatMap(({ name, slot }) => [
      sample(counters.sum(slot, 'bytesIn'), name, 'in'),
      sample(counters.sum(slot, 'bytesOut'), name, 'out'),
    ]),
  portcullis_firewall_blocked_total: ({ supervisor: { counters } }) =>
    firewallReasons.map((reason) => sample(counters.total(reason), reason)),
  portcullis_config_version: ({ supervisor }) => [sample(supervisor.version)],
  portcullis_workers: ({ supervisor: { fleet } }) => [
    sample(fleet.serving, 'serving'),
    sample(fleet.workers.length - fleet.serving, 'not-serving'),
  ],
  portcullis_worker_restarts_total: ({ supervisor: { fleet } }) => [
    sample(fleet.workers.reduce((sum, { generation }) => sum + generation, 0)),
  ],
  portcullis_process_resident_bytes: () => [sample(process.memoryUsage.rss())],
  portcullis_process_cpu_seconds_total: () => {
    const { user, system } = process.cpuUsage();
    return [sample(user / 1e6, 'user'), sample(system / 1e6, 'system')];
  },
  portcullis_process_open_descriptors: () => [sample(openDescriptors())],
  portcullis_process_start_time_seconds: () => [sample(Math.round(performance.timeOrigin) / 1_000)],
  portcullis_build_info: ({ programVersion }) => [sample(1, programVersion)],
  portcullis_log_lines_dropped_total: ({ supervisor, logWriter }) => {
    const [workers] = supervisor.metrics.read('portcullis_log_lines_dropped_total');
    return [sample((workers?.value ?? 0) + logWriter.droppedTotal)];
  },
  portcullis_metric_overflow_total: ({ supervisor: { metrics } }) =>
    metricNames
      .filter((name) => definitionOf(name).source === 'recorded')
      .map((name) => sample(metrics.overflow(name), name))
      .filter(({ value }) => value > 0),
};

const firewallReasons: readonly Reason[] = ['blocked-ip', 'blocked-cidr', 'blocked-country', 'rate-limited'];

const reasonsByOutcome: ReadonlyMap<Outcome, readonly Reason[]> = Map.groupBy(
  Object.keys(reasons) as Reason[],
  (reason) => reasons[reason].outcome,
);

function connections({ supervisor: { listeners, counters } }: MetricSources): Sample[] {
  return listeners.flatMap(({ name, slot }) =>
    Array.from(reasonsByOutcome, ([outcome, ended]) =>
      sample(
        ended.reduce((sum, reason) => sum + counters.sum(slot, reason), 0),
        name,
        outcome,
      ),
    ),
  );
}

function sample(value: number, ...labels: string[]): Sample {
  return { labels, value };
}

function openDescriptors(): number {
  // Looking opens one more.
  return readdirSync('/proc/self/fd').length - 1;
}
