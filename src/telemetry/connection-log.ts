/**
 * The line that tells how a connection ended. Built by hand, because it is the one line on the data path:
 * 15,000 a second per worker. Same fields, beginning and guarantees as every other line (see logger.ts).
 */

import { reasons, type Outcome, type Reason } from '../core/reason.ts';
import { logLevels, type LogLevel } from '../model/settings.ts';
import { AccessFilter, everything } from './access-filter.ts';
import { linePrefix, type LogOutput } from './logger.ts';
import { quoteConfigured, quoteText } from './quote.ts';

export interface ConnectionSummary {
  readonly id: string | number;
  /** The real client: `ip:port` or `[v6]:port`. */
  readonly client: string;
  /** The socket's peer, where that is another: the client came through a PROXY header. */
  readonly peer?: string | undefined;
  readonly listener: string;
  readonly sni: string | null;
  /** Rule id of the route. */
  readonly route: string | null;
  readonly backend: string | null;
  /** From client to backend. */
  readonly bytesIn: number;
  /** From backend to client. */
  readonly bytesOut: number;
  readonly durationMs: number;
  readonly verdict: Outcome;
  readonly reason: Reason;
  /** Id of the rule that decided, where one did. */
  readonly rule: string | null;
  /** What the reason leaves open: an errno, a limit. May hold peers' text. */
  readonly detail?: string | undefined;
}

export class ConnectionLog {
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

  /** SNI, detail, id and names are escaped here; `client` and `peer` are addresses we formatted ourselves. */
  write(summary: ConnectionSummary): void {
    const level = connectionLevel(summary.reason);
    if (logLevels.indexOf(level) < this.#levelIndex) return;
    if (!this.#filter.takes(summary.verdict)) return;
    this.#output.write(this.#filter.cut(formatConnection(summary, level, this.#clock())));
  }
}

/** What an operator has to look at: a backend that cannot be reached is a warning, a fault of ours an error. */
export function connectionLevel(reason: Reason): LogLevel {
  return levels[reason];
}

const levels = Object.fromEntries(
  Object.keys(reasons).map((reason) => [reason, levelOf(reason)]),
) as Readonly<Record<Reason, LogLevel>>;

function levelOf(reason: string): LogLevel {
  if (reason === 'internal-error') return 'error';
  return reason.startsWith('dial-') || reason.startsWith('name-') ? 'warn' : 'info';
}

/** Numbers and the texts of our own making (addresses, verdict, reason) need no look at their characters. */
function formatConnection(summary: ConnectionSummary, level: LogLevel, timeMs: number): string {
  const { id, client, peer, sni, rule, detail } = summary;
  return (
    `${linePrefix(level, timeMs)},"msg":"connection","id":${typeof id === 'number' ? id : quoteText(id)}` +
    `,"client":"${client}"${peer === undefined ? '' : `,"peer":"${peer}"`}` +
    `,"listener":${quoteConfigured(summary.listener)},"sni":${sni === null ? 'null' : quoteText(sni)}` +
    `,"route":${quoteConfigured(summary.route)},"backend":${quoteConfigured(summary.backend)}` +
    `,"bytes_in":${summary.bytesIn},"bytes_out":${summary.bytesOut}` +
    `,"duration_ms":${Math.round(summary.durationMs)}` +
    `,"verdict":"${summary.verdict}","reason":"${summary.reason}"` +
    (rule === null ? '' : `,"rule":${quoteConfigured(rule)}`) +
    `${detail === undefined ? '' : `,"detail":${quoteText(detail)}`}}\n`
  );
}
