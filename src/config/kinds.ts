/**
 * The kinds of value a setting may take. Each says what it expects, to people and to editors, and reads a raw value
 * of TOML, YAML or the environment into the value that the program runs by, or refuses it. None throws.
 */

import { isAbsolute, resolve } from 'node:path';
import { formatHostPattern, parseHostPattern } from '../core/hostname.ts';
import { formatCidr, formatIp, parseCidr, parseIp } from '../core/ip.ts';
import { canonicalPrefix, normalisePath, pathPrefixFault } from '../model/path-prefix.ts';
import { isToken } from '../model/policy-value.ts';
import type { AdminAddress, EndpointAddress, ListenAddress, SecretReference } from '../model/settings.ts';
import { parseAdminAddress, parseEndpoint, parseListenAddress, toAscii } from './address.ts';
import { countries } from './countries.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../core/quantity.ts';
import { nearestName } from './suggestion.ts';

/** As much of JSON Schema as editors need. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Where relative paths are counted from; null where a caller has no such place and they are refused. */
export type Directory = string | null;

export interface Kind<T> {
  /** For the reference: `duration`. */
  readonly name: string;
  /** Completes "expected …". */
  readonly expected: string;
  readonly json: JsonSchema;
  /** True: what was found may be a secret and is not shown. */
  readonly isHidden?: true;
  /** What the text of an environment variable is, raw. */
  fromText(text: string): unknown;
  /** `directory` is the one that relative paths are counted from; null refuses them. */
  read(raw: unknown, directory: Directory): T | Refusal;
}

/** Why a value was not taken, as far as more is known than "not what was expected". */
export class Refusal {
  /** Completes "found X, which …". */
  readonly fault: string | null;
  /** A value that would have been taken. */
  readonly suggestion: string | null;

  constructor(fault: string | null = null, suggestion: string | null = null) {
    this.fault = fault;
    this.suggestion = suggestion;
  }
}

const plainRefusal = new Refusal();
const relativeRefusal = new Refusal('is relative and must be an absolute path here');

export function boolean(): Kind<boolean> {
  return {
    name: 'boolean',
    expected: 'true or false',
    json: { type: 'boolean' },
    fromText: (text) => (text === 'true' ? true : text === 'false' ? false : text),
    read: (raw) => (typeof raw === 'boolean' ? raw : plainRefusal),
  };
}

export function integer(least: number, most: number): Kind<number> {
  return {
    name: 'integer',
    expected: `a whole number from ${least} to ${most}`,
    json: { type: 'integer', minimum: least, maximum: most },
    fromText: numberOrText,
    read: (raw) => (isWholeNumber(raw) && raw >= least && raw <= most ? raw : plainRefusal),
  };
}

/** A number, or one word that stands for a number only the machine knows. */
export function integerOr<const W extends string>(word: W, least: number, most: number): Kind<number | W> {
  const number = integer(least, most);
  return {
    name: `"${word}" or integer`,
    expected: `"${word}" or ${number.expected}`,
    json: { anyOf: [{ const: word }, number.json] },
    fromText: numberOrText,
    read: (raw, directory) => (raw === word ? word : number.read(raw, directory)),
  };
}

export function oneOf<const T extends string>(words: readonly T[]): Kind<T> {
  return {
    name: words.map((word) => `"${word}"`).join(' or '),
    expected: words.length === 1 ? `"${words[0]}"` : `one of ${words.map((word) => `"${word}"`).join(', ')}`,
    json: { enum: words },
    fromText: (text) => text,
    read(raw) {
      const word = words.find((each) => each === raw);
      if (word !== undefined) return word;
      return typeof raw === 'string' ? new Refusal(null, nearestName(raw, words)) : plainRefusal;
    },
  };
}

/** Milliseconds. */
export function duration(leastMs: number, mostMs: number): Kind<number> {
  return {
    name: 'duration',
    expected: `a duration such as "30s", from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}`,
    json: { type: 'string', pattern: '^(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?$', minLength: 2 },
    fromText: (text) => text,
    read(raw) {
      if (typeof raw === 'number') return withUnit(raw, 's', (text) => this.read(text, ''));
      const durationMs = typeof raw === 'string' ? parseDuration(raw) : undefined;
      return durationMs !== undefined && durationMs >= leastMs && durationMs <= mostMs
        ? durationMs
        : plainRefusal;
    },
  };
}

