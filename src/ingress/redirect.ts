/** `redirect_https`: the same place, by https. */
import type { RequestHead } from '../codec/http-message.ts';
import { errorAnswer } from '../http/error-answer.ts';
import type { FilterAnswer } from '../http/filter.ts';
import { listenerRuleId } from '../model/rule-id.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { hostOf } from './request-router.ts';

const httpsPort = 443;

/** 308 keeps method and body (RFC 9110 §15.4.9). A host that is none is not said back. */
export function redirectToHttps(
  { authority, path }: RequestHead,
  snapshot: Snapshot,
  listener: string,
): FilterAnswer {
  const host = hostOf(authority);
  if (host === undefined || !path.startsWith('/')) return errorAnswer('request-malformed');
  const port = tlsPortOf(host, snapshot);
  return {
    status: 308,
    reason: 'redirected',
    ruleId: listenerRuleId(listener, 'redirect_https'),
    fields: ['location', `https://${host}${port === httpsPort ? '' : `:${port}`}${path}`],
    body: '',
  };
}

/** Where the host is served by TLS: 443 when that is among the places, or when there is none that we know of. */
function tlsPortOf(host: string, { listeners }: Snapshot): number {
  let found = httpsPort;
  for (const { settings, routes } of listeners.values()) {
    const { port } = settings.address;
    if (settings.protocol === 'http' || port === 0 || routes.get(host) === undefined) continue;
    if (port === httpsPort) return port;
    found = port;
  }
  return found;
}
