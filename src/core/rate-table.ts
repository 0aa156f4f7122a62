/**
 * How many connections each source opened lately, shared by every worker in a SharedArrayBuffer.
 *
 * A source is an IPv4 address or an IPv6 /64. With N = `connections` and W = `windowMs`:
 *
 * - Never are more than N connections of a remembered source admitted within any W, whichever workers they
 *   came to.
 * - N ≤ 128: exact. A connection is refused only if N others were admitted within the W before it. A ring
 *   keeps the time of each of the last N.
 * - N > 128: each of at most 128 ring slots stands for q = ⌈N/128⌉ connections and carries the time of its
 *   latest. Only the oldest slot can straddle the window's edge, so a connection is refused only if at least
 *   N − q + 1 were admitted within the W before it.
 * - Refused connections spend nothing, but keep the source from being forgotten.
 * - Memory is fixed: 65,536 sources or 32 MiB, whichever is less (26.5 MiB for N = 100; 62,500 sources
 *   for N = 128). A new source takes the place of the longest idle of the eight in its set. If that one was
 *   still within its window its quota starts afresh when it comes back, and `evictions` counts it.
 *
 * The memory is sets of eight sources. A worker works on a set under the set's lock, which names its owner.
 * Nobody waits long for it: after about 20 ms the connection is refused and the lock marked, so that whoever
 * comes next is refused at once; a living owner's unlock clears the mark, for a dead one the supervisor calls
 * `releaseLocksOf`. Refusing (rather than stealing the lock) keeps the first guarantee even then,
 * and touches only the sources of that one set until the supervisor has seen the thread end. Updates are
 * written in such an order that one cut in half is the loss of a connection that was never admitted.
 *
 * A table has one N and W for life. To change them the supervisor creates another and publishes it in the
 * snapshot; every source then starts with an unspent quota.
 *
 * `nowMs` comes from one monotonic clock that all workers share, and may pass 2^32: stamps keep its low 32
 * bits, and before an age could become ambiguous the first look at a source in a new era of 2^30 ms (12
 * days) replaces the stamps outside the window. The rule asks for windows of at most 2^30 ms.
 */
import { assert } from './errors.ts';
import type { IpAddress } from './ip.ts';
import { keyedHash } from './keyed-hash.ts';
import { workersMax } from './shared-gauges.ts';

export const rateConnectionsMax = 1_000_000_000;
export const rateWindowMsMax = 2 ** 30;
export const rateSourcesMax = 65_536;
export const rateTableBytesMax = 32 * 1024 * 1024;

export interface RateTableOptions {
  /** N, 1 to `rateConnectionsMax`. */
  readonly connections: number;
  /** W, 1 to `rateWindowMsMax`. */
  readonly windowMs: number;
  readonly workers: number;
  /** Two random 32-bit words, so that strangers cannot aim at a set. */
  readonly seed: readonly [number, number];
}

/** Where things stand in the memory, in 32-bit words. */
export interface RateTableLayout {
  /** q: connections each ring slot stands for. */
  readonly slotConnections: number;
  /** Ring slots of a source, 1–128. */
  readonly ringSlots: number;
  readonly sets: number;
  /** The first set's first word, its lock. */
  readonly setsStart: number;
  readonly setWords: number;
  readonly bytes: number;
}

const ringSlotsMax = 128;
const waysPerSet = 8;
const lineWords = 16;

/** Words of the table's header: what every worker's view must agree on. */
const connectionsWord = 0;
const windowWord = 1;
const workersWord = 2;
const seedWord = 3;

/** A worker's own cells, float64, in a cache line of its own. */
const evictionsCell = 0;
const lockTimeoutsCell = 1;

/**
 * Words of a set: the lock and the states in one cache line, the keys in the next, the times in a third (as
 * float64), then eight rings. A look-up of one of many sources waits for memory, so lines are what it costs.
 */
const stateRow = 8;
const keyHighRow = lineWords;
const keyLowRow = keyHighRow + waysPerSet;
const seenRow = 2 * lineWords;
const ringsStart = 3 * lineWords;

/**
 * The state of a source: the current ring slot's position in 7 bits, 1 bit that is set for IPv6, and how many
 * connections that slot stands for. 0 marks a free place, since a slot stands for one at least.
 */
const positionMask = 0x7f;
const familyBit = 0x80;
const filledShift = 8;
const oneFilled = 1 << filledShift;

const eraMs = 2 ** 30;

const lockOwnerMask = 0xffff;
const lockOverdue = 0x10000;
const lockSpinsMax = 200;
/** Sleeps of 1 ms: an owner whose thread lost its core is back sooner. */
const lockSleepsMax = 20;

