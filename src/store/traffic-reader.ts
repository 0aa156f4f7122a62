/** Rows → settings: the whole configuration, in the order in which it was written. */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { DocumentFault, readEgressDocument } from '../model/egress-document.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import type { FirewallRuleType } from '../model/rule-id.ts';
import { noHeaderRules } from '../model/http-settings.ts';
import type {
  BackendProtocol,
  BackendTlsSettings,
  ClientAuthMode,
  HeaderRules,
  ListenerProtocol,
  RouteTlsSettings,
  TlsVersion,
} from '../model/http-settings.ts';
import type {
  EndpointAddress,
  FirewallSettings,
  ListenerKind,
  ListenerSettings,
  PolicySettings,
  PolicyType,
  RateLimitSettings,
  RouteMode,
  RouteSettings,
} from '../model/settings.ts';
import { StoreError } from './errors.ts';
import { readConsistently, type Row } from './sql.ts';
import type { StoredTraffic } from './stored-change.ts';

/** Null when nothing was stored yet. */
export function readTraffic(db: DatabaseSync): StoredTraffic | null {
  return readConsistently(db, () => {
    const settings = readSettings(db);
    const version = settings.get('version');
    if (version === undefined) return null;
    const traffic = {
      listeners: readListeners(db),
      firewall: readFirewall(db, settings),
      egress: readEgress(db),
    };
    return { version: version as number, traffic };
  });
}

type StoredSettings = ReadonlyMap<string, SQLOutputValue>;

function readSettings(db: DatabaseSync): StoredSettings {
  const rows = db.prepare('SELECT key, value FROM settings').all();
  return new Map(rows.map((row) => [row['key'] as string, row['value']!]));
}

function readListeners(db: DatabaseSync): ListenerSettings[] {
  const routes = readRoutes(db);
  return db
    .prepare('SELECT * FROM listeners ORDER BY id')
    .all()
    .map((row) => ({
      kind: row['kind'] as ListenerKind,
      name: row['name'] as string,
      address: { host: row['host'] as string, port: row['port'] as number },
      proxyProtocol: row['proxy_protocol'] === 1,
      proxyProtocolFrom: JSON.parse(row['proxy_protocol_from'] as string) as string[],
      maxConnections: row['max_connections'] as number,
      protocol: row['protocol'] as ListenerProtocol,
      redirectHttps: row['redirect_https'] === 1,
      trustedProxies: JSON.parse(row['trusted_proxies'] as string) as string[],
      defaultBackend: readEndpoint(row, 'default'),
      tls: readTls(row),
      routes: routes.get(row['id'] as number) ?? [],
    }));
}

/** By the listener's id. */
function readRoutes(db: DatabaseSync): Map<number, RouteSettings[]> {
  const policies = readPolicies(db);
  const routes = new Map<number, RouteSettings[]>();
  for (const row of db.prepare('SELECT * FROM routes ORDER BY id').iterate()) {
    append(routes, row['listener_id'] as number, {
      hostname: row['hostname'] as string,
      pathPrefix: row['path_prefix'] as string,
      mode: row['mode'] as RouteMode,
      backend: readEndpoint(row, 'backend')!,
      sendProxyProtocol: row['send_proxy_protocol'] === 1,
      tls: readTls(row),
      backendProtocol: row['backend_protocol'] as BackendProtocol,
      backendTls: readBackendTls(row),
      forwarded: row['forwarded'] === 1,
      requestHeaders: readHeaderRules(row['request_headers']),
      responseHeaders: readHeaderRules(row['response_headers']),
      policies: policies.get(row['id'] as number) ?? [],
    });
  }
  return routes;
}

function readTls(row: Row): RouteTlsSettings | null {
  const cert = row['tls_cert'] as string | null;
  const key = row['tls_key'] as string | null;
  if (cert === null || key === null) return null;
  return {
    cert,
    key,
    clientCa: row['client_ca'] as string | null,
    clientAuth: row['client_auth'] as ClientAuthMode,
    minVersion: row['tls_min_version'] as TlsVersion,
  };
}

function readBackendTls(row: Row): BackendTlsSettings | null {
  if (row['backend_tls'] !== 1) return null;
  return {
    ca: row['backend_ca'] as string | null,
    serverName: row['backend_server_name'] as string | null,
    insecure: row['backend_insecure'] === 1,
  };
}

function readHeaderRules(json: SQLOutputValue | undefined): HeaderRules {
  return typeof json === 'string' ? (JSON.parse(json) as HeaderRules) : noHeaderRules;
}

/** By the route's id. */
function readPolicies(db: DatabaseSync): Map<number, PolicySettings[]> {
  const policies = new Map<number, PolicySettings[]>();
  for (const row of db.prepare('SELECT * FROM policies ORDER BY route_id, position').iterate()) {
    append(policies, row['route_id'] as number, {
      type: row['type'] as PolicyType,
      value: row['value'] as string,
    });
  }
  return policies;
}

function readEndpoint(row: Row, prefix: 'default' | 'backend'): EndpointAddress | null {
  const path = row[`${prefix}_path`];
  if (typeof path === 'string') return { kind: 'unix', path };
  const host = row[`${prefix}_host`];
  return typeof host === 'string' ? { kind: 'tcp', host, port: row[`${prefix}_port`] as number } : null;
}

function readFirewall(db: DatabaseSync, settings: StoredSettings): FirewallSettings {
  const rules = db.prepare('SELECT value FROM firewall_rules WHERE type = ? ORDER BY id');
  const valuesOf = (type: FirewallRuleType): string[] => rules.all(type).map((row) => row['value'] as string);
  const exempt = db.prepare('SELECT cidr FROM exempt_cidrs ORDER BY id').all();
  return {
    geoipDatabase: (settings.get('geoip_database') as string | undefined) ?? null,
    blockedIps: valuesOf('ip'),
    blockedCidrs: valuesOf('cidr'),
    blockedCountries: valuesOf('country'),
    rateLimitExempt: exempt.map((row) => row['cidr'] as string),
    rateLimit: readRateLimit(settings),
  };
}

function readRateLimit(settings: StoredSettings): RateLimitSettings | null {
  const connections = settings.get('rate_limit_connections');
  const windowMs = settings.get('rate_limit_window_ms');
  if (typeof connections !== 'number' || typeof windowMs !== 'number') return null;
  return { connections, windowMs };
}

function readEgress(db: DatabaseSync): EgressSettings | null {
  const row = db.prepare('SELECT settings FROM egress').get();
  if (row === undefined) return null;
  try {
    return readEgressDocument(JSON.parse(row['settings'] as string));
  } catch (error) {
    if (!(error instanceof DocumentFault || error instanceof SyntaxError)) throw error;
    const fault = error instanceof DocumentFault ? error.message : 'the document is no JSON';
    throw new StoreError('corrupt', `the egress settings are damaged: ${fault}; restore a snapshot`, error);
  }
}

function append<Key, Item>(lists: Map<Key, Item[]>, key: Key, item: Item): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [item]);
  else list.push(item);
}
