/**
 * Counters shared by every worker: what each listener accepted, refused and moved, in a SharedArrayBuffer.
 *
 * Each cell has one writer, its worker, so counting is a plain add without contention; readers sum the
 * workers. Cells are float64: exact to 2^53 (9 PB), so byte counts do not wrap at 4 GiB. An aligned float64
 * is loaded and stored whole on x86-64 and arm64, the two machines Portcullis runs on; a sum may miss what
 * is being counted at that instant, and the next one has it. A dead worker's cells stay: its successor
 * counts on in them, so a sum never falls.
 */
import { assert } from './errors.ts';
import { type Reason, reasons } from './reason.ts';
import { listenerSlotsMax, workersMax } from './shared-gauges.ts';

/** What is counted besides the reasons connections ended with. `bytesIn` came from clients, `bytesOut` went to them. */
const plainCounters = ['accepted', 'bytesIn', 'bytesOut'] as const;
type PlainCounter = (typeof plainCounters)[number];

/** A counter of a listener: a plain one, or how many connections ended with a reason. */
export type Counter = PlainCounter | Reason;

export const counterNames: readonly Counter[] = [...plainCounters, ...(Object.keys(reasons) as Reason[])];

/** The column of each counter, to be looked up once where the name is a constant. */
export const counterColumns = Object.freeze(
  Object.fromEntries(counterNames.map((name, column) => [name, column])),
) as Readonly<Record<Counter, number>>;

const slotCount = listenerSlotsMax + 1;
const lineCells = 8;
/** Cells of one slot, a whole number of cache lines. */
const slotCells = Math.ceil(counterNames.length / lineCells) * lineCells;
const workerCells = slotCount * slotCells;

export class SharedCounters {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Float64Array;
  readonly #workers: number;
  readonly #ownBase: number;
  /** One more row, the supervisor's own: what removed listeners had counted. */
  readonly #foldedBase: number;

  /** Memory for `workers` workers (1–256): about 330 KiB of address space for each, touched as it is used. */
  static create(workers: number): SharedCounters {
    assert(Number.isInteger(workers) && workers >= 1 && workers <= workersMax, 'workers out of range');
    const cells = workers * workerCells + slotCells;
    return new SharedCounters(new SharedArrayBuffer(cells * 8), 0);
  }

  /** A view for worker number `worker`; each number counts from one thread only. The supervisor may hold any. */
  constructor(buffer: SharedArrayBuffer, worker: number) {
    this.buffer = buffer;
    this.#cells = new Float64Array(buffer);
    this.#workers = (this.#cells.length - slotCells) / workerCells;
    assert(worker >= 0 && worker < this.#workers, 'no such worker');
    this.#ownBase = worker * workerCells;
    this.#foldedBase = this.#workers * workerCells;
  }

  /** Adds `amount` to the counter in `column` (of `counterColumns`) of `slot`. */
  add(slot: number, column: number, amount: number): void {
    const cell = this.#ownBase + slot * slotCells + column;
    this.#cells[cell] = this.#cells[cell]! + amount;
  }

  /** Counts one connection that ended with `reason`. */
  countReason(slot: number, reason: Reason): void {
    this.add(slot, counterColumns[reason], 1);
  }

  /** One counter of one slot, over all workers. */
  sum(slot: number, counter: Counter): number {
    const column = counterColumns[counter];
    let sum = 0;
    for (let worker = 0; worker < this.#workers; worker++) {
      sum += this.#cells[worker * workerCells + slot * slotCells + column]!;
    }
    return sum;
  }

  /** One counter over all slots and workers, those of listeners since removed included: it never falls. */
  total(counter: Counter): number {
    let total = this.#cells[this.#foldedBase + counterColumns[counter]]!;
    for (let slot = 0; slot < slotCount; slot++) total += this.sum(slot, counter);
    return total;
  }

  /**
   * Empties a slot for its next listener, keeping what it counted in the totals. For the supervisor, and for
   * a slot that no worker counts in any more.
   */
  fold(slot: number): void {
    for (let worker = 0; worker < this.#workers; worker++) {
      const base = worker * workerCells + slot * slotCells;
      for (let column = 0; column < counterNames.length; column++) {
        const folded = this.#foldedBase + column;
        this.#cells[folded] = this.#cells[folded]! + this.#cells[base + column]!;
        this.#cells[base + column] = 0;
      }
    }
  }
}