export function rateTableLayout(connections: number, workers: number): RateTableLayout {
  const slotConnections = Math.ceil(connections / ringSlotsMax);
  const ringSlots = Math.ceil(connections / slotConnections);
  const setWords = Math.ceil((ringsStart + waysPerSet * ringSlots) / lineWords) * lineWords;
  const setsStart = (1 + workers) * lineWords;
  const setsThatFit = Math.floor((rateTableBytesMax / 4 - setsStart) / setWords);
  const sets = Math.min(rateSourcesMax / waysPerSet, setsThatFit);
  return { slotConnections, ringSlots, sets, setsStart, setWords, bytes: (setsStart + sets * setWords) * 4 };
}

export class RateTable {
  readonly buffer: SharedArrayBuffer;
  readonly connections: number;
  readonly windowMs: number;
  readonly #words: Int32Array;
  readonly #cells: Float64Array;
  readonly #workers: number;
  readonly #ownCells: number;
  readonly #lockMark: number;
  readonly #key0: number;
  readonly #key1: number;
  readonly #sets: number;
  readonly #setsStart: number;
  readonly #setWords: number;
  readonly #ringSlots: number;
  readonly #slotConnections: number;
  /** What the current slot may hold while all other slots are within the window: N − (slots − 1) · q. */
  readonly #lastSlotConnections: number;

  static create(options: RateTableOptions): RateTable {
    const { connections, windowMs, workers, seed } = options;
    assert(
      Number.isInteger(connections) && connections >= 1 && connections <= rateConnectionsMax,
      'rate limit out of range',
    );
    assert(
      Number.isInteger(windowMs) && windowMs >= 1 && windowMs <= rateWindowMsMax,
      'rate window out of range',
    );
    assert(Number.isInteger(workers) && workers >= 1 && workers <= workersMax, 'workers out of range');
    const buffer = new SharedArrayBuffer(rateTableLayout(connections, workers).bytes);
    const words = new Int32Array(buffer);
    words[connectionsWord] = connections;
    words[windowWord] = windowMs;
    words[workersWord] = workers;
    words[seedWord] = seed[0];
    words[seedWord + 1] = seed[1];
    return new RateTable(buffer, 0);
  }

