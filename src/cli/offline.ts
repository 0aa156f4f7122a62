/** The database without a server: opened, owned for the moment, and closed again. */

import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { TrafficSettings } from '../model/settings.ts';
import { describeChanges } from '../server/change-lines.ts';
import { shadowedRoutes } from '../server/control.ts';
import { storedDiff } from '../server/traffic-state.ts';
import { TrafficState } from '../server/traffic-state.ts';
import { Store } from '../store/store.ts';
import type { StoredTraffic } from '../store/store.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';

/** As the API's ApplyConfigResponse says it. */
export interface AppliedOffline {
  readonly version: number;
  readonly changes: readonly string[];
  readonly warnings: readonly string[];
}

/** What the database holds. */
export async function loadOffline(path: string): Promise<StoredTraffic> {
  return withStore(path, async (store) => {
    const stored = await store.load();
    if (stored === null) throw unseeded(path);
    return stored;
  });
}

/** Makes the database match, or with `dryRun` says what that would change. */
export async function applyOffline(
  path: string,
  traffic: TrafficSettings,
  { dryRun, ifVersion }: { readonly dryRun: boolean; readonly ifVersion: number | undefined },
): Promise<AppliedOffline> {
  return withStore(path, async (store) => {
    const stored = await store.load();
    if (stored === null) throw unseeded(path);
    if (ifVersion !== undefined && ifVersion !== stored.version) {
      const message = `the configuration is at version ${stored.version}, not ${ifVersion}`;
      throw new CommandFailure(exitCodes.changed, message);
    }
    const rows = storedDiff(stored.traffic, traffic);
    const changes = describeChanges(new TrafficState(stored.traffic), rows);
    const warnings = shadowedRoutes(traffic);
    if (dryRun || rows.length === 0) return { version: stored.version, changes, warnings };
    const entry = { actor: `offline (${userInfo().username})`, action: 'ApplyConfig', changes };
    return { version: await store.commit(stored.version, rows, entry), changes, warnings };
  });
}

async function withStore<T>(path: string, work: (store: Store) => Promise<T>): Promise<T> {
  if (!existsSync(path)) throw unseeded(path);
  const store = await Store.open(path);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

function unseeded(path: string): CommandFailure {
  const message = `the database ${path} is empty or not there yet: the first portcullis serve fills it from the file`;
  return new CommandFailure(exitCodes.failed, message);
}
