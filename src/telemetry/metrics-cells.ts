/**
 * What a worker holds to count with: a counter is one cell, a histogram a row of them. Nothing here allocates.
 *
 * Cells of a histogram: a count for each bucket, the unbounded one last; the sum; then for each bucket an exemplar.
 * An exemplar is 64 bytes with one writer: a sequence word, odd while it is being written, so that a reader who sees
 * the same even word before and after has read one whole exemplar.
 */

/** A request that fell into a bucket, for somebody who asks what such a request looks like. */
export interface Exemplar {
  /** The request's id, at most 40 characters. */
  readonly id: string;
  readonly value: number;
  /** On the clock that all threads share: see `Network.nowMs`. */
  readonly atMs: number;
}

export const exemplarCells = 8;
const idBytesMax = 40;
/** An exemplar is written at most this often for each bucket: a newer one would tell nobody more. */
const exemplarIntervalMs = 1_000;

export class Counter {
  readonly #cells: Float64Array;
  readonly #cell: number;

  constructor(cells: Float64Array, cell: number) {
    this.#cells = cells;
    this.#cell = cell;
  }

  add(amount: number): void {
    this.#cells[this.#cell] = this.#cells[this.#cell]! + amount;
  }

  /** Of a gauge: this worker's part of it. */
  set(value: number): void {
    this.#cells[this.#cell] = value;
  }
}

export class Histogram {
  readonly #cells: Float64Array;
  readonly #words: Int32Array;
  readonly #cell: number;
  readonly #bounds: readonly number[];

  constructor(cells: Float64Array, words: Int32Array, cell: number, bounds: readonly number[]) {
    this.#cells = cells;
    this.#words = words;
    this.#cell = cell;
    this.#bounds = bounds;
  }

  observe(value: number): void {
    this.#count(value);
  }

  /** Keeps `id` as the exemplar of its bucket when the one there is old. */
  observeFor(id: string, value: number, nowMs: number): void {
    const bucket = this.#count(value);
    const exemplar = this.#cell + this.#bounds.length + 2 + bucket * exemplarCells;
    if (nowMs - this.#cells[exemplar + 2]! >= exemplarIntervalMs)
      this.#keepExemplar(exemplar, id, value, nowMs);
  }

  #count(value: number): number {
    const bounds = this.#bounds;
    const cells = this.#cells;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    const cell = this.#cell + bucket;
    cells[cell] = cells[cell]! + 1;
    const sum = this.#cell + bounds.length + 1;
    cells[sum] = cells[sum]! + value;
    return bucket;
  }

  #keepExemplar(exemplar: number, id: string, value: number, nowMs: number): void {
    const words = this.#words;
    const start = exemplar * 2;
    const length = Math.min(id.length, idBytesMax);
    // A predecessor may have died while it wrote: the word is odd from here on either way.
    const open = words[start]! | 1;
    Atomics.exchange(words, start, open);
    words[start + 1] = length;
    this.#cells[exemplar + 1] = value;
    this.#cells[exemplar + 2] = nowMs;
    for (let at = 0; at < length; at += 4) {
      words[start + 6 + (at >> 2)] =
        byteAt(id, at) | (byteAt(id, at + 1) << 8) | (byteAt(id, at + 2) << 16) | (byteAt(id, at + 3) << 24);
    }
    Atomics.exchange(words, start, open + 1);
  }
}

/** Puts the latest exemplar of each bucket, of one worker's row, into `latest`. */
export function readExemplars(
  cells: Float64Array,
  words: Int32Array,
  cell: number,
  bucketCount: number,
  latest: (Exemplar | undefined)[],
): void {
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    const exemplar = readExemplar(cells, words, cell + bucketCount + 1 + bucket * exemplarCells);
    if (exemplar !== undefined && exemplar.atMs > (latest[bucket]?.atMs ?? -Infinity))
      latest[bucket] = exemplar;
  }
}

/** Undefined: none was kept, or it is being written at this instant. */
function readExemplar(cells: Float64Array, words: Int32Array, exemplar: number): Exemplar | undefined {
  const start = exemplar * 2;
  const before = Atomics.load(words, start);
  if (before === 0 || (before & 1) === 1) return undefined;
  const length = Math.min(words[start + 1]!, idBytesMax);
  const value = cells[exemplar + 1]!;
  const atMs = cells[exemplar + 2]!;
  let id = '';
  for (let at = 0; at < length; at++) {
    id += String.fromCharCode((words[start + 6 + (at >> 2)]! >>> ((at & 3) * 8)) & 0xff);
  }
  return Atomics.load(words, start) === before ? { id, value, atMs } : undefined;
}

/** Ids are ASCII; whatever else a client's id may hold is no reason to fail. */
function byteAt(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code >= 0x21 && code <= 0x7e ? code : 0x3f;
}

/** Of a row. */
export function cellsOf(type: 'counter' | 'gauge' | 'histogram', bucketBounds: number): number {
  return type === 'histogram' ? (bucketBounds + 1) * (1 + exemplarCells) + 1 : 1;
}