  /** A view for worker number `worker`; each number admits from one thread only. The supervisor may hold any. */
  constructor(buffer: SharedArrayBuffer, worker: number) {
    const words = new Int32Array(buffer);
    this.buffer = buffer;
    this.connections = words[connectionsWord]!;
    this.windowMs = words[windowWord]!;
    this.#words = words;
    this.#cells = new Float64Array(buffer);
    this.#workers = words[workersWord]!;
    assert(worker >= 0 && worker < this.#workers, 'no such worker');
    this.#ownCells = cellsOf(worker);
    this.#lockMark = worker + 1;
    this.#key0 = words[seedWord]!;
    this.#key1 = words[seedWord + 1]!;
    const layout = rateTableLayout(this.connections, this.#workers);
    this.#sets = layout.sets;
    this.#setsStart = layout.setsStart;
    this.#setWords = layout.setWords;
    this.#ringSlots = layout.ringSlots;
    this.#slotConnections = layout.slotConnections;
    this.#lastSlotConnections = this.connections - (layout.ringSlots - 1) * layout.slotConnections;
  }

  /** Whether `ip` may open one more connection now; a true answer is spent. Constant time. */
  tryAdmit(ip: IpAddress, nowMs: number): boolean {
    const isV4 = ip.family === 4;
    const family = isV4 ? 0 : familyBit;
    const high = isV4 ? 0 : ip.w0;
    const low = isV4 ? ip.w3 : ip.w1;
    const hash = keyedHash(this.#key0, this.#key1, high, low, family);
    const set = this.#setsStart + ((hash >>> 0) % this.#sets) * this.#setWords;
    if (Atomics.compareExchange(this.#words, set, 0, this.#lockMark) !== 0 && !this.#awaitLock(set)) {
      this.#cells[this.#ownCells + lockTimeoutsCell]! += 1;
      return false;
    }
    const way = this.#find(set, high, low, family);
    const admitted =
      way < 0 ? this.#admitStranger(set, high, low, family, nowMs) : this.#admit(set, way, nowMs);
    Atomics.store(this.#words, set, 0);
    return admitted;
  }

  /** Sources forgotten within their window because their set was full, over all workers. Never falls. */
  evictions(): number {
    return this.#sumCells(evictionsCell);
  }

  /** Connections refused because a set's lock was not to be had, over all workers. Never falls. */
  lockTimeouts(): number {
    return this.#sumCells(lockTimeoutsCell);
  }

  /** Frees what a dead worker had locked: once its thread has ended, before its number is given to another. */
  releaseLocksOf(worker: number): void {
    for (let set = 0; set < this.#sets; set++) {
      const lock = this.#setsStart + set * this.#setWords;
      let seen = Atomics.load(this.#words, lock);
      // A waiting worker may mark the lock overdue in between, once.
      while ((seen & lockOwnerMask) === worker + 1) {
        const before = Atomics.compareExchange(this.#words, lock, seen, 0);
        if (before === seen) break;
        seen = before;
      }
    }
  }

  #find(set: number, high: number, low: number, family: number): number {
    const words = this.#words;
    for (let way = 0; way < waysPerSet; way++) {
      if (words[set + keyLowRow + way] !== low || words[set + keyHighRow + way] !== high) continue;
      const state = words[set + stateRow + way]!;
      if (state !== 0 && (state & familyBit) === family) return way;
    }
    return -1;
  }

  #admit(set: number, way: number, nowMs: number): boolean {
    const words = this.#words;
    const seen = (set + seenRow) / 2 + way;
    const seenMs = this.#cells[seen]!;
    // Workers read the clock before they have the lock, so one may come with a slightly earlier time.
    const atMs = nowMs > seenMs ? nowMs : seenMs;
    const at = atMs | 0;
    const ring = set + ringsStart + way * this.#ringSlots;
    if (Math.floor(atMs / eraMs) !== Math.floor(seenMs / eraMs)) this.#sweep(ring, at, atMs - seenMs);
    this.#cells[seen] = atMs;

    const state = words[set + stateRow + way]!;
    const position = state & positionMask;
    const filled = state >> filledShift;
    const next = position + 1 === this.#ringSlots ? 0 : position + 1;
    const nextExpired = (at - words[ring + next]!) >>> 0 >= this.windowMs;
    if (!nextExpired && (filled === this.#slotConnections || filled >= this.#lastSlotConnections))
      return false;
    // The state before the stamp: cut in between, the ring has counted nobody new within the window.
    if (filled === this.#slotConnections) {
      words[set + stateRow + way] = oneFilled | (state & familyBit) | next;
      words[ring + next] = at;
    } else {
      words[set + stateRow + way] = state + oneFilled;
      words[ring + position] = at;
    }
    return true;
  }

  /** The first connection of a source always passes. The state last: cut before it, the place is free. */
  #admitStranger(set: number, high: number, low: number, family: number, nowMs: number): true {
    const words = this.#words;
    const way = this.#vacate(set, nowMs);
    const ring = set + ringsStart + way * this.#ringSlots;
    words.fill((nowMs | 0) - this.windowMs, ring, ring + this.#ringSlots);
    words[ring] = nowMs | 0;
    words[set + keyHighRow + way] = high;
    words[set + keyLowRow + way] = low;
    this.#cells[(set + seenRow) / 2 + way] = nowMs;
    words[set + stateRow + way] = oneFilled | family;
    return true;
  }

  /** A free place of the set, if need be by forgetting the source that has been idle longest. */
  #vacate(set: number, nowMs: number): number {
    const words = this.#words;
    let oldest = 0;
    let oldestMs = Infinity;
    for (let way = 0; way < waysPerSet; way++) {
      if (words[set + stateRow + way] === 0) return way;
      const seenMs = this.#cells[(set + seenRow) / 2 + way]!;
      if (seenMs < oldestMs) {
        oldest = way;
        oldestMs = seenMs;
      }
    }
    if (nowMs - oldestMs < this.windowMs) this.#cells[this.#ownCells + evictionsCell]! += 1;
    words[set + stateRow + oldest] = 0;
    return oldest;
  }

  /** Replaces the stamps outside the window by the latest time that is outside it. */
  #sweep(ring: number, at: number, idleMs: number): void {
    const words = this.#words;
    const expired = at - this.windowMs;
    if (idleMs >= eraMs) {
      words.fill(expired, ring, ring + this.#ringSlots);
      return;
    }
    for (let slot = ring; slot < ring + this.#ringSlots; slot++) {
      if ((at - words[slot]!) >>> 0 >= this.windowMs) words[slot] = expired;
    }
  }

  #awaitLock(lock: number): boolean {
    const words = this.#words;
    for (let spin = 0; spin < lockSpinsMax; spin++) {
      if (Atomics.compareExchange(words, lock, 0, this.#lockMark) === 0) return true;
    }
    for (let sleep = 0; sleep < lockSleepsMax; sleep++) {
      const seen = Atomics.load(words, lock);
      if ((seen & lockOverdue) !== 0) return false;
      // Nobody notifies, since that would cost every unlock; the wait is a sleep of 1 ms at most.
      if (seen !== 0) Atomics.wait(words, lock, seen, 1);
      if (Atomics.compareExchange(words, lock, 0, this.#lockMark) === 0) return true;
    }
    const seen = Atomics.load(words, lock);
    if (seen !== 0) Atomics.compareExchange(words, lock, seen, seen | lockOverdue);
    return false;
  }

  #sumCells(cell: number): number {
    let sum = 0;
    for (let worker = 0; worker < this.#workers; worker++) sum += this.#cells[cellsOf(worker) + cell]!;
    return sum;
  }
}

/** The header takes the first cache line, each worker's cells one more. */
function cellsOf(worker: number): number {
  return ((1 + worker) * lineWords) / 2;
}
