/** What went wrong with a call of the admin API, in one sentence: told by the server, or met on the way to it. */

import { Code, ConnectError } from '@connectrpc/connect';
import type { ControlErrorCode } from '../admin/control.ts';
import { BadRequestSchema } from '../admin/gen/google/rpc/error_details_pb.ts';

/** The server's codes, and what a client alone can meet. Stable. */
export type AdminErrorCode =
  | ControlErrorCode
  /** Nobody answers at the address. */
  | 'unreachable'
  /** TLS failed: the server's certificate, or ours, was not accepted. */
  | 'untrusted'
  /** The system or the server does not let us in. */
  | 'permission-denied'
  /** The call took too long; whether it was carried out is not known. */
  | 'timed-out'
  /** The caller gave up. */
  | 'canceled'
  /** A limit of the server was reached. */
  | 'resource-exhausted'
  /** The server is older than this call. */
  | 'unimplemented'
  /** The connection was lost; whether a change was carried out is not known. */
  | 'disconnected';

export class AdminError extends Error {
  readonly code: AdminErrorCode;
  /** The field of the request that is at fault, `route.hostname`; null when none is. */
  readonly field: string | null;

  constructor(code: AdminErrorCode, message: string, field: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AdminError';
    this.code = code;
    this.field = field;
  }
}

/**
 * Whatever a call rejected with. `address` is the server's, as it was given. `ofConnection` is what the connection
 * ended with, which says more than the call that was on it: a TLS alert, for one.
 */
export function toAdminError(error: unknown, address: string, ofConnection?: unknown): AdminError {
  if (error instanceof AdminError) return error;
  const codes = [...systemCodes(ofConnection), ...systemCodes(error)];
  // Not by us: the connection went away under the call.
  if (streamClosed.test(ConnectError.from(error).rawMessage)) codes.push('ERR_HTTP2_STREAM_CANCEL');
  return fromTls(codes, address, error) ?? fromSystem(codes, address, error) ?? fromServer(error, address);
}

const serverCodes: Partial<Record<Code, AdminErrorCode>> = {
  [Code.Canceled]: 'canceled',
  [Code.InvalidArgument]: 'invalid-argument',
  [Code.DeadlineExceeded]: 'timed-out',
  [Code.NotFound]: 'not-found',
  [Code.AlreadyExists]: 'already-exists',
  [Code.PermissionDenied]: 'permission-denied',
  [Code.Unauthenticated]: 'permission-denied',
  [Code.ResourceExhausted]: 'resource-exhausted',
  [Code.FailedPrecondition]: 'failed-precondition',
  [Code.Aborted]: 'aborted',
  [Code.Unimplemented]: 'unimplemented',
  [Code.Unavailable]: 'unavailable',
};

function fromServer(error: unknown, address: string): AdminError {
  const answer = ConnectError.from(error);
  const code = serverCodes[answer.code] ?? 'internal';
  if (code === 'timed-out')
    return new AdminError(code, `${address} did not answer in time`, null, { cause: error });
  const violation = answer.findDetails(BadRequestSchema)[0]?.fieldViolations[0];
  // Where a value is wrong, its field belongs into the sentence; elsewhere the sentence is whole without it.
  const message =
    code === 'invalid-argument' ? answer.rawMessage : (violation?.description ?? answer.rawMessage);
  return new AdminError(code, message, violation?.field ?? null, { cause: error });
}

/** Of a reset of the whole connection, and not of a signal of ours. */
const streamClosed = /^http\/2 stream closed with error code CANCEL/;

const absent = new Set([
  'ENOENT',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTSOCK',
]);
const lost = new Set([
  ...['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_HTTP2_ERROR', 'ERR_HTTP2_SESSION_ERROR'],
  ...['ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_INVALID_SESSION', 'ERR_HTTP2_STREAM_CANCEL'],
]);

function fromSystem(codes: readonly string[], address: string, cause: unknown): AdminError | null {
  const found = (known: ReadonlySet<string>): boolean => codes.some((code) => known.has(code));
  if (found(absent)) return new AdminError('unreachable', `no server answers at ${address}`, null, { cause });
  if (codes.includes('ETIMEDOUT')) {
    return new AdminError('unreachable', `no server answers at ${address} in time`, null, { cause });
  }
  if (codes.includes('EACCES') || codes.includes('EPERM')) {
    return new AdminError('permission-denied', `${address} may be opened by its owner only`, null, { cause });
  }
  if (!found(lost)) return null;
  const others =
    'what answers there is no admin API, or does not accept how we come: TLS, and our certificate';
  const message = `the connection to ${address} was lost; ${address.startsWith('unix:') ? 'the server may have ended' : `perhaps ${others}`}`;
  return new AdminError('disconnected', message, null, { cause });
}

function fromTls(codes: readonly string[], address: string, cause: unknown): AdminError | null {
  const code = codes.find((each) => tlsCode.test(each));
  if (code === undefined) return null;
  const message = tlsSentences.find(([pattern]) => pattern.test(code))![1](address);
  return new AdminError('untrusted', message, null, { cause });
}

const tlsCode =
  /^(ERR_SSL_|ERR_TLS_|ERR_OSSL_|EPROTO$|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH)/;

const tlsSentences: readonly (readonly [RegExp, (address: string) => string])[] = [
  [/ALERT_CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE/, (address) => `${address} asks for a client certificate`],
  [/ALERT_UNKNOWN_CA/, (address) => `${address} does not trust the authority of our client certificate`],
  [/ALERT_CERTIFICATE_EXPIRED/, () => 'our client certificate has expired'],
  [/ALERT/, (address) => `${address} does not accept our client certificate`],
  [/ALTNAME|HOSTNAME/, (address) => `the certificate of ${address} is for another name`],
  [/HAS_EXPIRED/, (address) => `the certificate of ${address} has expired`],
  [/WRONG_VERSION|PACKET_LENGTH|UNEXPECTED_MESSAGE|EPROTO/, (address) => `${address} does not speak TLS`],
  [/ERR_OSSL|BAD|NO_START_LINE|MISMATCH/, () => 'our certificate or key does not load, or they do not match'],
  [/./, (address) => `the certificate of ${address} is not from an authority we trust`],
];

/** Of the error and all its causes: `ECONNREFUSED`, `ERR_TLS_CERT_ALTNAME_INVALID`. */
function systemCodes(error: unknown): string[] {
  const codes: string[] = [];
  const pending = [error];
  // A chain of causes is short; the bound is for one that bites its tail.
  for (let at = 0; at < pending.length && at < 32; at++) {
    const each = pending[at];
    if (!(each instanceof Error)) continue;
    if ('code' in each && typeof each.code === 'string') codes.push(each.code);
    pending.push(each.cause, ...(each instanceof AggregateError ? each.errors : []));
  }
  return codes;
}
