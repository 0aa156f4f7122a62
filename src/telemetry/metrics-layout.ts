/**
 * Where each metric stands in the shared memory. Computed from the table once, the same in every thread.
 *
 *   header:     workers, text tail, then a row count for each metric
 *   directory:  for each row of each metric that has labels: where its text stands, its length + 1 (0: not yet)
 *   text:       label values, UTF-8, separated by NUL
 *   cells:      for each worker: an overflow count for each metric, then the metrics' rows, in whole cache lines
 */
import { cellsOf } from './metrics-cells.ts';
import { definitionOf, metricNames, type MetricName, type MetricType } from './metrics-table.ts';

/** Label values of all metrics together; 8,192 sets of 128 bytes and more. */
export const textBytesMax = 4 * 1024 * 1024;

const lineCells = 8;
const headerWordsBefore = 2;

export class FamilyLayout {
  readonly name: MetricName;
  readonly type: MetricType;
  readonly labelCount: number;
  readonly bounds: readonly number[];
  /** Row 0 included: the metric itself where it has no labels, otherwise what found no room. */
  readonly rows: number;
  readonly index: number;
  readonly countWord: number;
  readonly #directory: number;
  readonly #cellsBefore: number;
  readonly #rowCells: number;

  constructor(name: MetricName, index: number, directory: number, cellsBefore: number) {
    const { type, labels, buckets, seriesMax } = definitionOf(name);
    this.name = name;
    this.type = type;
    this.labelCount = labels.length;
    this.bounds = buckets ?? [];
    this.rows = labels.length === 0 ? 1 : seriesMax + 1;
    this.index = index;
    this.countWord = headerWordsBefore + index;
    this.#directory = directory;
    this.#cellsBefore = cellsBefore;
    this.#rowCells = cellsOf(type, this.bounds.length);
  }

  get cells(): number {
    return this.rows * this.#rowCells;
  }

  get textStart(): number {
    return textStart;
  }

  directoryWord(row: number): number {
    return this.#directory + row * 2;
  }

  cell(worker: number, row: number): number {
    return cellsStart + worker * workerCells + this.#cellsBefore + row * this.#rowCells;
  }

  overflowCell(worker: number): number {
    return cellsStart + worker * workerCells + this.index;
  }
}

const recorded = metricNames.filter((name) => definitionOf(name).source === 'recorded');

function layOut(): FamilyLayout[] {
  const layouts: FamilyLayout[] = [];
  let directory = roundUp(headerWordsBefore + recorded.length, lineCells * 2);
  let cells = roundUp(recorded.length, lineCells);
  for (const [index, name] of recorded.entries()) {
    const layout = new FamilyLayout(name, index, directory, cells);
    layouts.push(layout);
    directory += layout.labelCount === 0 ? 0 : layout.rows * 2;
    cells += layout.cells;
  }
  return layouts;
}

/** Those that workers record. */
export const familyLayouts: readonly FamilyLayout[] = layOut();

const last = familyLayouts.at(-1)!;
const directoryEnd = last.directoryWord(last.rows);
const textStart = roundUp(directoryEnd, lineCells * 2) * 4;
const cellsStart = (textStart + textBytesMax) / 8;
const workerCells = roundUp(
  familyLayouts.reduce((sum, { cells }) => sum + cells, roundUp(recorded.length, lineCells)),
  lineCells,
);

export function bytesOf(workers: number): number {
  return (cellsStart + workers * workerCells) * 8;
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
