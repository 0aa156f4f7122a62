/** The first of the three kinds of wrong: the peer's. The environment is answered with values, ourselves we assert. */

/** Who sent what could not be understood. */
export type ErrorSource = 'downstream' | 'upstream' | 'internal';

/**
 * What a peer sent breaks its protocol. The only error a codec raises.
 *
 * `code` is stable, documented and never reused; `message` is for people and may change. A message never
 * carries bytes of the peer.
 */
export class ProtocolError extends Error {
  readonly code: string;
  readonly source: ErrorSource;
  /** True when the same bytes may be sent again on a fresh connection without harm. */
  readonly retrySafe: boolean;

  constructor(code: string, message: string, source: ErrorSource = 'downstream', retrySafe = false) {
    super(message);
    this.name = 'ProtocolError';
    this.code = code;
    this.source = source;
    this.retrySafe = retrySafe;
  }
}

/** Our own fault. On the data path it resets one connection (`internal-error`); elsewhere it ends the caller's work. */
export class AssertionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'AssertionError';
  }
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
