/**
 * What the value of a policy means. One grammar for each type; configuration stores the canonical spelling, the data
 * path runs by what was parsed.
 */
import { formatDuration, formatSize, parseDuration, parseSize } from '../core/quantity.ts';
import type { PolicyType } from './settings.ts';

export type ParsedPolicy =
  /** Refuses a user agent that contains the text, case and all. */
  | { readonly type: 'block_user_agent'; readonly text: string }
  /** Refuses a request without a field of that name, in lower case. */
  | { readonly type: 'require_header'; readonly name: string }
  /** Refuses a method that is not among them. */
  | { readonly type: 'allow_methods'; readonly methods: readonly string[] }
  /** Refuses a request body of more bytes. */
  | { readonly type: 'max_body'; readonly bytesMax: number }
  /** Refuses more requests of one key in a window. The key is the client's address, or the value of a header. */
  | {
      readonly type: 'rate_limit';
      readonly requests: number;
      readonly windowMs: number;
      /** In lower case; null: by the client's address. A request without the header is keyed by its address. */
      readonly header: string | null;
    };

/** Why a value was not taken. */
export interface PolicyFault {
  readonly type: 'fault';
  /** Completes "expected …". */
  readonly expected: string;
  /** What was probably meant, and would be taken. */
  readonly suggestion: string | null;
}

export const policyValueCharactersMax = 1024;
export const policyMethodsMax = 32;
export const policyBodyBytesMax = 2 ** 40;
export const policyRequestsMax = 1_000_000;
const second = 1000;
const day = 86_400_000;

/** RFC 9110 §5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export function isToken(text: string): boolean {
  return token.test(text);
}

/** Takes every spelling of a value that has one meaning. */
export function parsePolicy(type: PolicyType, value: string): ParsedPolicy | PolicyFault {
  switch (type) {
    case 'block_user_agent':
      return value === '' ? fault('a part of a User-Agent, which is not empty') : { type, text: value };
    case 'require_header':
      return isToken(value) ? { type, name: value.toLowerCase() } : fault(headerExpected);
    case 'allow_methods':
      return parseMethods(value);
    case 'max_body':
      return parseMaxBody(value);
    case 'rate_limit':
      return parseRateLimit(value);
  }
}

/** The one spelling of a meaning: what is stored, and what rule ids carry. */
export function formatPolicy(policy: ParsedPolicy): string {
  switch (policy.type) {
    case 'block_user_agent':
      return policy.text;
    case 'require_header':
      return policy.name;
    case 'allow_methods':
      return policy.methods.join(',');
    case 'max_body':
      return formatSize(policy.bytesMax);
    case 'rate_limit': {
      const { requests, windowMs, header } = policy;
      return `${requests}/${formatDuration(windowMs)}${header === null ? '' : ` by ${header}`}`;
    }
  }
}

const headerExpected = 'the name of a header such as "x-api-key": letters, digits and !#$%&\'*+-.^_`|~';
const methodsExpected = `methods such as "GET,HEAD,POST", at most ${policyMethodsMax}, in capitals`;
const bodyExpected = `a size such as "10MiB", at most ${formatSize(policyBodyBytesMax)}`;
const rateExpected =
  `requests and a window such as "100/1m", or "100/1m by x-api-key" for each value of a header; ` +
  `at most ${policyRequestsMax} requests, from 1s to 1d`;

function parseMethods(value: string): ParsedPolicy | PolicyFault {
  const methods = [...new Set(value.split(',').map((method) => method.trim()))];
  if (methods.length > policyMethodsMax || !methods.every(isToken)) return fault(methodsExpected);
  // Methods are case-sensitive (RFC 9110 §9.1), and nobody means `get`.
  const capitals = methods.map((method) => method.toUpperCase());
  if (methods.some((method, index) => method !== capitals[index])) {
    return fault(methodsExpected, [...new Set(capitals)].join(','));
  }
  if (methods.includes('CONNECT')) return fault(`${methodsExpected}; CONNECT is never served`);
  return { type: 'allow_methods', methods };
}

function parseMaxBody(value: string): ParsedPolicy | PolicyFault {
  const bytesMax = parseSize(value);
  if (bytesMax !== undefined && bytesMax <= policyBodyBytesMax) return { type: 'max_body', bytesMax };
  return fault(bodyExpected, /^\d{1,13}$/.test(value) ? `${value}B` : null);
}

function parseRateLimit(value: string): ParsedPolicy | PolicyFault {
  const match = /^(\d{1,7})\s*\/\s*(\w+?)(?:\s+by\s+(\S+))?$/.exec(value);
  if (match === null) return fault(rateExpected);
  const requests = Number(match[1]);
  const windowMs = parseDuration(match[2]!);
  const header = match[3] ?? null;
  if (requests < 1 || requests > policyRequestsMax) return fault(rateExpected);
  if (windowMs === undefined || windowMs < second || windowMs > day) {
    return fault(rateExpected, /^[smhd]$/.test(match[2]!) ? value.replace(/\/\s*/, '/1') : null);
  }
  if (header !== null && !isToken(header)) return fault(rateExpected);
  return { type: 'rate_limit', requests, windowMs, header: header && header.toLowerCase() };
}

function fault(expected: string, suggestion: string | null = null): PolicyFault {
  return { type: 'fault', expected, suggestion };
}
