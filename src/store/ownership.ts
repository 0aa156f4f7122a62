/**
 * One server per database: whoever writes it holds an exclusive lock on a small file beside it, `<database>.lock`.
 *
 * SQLite takes the lock for us (Node has no flock): the system frees it when the process ends, however it ends, and
 * SQLite knows the locks of other threads of this process, which the system alone would not tell apart. Two rules
 * come with such locks: the file stays when it is released, else two owners could hold two files of one name; and
 * this process never opens it in another way, since closing it would free the lock.
 */
import { chownSync, closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { StoreError, toStoreError } from './errors.ts';

export class Ownership {
  readonly #lock: DatabaseSync;

  private constructor(lock: DatabaseSync) {
    this.#lock = lock;
  }

  /** Throws `in-use` at once when a server has the database, this process included. */
  static take(databasePath: string): Ownership {
    const path = `${databasePath}.lock`;
    let lock: DatabaseSync | undefined;
    try {
      createLockFile(path, databasePath);
      lock = new DatabaseSync(path, { timeout: 0 });
      // Nothing is ever written, so a journal on the disk would only be litter.
      lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
      return new Ownership(lock);
    } catch (error) {
      lock?.close();
      const refusal = toStoreError(error, path);
      if (refusal.code !== 'busy') throw refusal;
      const owner = findOwner(path);
      const by = owner === null ? 'another process' : `process ${owner}`;
      throw new StoreError('in-use', `the database ${databasePath} is in use by ${by}; stop it first`, error);
    }
  }

  release(): void {
    this.#lock.close();
  }
}

/** Creates a file that only its owner may use, from its first moment. False when it is there already. */
export function createPrivateFile(path: string): boolean {
  try {
    closeSync(openSync(path, 'wx', 0o600));
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Gives `path` to the owner of `model`: what root does for a server that runs as another user stays usable to it. */
export function giveToOwnerOf(path: string, model: string): void {
  if (process.geteuid?.() !== 0) return;
  const owner = statSync(model, { throwIfNoEntry: false });
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
}

function createLockFile(path: string, databasePath: string): void {
  if (createPrivateFile(path)) giveToOwnerOf(path, databasePath);
}

/** The process with a write lock on the file: `1: POSIX ADVISORY WRITE 4711 fe:00:9986422 1073741824 1073742335`. */
function findOwner(path: string): string | null {
  try {
    const inode = statSync(path).ino;
    const pattern = new RegExp(String.raw`WRITE +(\d+) [0-9a-f]+:[0-9a-f]+:${inode} `);
    return pattern.exec(readFileSync('/proc/locks', 'latin1'))?.[1] ?? null;
  } catch {
    return null;
  }
}
