// Turns the rounds' numbers into medians, the two tables, and the JSON file that keeps them.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Figure, Metric, Sample } from './figure.ts';
import type { MachineFacts } from './machine.ts';
import { EGRESS_PEERS } from './egress-peers.ts';
import { HTTP_PEERS } from './http-peers.ts';
import { PEERS, type Peer } from './peers.ts';

export const DIRECT = 'direct';

/** Those that `the better peer` is chosen from. */
const COMPARED: readonly Peer[] = [...PEERS, ...EGRESS_PEERS];
const ALL_PEERS: readonly Peer[] = [...PEERS, ...HTTP_PEERS, ...EGRESS_PEERS];
const REFERENCES = ALL_PEERS.filter((peer) => peer.variant === 'reference');

/** Every round's number, by metric key, then by column (a peer's label, or `direct`). */
export type Rounds = Map<string, Map<string, number[]>>;

export interface RatioRow {
  metric: string;
  unit: string;
  against: string;
  ratio: number;
  target: string;
  verdict: 'PASS' | 'MISS' | '';
}

export function addSample(rounds: Rounds, column: string, sample: Sample): void {
  for (const [key, value] of Object.entries(sample)) {
    const columns = rounds.get(key) ?? new Map<string, number[]>();
    const values = columns.get(column) ?? [];
    values.push(value);
    columns.set(column, values);
    rounds.set(key, columns);
  }
}

/** What each proxy adds to the direct run of the same round. */
export function addDifferences(figures: readonly Figure[], rounds: Rounds): void {
  for (const { key, addedTo } of allMetrics(figures)) {
    const measured = addedTo === undefined ? undefined : rounds.get(addedTo);
    const direct = measured?.get(DIRECT);
    if (measured === undefined || direct === undefined) continue;
    for (const [column, values] of measured) {
      if (column === DIRECT) continue;
      const added = values.map((value, round) => value - (direct[round] ?? median(direct)));
      rounds.set(key, (rounds.get(key) ?? new Map()).set(column, added));
    }
  }
}

export function medianOf(rounds: Rounds, key: string, column: string): number | undefined {
  const values = rounds.get(key)?.get(column);
  return values === undefined || values.length === 0 ? undefined : median(values);
}

/** The absolute figures: one row per metric, one column per proxy, and the load straight to the backend. */
export function absoluteTable(figures: readonly Figure[], rounds: Rounds): string {
  const labels = new Set(ALL_PEERS.map((peer) => peer.label));
  const columns = [...labels, DIRECT].filter((column) =>
    allMetrics(figures).some(({ key }) => rounds.get(key)?.has(column) === true),
  );
  const rows = allMetrics(figures)
    .filter((metric) => rounds.has(metric.key))
    .map((metric) => [
      `${metric.label}, ${metric.unit}`,
      ...columns.map((column) => formatNumber(medianOf(rounds, metric.key, column))),
    ]);
  return table(['median of the rounds', ...columns], rows);
}

/**
 * Portcullis ÷ the better peer of each variant, and Portcullis's own numbers that have a bound. A run that is not
 * `judged` shows the targets without a verdict.
 */
export function ratioRows(figures: readonly Figure[], rounds: Rounds, judged: boolean): RatioRow[] {
  const rows = measuredRows(figures, rounds);
  return judged ? rows : rows.map((row) => ({ ...row, verdict: '' }));
}

function measuredRows(figures: readonly Figure[], rounds: Rounds): RatioRow[] {
  return allMetrics(figures).flatMap((metric) => {
    const own = medianOf(rounds, metric.key, 'portcullis');
    if (own === undefined || metric.better === 'neither') return [];
    const ratios = [
      ...(['default', 'tuned'] as const).flatMap((variant) => {
        const candidates = COMPARED.filter((peer) => peer.name !== 'portcullis' && peer.variant === variant);
        return ratioRow(metric, own, candidates, metric.ratioTargets?.[variant], rounds) ?? [];
      }),
      ...REFERENCES.flatMap((peer) => {
        return ratioRow(metric, own, [peer], metric.ratioTargets?.references?.[peer.label], rounds) ?? [];
      }),
    ];
    return metric.absoluteTarget === undefined ? ratios : [absoluteRow(metric, own), ...ratios];
  });
}

