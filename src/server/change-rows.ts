/** From changes as they are stored to rows as workers apply them. */
import { openGeoip } from '../firewall/geoip.ts';
import type { Change } from '../model/change.ts';
import type { StoredChange } from '../store/store.ts';
import { EnvironmentError } from './ledger.ts';

/** What workers apply: the bytes of a GeoIP database instead of its path. */
export async function toRows(changes: readonly StoredChange[]): Promise<Change[]> {
  const rows: Change[] = [];
  for (const change of changes) {
    if (change.kind !== 'geoip-path-set') rows.push(change);
    else {
      const database = change.path === null ? null : await openDatabase(change.path);
      rows.push({ kind: 'geoip-set', database });
    }
  }
  return rows;
}

/** A GeoIP database for workers to share. Throws EnvironmentError. */
export async function openDatabase(path: string): Promise<SharedArrayBuffer> {
  try {
    return await openGeoip(path);
  } catch (error) {
    throw new EnvironmentError(`firewall.geoip_db: ${(error as Error).message}`, { cause: error });
  }
}
