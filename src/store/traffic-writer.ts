/**
 * Settings → rows. Meant as model/change.ts means its changes: what is put may exist and keeps its place, what is
 * removed may be absent. Always inside a transaction of the caller.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { DocumentFault, readEgressDocument } from '../model/egress-document.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import type { BackendTlsSettings, HeaderRules, RouteTlsSettings } from '../model/http-settings.ts';
import type {
  EndpointAddress,
  RateLimitSettings,
  RouteSettings,
  TrafficSettings,
} from '../model/settings.ts';
import type { ListenerOptions } from '../model/snapshot.ts';
import { StoreError } from './errors.ts';
import type { StoredChange } from './stored-change.ts';

export class TrafficWriter {
  readonly #sql: Statements;

  constructor(db: DatabaseSync) {
    this.#sql = prepareStatements(db);
  }

  /** Into empty tables, or over what is there. */
  writeAll({ listeners, firewall, egress }: TrafficSettings): void {
    for (const { routes, ...listener } of listeners) {
      this.apply({ kind: 'listener-put', listener });
      for (const route of routes) this.apply({ kind: 'route-put', listener: listener.name, route });
    }
    for (const value of firewall.blockedIps) this.#sql.putRule.run('ip', value);
    for (const value of firewall.blockedCidrs) this.#sql.putRule.run('cidr', value);
    for (const value of firewall.blockedCountries) this.#sql.putRule.run('country', value);
    for (const cidr of firewall.rateLimitExempt) this.#sql.putExempt.run(cidr);
    this.#setRateLimit(firewall.rateLimit);
    this.setSetting('geoip_database', firewall.geoipDatabase);
    this.#setEgress(egress);
  }

  apply(change: StoredChange): void {
    const sql = this.#sql;
    switch (change.kind) {
      case 'listener-put':
        sql.putListener.run(...listenerValues(change.listener));
        break;
      case 'listener-remove':
        sql.removeListener.run(change.listener);
        break;
      case 'max-connections-set':
        sql.setMaxConnections.run(change.maxConnections, this.#listenerId(change.listener));
        break;
      case 'route-put':
        this.#putRoute(change.listener, change.route);
        break;
      case 'route-remove':
        sql.removeRoute.run(this.#listenerId(change.listener), change.hostname, change.pathPrefix);
        break;
      case 'firewall-put':
        sql.putRule.run(change.rule.type, change.rule.value);
        break;
      case 'firewall-remove':
        sql.removeRule.run(change.rule.type, change.rule.value);
        break;
      case 'exempt-put':
        sql.putExempt.run(change.cidr);
        break;
      case 'exempt-remove':
        sql.removeExempt.run(change.cidr);
        break;
      case 'rate-limit-set':
        this.#setRateLimit(change.rateLimit);
        break;
      case 'geoip-path-set':
        this.setSetting('geoip_database', change.path);
        break;
      case 'egress-set':
        this.#setEgress(change.egress);
        break;
    }
  }

  setSetting(key: string, value: string | number | null): void {
    if (value === null) this.#sql.removeSetting.run(key);
    else this.#sql.putSetting.run(key, value);
  }

  #listenerId(name: string): number {
    const row = this.#sql.findListener.get(name);
    if (row !== undefined) return row['id'] as number;
    throw new StoreError('invalid', `a change names the listener ${name}, which is not there`);
  }

  #putRoute(listener: string, route: RouteSettings): void {
    const row = this.#sql.putRoute.get(...routeValues(this.#listenerId(listener), route));
    const id = row!['id'] as number;
    this.#sql.removePolicies.run(id);
    route.policies.forEach(({ type, value }, position) => this.#sql.putPolicy.run(id, position, type, value));
  }

  #setEgress(egress: EgressSettings | null): void {
    if (egress === null) return void this.#sql.removeEgress.run();
    // A secret that stands in the settings themselves must not come to stand in a database and its backups.
    try {
      readEgressDocument(egress);
    } catch (error) {
      if (!(error instanceof DocumentFault)) throw error;
      throw new StoreError('invalid', `the egress settings can not be stored: ${error.message}`, error);
    }
    this.#sql.putEgress.run(JSON.stringify(egress));
  }

  #setRateLimit(limit: RateLimitSettings | null): void {
    this.setSetting('rate_limit_connections', limit?.connections ?? null);
    this.setSetting('rate_limit_window_ms', limit?.windowMs ?? null);
  }
}

type Statements = Record<keyof typeof statements, StatementSync>;

const listenerColumns = [
  'name',
  'kind',
  'host',
  'port',
  'proxy_protocol',
  'proxy_protocol_from',
  'max_connections',
  'protocol',
  'redirect_https',
  'trusted_proxies',
  'default_host',
  'default_port',
  'default_path',
  'tls_cert',
  'tls_key',
  'client_ca',
  'client_auth',
  'tls_min_version',
];

