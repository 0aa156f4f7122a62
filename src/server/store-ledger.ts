/** The store as the supervisor's ledger and the control's keeper. */
import { ControlError, type AuditEntry } from '../admin/control.ts';
import { assert } from '../core/errors.ts';
import type { TrafficSettings } from '../model/settings.ts';
import { defaultSnapshotName } from '../store/backup.ts';
import {
  Store,
  StoreError,
  type SnapshotFile,
  type StoredChange,
  type StoredTraffic,
} from '../store/store.ts';
import type { Keeper } from './control.ts';
import { EnvironmentError, LedgerAheadError, type Ledger, type LedgerEntry } from './ledger.ts';

export class StoreLedger implements Ledger, Keeper {
  readonly #path: string;
  #store: Store;
  /** The last commit failed in a way that may have kept it, and the database could not be opened since. */
  #isInDoubt = false;

  /** Opens or creates the database. Throws StoreError. */
  static async open(path: string): Promise<StoreLedger> {
    return new StoreLedger(path, await Store.open(path));
  }

  private constructor(path: string, store: Store) {
    this.#path = path;
    this.#store = store;
  }

  /** The file can not be written: it is served, and every change is refused. */
  get isReadOnly(): boolean {
    return this.#store.isReadOnly;
  }

  /** What was committed last; an empty database is seeded with `initial` first. */
  async load(initial: TrafficSettings, seeded: LedgerEntry): Promise<StoredTraffic> {
    const stored = await this.#store.load();
    if (stored !== null) return stored;
    const version = await this.#store.seed(initial, seeded);
    return { version, traffic: initial };
  }

  /** Rejects with LedgerAheadError when an earlier commit, whose outcome was in doubt, turns out to have been kept. */
  async commit(baseVersion: number, changes: readonly StoredChange[], entry: LedgerEntry): Promise<number> {
    if (this.#isInDoubt) {
      const stored = await this.#reopen();
      if (stored.version !== baseVersion) throw new LedgerAheadError(stored);
    }
    try {
      return await this.#store.commit(baseVersion, changes, entry);
    } catch (error) {
      if (!isInDoubt(error)) throw error;
    }
    // Whether it was kept is known once the database is opened again. If it was not, it is tried once more.
    const { version } = await this.#reopen();
    if (version === baseVersion + 1) return version;
    try {
      return await this.#store.commit(baseVersion, changes, entry);
    } catch (error) {
      this.#isInDoubt = isInDoubt(error);
      throw error;
    }
  }

  snapshot(path: string): Promise<SnapshotFile> {
    return this.#store.snapshot(path);
  }

  defaultSnapshotPath(): string {
    return defaultSnapshotName(this.#path, new Date());
  }

  audit(limit: number): Promise<readonly AuditEntry[]> {
    return this.#store.audit(limit);
  }

  explainError(error: unknown): ControlError | null {
    if (error instanceof LedgerAheadError) return new ControlError('aborted', error.message);
    if (error instanceof EnvironmentError) {
      return new ControlError('failed-precondition', error.message, null, { cause: error });
    }
    if (!(error instanceof StoreError)) return null;
    const code = error.code === 'busy' || isInDoubt(error) || error.code === 'closed' ? 'unavailable' : null;
    return new ControlError(code ?? refusals[error.code] ?? 'internal', error.message, null, {
      cause: error,
    });
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** Opens the database again that was closed for a successor which did not come. */
  async reopen(): Promise<void> {
    this.#store = await Store.open(this.#path);
    // It may have changed something before it failed: the next commit looks.
    this.#isInDoubt = true;
  }

  async #reopen(): Promise<StoredTraffic> {
    this.#isInDoubt = true;
    await this.#store.close();
    this.#store = await Store.open(this.#path);
    const stored = await this.#store.load();
    assert(stored !== null, 'a database that was seeded is empty');
    this.#isInDoubt = false;
    return stored;
  }
}

const refusals: Partial<Record<StoreError['code'], ControlError['code']>> = {
  'read-only': 'failed-precondition',
  full: 'failed-precondition',
  exists: 'already-exists',
  invalid: 'failed-precondition',
  'version-mismatch': 'aborted',
  'in-use': 'failed-precondition',
  unavailable: 'failed-precondition',
};

function isInDoubt(error: unknown): boolean {
  return error instanceof StoreError && ['io', 'stalled', 'crashed'].includes(error.code);
}
