/** What checks look at beside the values that were read, and where they report. */

import type { CertificateReader } from './certificates.ts';
import type { Path } from './problem.ts';
import type { Report } from './report.ts';

/** What file and environment write at a path, before it was read; undefined when nothing does. */
export type RawAt = (path: Path) => unknown;

export interface CheckContext {
  readonly rawAt: RawAt;
  readonly certificates: CertificateReader;
  readonly report: Report;
}

export function rawIn(root: unknown): RawAt {
  return (path) => {
    let value = root;
    for (const part of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
      value = (value as Record<string | number, unknown>)[part];
    }
    return value;
  };
}
