/**
 * Patterns of targets: `example.com`, `*.example.com`, `~regex`, or an address. Read once, into one canonical
 * spelling, so that a rule has one id however it was written.
 *
 * A regular expression is used as written and may match anywhere in the host; letters match in either case, because
 * the host it is held against is lower case. The commonest shapes (`^.*\.example\.com$`) say the same as a name or a
 * wildcard, and are kept as such: ten thousand of them cost one look-up.
 */
import { normaliseHostname, parseHostPattern } from '../core/hostname.ts';
import { formatIp, parseIp } from '../core/ip.ts';
import { LinearRegex, RegexFault } from '../core/linear-regex.ts';

export type TargetPattern =
  | { readonly kind: 'exact'; readonly host: string }
  /** Any depth below `name`, never `name` itself. */
  | { readonly kind: 'wildcard'; readonly name: string }
  | { readonly kind: 'regex'; readonly source: string };

export class PatternFault {
  /** Completes "which …". */
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/** Worst cost of one character of a host, and of a path, which may be sixty times as long. */
export const hostRegexInstructionsMax = 4000;
export const pathRegexInstructionsMax = 500;

const regexMark = '~';

/** The project's own form. Names are in ASCII already. */
export function parseTargetPattern(text: string): TargetPattern | PatternFault {
  return text.startsWith(regexMark) ? parseRegexPattern(text.slice(1)) : parseNamePattern(text);
}

/** The YAML form: `*.x` is a wildcard, an entry with one of these characters is a regex, the rest are hosts. */
export function parseAclPattern(text: string): TargetPattern | PatternFault {
  if (text.startsWith('*.') && !/[\\^$*+?()[\]{}|]/.test(text.slice(2))) return parseNamePattern(text);
  // An IPv6 address in brackets would read as a class of characters, and match a single letter of any host.
  if (/^\[[0-9a-f:.]*:[0-9a-f:.]*\]$/i.test(text)) return parseNamePattern(text);
  return /[\\^$*+?()[\]{}|]/.test(text) ? parseRegexPattern(text) : parseNamePattern(text);
}

/** As people write it in the project's own form; parseTargetPattern reads it back. */
export function formatTargetPattern(pattern: TargetPattern): string {
  switch (pattern.kind) {
    case 'exact':
      return pattern.host;
    case 'wildcard':
      return `*.${pattern.name}`;
    case 'regex':
      return regexMark + pattern.source;
  }
}

/** The engine of a pattern that is a regex. */
export function compileHostRegex(source: string): LinearRegex | RegexFault {
  return LinearRegex.compile(source, { ignoreCase: true, instructionsMax: hostRegexInstructionsMax });
}

/** The engine of a `path_pattern`: case matters in paths. */
export function compilePathRegex(source: string): LinearRegex | RegexFault {
  return LinearRegex.compile(source, { instructionsMax: pathRegexInstructionsMax });
}

/** The names and wildcards that say exactly what a regex says of normalised hosts; undefined: there are none. */
export function simplerPatterns(source: string): readonly TargetPattern[] | undefined {
  const match = /^\^(\.\*\\\.|\(\?:\.\*\\\.\)\?|\(\.\*\\\.\)\?|\.\+\\\.)?((?:[a-z0-9-]|\\[.-])+)\$$/i.exec(
    source,
  );
  const name = match === null ? undefined : normaliseHostname(match[2]!.replaceAll('\\', ''));
  if (match === null || name === undefined) return undefined;
  const exact: TargetPattern = { kind: 'exact', host: name };
  const wildcard: TargetPattern = { kind: 'wildcard', name };
  if (match[1] === undefined) return [exact];
  return match[1].endsWith('?') ? [exact, wildcard] : [wildcard];
}

function parseNamePattern(text: string): TargetPattern | PatternFault {
  const bare = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  const ip = parseIp(bare);
  if (ip !== undefined) return { kind: 'exact', host: formatIp(ip) };
  if (text === '*') return new PatternFault('is a bare "*": default_policy says what holds for every host');
  const parsed = parseHostPattern(text);
  if (parsed.kind === 'refused') return new PatternFault(parsed.reason);
  return parsed.kind === 'exact' ? { kind: 'exact', host: parsed.name } : parsed;
}

function parseRegexPattern(source: string): TargetPattern | PatternFault {
  if (source === '') return new PatternFault('is an empty regular expression, which matches every host');
  const regex = compileHostRegex(source);
  return regex instanceof RegexFault ? new PatternFault(regex.reason) : { kind: 'regex', source };
}
