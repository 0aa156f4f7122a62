/** The audit log: one entry for each version, in the transaction that made it. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { assert } from '../core/errors.ts';

/** The newest entries are kept, the older ones go. */
export const auditEntriesMax = 100_000;
/** In one answer. */
export const auditAnswerMax = 1_000;

export interface AuditInput {
  /** Subject of a client certificate, `unix`, `loopback`, `seed`. */
  readonly actor: string;
  /** The call, `AddRoute`. */
  readonly action: string;
  /** One line for each difference, old → new. */
  readonly changes: readonly string[];
}

export interface AuditEntry extends AuditInput {
  readonly version: number;
  readonly at: Date;
}

export class AuditLog {
  readonly #insert: StatementSync;
  readonly #trim: StatementSync;
  readonly #newest: StatementSync;

  constructor(db: DatabaseSync) {
    this.#insert = db.prepare(
      'INSERT INTO audit (version, at_ms, actor, action, changes) VALUES (?, ?, ?, ?, ?)',
    );
    this.#trim = db.prepare('DELETE FROM audit WHERE version <= ?');
    this.#newest = db.prepare(
      'SELECT version, at_ms, actor, action, changes FROM audit ORDER BY version DESC LIMIT ?',
    );
  }

  /** Inside the transaction that makes `version`. */
  write(version: number, nowMs: number, entry: AuditInput): void {
    this.#insert.run(version, nowMs, entry.actor, entry.action, JSON.stringify(entry.changes));
    if (version > auditEntriesMax) this.#trim.run(version - auditEntriesMax);
  }

  /** The newest first, at most auditAnswerMax. */
  read(limit: number): AuditEntry[] {
    assert(Number.isSafeInteger(limit) && limit >= 0, 'a limit of the audit log is no count');
    return this.#newest.all(Math.min(limit, auditAnswerMax)).map((row) => ({
      version: row['version'] as number,
      at: new Date(row['at_ms'] as number),
      actor: row['actor'] as string,
      action: row['action'] as string,
      changes: JSON.parse(row['changes'] as string) as string[],
    }));
  }
}
