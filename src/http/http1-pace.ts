/**
 * Whether a body that a client sends makes progress: some of it within the idle time, and as a whole no slower than
 * the minimum rate. Never touches a clock.
 */
export class BodyPace {
  readonly #idleTimeoutMs: number;
  readonly #rateMin: number;
  #sinceMs = 0;
  #bytes = 0;

  constructor(idleTimeoutMs: number, rateMin: number) {
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#rateMin = rateMin;
  }

  start(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#bytes = 0;
  }

  add(byteCount: number): void {
    this.#bytes += byteCount;
  }

  /** What is wrong with the pace since the last `start` or `check`; undefined: nothing. A new stretch begins. */
  check(nowMs: number): string | undefined {
    const seconds = (nowMs - this.#sinceMs) / 1000;
    const bytes = this.#bytes;
    this.start(nowMs);
    if (bytes === 0) return 'the body made no progress for body_idle_timeout';
    if (bytes < seconds * this.#rateMin) return 'the body came slower than body_rate_min';
    return undefined;
  }

  /** When to check next. */
  dueInMs(nowMs: number): number {
    return Math.max(0, this.#sinceMs + this.#idleTimeoutMs - nowMs);
  }
}
