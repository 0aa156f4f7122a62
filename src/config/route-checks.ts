/** Rules of routes: what ends TLS needs a certificate, what does not takes none, and policies say something once. */

import type { ListenerProtocol } from '../model/http-settings.ts';
import { checkCertificates, checkPair } from './certificates.ts';
import type { CheckContext } from './check-context.ts';
import { checkHeaderRules } from './header-checks.ts';
import { checkPolicies } from './policy-values.ts';
import { quote } from './problem.ts';
import type { Path } from './problem.ts';
import type { Report } from './report.ts';
import type { Values } from './schema.ts';

export type RouteValues = Values['listeners'][number]['routes'][number];

/**
 * All that concerns one route alone. `protocol` is its listener's; undefined where that is not known, and then
 * whether TLS has to be ended is not checked.
 */
export function checkRoute(
  route: RouteValues,
  path: Path,
  context: CheckContext,
  protocol: ListenerProtocol | undefined,
): void {
  const { report } = context;
  if (route.mode === 'l7') {
    checkTermination(route, path, context, protocol);
    checkBackendTls(route, path, context);
  }
  if (route.mode === 'l4') checkPassthrough(route, path, report);
  checkHeaderRules(route, path, report);
  checkPolicies(route.policies, [...path, 'policies'], report);
}

const tlsNames = ['tls_cert', 'tls_key', 'client_ca', 'client_auth', 'tls_min_version'] as const;
const backendTlsNames = ['backend_ca', 'backend_server_name', 'backend_insecure'] as const;

function checkTermination(
  route: RouteValues,
  path: Path,
  context: CheckContext,
  protocol: ListenerProtocol | undefined,
): void {
  const { report } = context;
  if (protocol === 'http') {
    for (const name of tlsNames.filter((each) => isWritten(route, each))) {
      const expected = 'no TLS settings: the listener has protocol = "http", so there is no TLS to end';
      report.error('tls-unused', [...path, name], expected, quote(route[name]));
    }
    return;
  }
  const missing = (['tls_cert', 'tls_key'] as const).filter((name) => route[name] === null);
  if (missing.length === 1 || (missing.length === 2 && protocol !== undefined)) {
    const expected = `${missing.join(' and ')} beside it: a route of mode l7 ends TLS`;
    report.error('tls-missing', [...path, 'mode'], expected, 'none');
  }
  checkPair(route, path, context);
  checkClientAuth(route, path, context, missing.length === 2);
}

/** An error without `client_ca`, because whoever asks for certificates believes that they are verified. */
export function checkClientAuth(
  { client_ca: authority, client_auth: mode }: Pick<RouteValues, 'client_ca' | 'client_auth'>,
  path: Path,
  context: CheckContext,
  isPlain: boolean,
): void {
  const { report } = context;
  if (typeof authority === 'string') {
    checkCertificates(authority, [...path, 'client_ca'], context);
    if (mode === 'none') {
      const expected = 'client_auth = "require" or "request" beside it: as it is, no client is asked';
      report.warning('tls-unused', [...path, 'client_ca'], expected, '"none"');
    }
    if (isPlain)
      report.error('tls-missing', [...path, 'client_ca'], 'tls_cert and tls_key beside it', 'none');
  }
  if (mode === undefined || mode === 'none' || authority !== null) return;
  const expected = 'client_ca beside it, with the certificates that clients are verified by';
  report.error('tls-missing', [...path, 'client_auth'], expected, 'none');
}

function checkBackendTls(route: RouteValues, path: Path, context: CheckContext): void {
  const { report } = context;
  if (typeof route.backend_ca === 'string')
    checkCertificates(route.backend_ca, [...path, 'backend_ca'], context);
  if (route.backend_tls === false) {
    for (const name of backendTlsNames.filter((each) => isWritten(route, each))) {
      const expected = 'backend_tls = true beside it: as it is, no TLS is spoken to the backend';
      report.error('tls-unused', [...path, name], expected, 'false');
    }
    return;
  }
  if (route.backend_insecure !== true) return;
  const expected = 'a backend whose certificate is verified: as it is, whoever answers there is believed';
  report.warning('backend-insecure', [...path, 'backend_insecure'], expected, 'true');
}

/** Whoever writes tls_cert expects TLS to end here, so leaving out the mode is an error. */
function checkPassthrough(route: RouteValues, path: Path, report: Report): void {
  for (const name of [...tlsNames, 'backend_tls', ...backendTlsNames] as const) {
    if (!isWritten(route, name)) continue;
    const expected = 'mode = "l7" beside it: a route of mode l4 relays TLS as it is';
    report.error('tls-unused', [...path, name], expected, '"l4"');
  }
  for (const name of ['path_prefix', 'backend_protocol', 'forwarded', ...headerNames] as const) {
    if (!isWritten(route, name)) continue;
    const expected = 'mode = "l7" beside it: a route of mode l4 sees no requests';
    report.error('layer7-unused', [...path, name], expected, '"l4"');
  }
  if (route.policies.length === 0) return;
  const expected = 'mode = "l7" beside it: a route of mode l4 sees no requests, so nothing is judged';
  report.warning('policy-unused', [...path, 'policies'], expected, '"l4"');
}

const headerNames = ['request_headers', 'response_headers'] as const;
type OptionalName =
  | (typeof tlsNames)[number]
  | (typeof backendTlsNames)[number]
  | (typeof headerNames)[number]
  | 'backend_tls'
  | 'path_prefix'
  | 'backend_protocol'
  | 'forwarded';

/** True when the setting has another value than that of a route which does not name it. */
function isWritten(route: RouteValues, name: OptionalName): boolean {
  switch (name) {
    case 'client_auth':
      return route.client_auth !== undefined && route.client_auth !== 'none';
    case 'tls_min_version':
      return route.tls_min_version !== undefined && route.tls_min_version !== '1.2';
    case 'backend_protocol':
      return route.backend_protocol !== undefined && route.backend_protocol !== 'h2c';
    case 'request_headers':
    case 'response_headers': {
      const { remove, set, add } = route[name];
      return remove.length + set.length + add.length > 0;
    }
    default:
      return route[name] !== null && route[name] !== false && route[name] !== '' && route[name] !== undefined;
  }
}
