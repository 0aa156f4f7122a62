/** What every part of a worker's data plane shares: the transport, names, deadlines and the time. */
import { TimerWheel, tickMs } from '../core/timer-wheel.ts';
import type { Transport } from './channel.ts';
import type { Resolver } from './resolver.ts';

export class Network {
  readonly transport: Transport;
  readonly resolver: Resolver;
  readonly timers: TimerWheel;
  /**
   * Milliseconds on the clock of `refresh`, brought up to date each tick: near enough for idle deadlines, where
   * asking the clock at every read would cost as much as the bookkeeping itself.
   */
  nowMs: number;
  /** From this thread's `performance.now` to the clock that all threads share. */
  readonly #offsetMs: number;
  readonly #ticker: NodeJS.Timeout;

  constructor(transport: Transport, resolver: Resolver) {
    this.transport = transport;
    this.resolver = resolver;
    this.#offsetMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
    this.nowMs = performance.now() + this.#offsetMs;
    this.timers = new TimerWheel(this.nowMs);
    this.#ticker = setInterval(() => this.tick(), tickMs);
    this.#ticker.unref();
  }

  /**
   * The exact time, for what is measured or starts a deadline: milliseconds that never go back, the same in
   * every worker (each thread's `performance.now` counts from its own start).
   */
  refresh(): number {
    return (this.nowMs = performance.now() + this.#offsetMs);
  }

  tick(): void {
    this.timers.advance(this.refresh());
  }

  close(): void {
    clearInterval(this.#ticker);
  }
}
