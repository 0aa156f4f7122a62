import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import type { TrafficSettings } from '../model/settings.ts';
import { Store, StoreError, type StoredChange } from '../store/store.ts';
import { StoreLedger } from './store-ledger.ts';
import { LedgerAheadError } from './ledger.ts';

const traffic: TrafficSettings = {
  listeners: [],
  firewall: {
    geoipDatabase: null,
    blockedIps: [],
    blockedCidrs: [],
    blockedCountries: [],
    rateLimitExempt: [],
    rateLimit: null,
  },
  egress: null,
};
const entry = { actor: 'test', action: 'Test', changes: [] };

function block(value: string): StoredChange[] {
  return [{ kind: 'firewall-put', rule: { type: 'ip', value } }];
}

const unpatched = Reflect.get(Store.prototype, 'commit') as Store['commit'];

/** Runs `work` while every commit of a store goes through `replacement`. */
async function withCommit<T>(
  replacement: (original: Store['commit'], ...args: Parameters<Store['commit']>) => Promise<number>,
  work: () => Promise<T>,
): Promise<T> {
  const mocked = mock.method(
    Store.prototype,
    'commit',
    function (this: Store, ...args: Parameters<Store['commit']>) {
      return replacement((...again) => Reflect.apply(unpatched, this, again), ...args);
    },
  );
  try {
    return await work();
  } finally {
    mocked.mock.restore();
  }
}

async function withLedger(work: (ledger: StoreLedger) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-ledger-'));
  const ledger = await StoreLedger.open(join(directory, 'p.db'));
  try {
    await ledger.load(traffic, entry);
    await work(ledger);
  } finally {
    await ledger.close();
    rmSync(directory, { recursive: true });
  }
}

test('a commit that was kept, but whose answer was lost, is answered after all', async () => {
  await withLedger(async (ledger) => {
    const version = await withCommit(
      async (original, ...args) => {
        await original(...args);
        throw new StoreError('crashed', 'planted');
      },
      () => ledger.commit(1, block('192.0.2.1'), entry),
    );
    assert.equal(version, 2);
    assert.equal(await ledger.commit(2, block('192.0.2.2'), entry), 3);
  });
});

test('a commit that was not kept is tried once more', async () => {
  await withLedger(async (ledger) => {
    let calls = 0;
    const version = await withCommit(
      (original, ...args) => {
        calls++;
        return calls === 1 ? Promise.reject(new StoreError('crashed', 'planted')) : original(...args);
      },
      () => ledger.commit(1, block('192.0.2.1'), entry),
    );
    assert.deepEqual([version, calls], [2, 2]);
  });
});

test('a commit in doubt that turns out to have been kept is told before the next one', async () => {
  await withLedger(async (ledger) => {
    let calls = 0;
    const failed = withCommit(
      async (original, ...args) => {
        calls++;
        if (calls === 2) await original(...args);
        throw new StoreError('stalled', 'planted');
      },
      () => ledger.commit(1, block('192.0.2.1'), entry),
    );
    await assert.rejects(failed, { code: 'stalled' });
    await assert.rejects(ledger.commit(1, block('192.0.2.2'), entry), (error: unknown) => {
      assert.ok(error instanceof LedgerAheadError);
      assert.equal(error.stored.version, 2);
      assert.deepEqual(error.stored.traffic.firewall.blockedIps, ['192.0.2.1']);
      return true;
    });
    assert.equal(await ledger.commit(2, block('192.0.2.2'), entry), 3);
  });
});
