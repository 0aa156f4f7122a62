/** Explains by a configuration file, with the functions that a server would ask. */

import { interfaceAddresses } from '../egress/materials.ts';
import { openGeoip } from '../firewall/geoip.ts';
import { buildSnapshot } from '../model/snapshot.ts';
import { explain } from '../server/explain.ts';
import type { Explained, ExplainedQuery } from './explain.ts';
import { readSettings } from './server-address.ts';
import type { Shell } from './shell.ts';

export async function explainOffline(
  shell: Shell,
  file: string,
  { host, port, listenerAddr, from, alpn, path, method, headers, scheme, client }: ExplainedQuery,
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
    scheme: scheme === 'http' ? scheme : 'https',
    client: client || null,
  } as const;
  const own = {
    addresses: interfaceAddresses(),
    ports: traffic.listeners.map(({ address }) => address.port),
  };
  return explain(snapshot, query, undefined, own).map((each) => ({
    listenerAddr: each.listener,
    steps: each.steps,
    verdict: each.verdict,
    reason: each.reason ?? '',
    ruleId: each.ruleId ?? '',
    backend: each.backend ?? '',
    target: each.target ?? '',
    action: each.action ?? '',
  }));
}
