/** What the store and its thread say to each other. Requests are answered in their order, each once. */
import type { TrafficSettings } from '../model/settings.ts';
import type { AuditEntry, AuditInput } from './audit-log.ts';
import type { SnapshotFile } from './backup.ts';
import type { DatabaseLimits } from './database-file.ts';
import type { StoreErrorCode } from './errors.ts';
import type { StoredChange, StoredTraffic } from './stored-change.ts';

/** Each call with what goes in and what comes out. */
export interface Calls {
  open: { in: { path: string; limits: DatabaseLimits }; out: { path: string; isReadOnly: boolean } };
  load: { in: null; out: StoredTraffic | null };
  seed: { in: { traffic: TrafficSettings; entry: AuditInput }; out: number };
  commit: { in: { baseVersion: number; changes: readonly StoredChange[]; entry: AuditInput }; out: number };
  audit: { in: { limit: number }; out: AuditEntry[] };
  close: { in: null; out: null };
  /** For a thread that does nothing else, and has nothing open. */
  snapshot: { in: { path: string; target: string }; out: SnapshotFile };
}
export type CallKind = keyof Calls;

export type Request = {
  [Kind in CallKind]: {
    readonly id: number;
    readonly kind: Kind;
    readonly input: Calls[Kind]['in'];
    /** By monotonicMs: later it is not begun. */
    readonly startByMs: number;
  };
}[CallKind];

export type Reply =
  | { readonly id: number; readonly kind: 'done'; readonly output: Calls[CallKind]['out'] }
  | { readonly id: number; readonly kind: 'failed'; readonly code: StoreErrorCode; readonly message: string };

/** One clock for all threads; performance.now() starts anew in each. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
