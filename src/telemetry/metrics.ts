/**
 * Metrics in shared memory: workers count, the supervisor adds up when somebody asks.
 *
 * A label set has the same row in every worker's part, so each cell has one writer and counting is a plain add
 * (see core/shared-counters.ts for why that is exact). Rows are given out by an atomic add and announced in a
 * directory that all read, so no lock is held and a thread that dies anywhere leaves at most one row unused. Two
 * workers that meet a new label set in the same instant may give it two rows; readers add rows of equal labels.
 * When a metric has no rows left, further label sets share row 0, whose labels are all `other`, and are counted.
 * A dead worker's counters stay and its successor counts on in them; its gauges go back to nothing.
 */
import { assert } from '../core/errors.ts';
import { Counter, Histogram, readExemplars, type Exemplar } from './metrics-cells.ts';
import { bytesOf, familyLayouts, textBytesMax, type FamilyLayout } from './metrics-layout.ts';
import { definitionOf, type MetricName } from './metrics-table.ts';

/** The handles of one metric, by label values. */
export interface MetricFamily<Handle> {
  /** Keep the handle where the same labels recur: it costs half of what looking it up does. */
  at(a?: string, b?: string, c?: string): Handle;
}

/** A label set as it stands, over all workers. */
export interface Series {
  readonly labels: readonly string[];
  /** Of a counter or gauge; of a histogram the sum of what was observed. */
  readonly value: number;
  /** Observations by bucket, the unbounded one last; not added up. Empty unless a histogram. */
  readonly counts: readonly number[];
  /** The latest of each bucket; undefined where there is none. */
  readonly exemplars: readonly (Exemplar | undefined)[];
}

/** Of a label value; more is cut. */
const labelCharactersMax = 512;
const separator = '\0';
const textTailWord = 1;

export class SharedMetrics {
  readonly buffer: SharedArrayBuffer;
  readonly #memory: Memory;
  readonly #families: ReadonlyMap<MetricName, Family>;

  /**
   * Memory for `workers` workers (1–256) and the supervisor, whose view this is: 5 MiB and 3 MiB of address space for
   * each, touched as it is used.
   */
  static create(workers: number): SharedMetrics {
    assert(Number.isInteger(workers) && workers >= 1 && workers <= 256, 'workers out of range');
    const buffer = new SharedArrayBuffer(bytesOf(workers + 1));
    new Int32Array(buffer)[0] = workers + 1;
    return new SharedMetrics(buffer, workers);
  }

  /** A view for worker number `worker`; each number counts from one thread only. */
  constructor(buffer: SharedArrayBuffer, worker: number) {
    this.buffer = buffer;
    this.#memory = new Memory(buffer, worker);
    this.#families = new Map(familyLayouts.map((layout) => [layout.name, new Family(this.#memory, layout)]));
  }

  counters(name: MetricName): MetricFamily<Counter> {
    assert(definitionOf(name).type === 'counter', `${name} is no counter`);
    return this.#family(name) as unknown as MetricFamily<Counter>;
  }

  /** A gauge is a counter that also falls, and may be set: its value is the sum over workers. */
  gauges(name: MetricName): MetricFamily<Counter> {
    assert(definitionOf(name).type === 'gauge', `${name} is no gauge`);
    return this.#family(name) as unknown as MetricFamily<Counter>;
  }

  histograms(name: MetricName): MetricFamily<Histogram> {
    assert(definitionOf(name).type === 'histogram', `${name} is no histogram`);
    return this.#family(name) as unknown as MetricFamily<Histogram>;
  }

  /** Every label set that was used, in the order in which they were first. */
  read(name: MetricName): readonly Series[] {
    return this.#family(name).read();
  }

  /** How often label sets of the metric found no room. */
  overflow(name: MetricName): number {
    return this.#family(name).overflow();
  }

  /** Empties the gauges of a dead worker. For the supervisor, before another takes the number. */
  reclaim(worker: number): void {
    for (const family of this.#families.values()) family.reclaim(worker);
  }

  #family(name: MetricName): Family {
    const family = this.#families.get(name);
    assert(family !== undefined, `${name} is not recorded`);
    return family;
  }
}

/** The views of the buffer, and this worker's place in it. */
class Memory {
  readonly words: Int32Array;
  readonly text: Uint8Array;
  readonly cells: Float64Array;
  readonly workers: number;
  readonly worker: number;

  constructor(buffer: SharedArrayBuffer, worker: number) {
    this.words = new Int32Array(buffer);
    this.text = new Uint8Array(buffer);
    this.cells = new Float64Array(buffer);
    this.workers = this.words[0]!;
    this.worker = worker;
    assert(worker >= 0 && worker < this.workers, 'no such worker');
  }

  /** Keeps a text. Answers where, or -1 when there is no room for it. */
  keepText(bytes: Uint8Array): number {
    const offset = Atomics.add(this.words, textTailWord, bytes.length);
    if (offset + bytes.length > textBytesMax) {
      Atomics.sub(this.words, textTailWord, bytes.length);
      return -1;
    }
    return offset;
  }
}

class Family implements MetricFamily<Counter | Histogram> {
  readonly #memory: Memory;
  readonly #layout: FamilyLayout;
  readonly #handles = new Map<string, Counter | Histogram>();
  readonly #other: Counter | Histogram;
  /** Directory rows up to this one have been read. */
  #rowsRead = 1;

  constructor(memory: Memory, layout: FamilyLayout) {
    this.#memory = memory;
    this.#layout = layout;
    this.#other = this.#handle(0);
  }

