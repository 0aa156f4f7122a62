/** What can go wrong with the store. Each is the environment's or the caller's doing; nothing was changed unless the code says so. */

/** Stable and documented, never reused. */
export const storeErrorCodes = {
  busy: 'another process holds the database, or too many requests wait; worth trying again',
  'read-only': 'file, directory or file system can not be written',
  full: 'the disk or the limit of the database is reached',
  io: 'the disk failed; the outcome of a change is known once the database is opened again',
  corrupt: 'the file is damaged',
  foreign: 'the file is no database of Portcullis',
  'newer-schema': 'the file was written by a newer program',
  'in-use': 'a server owns the database',
  unavailable: 'the file can not be opened or created',
  exists: 'the target of a snapshot is there already',
  'version-mismatch': 'the configuration was changed in between',
  invalid: 'a change does not fit the configuration, or breaks a rule of the schema',
  stalled: 'the disk does not answer; the outcome of a change is known once the database is opened again',
  crashed: 'the thread of the store died; the outcome of a change is known once the database is opened again',
  closed: 'the store was closed',
  internal: 'a fault of the program',
} as const;
export type StoreErrorCode = keyof typeof storeErrorCodes;

export class StoreError extends Error {
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StoreError';
    this.code = code;
  }
}

/** Whatever was thrown while `path` was worked on, as a StoreError. */
export function toStoreError(error: unknown, path: string): StoreError {
  if (error instanceof StoreError) return error;
  if (!(error instanceof Error)) return new StoreError('internal', String(error));
  const primary = sqlitePrimaryCode(error);
  if (primary !== null) return fromSqlite(primary, error, path);
  if ('syscall' in error) return fromSystem(error, path);
  return new StoreError('internal', error.message, error);
}

/** True when SQLite could not read or write, after which what it says of its last commit is in doubt. */
export function isInputOutputError(error: unknown): boolean {
  return error instanceof Error && sqlitePrimaryCode(error) === sqlite.ioerr;
}

/** https://sqlite.org/rescode.html: the low byte of an extended code. */
const sqlite = {
  busy: 5,
  locked: 6,
  readonly: 8,
  ioerr: 10,
  corrupt: 11,
  full: 13,
  cantopen: 14,
  constraint: 19,
  notadb: 26,
} as const;

function sqlitePrimaryCode(error: Error): number | null {
  return 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : null;
}

function fromSqlite(primary: number, error: Error, path: string): StoreError {
  const because = `(${error.message})`;
  switch (primary) {
    case sqlite.busy:
    case sqlite.locked:
      return new StoreError('busy', `${path} is locked by another process; try again ${because}`, error);
    case sqlite.readonly:
      return new StoreError(
        'read-only',
        `${path} can not be written: check owner, mode and mount ${because}`,
        error,
      );
    case sqlite.ioerr:
      return new StoreError('io', `reading or writing ${path} failed: check the disk ${because}`, error);
    case sqlite.corrupt:
      return new StoreError('corrupt', `${path} is damaged: restore a snapshot ${because}`, error);
    case sqlite.full:
      return new StoreError('full', `there is no room left for ${path}: free some space ${because}`, error);
    case sqlite.cantopen:
      return new StoreError(
        'unavailable',
        `${path} can not be opened: check owner and mode ${because}`,
        error,
      );
    case sqlite.constraint:
      return new StoreError('invalid', `the change breaks a rule of the database ${because}`, error);
    case sqlite.notadb:
      return new StoreError('foreign', `${path} is no database of Portcullis ${because}`, error);
    default:
      return new StoreError('internal', `the database refused a statement ${because}`, error);
  }
}

function fromSystem(error: Error, path: string): StoreError {
  const code = 'code' in error ? error.code : '';
  const because = `(${error.message})`;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StoreError('full', `there is no room left for ${path}: free some space ${because}`, error);
  }
  if (code === 'EROFS')
    return new StoreError('read-only', `${path} is on a read-only file system ${because}`, error);
  if (code === 'EIO')
    return new StoreError('io', `reading or writing ${path} failed: check the disk ${because}`, error);
  return new StoreError('unavailable', `${path} can not be opened or created ${because}`, error);
}
