/**
 * Which slot of the shared gauges and counters belongs to which listener. The supervisor's alone.
 *
 * A removed listener's slot is retired at once and given away again only when its gauge has fallen to zero:
 * connections that outlive the listener still release their places there. Retire a slot when every worker
 * has acknowledged the snapshot without the listener; before that one may still count in it.
 */
import { assert } from './errors.ts';
import type { SharedCounters } from './shared-counters.ts';
import { listenerSlotsMax, type SharedGauges } from './shared-gauges.ts';

export class ListenerSlots {
  readonly #gauges: SharedGauges;
  readonly #counters: SharedCounters;
  readonly #taken = new Set<number>();
  readonly #retired = new Set<number>();

  constructor(gauges: SharedGauges, counters: SharedCounters) {
    this.#gauges = gauges;
    this.#counters = counters;
  }

  /** A slot with its gauge and counters at zero, or null when all 1,024 are in use. */
  allocate(): number | null {
    this.#recycle();
    for (let slot = 1; slot <= listenerSlotsMax; slot++) {
      if (this.#taken.has(slot)) continue;
      this.#taken.add(slot);
      return slot;
    }
    return null;
  }

  retire(slot: number): void {
    assert(this.#taken.has(slot), 'retired a slot that is not in use');
    this.#retired.add(slot);
  }

  #recycle(): void {
    for (const slot of this.#retired) {
      if (this.#gauges.value(slot) !== 0) continue;
      this.#counters.fold(slot);
      this.#retired.delete(slot);
      this.#taken.delete(slot);
    }
  }
}
