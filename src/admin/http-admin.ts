/**
 * The pages for operators. On the metrics address those that scrapers and probes read, on the admin HTTP address all.
 * A page is a row of a table: path, method, one sentence, and what answers.
 */
import { logLevels, type LogLevel, type TrafficSettings } from '../model/settings.ts';
import {
  contentTypes,
  formatMetrics,
  negotiateFormat,
  type ExpositionFormat,
} from '../telemetry/metrics-exposition.ts';
import { reportCertificates } from './certificate-report.ts';
import type { Control, ListenerStatus } from './control.ts';
import { json, PageError, plainText, type Answer, type Page, type Pages } from './http-door.ts';
import type { HttpLimits } from './http-limits.ts';
import { UpgradeError, type Operations } from './operations.ts';
import { redact } from './redact.ts';
import { statsPage } from './stats-page.ts';

/** Of the metrics address. */
export function metricsPages(path: string, operations: Operations): Pages {
  return new Map([
    ...probes(operations),
    [
      path,
      get('Metrics, as Prometheus text or OpenMetrics by Accept.', (_query, request) =>
        metricsAnswer(operations, negotiateFormat(request.headers.accept)),
      ),
    ],
  ]);
}

/** Of the admin HTTP address. */
export function adminPages(operations: Operations, control: Control, limits: HttpLimits): Pages {
  const pages = new Map<string, Page>([
    ...probes(operations),
    ['/ready', get('As /readyz, with the state of the server as its text.', () => readiness(operations))],
    ['/server_info', get('Version, state, workers, limits.', () => json(serverInfo(operations)))],
    ...statistics(operations, limits),
    [
      '/config_dump',
      get('The configuration that is served, secrets replaced.', () => configDump(operations, limits)),
    ],
    [
      '/listeners',
      get('Listeners and what they did.', () => json(control.status().listeners.map(listenerRow))),
    ],
    ['/clusters', get('Backends and how dialling them went.', () => clusters(operations))],
    [
      '/certs',
      get('Certificates in use, soonest to expire first.', async () =>
        json(await reportCertificates(operations.certificates(), Date.now(), limits)),
      ),
    ],
    ...changes(operations),
  ]);
  pages.set(
    '/',
    get('This list.', () => plainText(200, indexText(pages))),
  );
  return pages;
}

function probes(operations: Operations): [string, Page][] {
  return [
    ['/healthz', get('200 while the process runs.', () => plainText(200, 'ok\n'))],
    [
      '/readyz',
      get('200 while it takes traffic, 503 before it does and once it leaves.', () => readiness(operations)),
    ],
  ];
}

function statistics(operations: Operations, limits: HttpLimits): [string, Page][] {
  return [
    [
      '/stats',
      get('Every metric; ?format=json, ?filter= takes a regular expression.', (query) =>
        statsPage(operations.metrics(), query, limits),
      ),
    ],
    [
      '/stats/prometheus',
      get('The same as the metrics address has.', (_query, request) =>
        metricsAnswer(operations, negotiateFormat(request.headers.accept)),
      ),
    ],
  ];
}

function changes(operations: Operations): [string, Page][] {
  return [
    [
      '/drain',
      post('Ends the server in order, as SIGTERM does.', () => {
        operations.drain();
        return plainText(202, 'draining\n');
      }),
    ],
    [
      '/upgrade',
      post('Starts the program anew and hands it the listening sockets.', async () => {
        try {
          return plainText(200, `process ${await operations.upgrade()} serves\n`);
        } catch (error) {
          if (error instanceof UpgradeError) throw new PageError(503, error.message);
          throw error;
        }
      }),
    ],
    [
      '/logging',
      post('?level= sets the least severe level that is logged.', (query) => {
        operations.setLogLevel(levelOf(query.get('level')));
        return plainText(200, `level: ${operations.info().logLevel}\n`);
      }),
    ],
  ];
}

function get(summary: string, serve: Page['serve']): Page {
  return { method: 'GET', summary, serve };
}

function post(summary: string, serve: Page['serve']): Page {
  return { method: 'POST', summary, serve };
}

function metricsAnswer(operations: Operations, format: ExpositionFormat): Answer {
  const body = formatMetrics(operations.metrics(), format, operations.exemplarEpochMs());
  return { status: 200, contentType: contentTypes[format], body };
}

function readiness(operations: Operations): Answer {
  const state = operations.state();
  return plainText(state === 'live' ? 200 : 503, `${state}\n`);
}

function serverInfo(operations: Operations): object {
  const info = operations.info();
  return {
    version: info.version,
    state: info.state,
    pid: info.pid,
    node: info.node,
    started_at: info.startedAt.toISOString(),
    uptime_seconds: Math.floor(info.uptimeMs / 1_000),
    config_version: info.configVersion,
    workers: info.workers,
    workers_serving: info.workersServing,
    sockets: info.sockets,
    log_level: info.logLevel,
    connections: info.connections,
    connections_max: info.connectionsMax,
  };
}

/** A quarter of a million routes would be 50 MB of text: what is beyond the bound is counted, not shown. */
function configDump(operations: Operations, { dumpRowsMax }: HttpLimits): Answer {
  const { process, traffic } = operations.settings();
  const shown = { ...process, ...cutTraffic(traffic, dumpRowsMax) };
  return json({ config_version: operations.info().configVersion, config: redact(shown) });
}

function cutTraffic(traffic: TrafficSettings, rowsMax: number): object {
  let left = rowsMax;
  const take = <T>(rows: readonly T[]): readonly T[] => {
    const taken = rows.slice(0, left);
    left -= taken.length;
    return taken;
  };
  const listeners = traffic.listeners.map((listener) => {
    const routes = take(listener.routes);
    return { ...listener, routes, routesLeftOut: listener.routes.length - routes.length };
  });
  const { blockedIps, blockedCidrs, rateLimitExempt } = traffic.firewall;
  const rows = {
    blockedIps: take(blockedIps),
    blockedCidrs: take(blockedCidrs),
    rateLimitExempt: take(rateLimitExempt),
  };
  const ruleCount = blockedIps.length + blockedCidrs.length + rateLimitExempt.length;
  const shownCount = rows.blockedIps.length + rows.blockedCidrs.length + rows.rateLimitExempt.length;
  return {
    ...traffic,
    listeners,
    firewall: { ...traffic.firewall, ...rows, rulesLeftOut: ruleCount - shownCount },
  };
}

function listenerRow(status: ListenerStatus): object {
  return {
    listener: status.name,
    port: status.boundPort,
    kind: status.kind,
    routes: status.routes,
    active: status.active,
    max_connections: status.maxConnections,
    accepted: status.accepted,
    bytes_in: status.bytesIn,
    bytes_out: status.bytesOut,
    ended: Object.fromEntries(status.ended),
  };
}

function clusters(operations: Operations): Answer {
  return json(
    operations.clusters().map(({ backend, references, connections, dials, dialMeanMs, dialErrors }) => ({
      backend,
      references,
      connections,
      dials,
      dial_mean_ms: dialMeanMs === null ? null : Number(dialMeanMs.toFixed(3)),
      dial_errors: Object.fromEntries(dialErrors),
    })),
  );
}

function levelOf(text: string | null): LogLevel {
  const level = logLevels.find((each) => each === text);
  if (level === undefined) throw new PageError(400, `level is one of ${logLevels.join(', ')}`);
  return level;
}

function indexText(pages: Pages): string {
  const rows = Array.from(
    pages,
    ([path, { method, summary }]) => `${method.padEnd(5)}${path.padEnd(20)}${summary}\n`,
  );
  return rows.toSorted().join('');
}