export function ratioTable(rows: readonly RatioRow[]): string {
  return table(
    ['portcullis ÷ better peer', 'against', 'ratio', 'target', ''],
    rows.map((row) => [
      `${row.metric}, ${row.unit}`,
      row.against,
      row.ratio.toFixed(2),
      row.target,
      row.verdict,
    ]),
  );
}

/** How much more the generator does without a proxy than with the fastest one. Under 1 it set the rate itself. */
export function headroomTable(figures: readonly Figure[], rounds: Rounds): string {
  const rows = allMetrics(figures)
    .filter((metric) => metric.isRate === true)
    .flatMap((metric) => {
      const direct = medianOf(rounds, metric.key, DIRECT);
      const proxied = [...new Set(ALL_PEERS.map((peer) => peer.label))]
        .map((label) => medianOf(rounds, metric.key, label))
        .filter((v) => v !== undefined);
      if (direct === undefined || proxied.length === 0) return [];
      const fastest = Math.max(...proxied);
      const headroom = `${(direct / fastest).toFixed(2)} ×`;
      return [[`${metric.label}, ${metric.unit}`, formatNumber(direct), formatNumber(fastest), headroom]];
    });
  return table(['generator', 'direct', 'fastest proxy', 'headroom'], rows);
}

export function writeResults(
  file: string,
  facts: MachineFacts,
  rounds: Rounds,
  ratios: readonly RatioRow[],
): void {
  const figures = Object.fromEntries(
    [...rounds].map(([key, columns]) => [
      key,
      Object.fromEntries(
        [...columns].map(([column, values]) => [column, { median: median(values), values }]),
      ),
    ]),
  );
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ machine: facts, figures, ratios }, null, 2)}\n`);
}

function ratioRow(
  metric: Metric,
  own: number,
  candidates: readonly Peer[],
  bound: number | undefined,
  rounds: Rounds,
): RatioRow | undefined {
  const measured = candidates.flatMap((peer) => {
    const value = medianOf(rounds, metric.key, peer.label);
    return value === undefined ? [] : [{ peer, value }];
  });
  if (measured.length === 0) return undefined;
  const best = measured.reduce((a, b) => (isBetter(metric, b.value, a.value) ? b : a));
  return {
    metric: metric.label,
    unit: metric.unit,
    against: describePeer(best.peer),
    ratio: own / best.value,
    ...verdict(metric, own / best.value, bound),
  };
}

function absoluteRow(metric: Metric, own: number): RatioRow {
  const bound = metric.absoluteTarget!;
  return {
    metric: metric.label,
    unit: metric.unit,
    against: `${formatNumber(own)} of ${formatNumber(bound)}`,
    ratio: own / bound,
    ...verdict(metric, own / bound, 1),
  };
}

function verdict(
  metric: Metric,
  ratio: number,
  bound: number | undefined,
): Pick<RatioRow, 'target' | 'verdict'> {
  if (bound === undefined) return { target: '', verdict: '' };
  const passes = metric.better === 'lower' ? ratio <= bound : ratio >= bound;
  return {
    target: `${metric.better === 'lower' ? '≤' : '≥'} ${bound.toFixed(2)}`,
    verdict: passes ? 'PASS' : 'MISS',
  };
}

function describePeer(peer: Peer): string {
  return peer.variant === 'default' ? `${peer.label} (default)` : peer.label;
}

function isBetter(metric: Metric, a: number, b: number): boolean {
  return metric.better === 'lower' ? a < b : a > b;
}

function allMetrics(figures: readonly Figure[]): Metric[] {
  return figures.flatMap((figure) => [...figure.metrics]);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function formatNumber(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

function table(head: string[], rows: string[][]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  return [line(head), line(widths.map((width) => '─'.repeat(width))), ...rows.map(line)].join('\n');
}