const routeColumns = [
  'listener_id',
  'hostname',
  'path_prefix',
  'mode',
  'backend_host',
  'backend_port',
  'backend_path',
  'send_proxy_protocol',
  'tls_cert',
  'tls_key',
  'client_ca',
  'client_auth',
  'tls_min_version',
  'backend_protocol',
  'backend_tls',
  'backend_ca',
  'backend_server_name',
  'backend_insecure',
  'forwarded',
  'request_headers',
  'response_headers',
];

const statements = {
  putSetting:
    'INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
  removeSetting: 'DELETE FROM settings WHERE key = ?',
  findListener: 'SELECT id FROM listeners WHERE name = ?',
  putListener: upsert('listeners', listenerColumns, ['name']),
  removeListener: 'DELETE FROM listeners WHERE name = ?',
  setMaxConnections: 'UPDATE listeners SET max_connections = ? WHERE id = ?',
  putRoute: `${upsert('routes', routeColumns, ['listener_id', 'hostname', 'path_prefix'])} RETURNING id`,
  removeRoute: 'DELETE FROM routes WHERE listener_id = ? AND hostname = ? AND path_prefix = ?',
  putPolicy: 'INSERT INTO policies (route_id, position, type, value) VALUES (?, ?, ?, ?)',
  removePolicies: 'DELETE FROM policies WHERE route_id = ?',
  // `ON CONFLICT DO NOTHING` of that one constraint; `INSERT OR IGNORE` would swallow a broken CHECK as well.
  putRule: 'INSERT INTO firewall_rules (type, value) VALUES (?, ?) ON CONFLICT (type, value) DO NOTHING',
  removeRule: 'DELETE FROM firewall_rules WHERE type = ? AND value = ?',
  putExempt: 'INSERT INTO exempt_cidrs (cidr) VALUES (?) ON CONFLICT (cidr) DO NOTHING',
  removeExempt: 'DELETE FROM exempt_cidrs WHERE cidr = ?',
  putEgress:
    'INSERT INTO egress (id, settings) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET settings = excluded.settings',
  removeEgress: 'DELETE FROM egress',
} as const;

function prepareStatements(db: DatabaseSync): Statements {
  const prepared = Object.entries(statements).map(([name, sql]) => [name, db.prepare(sql)]);
  return Object.fromEntries(prepared) as Statements;
}

/** An existing row keeps its id, and so its place. */
function upsert(table: string, columns: readonly string[], key: readonly string[]): string {
  const places = columns.map(() => '?').join(', ');
  const updates = columns
    .filter((column) => !key.includes(column))
    .map((column) => `${column} = excluded.${column}`);
  return (
    `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places}) ` +
    `ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${updates.join(', ')}`
  );
}

function listenerValues(listener: ListenerOptions): SQLInputValue[] {
  return [
    listener.name,
    listener.kind,
    listener.address.host,
    listener.address.port,
    Number(listener.proxyProtocol),
    JSON.stringify(listener.proxyProtocolFrom),
    listener.maxConnections,
    listener.protocol,
    Number(listener.redirectHttps),
    JSON.stringify(listener.trustedProxies),
    ...endpointValues(listener.defaultBackend),
    ...tlsValues(listener.tls),
  ];
}

function routeValues(listenerId: number, route: RouteSettings): SQLInputValue[] {
  return [
    listenerId,
    route.hostname,
    route.pathPrefix,
    route.mode,
    ...endpointValues(route.backend),
    Number(route.sendProxyProtocol),
    ...tlsValues(route.tls),
    route.backendProtocol,
    ...backendTlsValues(route.backendTls),
    Number(route.forwarded),
    headerValue(route.requestHeaders),
    headerValue(route.responseHeaders),
  ];
}

function tlsValues(tls: RouteTlsSettings | null): SQLInputValue[] {
  return tls === null
    ? [null, null, null, 'none', '1.2']
    : [tls.cert, tls.key, tls.clientCa, tls.clientAuth, tls.minVersion];
}

function backendTlsValues(tls: BackendTlsSettings | null): SQLInputValue[] {
  return tls === null ? [0, null, null, 0] : [1, tls.ca, tls.serverName, Number(tls.insecure)];
}

function headerValue(rules: HeaderRules): string | null {
  const { remove, set, add } = rules;
  return remove.length + set.length + add.length === 0 ? null : JSON.stringify({ remove, set, add });
}

/** Host, port, path. */
function endpointValues(endpoint: EndpointAddress | null): [string | null, number | null, string | null] {
  if (endpoint === null) return [null, null, null];
  return endpoint.kind === 'unix' ? [null, null, endpoint.path] : [endpoint.host, endpoint.port, null];
}
