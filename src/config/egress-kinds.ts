/** The kinds of value that egress settings take: patterns, ports, paths of requests, header tables. */

import {
  formatTargetPattern,
  compilePathRegex,
  parseAclPattern,
  parseTargetPattern,
  PatternFault,
  type TargetPattern,
} from '../model/target-pattern.ts';
import { RegexFault } from '../core/linear-regex.ts';
import type { ParentProxySettings } from '../model/egress-settings.ts';
import { isToken } from '../model/policy-value.ts';
import { parseEndpoint, toAscii } from './address.ts';
import { headerName, headerValue, Refusal, type Kind } from './kinds.ts';
import { isTable } from './reader.ts';

/** A host as the project's own form writes it; the canonical spelling of target-pattern.ts comes out. */
export function targetPattern(): Kind<string> {
  const expected =
    'a host such as "github.com", "*.example.com" or an address, or "~" and a regular expression such as ' +
    '"~^api[0-9]+\\\\.example\\\\.com$"';
  return textKind('target', expected, (text) => {
    const pattern = parseTargetPattern(text.startsWith('~') ? text : asciiPattern(text));
    if (!(pattern instanceof PatternFault)) return formatTargetPattern(pattern);
    // Whoever writes an expression as such has left out the mark.
    const marked = /[\\^$+?()[\]{}|]/.test(text) && !text.startsWith('~') ? `~${text}` : null;
    const isRight =
      marked !== null && /^[ -~]*$/.test(marked) && !(parseTargetPattern(marked) instanceof PatternFault);
    return new Refusal(pattern.reason, isRight ? marked.replaceAll('\\', '\\\\') : null);
  });
}

/** A host as the YAML form writes it; the canonical spelling of target-pattern.ts comes out. */
export function aclPattern(): Kind<string> {
  return textKind(
    'target',
    'a host such as "github.com", "*.example.com", or a regular expression such as "^.*\\\\.example\\\\.com$"',
    (text) => {
      const pattern: TargetPattern | PatternFault = parseAclPattern(asciiPattern(text));
      return pattern instanceof PatternFault ? new Refusal(pattern.reason) : formatTargetPattern(pattern);
    },
  );
}

/** A regular expression that paths are held against, as it is written. */
export function pathRegex(): Kind<string> {
  return textKind('regular expression', 'a regular expression for the path, such as "^/v1/"', (text) => {
    if (text === '') return new Refusal('is empty');
    const regex = compilePathRegex(text);
    return regex instanceof RegexFault ? new Refusal(regex.reason) : text;
  });
}

/** `8080` or `"8080"`. */
export function portNumber(): Kind<number> {
  return {
    name: 'port',
    expected: 'a port from 1 to 65535',
    json: { type: ['integer', 'string'] },
    fromText: (text) => text,
    read(raw) {
      const text = typeof raw === 'number' ? String(raw) : raw;
      if (typeof text !== 'string' || !/^[1-9]\d{0,4}$/.test(text)) return new Refusal();
      return Number(text) > 65_535 ? new Refusal('is above 65535') : Number(text);
    },
  };
}

/** One of a few words, in either case. */
export function upperCase<const T extends string>(words: readonly T[]): Kind<T> {
  return textKind('word', words.map((word) => `"${word}"`).join(' or '), (text) => {
    const word = words.find((each) => each === text.toUpperCase());
    return word ?? new Refusal();
  });
}

/** `true`, `"true"` or `1`: all that files and variables of that form are known to say. */
export function truthValue(): Kind<boolean> {
  const words = new Map([
    ['true', true],
    ['1', true],
    ['false', false],
    ['0', false],
  ]);
  return {
    name: 'boolean',
    expected: 'true or false',
    json: { enum: [true, false, 'true', 'false'] },
    fromText: (text) => text,
    read(raw) {
      if (typeof raw !== 'string' && typeof raw !== 'number' && typeof raw !== 'boolean')
        return new Refusal();
      return words.get(String(raw).toLowerCase()) ?? new Refusal();
    },
  };
}

/** A secret itself, in one line, or `env:` and the name of an environment variable. It is never shown. */
export function secretText(): Kind<string> {
  const kind = textKind('secret', 'a secret of one line, or "env:" and the name of a variable', (text) =>
    /^[^\p{Cc}]{1,1024}$/u.test(text) ? text : new Refusal(),
  );
  return { ...kind, isHidden: true };
}

