/**
 * The line that tells how a request ended: the access log. Built by hand like the connection's line (see
 * connection-log.ts), because it is written for every request. Same fields, beginning and guarantees as every
 * other line (see logger.ts).
 */

import { reasons, type Reason } from '../core/reason.ts';
import type { EgressAction } from '../model/egress-settings.ts';
import { logLevels, type LogLevel } from '../model/settings.ts';
import { AccessFilter, everything } from './access-filter.ts';
import { connectionLevel } from './connection-log.ts';
import { linePrefix, type LogOutput } from './logger.ts';
import { quoteConfigured, quoteText } from './quote.ts';
import type { TraceContext } from './trace-context.ts';

/** One request and its answer, once both are over. Times in milliseconds with fractions. */
export interface RequestSummary {
  /** The request's id, which the backend saw as `x-request-id`. */
  readonly id: string;
  /** The real client's address, without a port. */
  readonly client: string;
  readonly listener: string;
  /** Rule id of the route; null where none matched. */
  readonly routeId: string | null;
  readonly method: string;
  /** The authority as the client wrote it. */
  readonly host: string;
  /** With its query. */
  readonly path: string;
  /** What the client was answered; 0 when it got no answer. */
  readonly status: number;
  readonly reason: Reason;
  /** Rule that decided, where one did. */
  readonly ruleId: string | null;
  /** What the reason leaves open: an errno, a codec's message. */
  readonly detail: string | undefined;
  /** Of the request's body, as it came from the client. */
  readonly bytesIn: number;
  /** Of the answer's body, as it went to the client. */
  readonly bytesOut: number;
  /** Waiting for a place on an upstream connection, its opening apart. */
  readonly queueMs: number;
  /** Opening the upstream connection, TLS included; 0 when one was open. */
  readonly connectMs: number;
  /** From the request's head to the head of the answer; 0 when none came. */
  readonly firstByteMs: number;
  readonly totalMs: number;
  /** As people write it, `10.0.0.1:8080`; null when no backend was chosen. */
  readonly upstreamName: string | null;
  readonly downstreamVersion: string;
  /** Null when the request was sent to no backend. */
  readonly upstreamVersion: string | null;
  /** The protocol of an upgrade: `websocket`. */
  readonly protocol: string | null;
  /** True when the request was sent a second time, on a fresh connection. */
  readonly isRetried: boolean;
  readonly userAgent: string | undefined;
  /** Null where nothing is traced. */
  readonly trace: TraceContext | null;
}

export class RequestLog {
  readonly #output: LogOutput;
  readonly #clock: () => number;
  readonly #filter: AccessFilter;
  #levelIndex: number;

  constructor(
    output: LogOutput,
    level: LogLevel,
    clock: () => number = Date.now,
    filter: AccessFilter = everything,
  ) {
    this.#output = output;
    this.#levelIndex = logLevels.indexOf(level);
    this.#clock = clock;
    this.#filter = filter;
  }

  setLevel(level: LogLevel): void {
    this.#levelIndex = logLevels.indexOf(level);
  }

  /** What comes from peers (host, path, method, user agent, id, detail) is escaped here. */
  /** `action` is what egress decided; ingress has none. */
  write(summary: RequestSummary, action: EgressAction | null = null): void {
    const level = requestLevel(summary.reason);
    if (logLevels.indexOf(level) < this.#levelIndex) return;
    if (!this.#filter.takes(reasons[summary.reason].outcome)) return;
    this.#output.write(this.#filter.cut(formatRequest(summary, action, level, this.#clock())));
  }
}

/** A backend that fails is a warning, a fault of ours an error, everything else an account. */
export function requestLevel(reason: Reason): LogLevel {
  return levels[reason];
}

const levels = Object.fromEntries(
  Object.keys(reasons).map((reason) => [reason, levelOf(reason as Reason)]),
) as Readonly<Record<Reason, LogLevel>>;

function levelOf(reason: Reason): LogLevel {
  return reason.startsWith('upstream-') ? 'warn' : connectionLevel(reason);
}

/** Longest path, query included, that a line carries. */
const pathCharactersMax = 2048;

function formatRequest(
  summary: RequestSummary,
  action: EgressAction | null,
  level: LogLevel,
  timeMs: number,
): string {
  const { reason, ruleId, detail, upstreamVersion, protocol, userAgent, trace } = summary;
  return (
    `${linePrefix(level, timeMs)},"msg":"request","id":${quoteText(summary.id)}` +
    `,"client":${quoteConfigured(summary.client)},"listener":${quoteConfigured(summary.listener)}` +
    `,"route":${quoteConfigured(summary.routeId)},"method":${quoteText(summary.method)}` +
    `,"host":${quoteText(summary.host)},"path":${quoteText(summary.path, pathCharactersMax)}` +
    `,"protocol":"${summary.downstreamVersion}"${protocol === null ? '' : `,"upgrade":${quoteText(protocol)}`}` +
    `,"status":${summary.status},"bytes_in":${summary.bytesIn},"bytes_out":${summary.bytesOut}` +
    `,"queue_ms":${formatMs(summary.queueMs)},"connect_ms":${formatMs(summary.connectMs)}` +
    `,"first_byte_ms":${formatMs(summary.firstByteMs)},"total_ms":${formatMs(summary.totalMs)}` +
    `,"upstream":${quoteConfigured(summary.upstreamName)}` +
    (upstreamVersion === null ? '' : `,"upstream_protocol":"${upstreamVersion}"`) +
    (summary.isRetried ? ',"retried":true' : '') +
    (userAgent === undefined ? '' : `,"user_agent":${quoteText(userAgent)}`) +
    (trace === null ? '' : `,"trace_id":"${trace.traceId}"`) +
    (action === null ? '' : `,"action":"${action}"`) +
    `,"verdict":"${reasons[reason].outcome}","reason":"${reason}"` +
    (ruleId === null ? '' : `,"rule":${quoteConfigured(ruleId)}`) +
    `${detail === undefined ? '' : `,"detail":${quoteText(detail)}`}}\n`
  );
}

/** Milliseconds with microseconds behind the point, from whole numbers: printing a double costs ten times as much. */
function formatMs(valueMs: number): string {
  const microseconds = Math.round(valueMs * 1000);
  if (microseconds <= 0) return '0';
  const whole = Math.floor(microseconds / 1000);
  const rest = microseconds - whole * 1000;
  const zeros = rest < 10 ? '00' : rest < 100 ? '0' : '';
  return `${whole}.${zeros}${rest}`;
}
