/**
 * The second step: routes by path, TLS to clients and to backends, header rules, more types of policies.
 *
 * What a table may hold is part of it in SQLite, so routes and policies are made anew and their rows, with their
 * ids, move over. The order matters: dropping a table deletes its rows first, and policies go with their route.
 * Released, so it never changes.
 */
import type { Migration } from './migrations.ts';

export const layer7: Migration = {
  name: 'routes by path, TLS and header rules of layer 7',
  happened: `SELECT 1 FROM pragma_table_info('routes') WHERE name = 'path_prefix'`,
  sql: `
    ALTER TABLE listeners ADD COLUMN protocol TEXT NOT NULL DEFAULT 'tls'
      CHECK (protocol IN ('tls', 'http', 'auto'));
    ALTER TABLE listeners ADD COLUMN redirect_https INTEGER NOT NULL DEFAULT 0 CHECK (redirect_https IN (0, 1));
    ALTER TABLE listeners ADD COLUMN trusted_proxies TEXT NOT NULL DEFAULT '[]'
      CHECK (json_type(trusted_proxies) = 'array');

    CREATE TABLE new_routes (
      id INTEGER PRIMARY KEY,
      listener_id INTEGER NOT NULL REFERENCES listeners (id) ON DELETE CASCADE,
      hostname TEXT NOT NULL CHECK (hostname <> '' AND hostname = lower(hostname)),
      path_prefix TEXT NOT NULL DEFAULT '' CHECK (path_prefix = '' OR path_prefix GLOB '/?*'),
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
      client_ca TEXT CHECK (client_ca GLOB '/*' AND instr(client_ca, 'PRIVATE KEY') = 0),
      client_auth TEXT NOT NULL DEFAULT 'none' CHECK (client_auth IN ('none', 'request', 'require')),
      tls_min_version TEXT NOT NULL DEFAULT '1.2' CHECK (tls_min_version IN ('1.2', '1.3')),
      backend_protocol TEXT NOT NULL DEFAULT 'h2c' CHECK (backend_protocol IN ('h2c', 'http1', 'auto')),
      backend_tls INTEGER NOT NULL CHECK (backend_tls IN (0, 1)),
      backend_ca TEXT CHECK (backend_ca GLOB '/*' AND instr(backend_ca, 'PRIVATE KEY') = 0),
      backend_server_name TEXT CHECK (backend_server_name <> ''),
      backend_insecure INTEGER NOT NULL DEFAULT 0 CHECK (backend_insecure IN (0, 1)),
      forwarded INTEGER NOT NULL DEFAULT 0 CHECK (forwarded IN (0, 1)),
      -- NULL: no rules, which is what nearly every route has.
      request_headers TEXT CHECK (json_type(request_headers) = 'object'),
      response_headers TEXT CHECK (json_type(response_headers) = 'object'),
      UNIQUE (listener_id, hostname, path_prefix),
      CHECK ((backend_host IS NULL) = (backend_port IS NULL)),
      CHECK ((backend_host IS NULL) <> (backend_path IS NULL)),
      CHECK ((tls_cert IS NULL) = (tls_key IS NULL)),
      CHECK (client_auth = 'none' OR client_ca IS NOT NULL),
      CHECK (client_ca IS NULL OR tls_cert IS NOT NULL),
      CHECK (mode = 'l7' OR path_prefix = ''),
      CHECK (backend_tls = 1 OR (backend_ca IS NULL AND backend_server_name IS NULL AND backend_insecure = 0))
    ) STRICT;

    INSERT INTO new_routes (
      id, listener_id, hostname, mode, backend_host, backend_port, backend_path, send_proxy_protocol,
      tls_cert, tls_key, backend_tls
    )
    SELECT
      id, listener_id, hostname, mode, backend_host, backend_port, backend_path, send_proxy_protocol,
      iif(tls_key IS NULL, NULL, tls_cert), iif(tls_cert IS NULL, NULL, tls_key), backend_tls
    FROM routes;

    CREATE TABLE new_policies (
      route_id INTEGER NOT NULL REFERENCES new_routes (id) ON DELETE CASCADE,
      position INTEGER NOT NULL CHECK (position >= 0),
      type TEXT NOT NULL CHECK (
        type IN ('block_user_agent', 'require_header', 'allow_methods', 'max_body', 'rate_limit')
      ),
      value TEXT NOT NULL CHECK (value <> ''),
      PRIMARY KEY (route_id, position),
      UNIQUE (route_id, type, value)
    ) STRICT, WITHOUT ROWID;

    INSERT INTO new_policies SELECT route_id, position, type, value FROM policies;

    DROP TABLE policies;
    DROP TABLE routes;
    ALTER TABLE new_routes RENAME TO routes;
    ALTER TABLE new_policies RENAME TO policies;
  `,
};
