/** Collects what the checks find. Every finding of a check points at a value. */

import { quote } from './problem.ts';
import type { Finding, Path, ProblemCode } from './problem.ts';

export class Report {
  readonly findings: Finding[] = [];

  /** `expected` completes "expected …", `found` completes "found …". */
  error(
    code: ProblemCode,
    path: Path,
    expected: string,
    found: string | null,
    suggestion: string | null = null,
  ): void {
    this.findings.push({ severity: 'error', code, path, at: 'value', expected, found, suggestion });
  }

  warning(code: ProblemCode, path: Path, expected: string, found: string | null): void {
    this.findings.push({ severity: 'warning', code, path, at: 'value', expected, found, suggestion: null });
  }
}

/** Warns of every value that stands in the list before. */
export function checkDuplicates(list: readonly (string | undefined)[], path: Path, report: Report): void {
  if (new Set(list).size === list.length) return;
  const seen = new Map<string, number>();
  list.forEach((value, index) => {
    if (value === undefined) return;
    const first = seen.get(value);
    if (first === undefined) seen.set(value, index);
    else
      report.warning(
        'list-duplicate',
        [...path, index],
        `each value once, and [${first}] is the same`,
        quote(value),
      );
  });
}
