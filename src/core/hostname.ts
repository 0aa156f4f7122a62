/**
 * Host names: normalised once, at the rim, so that everything behind compares plain strings.
 *
 * A normalised name is lower-case ASCII without a trailing dot, 1–253 characters, its labels 1–63 letters, digits,
 * underscores and inner hyphens. A name that ends in a number is refused, because to some programs it is an address
 * (`127.1`). No IDNA here: the caller turns U-labels into A-labels first.
 */

export type HostPattern =
  | { readonly kind: 'exact'; readonly name: string }
  /** `*.name`: any depth below `name`, never `name` itself. */
  | { readonly kind: 'wildcard'; readonly name: string };

export interface HostPatternRefusal {
  readonly kind: 'refused';
  /** Completes "it …": `has an empty label`. */
  readonly reason: string;
}

/** 255 octets on the wire (RFC 1035 §2.3.4) leave 253 characters. */
export const hostnameCharactersMax = 253;
export const labelCharactersMax = 63;

/** The canonical form of a host name, or undefined when it is none. Answers `text` itself when nothing changes. */
export function normaliseHostname(text: string): string | undefined {
  let end = text.length;
  if (end > 0 && text.charCodeAt(end - 1) === dot) end--;
  if (end === 0 || end > hostnameCharactersMax) return undefined;
  let labelStart = 0;
  let upper = false;
  for (let at = 0; at < end; at++) {
    const code = text.charCodeAt(at);
    const kind = code < 128 ? characterKinds[code]! : 0;
    if (kind === kinds.plain) continue;
    if (kind === kinds.upper) {
      upper = true;
    } else if (kind === kinds.dot) {
      if (!isLabel(text, labelStart, at)) return undefined;
      labelStart = at + 1;
    } else if (kind !== kinds.hyphen) {
      return undefined;
    }
  }
  if (!isLabel(text, labelStart, end) || isNumber(text, labelStart, end)) return undefined;
  const name = end === text.length ? text : text.slice(0, end);
  return upper ? name.toLowerCase() : name;
}

/** Why normaliseHostname refuses `text`, completing "it …"; undefined when it does not. */
export function hostnameFault(text: string): string | undefined {
  if (normaliseHostname(text) !== undefined) return undefined;
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (name === '') return 'is empty';
  const odd = /[^a-z0-9_.-]/i.exec(name);
  if (odd !== null) return characterFault(name.codePointAt(odd.index)!);
  if (name.length > hostnameCharactersMax) return `is longer than ${hostnameCharactersMax} characters`;
  const labels = name.split('.');
  if (labels.includes('')) return 'has an empty label';
  if (labels.some((label) => label.length > labelCharactersMax)) {
    return `has a label longer than ${labelCharactersMax} characters`;
  }
  if (labels.some((label) => label.startsWith('-') || label.endsWith('-'))) {
    return 'has a label that begins or ends with a hyphen';
  }
  return 'is an IP address or ends in a number, which is not a host name';
}

/** `app.example.com` or `*.example.com`; the star stands alone, first, once. */
export function parseHostPattern(text: string): HostPattern | HostPatternRefusal {
  if (text === '*') {
    return refused('is a bare "*": set default_backend to take every other name');
  }
  if (text === '*.' || text === '*..') return refused('names nothing after "*."');
  const wildcard = text.startsWith('*.');
  const rest = wildcard ? text.slice(2) : text;
  if (rest.includes('*')) {
    return refused('has a "*" that is not the whole first label; write "*.example.com"');
  }
  const fault = hostnameFault(rest);
  if (fault !== undefined) return refused(fault);
  const name = normaliseHostname(rest)!;
  if (!wildcard) return { kind: 'exact', name };
  if (name.length + 2 > hostnameCharactersMax) {
    return refused(`leaves no room for a label: no name below it fits ${hostnameCharactersMax} characters`);
  }
  return { kind: 'wildcard', name };
}

/** The pattern as people write it. parseHostPattern reads it back. */
export function formatHostPattern(pattern: HostPattern): string {
  return pattern.kind === 'wildcard' ? `*.${pattern.name}` : pattern.name;
}

const dot = 0x2e;
const hyphen = 0x2d;

const kinds = { refused: 0, plain: 1, upper: 2, hyphen: 3, dot: 4 } as const;

const characterKinds = new Uint8Array(128);
characterKinds.fill(kinds.plain, 0x30, 0x3a);
characterKinds.fill(kinds.plain, 0x61, 0x7b);
characterKinds.fill(kinds.upper, 0x41, 0x5b);
characterKinds[0x5f] = kinds.plain;
characterKinds[hyphen] = kinds.hyphen;
characterKinds[dot] = kinds.dot;

function refused(reason: string): HostPatternRefusal {
  return { kind: 'refused', reason };
}

/** Its characters are known to be good; what is left are length and hyphens. */
function isLabel(text: string, start: number, end: number): boolean {
  const length = end - start;
  return (
    length > 0 &&
    length <= labelCharactersMax &&
    text.charCodeAt(start) !== hyphen &&
    text.charCodeAt(end - 1) !== hyphen
  );
}

/** Decimal, octal or hexadecimal, as the lenient address parsers of C libraries and browsers read a last label. */
function isNumber(text: string, start: number, end: number): boolean {
  const first = text.charCodeAt(start);
  if (first < 0x30 || first > 0x39) return false;
  return /^([0-9]+|0x[0-9a-f]*)$/i.test(text.slice(start, end));
}

function characterFault(code: number): string {
  if (code > 0x7e) return 'has a character outside ASCII; write the name in its xn-- form';
  if (code <= 0x20 || code === 0x7f) return 'has a space or a control character';
  return `has a "${String.fromCharCode(code)}", which no host name may`;
}
