/**
 * The log of what was refused: one JSON line each, in a file of its own, which a rotator may move away: `reopen` goes on
 * in a new one. Lines are appended whole (O_APPEND), so several workers share the file. What can not be written is
 * counted, and never holds traffic up.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Judgement } from './services.ts';

/** Lines that wait for the next turn of the loop; more are dropped and counted. */
const linesMax = 10_000;

export class BlockedLog {
  readonly #path: string;
  readonly #clock: () => number;
  #descriptor: number;
  #waiting: string[] = [];
  /** Lines that were lost. */
  dropped = 0;

  /** Throws when the file can not be opened. */
  constructor(path: string, clock: () => number = Date.now) {
    this.#path = path;
    this.#clock = clock;
    this.#descriptor = openSync(path, 'a', 0o640);
  }

  /** Only of what was refused, or would have been. */
  write(judgement: Judgement): void {
    const { verdict } = judgement;
    if (verdict.isAllowed && verdict.reports.length === 0) return;
    if (this.#waiting.length >= linesMax) {
      this.dropped++;
      return;
    }
    if (this.#waiting.push(lineOf(judgement, this.#clock())) === 1) setImmediate(() => this.flush());
  }

  /** Goes on in the file that now has the name. The old one stays open when there is none to be had. */
  reopen(): void {
    this.flush();
    const descriptor = openSync(this.#path, 'a', 0o640);
    closeSync(this.#descriptor);
    this.#descriptor = descriptor;
  }

  flush(): void {
    const { length } = this.#waiting;
    if (length === 0) return;
    const text = this.#waiting.join('');
    this.#waiting = [];
    try {
      writeSync(this.#descriptor, text);
    } catch {
      this.dropped += length;
    }
  }

  close(): void {
    this.flush();
    closeSync(this.#descriptor);
  }
}

function lineOf(
  { id, client, clientName, listener, host, port, method, path, verdict }: Judgement,
  nowMs: number,
): string {
  const { action, ruleId, reason, reports } = verdict;
  const line = {
    time: new Date(nowMs).toISOString(),
    request_id: id,
    client,
    ...(clientName === null ? {} : { client_name: clientName }),
    listener,
    method,
    host,
    port,
    ...(path === null ? {} : { path }),
    action,
    reason,
    rule: ruleId,
    ...(reports.length === 0
      ? {}
      : { would: reports.map((each) => ({ action: each.action, rule: each.ruleId })) }),
  };
  return `${JSON.stringify(line)}\n`;
}