/** Bytes. */
export function size(least: number, most: number): Kind<number> {
  return {
    name: 'size',
    expected: `a size such as "16KiB", from ${formatSize(least)} to ${formatSize(most)}`,
    json: { type: 'string', pattern: '^\\d+(B|KiB|MiB|GiB)$' },
    fromText: (text) => text,
    read(raw) {
      if (typeof raw === 'number') return withUnit(raw, 'B', (text) => this.read(text, ''));
      const bytes = typeof raw === 'string' ? parseSize(raw) : undefined;
      return bytes !== undefined && bytes >= least && bytes <= most ? bytes : plainRefusal;
    },
  };
}

/** An absolute path. */
export function filePath(): Kind<string> {
  return text('path', 'the path of a file', readPath);
}

/** Where a secret stands: an absolute path, or `env:` and the name of an environment variable. Never the secret. */
export function secret(): Kind<SecretReference> {
  const expected = 'the path of a file, or "env:" and the name of an environment variable';
  return text('secret', expected, (value, directory) => {
    if (!value.startsWith('env:')) return readPath(value, directory);
    return /^env:[A-Za-z_]\w{0,254}$/.test(value) ? value : plainRefusal;
  });
}

/** One line of text, which is not empty. */
export function line(charactersMax: number): Kind<string> {
  const expected = `text of 1 to ${charactersMax} characters without control characters`;
  const kind = text('text', expected, (value) => {
    if (value === '') return plainRefusal;
    if (value.length > charactersMax) return new Refusal(`has ${value.length} characters`);
    return /\p{Cc}/u.test(value) ? plainRefusal : value;
  });
  return { ...kind, json: { type: 'string', minLength: 1, maxLength: charactersMax } };
}

/** A canonical IP literal. */
export function ipAddress(): Kind<string> {
  return text('IP address', 'an IP address such as "192.0.2.1" or "2001:db8::1"', (value) => {
    const ip = parseIp(value);
    if (ip !== undefined) return formatIp(ip);
    return new Refusal(parseCidr(value) === undefined ? null : 'is a network: name it among the CIDRs');
  });
}

/** A canonical CIDR. Bits beyond the prefix are refused: either the address or the prefix is a slip. */
export function cidr(): Kind<string> {
  return text('CIDR', 'a network such as "192.0.2.0/24" or "2001:db8::/32"', (value) => {
    const parsed = parseCidr(value);
    if (parsed === undefined) return plainRefusal;
    const canonical = formatCidr(parsed.cidr);
    if (!value.includes('/')) return new Refusal('has no prefix length', canonical);
    return parsed.hostBitsSet ? new Refusal('has bits set beyond its prefix', canonical) : canonical;
  });
}

/** Upper case. */
export function country(): Kind<string> {
  return text('country', 'an ISO 3166-1 country code of two letters such as "DE"', (value) => {
    const code = value.toUpperCase();
    if (countries.has(code)) return code;
    return code === 'UK' ? new Refusal(null, 'GB') : plainRefusal;
  });
}

/** `app.example.com` or `*.example.com`, normalised. */
export function hostPattern(): Kind<string> {
  return text('hostname', 'a hostname such as "app.example.com" or "*.example.com"', (value) => {
    const pattern = parseHostPattern(
      value.startsWith('*.') ? `*.${toAscii(value.slice(2))}` : toAscii(value),
    );
    return pattern.kind === 'refused' ? new Refusal(pattern.reason) : formatHostPattern(pattern);
  });
}

/** `app.example.com`, normalised; no wildcard. */
export function hostName(): Kind<string> {
  return text('hostname', 'a hostname such as "app.example.com"', (value) => {
    const pattern = parseHostPattern(toAscii(value));
    if (pattern.kind === 'refused') return new Refusal(pattern.reason);
    return pattern.kind === 'exact' ? pattern.name : new Refusal('is a pattern');
  });
}

/** Canonical: without a slash at its end, so `/` is empty. */
export function pathPrefix(): Kind<string> {
  return text('path', 'a path such as "/api"', (value) => {
    const prefix = canonicalPrefix(value);
    const fault = prefix === '' && value !== '' ? null : pathPrefixFault(prefix);
    if (fault === null) return prefix;
    const meant = canonicalPrefix(normalisePath(value.startsWith('/') ? value : `/${value}`));
    const isRight = meant !== prefix && pathPrefixFault(meant) === null;
    return new Refusal(`is none that ${fault}`, isRight ? meant : null);
  });
}

/** In lower case. */
export function headerName(): Kind<string> {
  return text('header name', 'the name of a header such as "x-api-key"', (value) => {
    return isToken(value) && value.length <= 256 ? value.toLowerCase() : plainRefusal;
  });
}

