/**
 * What is wrong with a configuration, and where. Every problem reads the same way: what was expected, what was
 * found, and what was probably meant.
 *
 * Text of the file, of variables and of parsers passes `quote` or `plain` before it enters a problem, so a problem
 * can be printed on a terminal as it is.
 */

import { getSystemErrorMessage } from 'node:util';
import { escapeText } from '../core/escape.ts';

/** A key path: `['listeners', 0, 'addr']`. */
export type Path = readonly (string | number)[];

export type Severity = 'error' | 'warning';

/** Stable: scripts match on them. Never reused for another meaning. */
export const problemCodes = {
  'file-unreadable': 'A file cannot be read.',
  'file-unsupported': 'The file name does not end in .toml, .yaml or .yml.',
  'file-oversized': 'The configuration file is larger than allowed.',
  syntax: 'The file is not valid TOML or YAML. Nothing else is checked.',
  'key-unknown': 'No setting has this name.',
  'key-missing': 'A setting without a default is missing.',
  'value-invalid': 'A value is not what its setting takes.',
  'list-oversized': 'A list is longer than allowed.',
  'list-duplicate': 'A list names the same thing twice.',
  'variable-unknown': 'A PORTCULLIS_ variable names no setting.',
  'variable-index': 'A PORTCULLIS_ variable skips an element of a list.',
  'listener-duplicate': 'Two listeners have the same address.',
  'listener-overlap': 'The address of one listener contains that of another.',
  'listener-useless': 'A listener has neither routes nor a default backend.',
  'hostname-duplicate': 'Two routes of a listener have the same hostname and path.',
  'hostname-mixed': 'A hostname has a route of mode l4 beside another route.',
  'hostname-crowded': 'A hostname has more routes than a request should look at.',
  'proxy-protocol-open': 'Anybody who reaches the listener could claim any client address.',
  'proxy-protocol-unused': 'proxy_protocol_from has no effect.',
  'backend-loop': 'The backend is the listener itself.',
  'geoip-missing': 'Countries are blocked without a database that knows them.',
  'geoip-unused': 'A GeoIP database is set but no country is blocked.',
  'rate-limit-unused': 'A setting of the rate limit has no effect without rate_limit.',
  'rule-conflict': 'An address is both blocked and allowed; it stays blocked.',
  'rule-blocks-all': 'A rule blocks every address.',
  'tls-missing': 'TLS is to be spoken and a certificate or a key is not named.',
  'tls-unused': 'A TLS setting stands where no TLS is spoken.',
  'certificate-invalid': 'A certificate or a private key does not load.',
  'certificate-mismatch': 'A private key is not that of the certificate.',
  'certificate-expired': 'A certificate is not valid today.',
  'secret-missing': 'The environment variable that holds a secret is not set.',
  'tls-conflict': 'Routes of one hostname end TLS in different ways.',
  'mode-misplaced': 'A route does not fit what its listener speaks.',
  'layer7-unused': 'A setting of layer 7 stands where no HTTP is read.',
  'backend-insecure': 'The certificate of a backend is not verified.',
  'header-reserved': 'A header rule names what the proxy itself writes and reads.',
  'header-duplicate': 'A header rule sets the same header twice.',
  'redirect-unused': 'redirect_https has no effect, or takes it from the routes.',
  'proxies-all': 'Everybody is trusted to say who the client is.',
  'rate-key-forged': 'A rate limit goes by a header that every client writes as it likes.',
  'policy-duplicate': 'A route has the same policy twice.',
  'policy-unused': 'Policies have no effect on a route of mode l4.',
  'admin-open': 'Callers of the admin API would not have to show who they are.',
  'admin-overlap': 'The address of the admin API is that of a listener, or one contains the other.',
  'admin-unused': 'A setting of the admin API has no effect.',
  'limit-order': 'A limit is larger than another that holds before it.',
  'pattern-open': 'A regular expression that allows hosts is not tied to the end of the name.',
  'rewrite-conflict': 'A rewrite names two targets.',
  'rewrite-useless': 'A rewrite changes nothing.',
  'egress-insecure': 'Upstreams are not verified.',
  'listener-kind': 'A setting stands on a listener of the other kind.',
  'option-conflict': 'Two settings exclude each other.',
  'option-unused': 'A setting has no effect without another.',
  'key-exposed': 'Other users of the machine may read a private key.',
  'file-unwritable': 'A file cannot be written to.',
  'egress-missing': 'A listener is of kind egress and nothing says what may leave.',
  'egress-unused': 'Egress is configured and no listener is of kind egress.',
  'egress-open': 'More may pass than people usually want.',
  'mitm-missing': 'A rule looks into HTTPS and there is no CA to do so.',
  'credential-clear': 'A secret would have to leave in clear.',
  'client-duplicate': 'Two clients have the same name or subject.',
  'client-unknown': 'A rule names a client that is not configured, or a client can not show who he is.',
  'keystore-invalid': 'A keystore, a truststore or a CA does not serve.',
  'timeout-order': 'A timeout ends before another that it should outlast.',
  'problems-cut': 'There were more problems than are listed.',
} as const;

