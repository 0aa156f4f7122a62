/** Rules of policies: each value as its type has it, and each policy once. The grammar is the model's. */

import { formatPolicy, parsePolicy } from '../model/policy-value.ts';
import type { ParsedPolicy } from '../model/policy-value.ts';
import { quote } from './problem.ts';
import type { Path } from './problem.ts';
import type { Report } from './report.ts';
import type { RouteValues } from './route-checks.ts';

type PolicyValues = RouteValues['policies'][number];

/** Of one policy alone. */
export function checkPolicy({ type, value }: PolicyValues, path: Path, report: Report): void {
  if (type === undefined || value === undefined) return;
  const parsed = parsePolicy(type, value);
  if (parsed.type === 'fault') {
    const suggestion = parsed.suggestion === null ? null : `"${parsed.suggestion}"`;
    report.error('value-invalid', [...path, 'value'], parsed.expected, quote(value), suggestion);
  } else if (parsed.type === 'require_header' && unseen.has(parsed.name)) {
    const expected = 'a header of the message: this one belongs to a connection, and no policy sees it';
    report.error('header-reserved', [...path, 'value'], expected, quote(value));
  }
}

/** What the codecs read and leave out, as framingNames of codec/http-message.ts has it. */
const unseen: ReadonlySet<string> = new Set([
  'connection',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

export function checkPolicies(policies: readonly PolicyValues[], path: Path, report: Report): void {
  const seen = new Map<string, number>();
  policies.forEach((policy, index) => {
    checkPolicy(policy, [...path, index], report);
    const parsed = parsedOf(policy);
    if (parsed === undefined) return;
    const key = `${parsed.type} ${formatPolicy(parsed)}`;
    const first = seen.get(key);
    if (first === undefined) seen.set(key, index);
    else {
      const expected = `each policy once on its route, and [${first}] is the same`;
      report.error('policy-duplicate', [...path, index], expected, `${policy.type} ${quote(policy.value)}`);
    }
  });
}

/** Undefined when it was refused. */
export function parsedOf({ type, value }: PolicyValues): ParsedPolicy | undefined {
  if (type === undefined || value === undefined) return undefined;
  const parsed = parsePolicy(type, value);
  return parsed.type === 'fault' ? undefined : parsed;
}
