/**
 * The rules an exchange goes by, apart from its mechanics: what may be sent twice, how long whom is waited for,
 * and what an end is called.
 */
import { reasons, type Reason } from '../core/reason.ts';
import { getField, type FieldList } from '../codec/http-message.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import { isGrpcType } from './request-traits.ts';

/**
 * A client that waits for 100 gets ours when the backend has said nothing for this long. The expectation itself is
 * forwarded and the backend's own 100 passed back (RFC 9110 §10.1.1; HAProxy does the same; nginx and Envoy answer
 * at once, and the backend loses its chance to refuse before the body). The second is curl's own patience: clients
 * that have none would wait for a backend that ignores expectations for ever.
 */
export const continueWaitMs = 1000;

/** How long the end of a request is waited for, and the leaving of the answer, before its stream is looked at again. */
export const lingerMs = 5000;

/** Interim responses that are passed on for one request: more of them than any server has steps to tell of. */
export const interimMax = 64;

/**
 * Sessions watch the pace of their own peers. An exchange looks no closer than this many times `bodyIdleTimeoutMs`:
 * should a session fail to, nothing is held for ever.
 */
const peerPatience = 4;

/** Methods whose second arrival changes nothing (RFC 9110 §9.2.2). */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case 'GET':
    case 'HEAD':
    case 'OPTIONS':
    case 'PUT':
    case 'DELETE':
    case 'TRACE':
      return true;
    default:
      return false;
  }
}

/** Responses that say nothing for long and are well: server-sent events, gRPC streams. */
export function isStreamed(fields: FieldList): boolean {
  const type = getField(fields, 'content-type');
  return type !== undefined && (type.startsWith('text/event-stream') || isGrpcType(type));
}

/** Why the backend's side ended: an end that would be fine for a connection is none for a request. */
export function upstreamReason(reason: Reason): Reason {
  return reasons[reason].outcome === 'served' ? 'upstream-reset' : reason;
}

/** Why the client's side ended. */
export function downstreamReason(reason: Reason): Reason {
  if (reason === 'drained') return reason;
  return reasons[reason].outcome === 'served' || reason === 'client-gone' ? 'client-cancelled' : reason;
}

/** Whom an exchange waits for. */
/** `half-tunnel`: one side of a tunnel has ended, and may have vanished without the other's hearing of it. */
export type Waiting =
  'filter' | 'session' | 'request' | 'backend' | 'response' | 'taker' | 'tunnel' | 'half-tunnel';

/** How long, without progress (ms). `isStreamed`: silence is no fault. */
export function patienceMs(waiting: Waiting, http: HttpSettings, isStream: boolean): number {
  switch (waiting) {
    case 'filter':
    case 'session':
    case 'backend':
      return http.responseTimeoutMs;
    case 'response':
      return isStream ? http.tunnelIdleTimeoutMs : http.bodyIdleTimeoutMs;
    case 'request':
      return isStream ? http.tunnelIdleTimeoutMs : peerPatience * http.bodyIdleTimeoutMs;
    case 'taker':
      return peerPatience * http.bodyIdleTimeoutMs;
    case 'tunnel':
      return http.tunnelIdleTimeoutMs;
    case 'half-tunnel':
      return Math.min(http.tunnelIdleTimeoutMs, http.bodyIdleTimeoutMs);
  }
}

/** What it is called when that time has passed. */
export const stallReasons: Readonly<Record<Waiting, Reason>> = {
  filter: 'internal-error',
  session: 'upstream-timeout',
  request: 'request-timeout',
  backend: 'upstream-timeout',
  response: 'body-stalled',
  taker: 'body-stalled',
  tunnel: 'idle-timeout',
  'half-tunnel': 'idle-timeout',
};
