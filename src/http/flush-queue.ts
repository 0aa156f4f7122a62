/**
 * Output is written once per turn of the event loop: sessions gather what their streams send, and this queue calls
 * each of them back when the turn's reads are done.
 *
 * When that is stands here and nowhere else: `setImmediate`, which runs after every socket that was ready has been
 * read. A microtask would run after each single read, and an HTTP/2 connection whose answers come from sixteen
 * backends would write sixteen times.
 */

/** A session with something to write, or something to go on with outside of its owner's call. */
export interface Flushable {
  /** Called once for each time it was added, from the event loop. Must not throw: faults are the session's own. */
  flush(): void;
}

/** One per worker. */
export class FlushQueue {
  #waiting: Flushable[] = [];
  #spare: Flushable[] = [];
  readonly #run = (): void => this.run();

  /** Has `flushable` called in this turn. Callers add themselves once until they are called. */
  add(flushable: Flushable): void {
    if (this.#waiting.push(flushable) === 1) setImmediate(this.#run);
  }

  /** Calls everybody who waits now; who is added meanwhile is called in the next turn. For tests and for the end. */
  run(): void {
    const ready = this.#waiting;
    if (ready.length === 0) return;
    this.#waiting = this.#spare;
    for (let at = 0; at < ready.length; at++) ready[at]!.flush();
    ready.length = 0;
    this.#spare = ready;
  }

  /** True while somebody waits. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }
}