/** A name, a header of its own, and its value; at most 100. */
export function headerTable(): Kind<readonly (readonly [string, string])[]> {
  const name = headerName();
  const value = headerValue();
  return {
    name: 'headers',
    expected: 'a table of header names and values',
    json: { type: 'object', additionalProperties: { type: 'string' } },
    fromText: (text) => text,
    read(raw, directory) {
      if (!isTable(raw)) return new Refusal();
      const fields: (readonly [string, string])[] = [];
      for (const [rawName, rawValue] of Object.entries(raw)) {
        // YAML reads `X-Retries: 3` as a number, and the header is its digits.
        const written =
          typeof rawValue === 'number' || typeof rawValue === 'boolean' ? String(rawValue) : rawValue;
        const readName = name.read(rawName, directory);
        const readValue = value.read(written, directory);
        if (readName instanceof Refusal) return new Refusal('has a name that is no header');
        if (readValue instanceof Refusal) return new Refusal('has a value that is no line of text');
        fields.push([readName.toLowerCase(), readValue]);
      }
      return fields.length > 100 ? new Refusal('has more than 100 headers') : fields;
    },
  };
}

/** In capitals: methods are told apart by case, and no server knows `get`. */
export function method(): Kind<string> {
  return textKind('method', 'a method such as "GET"', (text) => {
    if (!isToken(text) || text.length > 64) return new Refusal();
    const capitals = text.toUpperCase();
    return text === capitals ? text : new Refusal(null, capitals);
  });
}

/** Without a colon, which ends the user of Basic authentication. */
export function clientName(): Kind<string> {
  const expected = 'a name of 1 to 128 letters, digits and any of "._@-"';
  return textKind('name', expected, (text) => (/^[\w.@-]{1,128}$/.test(text) ? text : new Refusal()));
}

/** As the gateway takes it (RFC 7914). More than 64 MiB for each guess would let guessers do the harm. */
export function passwordHash(): Kind<string> {
  const expected = 'a hash "scrypt$N$r$p$salt$hash": N a power of two, N·r at most 524288, base64url';
  const kind = textKind('password hash', expected, (text) => {
    const match = /^scrypt\$(\d{1,8})\$(\d{1,2})\$(\d{1,2})\$[\w-]{8,128}\$[\w-]{22,128}$/.exec(text);
    if (match === null) return new Refusal();
    const [cost, blockSize, parallelization] = match.slice(1).map(Number) as [number, number, number];
    const isPower = cost >= 2 && (cost & (cost - 1)) === 0;
    const isBounded = blockSize >= 1 && parallelization >= 1 && 128 * cost * blockSize <= 64 * 2 ** 20;
    return isPower && isBounded ? text : new Refusal();
  });
  return { ...kind, isHidden: true };
}

export type ParentAddress = Pick<ParentProxySettings, 'kind' | 'host' | 'port' | 'username'>;

/** Where a parent proxy is. What was found is never shown: people write passwords into it. */
export function parentUrl(): Kind<ParentAddress> {
  const expected = '"http://host:port", "http://user@host:port" or the like with socks5';
  const kind = textKind<ParentAddress>('URL', expected, (text) => {
    const match = /^(http|socks5):\/\/(?:([^@/?#]*)@)?([^@/?#]+)\/?$/i.exec(text);
    if (match === null) return new Refusal();
    const user = match[2] === undefined ? null : decodeUser(match[2]);
    if (match[2]?.includes(':') === true)
      return new Refusal('holds a password: name where it stands in "password"');
    const address = parseEndpoint(match[3]!, '/');
    if (user === undefined || address?.kind !== 'tcp') return new Refusal();
    const scheme = match[1]!.toLowerCase() as 'http' | 'socks5';
    return { kind: scheme, host: address.host, port: address.port, username: user };
  });
  return { ...kind, isHidden: true };
}

/** The user of a URL; undefined when it is none that Basic and SOCKS5 could carry. */
function decodeUser(text: string): string | undefined {
  try {
    const user = decodeURIComponent(text);
    return /^[^:\p{Cc}]{1,255}$/u.test(user) && Buffer.byteLength(user) <= 255 ? user : undefined;
  } catch {
    return undefined;
  }
}

/** What stands before a secret in a header. A space at its end counts. */
export function headerPrefix(): Kind<string> {
  const expected = 'printable ASCII, at most 256 characters, without a space at its beginning';
  return textKind('text', expected, (text) => (/^(?:[!-~][ -~]{0,255})?$/.test(text) ? text : new Refusal()));
}

/** A name in letters of any script becomes its xn-- form, below `*.` too. */
function asciiPattern(text: string): string {
  return text.startsWith('*.') ? `*.${toAscii(text.slice(2))}` : toAscii(text);
}

function textKind<T>(name: string, expected: string, read: (text: string) => T | Refusal): Kind<T> {
  return {
    name,
    expected,
    json: { type: 'string' },
    fromText: (text) => text,
    read: (raw) => (typeof raw === 'string' && raw.isWellFormed() ? read(raw) : new Refusal()),
  };
}
