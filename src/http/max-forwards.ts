/**
 * `Max-Forwards` of TRACE and OPTIONS (RFC 9110 §7.6.2): one is taken off on the way, and where none is left we are
 * the last to see the request.
 */
import { getField, setField, type RequestHead } from '../codec/http-message.ts';
import { errorAnswer } from './error-answer.ts';
import type { FilterAnswer } from './filter.ts';

/** Null: the request goes on. A TRACE is not said back: what a browser was kept from reading would stand in it. */
export function spendForward({ method, fields }: RequestHead): FilterAnswer | null {
  if (method !== 'OPTIONS' && method !== 'TRACE') return null;
  const value = getField(fields, 'max-forwards');
  if (value === undefined) return null;
  if (!/^\d{1,9}$/.test(value)) return errorAnswer('request-malformed');
  const left = Number(value);
  if (left === 0) {
    if (method === 'TRACE') return errorAnswer('method-refused');
    return { status: 204, reason: 'answered', ruleId: null };
  }
  setField(fields, 'max-forwards', String(left - 1));
  return null;
}