/** RFC 9110 §5.5, without bytes beyond ASCII: nobody agrees on what those mean. May be empty. */
export function headerValue(): Kind<string> {
  const expected =
    'the value of a header: printable ASCII, at most 8192 characters, without spaces around it';
  return text('header value', expected, (value) => {
    return value.length <= 8192 && /^(?:[!-~](?:[\t -~]*[!-~])?)?$/.test(value) ? value : plainRefusal;
  });
}

export function listenAddress(): Kind<ListenAddress> {
  const expected = 'an address such as ":443", "127.0.0.1:8443" or "[::1]:8443"';
  const kind = text('listen address', expected, (value) => {
    return parseListenAddress(value) ?? listenRefusal(value);
  });
  return {
    ...kind,
    read: (raw, directory) => kind.read(typeof raw === 'number' ? `${raw}` : raw, directory),
  };
}

export function adminAddress(): Kind<AdminAddress> {
  const expected = 'an address such as "127.0.0.1:9443", "[::1]:9443" or "unix:/run/portcullis.sock"';
  return text('admin address', expected, (value, directory) => {
    if (isRelativeSocket(value, directory)) return relativeRefusal;
    const address = parseAdminAddress(value, directory ?? '/');
    if (address !== undefined) return address;
    return value.startsWith('unix:') || value.startsWith('/') ? endpointRefusal(value) : listenRefusal(value);
  });
}

export function endpoint(): Kind<EndpointAddress> {
  const expected =
    'an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock"';
  return text('backend address', expected, (value, directory) => {
    if (isRelativeSocket(value, directory)) return relativeRefusal;
    return parseEndpoint(value, directory ?? '/') ?? endpointRefusal(value);
  });
}

function text<T>(
  name: string,
  expected: string,
  read: (value: string, directory: Directory) => T | Refusal,
): Kind<T> {
  return {
    name,
    expected,
    json: { type: 'string' },
    fromText: (value) => value,
    // Half a surrogate pair is no text that a file could hold.
    read: (raw, directory) =>
      typeof raw === 'string' && raw.isWellFormed() ? read(raw, directory) : plainRefusal,
  };
}

function readPath(value: string, directory: Directory): string | Refusal {
  if (value === '' || value.includes('\0')) return plainRefusal;
  return directory === null && !isAbsolute(value) ? relativeRefusal : resolve(directory ?? '/', value);
}

function isRelativeSocket(value: string, directory: Directory): boolean {
  return directory === null && /^unix:[^/]/.test(value);
}

function listenRefusal(value: string): Refusal {
  if (/^\d+$/.test(value)) return suggested(`:${value}`, parseListenAddress);
  if (value.startsWith('*:')) return suggested(value.slice(1), parseListenAddress);
  if (value.startsWith('localhost:')) return suggested(`127.0.0.1${value.slice(9)}`, parseListenAddress);
  if (/:.*:/.test(value)) return suggested(bracketed(value), parseListenAddress);
  return plainRefusal;
}

function endpointRefusal(value: string): Refusal {
  if (value.startsWith('unix:')) return new Refusal('is empty or longer than the 107 bytes of a socket path');
  if (value.startsWith('/')) return suggested(`unix:${value}`, (path) => parseEndpoint(path, '/'));
  if (/^\w+:\/\//.test(value)) {
    return suggested(value.replace(/^\w+:\/\//, '').replace(/\/.*$/, ''), (rest) => parseEndpoint(rest, '/'));
  }
  if (/:.*:/.test(value)) return suggested(bracketed(value), (address) => parseEndpoint(address, '/'));
  return new Refusal(value.includes(':') ? null : 'has no port');
}

/** A number where a quantity was wanted: the unit is missing, and the rest may be right. */
function withUnit(raw: number, unit: string, read: (text: string) => unknown): Refusal {
  const guess = `${raw}${unit}`;
  return new Refusal('has no unit', read(guess) instanceof Refusal ? null : guess);
}

/** A guess is only worth showing when it would be taken. */
function suggested(guess: string, parse: (text: string) => unknown): Refusal {
  return parse(guess) === undefined ? plainRefusal : new Refusal(null, guess);
}

/** `::1:443` → `[::1]:443`. */
function bracketed(value: string): string {
  return value.replace(/^(.*):(\d+)$/, '[$1]:$2');
}

function numberOrText(text: string): unknown {
  return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
}

function isWholeNumber(raw: unknown): raw is number {
  return typeof raw === 'number' && Number.isSafeInteger(raw);
}
