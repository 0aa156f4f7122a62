/** The kinds of value that egress settings take: patterns, ports, paths of requests, header tables. */

import { domainToASCII } from 'node:url';
import {
  formatTargetPattern,
  compilePathRegex,
  parseAclPattern,
  PatternFault,
} from '../model/target-pattern.ts';
import { RegexFault } from '../core/linear-regex.ts';
import { headerName, headerValue, Refusal, type Kind } from './kinds.ts';
import { isTable } from './reader.ts';

/** A host as the YAML form writes it; the canonical spelling of target-pattern.ts comes out. */
export function aclPattern(): Kind<string> {
  return textKind(
    'target',
    'a host such as "github.com", "*.example.com", or a regular expression such as "^.*\\\\.example\\\\.com$"',
    (text) => {
      const pattern = parseAclPattern(/[^\0-\x7f]/.test(text) ? domainToASCII(text) || text : text);
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

function textKind<T>(name: string, expected: string, read: (text: string) => T | Refusal): Kind<T> {
  return {
    name,
    expected,
    json: { type: 'string' },
    fromText: (text) => text,
    read: (raw) => (typeof raw === 'string' && raw.isWellFormed() ? read(raw) : new Refusal()),
  };
}
