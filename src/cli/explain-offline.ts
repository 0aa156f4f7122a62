/** Explains by a configuration file, with the functions that a server would ask. */

import { openGeoip } from '../firewall/geoip.ts';
import { buildSnapshot } from '../model/snapshot.ts';
import { explain } from '../server/explain.ts';
import type { Explained, ExplainedQuery } from './explain.ts';
import { readSettings } from './server-address.ts';
import type { Shell } from './shell.ts';

export async function explainOffline(
  shell: Shell,
  file: string,
  { host, port, listenerAddr, from, alpn, path, method, headers }: ExplainedQuery,
): Promise<Explained[]> {
  const { traffic } = await readSettings(file, shell);
  const { geoipDatabase } = traffic.firewall;
  const geoip = geoipDatabase === null ? null : await openGeoip(geoipDatabase);
  const snapshot = buildSnapshot(1, traffic, { hashSeed: 0, geoip });
  const asksRequest = path !== '' || method !== '' || headers.length > 0;
  const query = {
    host,
    port: port || null,
    listener: listenerAddr || null,
    from: from || null,
    alpn,
    path: asksRequest ? path || '/' : null,
    method,
    headers: headers.length === 0 ? null : headers,
  };
  return explain(snapshot, query).map(({ listener, reason, ruleId, backend, steps, verdict }) => ({
    listenerAddr: listener,
    steps,
    verdict,
    reason: reason ?? '',
    ruleId: ruleId ?? '',
    backend: backend ?? '',
  }));
}
