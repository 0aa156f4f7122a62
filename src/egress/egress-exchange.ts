/** A request through the proxy: an exchange that remembers how it was judged, and what is sent in its name. */
import { getJoined, removeField, setField, type FieldList, type RequestHead } from '../codec/http-message.ts';
import type { Reason } from '../core/reason.ts';
import { Exchange } from '../http/exchange.ts';
import type { FilterAnswer } from '../http/filter.ts';
import { credentialsFor, type Subject, type Verdict } from './decision.ts';
import { wayOf, type EgressRuntime } from './runtime.ts';
import { authorityOf, type Target } from './target.ts';

export class EgressExchange extends Exchange {
  /** Null until it was judged. */
  verdict: Verdict | null = null;
}

/** The answer to what may not leave. */
export function refusalAnswer(verdict: Verdict): FilterAnswer {
  const reason: Reason = verdict.reason === 'allowed' ? 'host-blocked' : verdict.reason;
  return { status: 403, reason, ruleId: verdict.ruleId };
}

/** Makes a client's head the one that leaves: canonical authority, rewrites, credentials, and nothing of the proxy's. */
export function prepareHead(
  head: RequestHead,
  id: string,
  via: string,
  target: Target,
  subject: Subject,
  verdict: Verdict,
  runtime: EgressRuntime,
): void {
  const { scheme } = wayOf(target, verdict, false);
  const { fields } = head;
  head.scheme = scheme;
  head.authority = authorityOf(target);
  dropProxyFields(fields);
  setField(fields, 'x-request-id', id);
  const before = getJoined(fields, 'via');
  setField(fields, 'via', before === undefined ? via : `${before}, ${via}`);
  if (verdict.rewrite !== null) {
    const { dropHeaders, headers } = verdict.rewrite.settings;
    for (const name of dropHeaders) removeField(fields, name);
    for (const [name, value] of headers) {
      if (name === 'host') head.authority = value;
      else setField(fields, name, value);
    }
  }
  // A secret never crosses the network in the clear.
  if (scheme !== 'https') return;
  for (const { settings } of credentialsFor(runtime.policy, subject)) {
    setField(fields, settings.header, settings.prefix + runtime.secret(settings.secret));
  }
}

/** Whatever a client told the proxy is nobody else's business. */
function dropProxyFields(fields: FieldList): void {
  for (let at = fields.length - 2; at >= 0; at -= 2) {
    if (fields[at]!.startsWith('proxy-')) fields.splice(at, 2);
  }
}
