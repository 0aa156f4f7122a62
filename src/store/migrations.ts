/**
 * The schema, as numbered steps. `PRAGMA user_version` of a file says how many of them it has seen.
 *
 * A step that was released never changes; a new one goes to the end. Each runs in one transaction with its number,
 * so it happened whole or not at all, and a second run changes nothing.
 */
import type { DatabaseSync } from 'node:sqlite';
import { egress } from './egress-migration.ts';
import { layer7 } from './layer7-migration.ts';
import { readPragma, transact } from './sql.ts';
import { StoreError } from './errors.ts';

/** `PCLS`, in the header of every database of Portcullis. */
export const applicationId = 0x50434c53;

export interface Migration {
  /** What it brings, for people. */
  readonly name: string;
  /** Finds a row where the step has happened, for a step that could not run again by itself. */
  readonly happened?: string;
  readonly sql: string;
}

export const migrations: readonly Migration[] = [
  {
    name: 'listeners, routes, policies, firewall and audit',
    // In every table the order of the ids is the order in which an operator added the rows.
    sql: `
      PRAGMA application_id = ${applicationId};

      CREATE TABLE IF NOT EXISTS settings (
        key TEXT PRIMARY KEY NOT NULL,
        value ANY NOT NULL
      ) STRICT, WITHOUT ROWID;

      CREATE TABLE IF NOT EXISTS listeners (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE CHECK (name <> '' AND instr(name, '/') = 0),
        kind TEXT NOT NULL CHECK (kind IN ('ingress', 'egress')),
        host TEXT NOT NULL,
        port INTEGER NOT NULL CHECK (port BETWEEN 0 AND 65535),
        proxy_protocol INTEGER NOT NULL CHECK (proxy_protocol IN (0, 1)),
        proxy_protocol_from TEXT NOT NULL CHECK (json_type(proxy_protocol_from) = 'array'),
        max_connections INTEGER NOT NULL CHECK (max_connections >= 0),
        default_host TEXT,
        default_port INTEGER CHECK (default_port BETWEEN 1 AND 65535),
        default_path TEXT CHECK (default_path GLOB '/*' AND length(CAST(default_path AS BLOB)) <= 107),
        CHECK ((default_host IS NULL) = (default_port IS NULL)),
        CHECK (default_host IS NULL OR default_path IS NULL)
      ) STRICT;

      CREATE TABLE IF NOT EXISTS routes (
        id INTEGER PRIMARY KEY,
        listener_id INTEGER NOT NULL REFERENCES listeners (id) ON DELETE CASCADE,
        hostname TEXT NOT NULL CHECK (hostname <> '' AND hostname = lower(hostname)),
        mode TEXT NOT NULL CHECK (mode IN ('l4', 'l7')),
        backend_host TEXT CHECK (backend_host <> ''),
        backend_port INTEGER CHECK (backend_port BETWEEN 1 AND 65535),
        backend_path TEXT CHECK (backend_path GLOB '/*' AND length(CAST(backend_path AS BLOB)) <= 107),
        send_proxy_protocol INTEGER NOT NULL CHECK (send_proxy_protocol IN (0, 1)),
        tls_cert TEXT CHECK (tls_cert GLOB '/*' AND instr(tls_cert, 'PRIVATE KEY') = 0),
        -- Where the key stands, never the key.
        tls_key TEXT CHECK (
          (tls_key GLOB '/*' OR tls_key GLOB 'env:[A-Za-z_]*')
          AND length(tls_key) <= 4096
          AND instr(tls_key, char(10)) = 0
          AND instr(tls_key, 'PRIVATE KEY') = 0
        ),
        backend_tls INTEGER NOT NULL CHECK (backend_tls IN (0, 1)),
        UNIQUE (listener_id, hostname),
        CHECK ((backend_host IS NULL) = (backend_port IS NULL)),
        CHECK ((backend_host IS NULL) <> (backend_path IS NULL)),
        CHECK (mode = 'l4' OR (tls_cert IS NOT NULL AND tls_key IS NOT NULL))
      ) STRICT;

      CREATE TABLE IF NOT EXISTS policies (
        route_id INTEGER NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
        position INTEGER NOT NULL CHECK (position >= 0),
        type TEXT NOT NULL CHECK (type IN ('block_user_agent', 'require_header')),
        value TEXT NOT NULL CHECK (value <> ''),
        PRIMARY KEY (route_id, position),
        UNIQUE (route_id, type, value)
      ) STRICT, WITHOUT ROWID;

      CREATE TABLE IF NOT EXISTS firewall_rules (
        id INTEGER PRIMARY KEY,
        type TEXT NOT NULL CHECK (type IN ('ip', 'cidr', 'country')),
        value TEXT NOT NULL CHECK (value <> ''),
        UNIQUE (type, value)
      ) STRICT;

      CREATE TABLE IF NOT EXISTS exempt_cidrs (
        id INTEGER PRIMARY KEY,
        cidr TEXT NOT NULL UNIQUE CHECK (cidr LIKE '%/%')
      ) STRICT;

      CREATE TABLE IF NOT EXISTS audit (
        version INTEGER PRIMARY KEY CHECK (version > 0),
        at_ms INTEGER NOT NULL,
        actor TEXT NOT NULL CHECK (actor <> ''),
        action TEXT NOT NULL CHECK (action <> ''),
        changes TEXT NOT NULL CHECK (json_type(changes) = 'array')
      ) STRICT;
    `,
  },
  layer7,
  egress,
];

export function schemaVersion(db: DatabaseSync): number {
  return readPragma(db, 'user_version');
}

/** A file that has seen steps which this program does not know may mean anything: it is left alone. */
export function refuseNewerSchema(db: DatabaseSync, path: string, steps = migrations): void {
  const found = schemaVersion(db);
  if (found <= steps.length) return;
  throw new StoreError(
    'newer-schema',
    `${path} has schema ${found}, this program knows schemas up to ${steps.length}: ` +
      `start the newer program, or restore a snapshot that this one wrote`,
  );
}

/** Brings the file to the newest schema. */
export function migrate(db: DatabaseSync, path: string, steps = migrations): void {
  refuseNewerSchema(db, path, steps);
  for (let version = schemaVersion(db) + 1; version <= steps.length; version++) {
    transact(db, () => {
      // Asked again behind the lock: another process may have been faster.
      if (schemaVersion(db) >= version) return;
      runStep(db, steps[version - 1]!);
      db.exec(`PRAGMA user_version = ${version}`);
    });
  }
}

/** A step that has happened changes nothing. */
export function runStep(db: DatabaseSync, { happened, sql }: Migration): void {
  if (happened !== undefined && db.prepare(happened).get() !== undefined) return;
  db.exec(sql);
}
