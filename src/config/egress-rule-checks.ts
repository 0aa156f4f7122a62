/** Rules of the entries of egress, whichever form they are written in: what is said once, can happen, and is safe. */
import {
  compileHostRegex,
  parseTargetPattern,
  PatternFault,
  type TargetPattern,
} from '../model/target-pattern.ts';
import { RegexFault, type LinearRegex } from '../core/linear-regex.ts';
import type { CheckContext } from './check-context.ts';
import { isFraming } from './egress-words.ts';
import { checkAuthorityValue } from './header-checks.ts';
import { quote } from './problem.ts';
import type { Path } from './problem.ts';
import type { Report } from './report.ts';
import type { ReadEntry } from './schema.ts';

type Text = string | null | undefined;

export interface RewriteValues {
  readonly pattern: string | undefined;
  readonly target_ip: Text;
  readonly target_host: Text;
  readonly target_port: number | null | undefined;
  readonly target_scheme: Text;
  readonly path_pattern: Text;
  readonly headers: readonly ReadEntry[];
  readonly drop_headers: readonly (string | undefined)[];
  readonly insecure: boolean | undefined;
  /** Beside the pattern and the path it asks for nothing else: clients, ports. */
  readonly isForAll: boolean;
}

/** In the order of the file, which decides. */
export function checkRewrites(rewrites: readonly RewriteValues[], path: Path, context: CheckContext): void {
  const { report } = context;
  const takers = new Map<string, number>();
  rewrites.forEach((rewrite, index) => {
    const here = [...path, index];
    checkRewrite(rewrite, here, report);
    const { pattern, path_pattern: pathPattern } = rewrite;
    if (pattern === undefined || pathPattern === undefined) return;
    const first = takers.get(pattern) ?? takers.get(keyOf(pattern, pathPattern));
    if (first !== undefined) {
      const expected = `a rewrite that something is left for: [${first}] is before it and takes all of it`;
      report.warning('rewrite-useless', here, expected, quote(pattern));
    } else if (rewrite.isForAll) takers.set(keyOf(pattern, pathPattern), index);
  });
}

function keyOf(pattern: string, pathPattern: string | null): string {
  return pathPattern === null ? pattern : `${pattern}\0${pathPattern}`;
}

function checkRewrite(rewrite: RewriteValues, path: Path, report: Report): void {
  const { target_ip: ip, target_host: host, headers, drop_headers: dropped } = rewrite;
  if (typeof ip === 'string' && typeof host === 'string') {
    report.error('rewrite-conflict', [...path, 'target_host'], 'either target_ip or target_host', 'both');
  }
  checkSetHeaders(headers, [...path, 'headers'], report);
  dropped.forEach((name, index) => checkHeader(name, [...path, 'drop_headers', index], report));
  if (rewrite.insecure === true && rewrite.target_scheme === 'http') {
    const expected = 'target_scheme = "https": with "http" there is no certificate';
    report.warning('option-unused', [...path, 'insecure'], expected, '"http"');
  } else if (rewrite.insecure === true) {
    const expected = 'false: as it is, whoever answers in the place of the upstream is believed';
    report.warning('egress-insecure', [...path, 'insecure'], expected, 'true');
  }
  const targets = [ip, host, rewrite.target_port, rewrite.target_scheme];
  const changes = targets.some((each) => each !== null) || headers.length + dropped.length > 0;
  if (changes || rewrite.insecure !== false) return;
  const expected =
    'something that it changes: target_ip, target_host, target_port, target_scheme, headers, drop_headers or insecure';
  report.error('rewrite-useless', path, expected, 'none');
}

function checkSetHeaders(headers: readonly ReadEntry[], path: Path, report: Report): void {
  const seen = new Set<string>();
  for (const [name, value] of headers) {
    if (name === undefined) continue;
    if (name === 'host') checkAuthorityValue(value, [...path, name], report);
    else checkHeader(name, [...path, name], report);
    if (seen.has(name)) {
      const expected = 'each header once, whatever its case';
      report.error('header-duplicate', path, expected, quote(name));
    }
    seen.add(name);
  }
}