  at(a = '', b = '', c = ''): Counter | Histogram {
    const { labelCount } = this.#layout;
    if (labelCount === 0) return this.#other;
    const key =
      labelCount === 1 ? a : labelCount === 2 ? a + separator + b : a + separator + b + separator + c;
    return this.#handles.get(key) ?? this.#intern([a, b, c]);
  }

  read(): Series[] {
    const { labelCount, rows } = this.#layout;
    const other = this.#sum([], [0]);
    if (labelCount === 0) return [other];
    const byText = new Map<string, number[]>();
    const count = Math.min(this.#rowCount(), rows - 1);
    for (let row = 1; row <= count; row++) {
      const text = this.#textOf(row);
      if (text === undefined) continue;
      const found = byText.get(text);
      if (found === undefined) byText.set(text, [row]);
      else found.push(row);
    }
    const series = Array.from(byText, ([text, found]) => this.#sum(text.split(separator), found));
    if (this.overflow() > 0)
      series.push({ ...other, labels: Array.from({ length: labelCount }, () => 'other') });
    return series;
  }

  overflow(): number {
    const { cells, workers } = this.#memory;
    let sum = 0;
    for (let worker = 0; worker < workers; worker++) sum += cells[this.#layout.overflowCell(worker)]!;
    return sum;
  }

  reclaim(worker: number): void {
    const { type, rows } = this.#layout;
    if (type !== 'gauge') return;
    const base = this.#layout.cell(worker, 0);
    this.#memory.cells.fill(0, base, base + rows);
  }

  /** The row of a label set that this thread has not met yet. */
  #intern(values: readonly string[]): Counter | Histogram {
    const labels = values.slice(0, this.#layout.labelCount).map(cleanLabel);
    const text = labels.join(separator);
    this.#readDirectory();
    const known = this.#handles.get(text) ?? this.#announce(text);
    if (known !== undefined) return known;
    const { cells, worker } = this.#memory;
    const cell = this.#layout.overflowCell(worker);
    cells[cell] = cells[cell]! + 1;
    return this.#other;
  }

  #announce(text: string): Counter | Histogram | undefined {
    const { words } = this.#memory;
    const { countWord, rows } = this.#layout;
    if (Atomics.load(words, countWord) >= rows - 1) return undefined;
    const bytes = encoder.encode(text);
    const offset = this.#memory.keepText(bytes);
    if (offset < 0) return undefined;
    // The count may pass the rows there are when several arrive together; readers cut it.
    const row = Atomics.add(words, countWord, 1) + 1;
    if (row >= rows) return undefined;
    this.#memory.text.set(bytes, this.#layout.textStart + offset);
    const entry = this.#layout.directoryWord(row);
    words[entry] = offset;
    Atomics.store(words, entry + 1, bytes.length + 1);
    return this.#remember(text, row);
  }

  /** Takes what other threads have announced meanwhile. */
  #readDirectory(): void {
    const count = Math.min(this.#rowCount(), this.#layout.rows - 1);
    let isWhole = true;
    for (let row = this.#rowsRead; row <= count; row++) {
      const text = this.#textOf(row);
      if (text !== undefined && !this.#handles.has(text)) this.#remember(text, row);
      // A row that is being announced at this instant is looked at again next time.
      isWhole &&= text !== undefined;
      if (isWhole) this.#rowsRead = row + 1;
    }
  }

  #remember(text: string, row: number): Counter | Histogram {
    const handle = this.#handle(row);
    this.#handles.set(text, handle);
    return handle;
  }

  #handle(row: number): Counter | Histogram {
    const { cells, words, worker } = this.#memory;
    const cell = this.#layout.cell(worker, row);
    const { type, bounds } = this.#layout;
    return type === 'histogram' ? new Histogram(cells, words, cell, bounds) : new Counter(cells, cell);
  }

  #rowCount(): number {
    return Atomics.load(this.#memory.words, this.#layout.countWord);
  }

  /** Undefined: announced by nobody yet. */
  #textOf(row: number): string | undefined {
    const { words, text } = this.#memory;
    const entry = this.#layout.directoryWord(row);
    const length = Atomics.load(words, entry + 1) - 1;
    if (length < 0) return undefined;
    const start = this.#layout.textStart + words[entry]!;
    return decoder.decode(text.slice(start, start + length));
  }

  #sum(labels: readonly string[], rows: readonly number[]): Series {
    const { cells, words, workers } = this.#memory;
    const { type, bounds } = this.#layout;
    const bucketCount = type === 'histogram' ? bounds.length + 1 : 0;
    const counts = Array.from({ length: bucketCount }, () => 0);
    const exemplars = Array.from<Exemplar | undefined>({ length: bucketCount });
    let value = 0;
    for (const row of rows) {
      for (let worker = 0; worker < workers; worker++) {
        const cell = this.#layout.cell(worker, row);
        value += cells[cell + bucketCount]!;
        for (let bucket = 0; bucket < bucketCount; bucket++) counts[bucket]! += cells[cell + bucket]!;
        if (bucketCount > 0) readExemplars(cells, words, cell, bucketCount, exemplars);
      }
    }
    return { labels, value, counts, exemplars };
  }
}

/** Label values separate by a NUL and take bounded room. Half a pair of surrogates is no text. */
function cleanLabel(value: string): string {
  return value.slice(0, labelCharactersMax).replaceAll(separator, '�').toWellFormed();
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
