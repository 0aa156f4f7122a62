/** The few idioms of SQLite that the store's files share. */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { assert } from '../core/errors.ts';

/** A row with each column's name; what is in it is known from the schema. */
export type Row = Record<string, SQLOutputValue>;

/** Takes the write lock, does the work, and keeps all of it or nothing. */
export function transact<Result>(db: DatabaseSync, work: () => Result): Result {
  return between(db, 'BEGIN IMMEDIATE', work);
}

/** Everything that `work` reads is of one version. */
export function readConsistently<Result>(db: DatabaseSync, work: () => Result): Result {
  return between(db, 'BEGIN', work);
}

/** Of a pragma whose value is a number. */
export function readPragma(db: DatabaseSync, name: string): number {
  const value = db.prepare(`PRAGMA ${name}`).get()?.[name];
  assert(typeof value === 'number', `PRAGMA ${name} answers no number`);
  return value;
}

function between<Result>(db: DatabaseSync, begin: string, work: () => Result): Result {
  db.exec(begin);
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    rollBack(db);
    throw error;
  }
}

function rollBack(db: DatabaseSync): void {
  try {
    // SQLite has rolled back by itself after some errors, a full disk for one.
    if (db.isTransaction) db.exec('ROLLBACK');
  } catch {
    // What failed first is what the caller has to know.
  }
}
