/** Hands the ends of connections to the supervisor in batches, for whoever watches events. Bounded: a flood is counted, not kept. */
import type { ConnectionSummary } from '../telemetry/connection-log.ts';

const batchMax = 1_000;
const flushMs = 50;

export class EndedConnections {
  readonly #send: (summaries: readonly ConnectionSummary[], missed: number) => void;
  #summaries: ConnectionSummary[] = [];
  #missed = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (summaries: readonly ConnectionSummary[], missed: number) => void) {
    this.#send = send;
  }

  add(summary: ConnectionSummary): void {
    if (this.#summaries.length < batchMax) this.#summaries.push(summary);
    else this.#missed++;
    if (this.#timer === undefined) this.#timer = setTimeout(() => this.#flush(), flushMs);
  }

  #flush(): void {
    const [summaries, missed] = [this.#summaries, this.#missed];
    this.#timer = undefined;
    this.#summaries = [];
    this.#missed = 0;
    this.#send(summaries, missed);
  }
}
