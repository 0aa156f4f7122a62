/**
 * Which fields the encoder puts into its table. The right answer is by name for what is known, and learnt for
 * the rest: a name whose values keep changing spends its credit and is inserted only when a value comes twice.
 */

export interface IndexingPolicy {
  /** Values that differ from message to message: a table entry would only push out a useful one. */
  readonly changing: ReadonlySet<string>;
  /** Values that no table on the way may keep, whatever their length (RFC 7541 §7.1). */
  readonly sensitive: ReadonlySet<string>;
  /** As sensitive while the value is shorter than `guessableCharsMax`: it could be guessed through the table. */
  readonly guessable: ReadonlySet<string>;
}

export const guessableCharsMax = 20;

export const defaultPolicy: IndexingPolicy = {
  changing: new Set([
    'age',
    'cf-ray',
    'content-length',
    'content-range',
    'date',
    'etag',
    'expires',
    'grpc-timeout',
    'if-match',
    'if-modified-since',
    'if-none-match',
    'if-range',
    'if-unmodified-since',
    'last-modified',
    'location',
    'range',
    'retry-after',
    'sec-websocket-key',
    'traceparent',
    'tracestate',
    'x-amzn-trace-id',
    'x-b3-spanid',
    'x-b3-traceid',
    'x-correlation-id',
    'x-envoy-upstream-service-time',
    'x-request-id',
  ]),
  sensitive: new Set([
    'authorization',
    'proxy-authorization',
    'set-cookie',
    'x-amz-security-token',
    'x-api-key',
    'x-auth-token',
    'x-csrf-token',
    'x-xsrf-token',
  ]),
  guessable: new Set(['cookie']),
};

export type Indexing = 'insert' | 'literal' | 'never';

/** What the name alone says; what it leaves open is learnt by the value. */
export function indexingOf(policy: IndexingPolicy, name: string, value: string): Indexing {
  if (policy.sensitive.has(name)) return 'never';
  if (policy.guessable.has(name) && value.length < guessableCharsMax) return 'never';
  return policy.changing.has(name) ? 'literal' : 'insert';
}
