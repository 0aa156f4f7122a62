/**
 * Whether a body that a client sends makes progress: something of it in each stretch of the idle time, and no less
 * than the minimum rate on the average of that stretch. Never touches a clock.
 */
export class BodyPace {
  readonly #rateMin: number;
  #sinceMs = 0;
  #bytes = 0;

  constructor(rateMin: number) {
    this.#rateMin = rateMin;
  }

  start(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#bytes = 0;
  }

  add(byteCount: number): void {
    this.#bytes += byteCount;
  }

  /** What is wrong with the stretch that ends now; undefined: nothing. The next one begins. */
  check(nowMs: number): string | undefined {
    const seconds = (nowMs - this.#sinceMs) / 1000;
    const bytes = this.#bytes;
    this.start(nowMs);
    if (bytes === 0) return 'the body made no progress for body_idle_timeout';
    if (bytes < seconds * this.#rateMin) return 'the body came slower than body_rate_min';
    return undefined;
  }
}
