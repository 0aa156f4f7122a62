/**
 * The store: where the configuration is kept. SQLite works in a thread of its own, so a locked database or a slow
 * disk costs the caller a wait, never its event loop.
 *
 * A change that was answered is durable. A change that was refused has changed nothing, except for the three codes
 * that say otherwise (`io`, `stalled`, `crashed`): then close this store, open another, and load to see.
 */
import type { TrafficSettings } from '../model/settings.ts';
import type { AuditEntry, AuditInput } from './audit-log.ts';
import type { SnapshotFile } from './backup.ts';
import { StoreError } from './errors.ts';
import type { StoredChange, StoredTraffic } from './stored-change.ts';
import { ThreadClient } from './thread-client.ts';

export type { AuditEntry, AuditInput } from './audit-log.ts';
export type { SnapshotFile } from './backup.ts';
export { StoreError, type StoreErrorCode } from './errors.ts';
export type { StoredChange, StoredTraffic } from './stored-change.ts';

export interface StoreLimits {
  /** How long a request waits for a lock that another process holds. */
  readonly busyTimeoutMs: number;
  /** How long a request waits for those before it. */
  readonly queueTimeoutMs: number;
  /** How long an answer may take before the thread is given up. */
  readonly stallMs: number;
  /** The same for a snapshot, which copies and checks every page. */
  readonly snapshotStallMs: number;
  readonly requestsMax: number;
  /** Of the database file. */
  readonly bytesMax: number;
  /** In one commit. */
  readonly changesMax: number;
}

export const defaultStoreLimits: StoreLimits = {
  busyTimeoutMs: 3_000,
  queueTimeoutMs: 10_000,
  stallMs: 60_000,
  snapshotStallMs: 600_000,
  requestsMax: 256,
  bytesMax: 4 * 1024 ** 3,
  changesMax: 1_000_000,
};

export class Store {
  /** The database file, links followed. */
  readonly path: string;
  /** The file can not be written: it is served, and every change is refused. */
  readonly isReadOnly: boolean;
  readonly #limits: StoreLimits;
  readonly #thread: ThreadClient;
  #snapshotting: Promise<SnapshotFile> | null = null;
  #closing: Promise<void> | null = null;

  private constructor(path: string, isReadOnly: boolean, thread: ThreadClient, limits: StoreLimits) {
    this.path = path;
    this.isReadOnly = isReadOnly;
    this.#thread = thread;
    this.#limits = limits;
  }

  /** Creates the database or brings it to the newest schema. Refuses one that another server has open. */
  static async open(path: string, changed: Partial<StoreLimits> = {}): Promise<Store> {
    const limits = { ...defaultStoreLimits, ...changed };
    const { busyTimeoutMs, bytesMax } = limits;
    const thread = new ThreadClient('portcullis-store', limits);
    try {
      const opened = await thread.call('open', { path, limits: { busyTimeoutMs, bytesMax } });
      return new Store(opened.path, opened.isReadOnly, thread, limits);
    } catch (error) {
      await thread.terminate();
      throw error;
    }
  }

  /** Null: never seeded. */
  async load(): Promise<StoredTraffic | null> {
    return this.#opened().call('load', null);
  }

  /** Fills an empty database and answers its version, 1. Otherwise `version-mismatch`. */
  async seed(traffic: TrafficSettings, entry: AuditInput): Promise<number> {
    return this.#opened().call('seed', { traffic, entry });
  }

  /** Answers the new version, or rejects: `version-mismatch` when the database is not at `baseVersion`. */
  async commit(baseVersion: number, changes: readonly StoredChange[], entry: AuditInput): Promise<number> {
    const { changesMax } = this.#limits;
    if (changes.length > changesMax) {
      throw new StoreError('invalid', `${changes.length} changes in one commit; at most ${changesMax}`);
    }
    return this.#opened().call('commit', { baseVersion, changes, entry });
  }

  /** A verified copy of every change answered so far, beside the running store. `exists` when there is a file. */
  async snapshot(target: string): Promise<SnapshotFile> {
    this.#opened();
    if (this.#snapshotting !== null) throw new StoreError('busy', 'a snapshot is being taken; try again');
    this.#snapshotting = this.#takeSnapshot(target);
    try {
      return await this.#snapshotting;
    } finally {
      this.#snapshotting = null;
    }
  }

  /** The newest first, at most 1,000. */
  async audit(limit: number): Promise<AuditEntry[]> {
    return this.#opened().call('audit', { limit });
  }

  /** After what was asked before; resolves when the database may be opened by another. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Kills the thread as a fault would. */
  crash(): Promise<void> {
    return this.#thread.terminate();
  }

  #opened(): ThreadClient {
    if (this.#closing !== null) throw new StoreError('closed', 'the database was closed');
    return this.#thread;
  }

  /** In a thread of its own: no change waits behind the copy. */
  async #takeSnapshot(target: string): Promise<SnapshotFile> {
    const stallMs = this.#limits.snapshotStallMs;
    const thread = new ThreadClient('portcullis-snapshot', { ...this.#limits, stallMs });
    try {
      return await thread.call('snapshot', { path: this.path, target });
    } finally {
      await thread.terminate();
    }
  }

  async #close(): Promise<void> {
    // Whoever asked for the snapshot hears of its failure.
    await this.#snapshotting?.catch(() => {});
    // A thread that is gone has let go of the database already.
    await this.#thread.call('close', null).catch(() => {});
    await this.#thread.ended;
  }
}
