/**
 * The difference between two egress settings in words, one line each (see change-lines.ts). Values of headers and
 * hashes of passwords are left out: the audit log is read by many.
 */
import type { EgressSettings } from '../model/egress-settings.ts';
import { writeEgress, type Written, type WrittenTable } from '../model/egress-written.ts';

/** Lines of one change; the rest is counted. */
export const egressLinesMax = 1000;

export function describeEgressChange(before: EgressSettings | null, after: EgressSettings | null): string[] {
  if (before === null && after === null) return [];
  if (after === null) return ['- egress'];
  const old = before === null ? {} : writeEgress(before);
  const lines = before === null ? ['+ egress'] : [];
  const now = writeEgress(after);
  for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
    const rows = rowNames.get(name);
    if (rows === undefined) lines.push(...describeSetting(name, old[name], now[name]));
    else lines.push(...describeRows(name, rows, rowsOf(old[name]), rowsOf(now[name])));
  }
  if (lines.length <= egressLinesMax) return lines;
  return [...lines.slice(0, egressLinesMax), `~ egress: ${lines.length - egressLinesMax} differences more`];
}

/** What the rows of a list are called, as in rule ids, and what names one. */
type RowName = readonly [kind: string, ...keys: string[]];
const rowNames: ReadonlyMap<string, RowName> = new Map<string, RowName>([
  ['whitelist', ['whitelist', 'pattern']],
  ['blacklist', ['blacklist', 'pattern']],
  ['passthrough', ['passthrough', 'pattern']],
  ['rewrites', ['rewrite', 'pattern']],
  ['credentials', ['credential', 'pattern', 'header']],
  ['clients', ['client', 'name']],
  ['parents', ['parent', 'url']],
]);

function describeSetting(name: string, before: Written | undefined, after: Written | undefined): string[] {
  const [old, now] = [wordsOf(before), wordsOf(after)];
  return old === now ? [] : [`~ egress/${name}: ${old} → ${now}`];
}

/** Left out is the default. */
function wordsOf(value: Written | undefined): string {
  if (value === undefined) return 'default';
  if (typeof value !== 'object') return String(value);
  const items = Object.values(value) as readonly Written[];
  return (
    items.map((item) => (typeof item === 'object' ? JSON.stringify(item) : String(item))).join(', ') || 'none'
  );
}

/** Rows are tables, but for a rule that is its pattern alone. */
function rowsOf(value: Written | undefined): WrittenTable[] {
  if (!Array.isArray(value)) return [];
  return (value as readonly Written[]).map((row) =>
    typeof row === 'string' ? { pattern: row } : (row as WrittenTable),
  );
}

function describeRows(
  list: string,
  name: RowName,
  before: readonly WrittenTable[],
  after: readonly WrittenTable[],
): string[] {
  const old = countRows(before);
  const now = countRows(after);
  const lines = describeDifference(name, withoutCommon(before, now), withoutCommon(after, old));
  const common = (rows: readonly WrittenTable[], other: ReadonlyMap<string, number>): string =>
    rows
      .map((row) => JSON.stringify(row))
      .filter((text) => other.has(text))
      .join('\n');
  // The order decides between rules that match the same request.
  if (lines.length === 0 && common(before, now) !== common(after, old))
    lines.push(`~ egress/${list}: in another order`);
  return lines;
}

function countRows(rows: readonly WrittenTable[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) {
    const text = JSON.stringify(row);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return counts;
}

/** The rows that the other side does not have, each as often as it has it less. */
function withoutCommon(rows: readonly WrittenTable[], other: ReadonlyMap<string, number>): WrittenTable[] {
  const left = new Map(other);
  return rows.filter((row) => {
    const text = JSON.stringify(row);
    const count = left.get(text) ?? 0;
    left.set(text, count - 1);
    return count <= 0;
  });
}

/** A row that went and one of the same name that came are one that changed. */
function describeDifference(
  [kind, ...keys]: RowName,
  gone: readonly WrittenTable[],
  come: readonly WrittenTable[],
): string[] {
  const idOf = (row: WrittenTable): string =>
    `${kind}/-/${keys.flatMap((key) => (row[key] === undefined ? [] : [wordsOf(row[key])])).join(' ')}`;
  const waiting = Map.groupBy(gone, idOf);
  const lines: string[] = [];
  for (const row of come) {
    const id = idOf(row);
    const old = waiting.get(id)?.shift();
    const words = describeRow(row, keys);
    if (old === undefined) lines.push(`+ ${id}${words === '' ? '' : `: ${words}`}`);
    else lines.push(`~ ${id}: ${describeRow(old, keys) || 'plain'} → ${words || 'plain'}`);
  }
  const removed = [...waiting].flatMap(([id, rows]) => rows.map(() => `- ${id}`));
  return [...removed, ...lines];
}

function describeRow(row: WrittenTable, keys: readonly string[]): string {
  return Object.entries(row)
    .filter(([name]) => !keys.includes(name))
    .map(([name, value]) => describeField(name, value))
    .join(', ');
}

function describeField(name: string, value: Written): string {
  if (value === true) return name;
  if (typeof value === 'string' && value.startsWith('scrypt$')) return `${name} set`;
  if (Array.isArray(value)) return `${name} ${value.join(' ')}`;
  return `${name} ${typeof value === 'object' ? Object.keys(value).join(' ') : value}`;
}
