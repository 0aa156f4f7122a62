/** What a parsed file offers, whether it was TOML or YAML: its values at once, and their places when somebody asks. */

import type { Path } from './problem.ts';

export interface Document {
  readonly kind: 'document';
  /** Tables are objects, lists are arrays, the rest is what the format has. */
  readonly root: unknown;
  /**
   * Where each of `wanted` stands, as an offset into the text; of its nearest ancestor when it is not there.
   *
   * Asked once, after checking, because places cost more than values and most files have nothing to report.
   */
  locate(wanted: readonly Wanted[]): readonly (number | undefined)[];
}

export interface Wanted {
  readonly path: Path;
  readonly at: 'key' | 'value';
}

/** The text is not in the language it claims to be in. Parsers stop at the first fault. */
export interface SyntaxFault {
  readonly kind: 'fault';
  readonly message: string;
  readonly offset: number | null;
}

export interface LineColumn {
  readonly line: number;
  readonly column: number;
}

/** Answers line and column, from 1, for offsets into `text`. */
export function lineIndex(text: string): (offset: number) => LineColumn {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: offset - starts[low]! + 1 };
  };
}
