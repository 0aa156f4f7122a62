/** Rules of header rules: what frames a message or belongs to one connection is the proxy's alone. */

import { formatPath, quote } from './problem.ts';
import type { Path } from './problem.ts';
import type { Report } from './report.ts';
import type { RouteValues } from './route-checks.ts';
import type { ReadEntry } from './schema.ts';

/** RFC 9110 §7.6.1 and what states the length of a body. */
const reserved: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export function checkHeaderRules(route: RouteValues, path: Path, report: Report): void {
  for (const setting of ['request_headers', 'response_headers'] as const) {
    const { remove, set, add } = route[setting];
    const here = [...path, setting];
    remove.forEach((name, index) => checkName(name, [...here, 'remove', index], report));
    for (const [name, value] of set) {
      if (setting === 'request_headers' && name === 'host')
        checkAuthorityValue(value, [...here, 'set', name], report);
      else checkName(name, [...here, 'set', name ?? ''], report);
    }
    for (const [name] of add) checkName(name, [...here, 'add', name ?? ''], report);
    checkTwice(set, [...here, 'set'], report);
  }
}

function checkName(name: string | undefined, path: Path, report: Report): void {
  if (name === undefined || !reserved.has(name)) return;
  const expected =
    'a header of the message: this one belongs to a connection or frames the message, and the proxy writes it' +
    (name === 'host' ? '; request_headers.set may set it' : '');
  report.error('header-reserved', path, expected, quote(name));
}

/** Host, with or without a port: what a request may carry as its authority. */
export function checkAuthorityValue(value: string | undefined, path: Path, report: Report): void {
  if (value === undefined || /^(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?$/.test(value)) return;
  report.error('value-invalid', path, 'a host such as "app.internal" or "app.internal:8080"', quote(value));
}

/** Two spellings of one name: the second would silently win. */
function checkTwice(set: readonly ReadEntry[], path: Path, report: Report): void {
  const seen = new Set<string>();
  for (const [name] of set) {
    if (name === undefined) continue;
    if (seen.has(name)) {
      const expected = `each header once in ${formatPath(path.slice(-2))}, whatever its case`;
      report.error('header-duplicate', path, expected, quote(name));
    }
    seen.add(name);
  }
}
