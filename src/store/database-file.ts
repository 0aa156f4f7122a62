/**
 * The database file: how it is created, opened and recognised. Whatever is not surely ours is left as it was.
 *
 * This process never opens a database file but through SQLite: closing any other descriptor of it would free the
 * locks that SQLite holds.
 */
import { accessSync, chmodSync, constants, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { StoreError } from './errors.ts';
import { applicationId, migrate, migrations, refuseNewerSchema, schemaVersion } from './migrations.ts';
import { createPrivateFile } from './ownership.ts';
import { readPragma } from './sql.ts';

export interface DatabaseLimits {
  /** How long a statement waits for a lock of another process. */
  readonly busyTimeoutMs: number;
  /** What the file may grow to. */
  readonly bytesMax: number;
}

/** The files SQLite keeps beside a database. One that outlives its database is replayed into the next. */
export const companionSuffixes = ['-wal', '-shm', '-journal'] as const;

/** For writing: created when absent, brought to the newest schema, checked for damage. Needs the ownership. */
export function openForWriting(path: string, limits: DatabaseLimits): DatabaseSync {
  createPrivateFile(path);
  const db = new DatabaseSync(path, { timeout: limits.busyTimeoutMs });
  return closeOnError(db, () => {
    recognise(db, path);
    makePrivate(path);
    if (db.prepare('PRAGMA journal_mode = WAL').get()?.['journal_mode'] !== 'wal') {
      throw new StoreError(
        'unavailable',
        `the file system of ${path} has no shared memory for SQLite; use a local disk`,
      );
    }
    // FULL: an acknowledged change survives the loss of power, not only of the process.
    db.exec('PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON');
    db.exec(`PRAGMA max_page_count = ${Math.floor(limits.bytesMax / readPragma(db, 'page_size'))}`);
    migrate(db, path);
    refuseDamage(db, path, 'quick_check');
  });
}

/** A database that can not be written still serves; what it would have to become can not be done to it. */
export function openForReading(path: string, limits: DatabaseLimits): DatabaseSync {
  const db = new DatabaseSync(readOnlyName(path), { readOnly: true, timeout: limits.busyTimeoutMs });
  return closeOnError(db, () => {
    recognise(db, path);
    if (schemaVersion(db) < migrations.length) {
      throw new StoreError(
        'read-only',
        `${path} is of an older schema and can not be written: make it writable`,
      );
    }
    refuseDamage(db, path, 'quick_check');
  });
}

/** For a copy of it, beside a server or without one; nothing in it is changed. */
export function openForCopying(path: string, limits: DatabaseLimits): DatabaseSync {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) {
    throw new StoreError('unavailable', `${path} does not exist`);
  }
  // Even who only reads needs to write, to the files beside it.
  const db = isWritable(path)
    ? new DatabaseSync(path, { timeout: limits.busyTimeoutMs })
    : new DatabaseSync(readOnlyName(path), { readOnly: true, timeout: limits.busyTimeoutMs });
  return closeOnError(db, () => {
    recognise(db, path);
    if (schemaVersion(db) === 0) throw new StoreError('foreign', `${path} is empty`);
  });
}

/** Every page, every row, every reference between rows. Throws unless it is a whole database of ours. */
export function verifyDatabase(path: string, limits: DatabaseLimits): void {
  const db = openForCopying(path, limits);
  try {
    refuseDamage(db, path, 'integrity_check');
    if (db.prepare('PRAGMA foreign_key_check').get() !== undefined) {
      throw new StoreError('corrupt', `${path} has rows that belong to nothing`);
    }
  } finally {
    db.close();
  }
}

/** A file that does not exist yet is writable when its directory is. */
export function isWritable(path: string): boolean {
  return (
    canWrite(dirname(path)) && (canWrite(path) || statSync(path, { throwIfNoEntry: false }) === undefined)
  );
}

/** With links followed: the lock and the log of a database stand beside the file itself. */
export function resolveDatabasePath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const directory = dirname(path);
    if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
      throw new StoreError('unavailable', `the directory ${directory} of the database does not exist`);
    }
    return join(realpathSync(directory), basename(path));
  }
}

function recognise(db: DatabaseSync, path: string): void {
  const id = readPragma(db, 'application_id');
  const isEmpty = id === 0 && db.prepare('SELECT 1 FROM sqlite_schema').get() === undefined;
  if (id !== applicationId && !isEmpty) {
    throw new StoreError('foreign', `${path} is a database of another program; name another file`);
  }
  refuseNewerSchema(db, path);
}

/** quick_check reads everything but does not compare indexes with tables; it takes 0.15 s for 110,000 rows. */
function refuseDamage(db: DatabaseSync, path: string, check: 'quick_check' | 'integrity_check'): void {
  const finding = db.prepare(`PRAGMA ${check}(1)`).get()?.[check];
  if (finding === 'ok') return;
  throw new StoreError('corrupt', `${path} is damaged: restore a snapshot (${String(finding)})`);
}

/** Takes from group and others what they may do. The files beside it get the mode of the database from SQLite. */
function makePrivate(path: string): void {
  for (const file of [path, ...companionSuffixes.map((suffix) => path + suffix)]) {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode;
    if (mode !== undefined && (mode & 0o177) !== 0) chmodSync(file, mode & 0o600);
  }
}

/**
 * In a directory that can not be written SQLite has no place for the log's index, and opens nothing. When there is no
 * log either, it may as well take the file for one that never changes.
 */
function readOnlyName(path: string): URL | string {
  const hasLog = (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
  if (hasLog || canWrite(dirname(path))) return path;
  const url = pathToFileURL(path);
  url.search = '?immutable=1';
  return url;
}

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function closeOnError(db: DatabaseSync, prepare: () => void): DatabaseSync {
  try {
    prepare();
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}
