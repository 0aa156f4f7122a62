/** Tables of text: columns as wide as their longest cell, cut with an ellipsis where a terminal is narrower. */

import { cutText, displayWidth } from './display.ts';

export interface Column {
  readonly title: string;
  /** Numbers stand at the right. */
  readonly align?: 'left' | 'right';
  /** Left out when no row has anything in it. */
  readonly isOptional?: boolean;
}

const gap = '  ';
/** A column is never cut below this, which a word of a few letters needs to be told from another. */
const columnWidthMin = 6;

/** The head and a line for each row. Cells are escaped already. `width` null: nobody to fit it to. */
export function formatTable(
  all: readonly Column[],
  cells: readonly (readonly string[])[],
  width: number | null,
): string[] {
  const shown = [...all.keys()].filter(
    (index) => all[index]!.isOptional !== true || cells.some((row) => row[index] !== ''),
  );
  const columns = shown.map((index) => all[index]!);
  const rows = cells.map((row) => shown.map((index) => row[index] || '-'));
  const natural = columns.map(({ title }, index) =>
    rows.reduce((most, row) => Math.max(most, displayWidth(row[index]!)), title.length),
  );
  const widths = width === null ? natural : fitWidths(natural, width);
  const titles = columns.map(({ title }) => title);
  return [titles, ...rows].map((row) => {
    const cells = columns.map(({ align }, index) => padCell(row[index]!, widths[index]!, align ?? 'left'));
    const line = cells.join(gap).trimEnd();
    return width === null ? line : cutText(line, width);
  });
}

/** Takes from the widest column until all fit, or none has anything to give. */
function fitWidths(natural: readonly number[], width: number): number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, each) => sum + each, 0) + gap.length * (widths.length - 1) - width;
  while (excess > 0) {
    const order = widths.toSorted((a, b) => b - a);
    const widest = widths.indexOf(order[0]!);
    // Down to the next widest at once: a cell may have thousands of characters.
    const floor = Math.max(columnWidthMin, Math.min(order[1] ?? 0, order[0]! - 1));
    const given = Math.min(excess, order[0]! - floor);
    if (given <= 0) break;
    widths[widest]! -= given;
    excess -= given;
  }
  return widths;
}

function padCell(cell: string, width: number, align: 'left' | 'right'): string {
  const text = cutText(cell, width);
  const padding = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return align === 'left' ? text + padding : padding + text;
}
