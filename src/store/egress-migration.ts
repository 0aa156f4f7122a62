/**
 * The third step: the egress settings, one document as they are set, and the certificate of a listener itself.
 * Released, so it never changes.
 */
import type { Migration } from './migrations.ts';

export const egress: Migration = {
  name: 'egress settings and certificates of listeners',
  happened: `SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'egress'`,
  sql: `
    ALTER TABLE listeners ADD COLUMN tls_cert TEXT
      CHECK (tls_cert GLOB '/*' AND instr(tls_cert, 'PRIVATE KEY') = 0);
    -- Where the key stands, never the key.
    ALTER TABLE listeners ADD COLUMN tls_key TEXT CHECK (
      (tls_cert IS NULL) = (tls_key IS NULL)
      AND (tls_key GLOB '/*' OR tls_key GLOB 'env:[A-Za-z_]*')
      AND length(tls_key) <= 4096
      AND instr(tls_key, char(10)) = 0
      AND instr(tls_key, 'PRIVATE KEY') = 0
    );
    ALTER TABLE listeners ADD COLUMN client_ca TEXT CHECK (
      (client_ca IS NULL OR tls_cert IS NOT NULL)
      AND client_ca GLOB '/*'
      AND instr(client_ca, 'PRIVATE KEY') = 0
    );
    ALTER TABLE listeners ADD COLUMN client_auth TEXT NOT NULL DEFAULT 'none' CHECK (
      client_auth IN ('none', 'request', 'require') AND (client_auth = 'none' OR client_ca IS NOT NULL)
    );
    ALTER TABLE listeners ADD COLUMN tls_min_version TEXT NOT NULL DEFAULT '1.2'
      CHECK (tls_min_version IN ('1.2', '1.3'));

    -- No row: there is no egress. What the document may hold is checked when it is read.
    CREATE TABLE egress (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      settings TEXT NOT NULL CHECK (json_type(settings) = 'object' AND instr(settings, 'PRIVATE KEY') = 0)
    ) STRICT;
  `,
};
