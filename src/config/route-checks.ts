/** Rules of routes: what ends TLS needs a certificate, what does not takes none, and policies say something once. */

import { checkPair } from './certificates.ts';
import type { CheckContext } from './check-context.ts';
import { quote } from './problem.ts';
import type { Path } from './problem.ts';
import type { Report } from './report.ts';
import type { Values } from './schema.ts';

type Route = Values['listeners'][number]['routes'][number];
type Policy = Route['policies'][number];

/** All that concerns one route alone. */
export function checkRoute(route: Route, path: Path, context: CheckContext): void {
  if (route.mode === 'l7') checkTermination(route, path, context);
  if (route.mode === 'l4') checkPassthrough(route, path, context.report);
  checkPolicies(route.policies, [...path, 'policies'], context.report);
}

/** Once for a listener: a thousand routes would say the same. */
export function checkModes(routes: readonly Route[], path: Path, report: Report): void {
  const first = routes.findIndex(({ mode }) => mode === 'l7');
  if (first < 0) return;
  const others = routes.filter(({ mode }) => mode === 'l7').length - 1;
  reportMode([...path, first, 'mode'], others === 0 ? '' : `, here and on ${others} more`, report);
}

export function checkMode({ mode }: Route, path: Path, report: Report): void {
  if (mode === 'l7') reportMode([...path, 'mode'], '', report);
}

/** Of one policy alone. */
export function checkPolicy({ type, value }: Policy, path: Path, report: Report): void {
  if (type !== 'require_header' || value === undefined || token.test(value)) return;
  const expected = 'the name of a header such as "x-api-key": letters, digits and !#$%&\'*+-.^_`|~';
  report.error('value-invalid', [...path, 'value'], expected, quote(value));
}

/** RFC 9110 §5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

function reportMode(path: Path, more: string, report: Report): void {
  const expected =
    'mode = "l4": this version keeps routes of mode l7 and does not serve them yet; ' +
    'it refuses their connections with reason mode-unavailable';
  report.warning('mode-unavailable', path, expected, `"l7"${more}`);
}

function checkTermination(route: Route, path: Path, context: CheckContext): void {
  const missing = (['tls_cert', 'tls_key'] as const).filter((name) => route[name] === null);
  if (missing.length > 0) {
    const expected = `${missing.join(' and ')} beside it: a route of mode l7 ends TLS`;
    context.report.error('tls-missing', [...path, 'mode'], expected, 'none');
  }
  checkPair(route, path, context);
}

/** Whoever writes tls_cert expects TLS to end here, so leaving out the mode is an error. */
function checkPassthrough(route: Route, path: Path, report: Report): void {
  for (const name of ['tls_cert', 'tls_key', 'backend_tls'] as const) {
    if (route[name] === null || route[name] === false) continue;
    const expected = 'mode = "l7" beside it: a route of mode l4 relays TLS as it is';
    report.error('tls-unused', [...path, name], expected, '"l4"');
  }
  if (route.policies.length === 0) return;
  const expected = 'mode = "l7" beside it: a route of mode l4 sees no requests, so nothing is judged';
  report.warning('policy-unused', [...path, 'policies'], expected, '"l4"');
}

function checkPolicies(policies: readonly Policy[], path: Path, report: Report): void {
  const seen = new Map<string, number>();
  policies.forEach((policy, index) => {
    checkPolicy(policy, [...path, index], report);
    const { type, value } = policy;
    if (type === undefined || value === undefined) return;
    const key = `${type} ${type === 'require_header' ? value.toLowerCase() : value}`;
    const first = seen.get(key);
    if (first === undefined) seen.set(key, index);
    else {
      const expected = `each policy once on its route, and [${first}] is the same`;
      report.error('policy-duplicate', [...path, index], expected, `${type} ${quote(value)}`);
    }
  });
}