export type ProblemCode = keyof typeof problemCodes;

export interface Problem {
  readonly severity: Severity;
  readonly code: ProblemCode;
  /** The file as it was named, or null when an environment variable is the place. */
  readonly file: string | null;
  readonly variable: string | null;
  /** From 1; null when the problem is about the whole file. */
  readonly line: number | null;
  /** From 1, in UTF-16 units. */
  readonly column: number | null;
  /** `listeners[0].addr`; empty for the whole file. */
  readonly path: string;
  readonly expected: string;
  /** null when there is nothing to show: a syntax error. */
  readonly found: string | null;
  readonly suggestion: string | null;
  /** The sentence made of the three above. */
  readonly message: string;
}

/** A problem before its place is known. */
export interface Finding {
  readonly severity: Severity;
  readonly code: ProblemCode;
  readonly path: Path;
  /** What of `path` to point at. */
  readonly at: 'key' | 'value';
  readonly expected: string;
  readonly found: string | null;
  readonly suggestion: string | null;
}

/** Past this many the rest is only counted. */
export const problemsMax = 10_000;

export interface Place {
  readonly file: string | null;
  readonly variable: string | null;
  readonly line: number | null;
  readonly column: number | null;
}

export function problemAt(place: Place, finding: Finding): Problem {
  const { severity, code, expected, found, suggestion } = finding;
  const path = formatPath(finding.path);
  return { severity, code, ...place, path, expected, found, suggestion, message: sentence(finding) };
}

/** `expected X, found Y (did you mean Z?)` */
export function sentence({ expected, found, suggestion }: Finding): string {
  const meant = suggestion === null ? '' : ` (did you mean ${suggestion}?)`;
  return `expected ${expected}${found === null ? '' : `, found ${found}`}${meant}`;
}

/** `error examples/x.toml:12:3 listeners[0].addr: expected …`, one line. */
export function formatProblem(problem: Problem, colour: boolean): string {
  const { severity, file, variable, line, column, path, message } = problem;
  const label = colour ? `\x1b[1;${severity === 'error' ? 31 : 33}m${severity}\x1b[0m` : severity;
  const position = line === null ? '' : column === null ? `:${line}` : `:${line}:${column}`;
  const place = variable ?? `${file ?? ''}${position}`;
  return `${label} ${place}${path === '' ? '' : ` ${path}`}: ${message}`;
}

/** Keys that TOML would write bare stay bare; others are quoted. */
export function formatPath(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += (text === '' ? '' : '.') + (/^[\w-]{1,60}$/.test(part) ? part : quote(part));
  }
  return text;
}

/** How a value of the file is shown: text quoted, escaped and cut, tables and lists named only. */
export function quote(value: unknown): string {
  if (typeof value === 'string') return `"${plain(value).replaceAll('"', '\\"')}"`;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value);
  if (value === null || value === undefined) return 'nothing';
  if (value instanceof Date) return 'a date';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  return 'a table';
}

/** What the system said against a file: `no such file or directory`. */
export function systemMessage(error: unknown): string {
  const { errno } = error as NodeJS.ErrnoException;
  return errno === undefined ? plain(String(error)) : getSystemErrorMessage(errno);
}

/** `text` cut, with all that could move a cursor or turn the direction of writing escaped. */
export function plain(text: string, charactersMax = 80): string {
  return escapeText(text, charactersMax);
}
