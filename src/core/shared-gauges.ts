/**
 * Gauges shared by every worker: how many connections are open, exact, in a SharedArrayBuffer.
 *
 * A gauge is a total plus a share per worker. `tryAcquire` never refuses while a place is free and never
 * goes past the limit, because the total is moved by compare-and-exchange alone.
 *
 * What a dead worker held comes back exactly. Each worker brackets an operation with its own sequence word:
 * odd inside, even outside. Inside, `tryAcquire` raises the total before the share and `release` lowers the
 * share before the total, so at every instant total ≥ Σ shares: a worker that stops anywhere may hide a free
 * place for a moment, but never lets one connection too many in. `reclaim` subtracts the dead worker's
 * shares; if its sequence was odd, one operation was cut in half and the total may be one too high. That
 * surplus is total − Σ shares read while no other operation runs, and it stays the same whatever the others
 * do afterwards, because a whole operation moves both sides alike. So it is measured once, between two equal
 * readings of all the sequence words, and then subtracted; no worker ever waits for it.
 */
import { assert } from './errors.ts';

/** The gauge of the whole process. Slots 1 to `listenerSlotsMax` belong to listeners. */
export const processSlot = 0;
export const listenerSlotsMax = 1_024;
export const workersMax = 256;

const slotCount = listenerSlotsMax + 1;
/** Words in a cache line: totals and sequences of different owners never share one. */
const lineWords = 16;
const headerWords = lineWords;
const rowWords = Math.ceil(slotCount / lineWords) * lineWords;
/** Readings of the sequence words before a surplus is left to the next `reclaim`; an operation lasts under 1 µs. */
const quiescenceTriesMax = 100_000;

export class SharedGauges {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #workers: number;
  readonly #totals: number;
  readonly #shares: number;
  readonly #ownShares: number;
  readonly #ownSequence: number;
  /** The supervisor's note that a surplus could not be measured yet. */
  #surplusPending = false;

  /** Memory for `workers` workers (1–256): about 64 KiB and 4 KiB for each worker. */
  static create(workers: number): SharedGauges {
    assert(Number.isInteger(workers) && workers >= 1 && workers <= workersMax, 'workers out of range');
    const words = headerWords + workers * lineWords + slotCount * lineWords + workers * rowWords;
    const buffer = new SharedArrayBuffer(words * 4);
    new Int32Array(buffer)[0] = workers;
    return new SharedGauges(buffer, 0);
  }

  /**
   * A view for worker number `worker`; each number acquires and releases from one thread only. The
   * supervisor may hold any number: it reads and reclaims, and never acquires.
   */
  constructor(buffer: SharedArrayBuffer, worker: number) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#workers = this.#words[0]!;
    assert(worker >= 0 && worker < this.#workers, 'no such worker');
    this.#totals = headerWords + this.#workers * lineWords;
    this.#shares = this.#totals + slotCount * lineWords;
    this.#ownShares = this.#shares + worker * rowWords;
    this.#ownSequence = headerWords + worker * lineWords;
  }

  /** Takes one place of `slot` unless `max` are taken; 0 is no limit. Lock-free; four atomic operations. */
  tryAcquire(slot: number, max: number): boolean {
    const words = this.#words;
    const total = this.#totals + slot * lineWords;
    const share = this.#ownShares + slot;
    const sequence = this.#ownSequence;
    let seen = words[total]!;
    if (max !== 0 && seen >= max) {
      seen = Atomics.load(words, total);
      if (seen >= max) return false;
    }
    Atomics.add(words, sequence, 1);
    for (;;) {
      const before = Atomics.compareExchange(words, total, seen, seen + 1);
      if (before === seen) break;
      seen = before;
      if (max !== 0 && seen >= max) {
        Atomics.add(words, sequence, 1);
        return false;
      }
    }
    Atomics.add(words, share, 1);
    Atomics.add(words, sequence, 1);
    return true;
  }

  /** Gives back one place that this worker acquired. */
  release(slot: number): void {
    const words = this.#words;
    const share = this.#ownShares + slot;
    assert(words[share]! > 0, 'released a place that was never acquired');
    Atomics.add(words, this.#ownSequence, 1);
    Atomics.sub(words, share, 1);
    Atomics.sub(words, this.#totals + slot * lineWords, 1);
    Atomics.add(words, this.#ownSequence, 1);
  }

  value(slot: number): number {
    return Atomics.load(this.#words, this.#totals + slot * lineWords);
  }

  /** The places of `slot` that worker number `worker` holds. */
  share(slot: number, worker: number): number {
    return Atomics.load(this.#words, this.#shares + worker * rowWords + slot);
  }

  /**
   * Takes back everything a dead worker held. Call it from the supervisor, once the thread has really ended
   * and before its number is given to another. False: another worker stood inside an operation all the
   * while (it is dead too), so a hidden place may remain until the `reclaim` that follows for that worker.
   */
  reclaim(worker: number): boolean {
    const words = this.#words;
    const row = this.#shares + worker * rowWords;
    for (let slot = 0; slot < slotCount; slot++) {
      const held = Atomics.exchange(words, row + slot, 0);
      if (held !== 0) Atomics.sub(words, this.#totals + slot * lineWords, held);
    }
    const sequence = headerWords + worker * lineWords;
    if ((Atomics.load(words, sequence) & 1) === 1) {
      this.#surplusPending = true;
      Atomics.add(words, sequence, 1);
    }
    if (this.#surplusPending) this.#surplusPending = !this.#removeSurplus();
    return !this.#surplusPending;
  }

  #removeSurplus(): boolean {
    for (let slot = 0; slot < slotCount; slot++) {
      const surplus = this.#measureSurplus(slot);
      if (surplus === null) return false;
      if (surplus !== 0) Atomics.sub(this.#words, this.#totals + slot * lineWords, surplus);
    }
    return true;
  }

  /** total − Σ shares at an instant when no worker was inside an operation; null when there was none. */
  #measureSurplus(slot: number): number | null {
    for (let tries = 0; tries < quiescenceTriesMax; tries++) {
      const before = this.#sequenceSum();
      if (before === null) continue;
      let surplus = this.value(slot);
      for (let worker = 0; worker < this.#workers; worker++) surplus -= this.share(slot, worker);
      if (this.#sequenceSum() === before) return surplus;
    }
    return null;
  }

  /**
   * All sequence words in one number, null when one is odd. They only rise, so two equal sums mean that none
   * of them moved (2^32 operations between two readings cannot happen).
   */
  #sequenceSum(): number | null {
    let sum = 0;
    for (let worker = 0; worker < this.#workers; worker++) {
      const sequence = Atomics.load(this.#words, headerWords + worker * lineWords);
      if ((sequence & 1) === 1) return null;
      sum += sequence >>> 0;
    }
    return sum;
  }
}
