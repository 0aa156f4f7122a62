/**
 * Rules that hold between settings. Each check sees the values that were read, `undefined` where one was refused, and
 * reports; none changes anything.
 */

import { checkAdmin } from './admin-checks.ts';
import { CertificateReader } from './certificates.ts';
import { rawIn } from './check-context.ts';
import type { CheckContext } from './check-context.ts';
import { checkEgress } from './egress-checks.ts';
import type { Environment } from './environment.ts';
import { checkFirewall } from './firewall-checks.ts';
import type { Directory } from './kinds.ts';
import { checkListeners } from './listener-checks.ts';
import { formatDuration, formatSize } from '../core/quantity.ts';
import { isTable, readTable } from './reader.ts';
import type { Reading } from './reader.ts';
import { Report } from './report.ts';
import type { Fields, ReadFields, Values } from './schema.ts';

/** Where relative paths are counted from, and where `env:` finds its secrets. */
export interface Surroundings {
  readonly directory: Directory;
  readonly environment: Environment;
}

/** Reads `raw` by the schema, then checks what was read: the one way for a file and for a row of the admin API. */
export function readChecked<const F extends Fields>(
  fields: F,
  raw: unknown,
  { directory, environment }: Surroundings,
  check: (values: ReadFields<F>, context: CheckContext) => void,
): Reading<F> {
  const { values, findings } = readTable(fields, raw, directory);
  const report = new Report();
  if (isTable(raw)) {
    const certificates = new CertificateReader(environment, Date.now());
    check(values, { rawAt: rawIn(raw), certificates, report });
  }
  return { values, findings: [...findings, ...report.findings] };
}

/** Every rule of the file. */
export function checkValues(values: Values, context: CheckContext): void {
  checkTimeouts(values, context.report);
  checkSizes(values, context.report);
  checkAdmin(values, context);
  checkTraffic(values, context);
}

export function checkTraffic(
  values: Pick<Values, 'firewall' | 'listeners' | 'egress'>,
  context: CheckContext,
): void {
  checkListeners(values, context);
  checkFirewall(values, context);
  checkEgress(values, context);
}

function checkSizes({ http }: Values, report: Report): void {
  const { target_bytes_max: target, head_bytes_max: head } = http;
  if (target === undefined || head === undefined || target <= head) return;
  const expected = `at most head_bytes_max, which is ${formatSize(head)} and holds before it`;
  report.warning('limit-order', ['http', 'target_bytes_max'], expected, formatSize(target));
}

function checkTimeouts({ server }: Values, report: Report): void {
  const { idle_timeout: idleMs, connect_timeout: connectMs } = server;
  if (idleMs === undefined || connectMs === undefined || idleMs >= connectMs) return;
  const expected = `at least connect_timeout, which is ${formatDuration(connectMs)}`;
  report.warning('timeout-order', ['server', 'idle_timeout'], expected, formatDuration(idleMs));
}
