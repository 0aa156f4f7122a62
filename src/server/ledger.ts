/** What the supervisor needs of whoever keeps the configuration, and the errors of keeping and changing it. */
import type { FirewallRule } from '../model/change.ts';
import type { StoredChange, StoredTraffic } from '../store/store.ts';

/** Keeps what was committed. The store does it; without a database nothing is kept beyond the process. */
export interface Ledger {
  /** Makes the changes durable and answers the version they lead to; rejects having kept nothing. */
  commit(baseVersion: number, changes: readonly StoredChange[], entry: LedgerEntry): Promise<number>;
}

/** The ledger holds a version that nobody was told of: a commit whose outcome was in doubt had been kept. */
export class LedgerAheadError extends Error {
  readonly stored: StoredTraffic;

  constructor(stored: StoredTraffic) {
    super(
      'an earlier change had been kept after all and is served now; look at the configuration and try again',
    );
    this.name = 'LedgerAheadError';
    this.stored = stored;
  }
}

/** For the audit log. */
export interface LedgerEntry {
  readonly actor: string;
  readonly action: string;
  readonly changes: readonly string[];
}

/** One change of the configuration, as it is stored and told. */
export interface ChangePlan {
  readonly changes: readonly StoredChange[];
  readonly entry: LedgerEntry;
  readonly disconnect: FirewallRule | null;
}

/** What stops a start or a change: an address in use, a database that can not be read. For the operator to mend. */
export class EnvironmentError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EnvironmentError';
  }
}
