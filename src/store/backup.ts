/**
 * Backups: a consistent, verified copy of a database, and the way back. Both block: for a command, or a thread.
 *
 * A file gets its final name only once it is whole, checked and on the disk.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, parse, join, resolve } from 'node:path';
import {
  companionSuffixes,
  type DatabaseLimits,
  openForCopying,
  resolveDatabasePath,
  verifyDatabase,
} from './database-file.ts';
import { StoreError, toStoreError } from './errors.ts';
import { createPrivateFile, giveToOwnerOf, Ownership } from './ownership.ts';

export interface SnapshotFile {
  readonly path: string;
  readonly bytes: number;
}

const limits: DatabaseLimits = { busyTimeoutMs: 3_000, bytesMax: Number.MAX_SAFE_INTEGER };

/** Beside the database, by the time in UTC: `portcullis-20270131T235959.123Z.db`. */
export function defaultSnapshotName(databasePath: string, now: Date): string {
  const { dir, name, ext } = parse(databasePath);
  const time = now.toISOString().replaceAll(/[-:]/g, '');
  return join(dir, `${name}-${time}${ext === '' ? '.db' : ext}`);
}

/** Writes what is in the database, served or not, to the new file `target`, mode 0600. */
export function snapshotOffline(databasePath: string, target: string): SnapshotFile {
  return asStoreError(target, () => {
    const path = resolve(target);
    refuseExisting(path);
    return withPartialFile(path, (partial) => {
      copyVerified(resolveDatabasePath(databasePath), partial);
      publish(partial, path);
      return { path, bytes: statSync(path).size };
    });
  });
}

/** Puts the snapshot in the place of the database. Refuses while a server owns it: `in-use`. */
export function restoreDatabase(snapshotFile: string, databasePath: string): SnapshotFile {
  return asStoreError(databasePath, () => {
    const source = resolveDatabasePath(snapshotFile);
    const path = resolveDatabasePath(databasePath);
    if (source === path)
      throw new StoreError('invalid', `${path} is the database itself, not a snapshot of it`);
    const ownership = Ownership.take(path);
    try {
      return withPartialFile(path, (partial) => {
        verifyDatabase(source, limits);
        copyVerified(source, partial);
        giveToOwnerOf(partial, path);
        removeCompanions(path);
        renameSync(partial, path);
        syncDirectory(dirname(path));
        return { path, bytes: statSync(path).size };
      });
    } finally {
      ownership.release();
    }
  });
}

/** By VACUUM INTO, not by bytes: a database in use, or with its log still beside it, is copied whole. */
function copyVerified(source: string, partial: string): void {
  const db = openForCopying(source, limits);
  try {
    db.prepare('VACUUM INTO ?').run(partial);
  } finally {
    db.close();
  }
  verifyDatabase(partial, limits);
  syncFile(partial);
}

/**
 * The log of the old database would be replayed into the restored one: later rows would come back, or pages that fit
 * nothing. It is emptied into the old database first, so that a crash in between leaves that one whole.
 */
function removeCompanions(path: string): void {
  try {
    const db = openForCopying(path, { ...limits, busyTimeoutMs: 0 });
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    db.close();
  } catch {
    // What is not there or damaged has nothing to save.
  }
  for (const suffix of companionSuffixes) rmSync(path + suffix, { force: true });
  syncDirectory(dirname(path));
}

function refuseExisting(path: string): void {
  // A log beside the name of the snapshot would be replayed into it as well.
  const found = [path, ...companionSuffixes.map((suffix) => path + suffix)].find((file) => existsSync(file));
  if (found !== undefined) throw new StoreError('exists', `${found} exists already; name another file`);
}

/** An empty file beside `path`, gone when `work` leaves it there. */
function withPartialFile<Result>(path: string, work: (partial: string) => Result): Result {
  const partial = `${path}.${randomBytes(6).toString('hex')}.partial`;
  createPrivateFile(partial);
  try {
    return work(partial);
  } finally {
    for (const suffix of ['', ...companionSuffixes]) rmSync(partial + suffix, { force: true });
  }
}

/** Unlike a rename, a link never replaces what came there in between. */
function publish(partial: string, path: string): void {
  try {
    linkSync(partial, path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'EEXIST') throw new StoreError('exists', `${path} exists already; name another file`, error);
    // FAT and some network file systems have no hard links.
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw error;
    renameSync(partial, path);
  }
  syncDirectory(dirname(path));
}

function syncFile(path: string): void {
  syncOpened(path, 'r+');
}

/** A new name is on the disk once its directory is. */
function syncDirectory(path: string): void {
  syncOpened(path, 'r');
}

function syncOpened(path: string, flags: string): void {
  const descriptor = openSync(path, flags);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function asStoreError<Result>(path: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw toStoreError(error, path);
  }
}
