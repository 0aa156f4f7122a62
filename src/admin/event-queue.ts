/**
 * Events on their way to one watcher. Never holds more than its limit: what finds no room is counted, and the count
 * stands in the queue where the events would have been.
 */

import { assert } from '../core/errors.ts';
import type { ControlEvent } from './control.ts';

export class EventQueue {
  readonly #lengthMax: number;
  readonly #events: ControlEvent[] = [];
  #missedCount = 0;
  #isEnded = false;
  #wake: (() => void) | null = null;

  constructor(lengthMax: number) {
    assert(lengthMax >= 2, 'an event queue holds an event and what was missed before it');
    this.#lengthMax = lengthMax;
  }

  push(event: ControlEvent): void {
    if (this.#isEnded) return;
    if (event.kind === 'missed') this.#missedCount += event.count;
    else if (this.#hasRoom()) this.#append(event);
    else this.#missedCount++;
    this.#wakeUp();
  }

  /** What is queued is still delivered. */
  end(): void {
    this.#isEnded = true;
    this.#wakeUp();
  }

  /** One reader only. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ControlEvent, void, undefined> {
    for (;;) {
      const event = this.#events.shift() ?? this.#takeMissed();
      if (event !== null) yield event;
      else if (this.#isEnded) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** A reported gap takes a place of its own. */
  #hasRoom(): boolean {
    return this.#events.length + (this.#missedCount > 0 ? 2 : 1) <= this.#lengthMax;
  }

  #append(event: ControlEvent): void {
    const missed = this.#takeMissed();
    if (missed !== null) this.#events.push(missed);
    this.#events.push(event);
  }

  #takeMissed(): ControlEvent | null {
    if (this.#missedCount === 0) return null;
    const count = this.#missedCount;
    this.#missedCount = 0;
    return { kind: 'missed', count };
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
