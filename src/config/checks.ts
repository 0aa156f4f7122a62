/**
 * Rules that hold between settings. Each check sees the values that were read, `undefined` where one was refused, and
 * reports; none changes anything.
 */

import { checkFirewall } from './firewall-checks.ts';
import { checkListeners } from './listener-checks.ts';
import type { Finding, Path } from './problem.ts';
import { formatDuration } from './quantity.ts';
import { Report } from './report.ts';
import type { Values } from './schema.ts';

/** What file and environment write at a path, before it was read; undefined when nothing does. */
export type RawAt = (path: Path) => unknown;

export function checkValues(values: Values, rawAt: RawAt): readonly Finding[] {
  const report = new Report();
  checkTimeouts(values, report);
  checkListeners(values, rawAt, report);
  checkFirewall(values, rawAt, report);
  return report.findings;
}

function checkTimeouts({ server }: Values, report: Report): void {
  const { idle_timeout: idleMs, connect_timeout: connectMs } = server;
  if (idleMs === undefined || connectMs === undefined || idleMs >= connectMs) return;
  const expected = `at least connect_timeout, which is ${formatDuration(connectMs)}`;
  report.warning('timeout-order', ['server', 'idle_timeout'], expected, formatDuration(idleMs));
}
