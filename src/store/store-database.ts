/**
 * The store itself: every method works at once and blocks, so it lives in a thread of its own (store-thread.ts).
 *
 * A method that changes something does all of it in one transaction, with the version and the audit entry, or throws
 * and has changed nothing.
 */
import type { DatabaseSync } from 'node:sqlite';
import { assert } from '../core/errors.ts';
import type { TrafficSettings } from '../model/settings.ts';
import { type AuditEntry, type AuditInput, AuditLog } from './audit-log.ts';
import {
  type DatabaseLimits,
  isWritable,
  openForReading,
  openForWriting,
  resolveDatabasePath,
} from './database-file.ts';
import { isInputOutputError, StoreError, toStoreError } from './errors.ts';
import { Ownership } from './ownership.ts';
import { transact } from './sql.ts';
import type { StoredChange, StoredTraffic } from './stored-change.ts';
import { readTraffic } from './traffic-reader.ts';
import { TrafficWriter } from './traffic-writer.ts';

export class StoreDatabase {
  readonly path: string;
  readonly isReadOnly: boolean;
  readonly #db: DatabaseSync;
  readonly #ownership: Ownership | null;
  readonly #writer: TrafficWriter;
  readonly #audit: AuditLog;
  #failure: StoreError | null = null;

  private constructor(path: string, db: DatabaseSync, ownership: Ownership | null) {
    this.path = path;
    this.isReadOnly = ownership === null;
    this.#db = db;
    this.#ownership = ownership;
    this.#writer = new TrafficWriter(db);
    this.#audit = new AuditLog(db);
  }

  static open(name: string, limits: DatabaseLimits): StoreDatabase {
    const path = resolveDatabasePath(name);
    if (!isWritable(path)) return new StoreDatabase(path, openForReading(path, limits), null);
    const ownership = Ownership.take(path);
    try {
      return new StoreDatabase(path, openForWriting(path, limits), ownership);
    } catch (error) {
      ownership.release();
      throw error;
    }
  }

  /** Null when the database was never seeded. */
  load(): StoredTraffic | null {
    return readTraffic(this.#db);
  }

  /** Answers version 1. */
  seed(traffic: TrafficSettings, entry: AuditInput): number {
    return this.#write(null, entry, () => this.#writer.writeAll(traffic));
  }

  /** Answers the version after `baseVersion`. */
  commit(baseVersion: number, changes: readonly StoredChange[], entry: AuditInput): number {
    return this.#write(baseVersion, entry, () => {
      for (const change of changes) this.#writer.apply(change);
    });
  }

  /** The newest first. */
  audit(limit: number): AuditEntry[] {
    return this.#audit.read(limit);
  }

  close(): void {
    this.#db.close();
    this.#ownership?.release();
  }

  #write(baseVersion: number | null, entry: AuditInput, change: () => void): number {
    if (this.isReadOnly)
      throw new StoreError('read-only', `${this.path} can not be written: check owner, mode and mount`);
    if (this.#failure !== null) throw this.#failure;
    try {
      return transact(this.#db, () => {
        this.#expectVersion(baseVersion);
        const version = (baseVersion ?? 0) + 1;
        change();
        this.#writer.setSetting('version', version);
        this.#audit.write(version, Date.now(), entry);
        return version;
      });
    } catch (error) {
      // After a failed fsync the system may have forgotten what it did not write, so a later one proves nothing.
      if (isInputOutputError(error)) this.#failure = toStoreError(error, this.path);
      throw error;
    }
  }

  #expectVersion(expected: number | null): void {
    const value = this.#db.prepare(`SELECT value FROM settings WHERE key = 'version'`).get()?.['value'];
    assert(value === undefined || typeof value === 'number', 'the stored version is no number');
    if ((value ?? null) === expected) return;
    const found = value === undefined ? 'empty' : `at version ${value}`;
    const wanted = expected === null ? 'empty' : `at version ${expected}`;
    throw new StoreError('version-mismatch', `the database is ${found}, not ${wanted}: load it again`);
  }
}