/** Refuses what frames a message or belongs to one connection. */
export function checkHeader(name: string | undefined, path: Path, report: Report): void {
  if (name === undefined || !(isFraming(name) || name === 'host')) return;
  const expected =
    'a header of the message: this one belongs to a connection or frames the message, and the proxy writes it';
  report.error('header-reserved', path, expected, quote(name));
}

/**
 * Which of many patterns match a host that another matches too, as far as it can be told: of two expressions, or one
 * and a wildcard, nobody says it. Indexed, for there may be a hundred thousand on either side.
 */
export class PatternIndex {
  /** By the name of an exact pattern, by each name above it, and by the name of a wildcard and those above. */
  readonly #exact = new Map<string, number>();
  readonly #below = new Map<string, number>();
  readonly #wildcards = new Map<string, number>();
  readonly #sources = new Map<string, number>();
  readonly #regexes: { readonly regex: LinearRegex; readonly index: number }[] = [];

  add(pattern: string, index: number): void {
    const parsed = parseTargetPattern(pattern);
    if (parsed instanceof PatternFault) return;
    if (parsed.kind === 'regex') return this.#addRegex(parsed.source, index);
    const name = parsed.kind === 'exact' ? parsed.host : parsed.name;
    note(parsed.kind === 'exact' ? this.#exact : this.#wildcards, name, index);
    for (const above of namesAbove(name)) note(this.#below, above, index);
  }

  /** The index of one that meets `pattern`; undefined when none is known to. */
  meeting(pattern: string): number | undefined {
    const parsed = parseTargetPattern(pattern);
    if (parsed instanceof PatternFault) return undefined;
    if (parsed.kind === 'regex') return this.#sources.get(parsed.source);
    const name = parsed.kind === 'exact' ? parsed.host : parsed.name;
    const ofName = parsed.kind === 'exact' ? this.#exact.get(name) : this.#wildcards.get(name);
    const below = parsed.kind === 'wildcard' ? this.#below.get(name) : undefined;
    const above = namesAbove(name).map((each) => this.#wildcards.get(each));
    return ofName ?? below ?? above.find((each) => each !== undefined) ?? this.#meetingRegex(parsed);
  }

  #addRegex(source: string, index: number): void {
    note(this.#sources, source, index);
    const regex = compileHostRegex(source);
    if (!(regex instanceof RegexFault)) this.#regexes.push({ regex, index });
  }

  #meetingRegex(pattern: TargetPattern): number | undefined {
    if (pattern.kind !== 'exact') return undefined;
    return this.#regexes.find(({ regex }) => regex.test(pattern.host))?.index;
  }
}

/** `b.c` and `c` of `a.b.c`. */
function namesAbove(name: string): string[] {
  const names: string[] = [];
  for (let at = name.indexOf('.'); at >= 0; at = name.indexOf('.', at + 1)) names.push(name.slice(at + 1));
  return names;
}

function note(map: Map<string, number>, key: string, index: number): void {
  if (!map.has(key)) map.set(key, index);
}

/** `github\.com` that lets anybody have `github.com.example` is the commonest hole of such lists. */
export function checkOpenEnds(
  patterns: readonly (string | undefined)[],
  pathOf: (index: number) => Path,
  report: Report,
): void {
  patterns.forEach((pattern, index) => {
    if (
      pattern === undefined ||
      !pattern.startsWith('~') ||
      /(?:^|[^\\])(?:\\\\)*\$\)*$/.test(pattern.slice(1))
    )
      return;
    const expected = 'an expression that ends in "$": without it, it also allows what merely begins like it';
    report.warning('pattern-open', pathOf(index), expected, quote(pattern.slice(1)));
  });
}
