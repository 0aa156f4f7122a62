/** Full disks, read-only file systems, locks of others, other servers. Mounts are private to the processes that are started for them. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, test, type TestContext } from 'node:test';
import { restoreDatabase, snapshotOffline } from './backup.ts';
import { Store } from './store.ts';
import { StoreDatabase } from './store-database.ts';
import { emptyTraffic } from './testing/sample-traffic.ts';
import { programArguments, scratchDirectory, startProgram } from './testing/scratch.ts';
import type { WriterLine } from './testing/writer.ts';

const entry = { actor: 'test', action: 'Test', changes: [] };
const limits = { busyTimeoutMs: 100, bytesMax: 2 ** 30 };

const unshare = ['--user', '--map-root-user', '--mount'];
const canMount = spawnSync('unshare', [...unshare, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;
const skip = canMount ? false : 'needs a mount namespace (unshare)';

describe('a full disk', { skip }, () => {
  test('refuses the commit, keeps every one before it, and takes the next when there is room again', (t) => {
    const lines = runMounted(
      t,
      'mount -t tmpfs -o size=1500k tmpfs "$1" && head -c 200000 /dev/zero > "$1/ballast"',
      (directory) => programArguments('writer.ts', join(directory, 'a.db'), join(directory, 'ballast')),
    );
    const refusedAt = lines.findIndex((line) => line.kind === 'refused');
    const [last, refused, ...later] = lines.slice(refusedAt - 1);
    assert.ok(refused?.kind === 'refused' && last?.kind === 'committed');
    assert.ok(last.version > 10, `${last.version} commits fitted`);
    assert.equal(refused.code, 'full');
    assert.equal(refused.version, last.version, 'nothing of the refused change is there');
    assert.equal(refused.snapshot, 'full');
    assert.deepEqual(refused.files.toSorted(), ['a.db', 'a.db-shm', 'a.db-wal', 'a.db.lock', 'ballast']);
    assert.deepEqual(later, [{ kind: 'committed', version: last.version + 1 }]);
  });
});

describe('a read-only file system', { skip }, () => {
  test('is served from, and every change is refused', (t) => {
    const lines = runMounted(
      t,
      'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"',
      (directory) => programArguments('writer.ts', join(directory, 'a.db')),
      (directory) => {
        const store = StoreDatabase.open(join(directory, 'a.db'), limits);
        store.seed(emptyTraffic, entry);
        store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry);
        store.close();
      },
    );
    const [opened, refused] = lines;
    assert.deepEqual(opened, { kind: 'opened', version: 2, isReadOnly: true });
    assert.ok(refused?.kind === 'refused');
    assert.deepEqual([refused.code, refused.version, refused.snapshot], ['read-only', 2, 'read-only']);
  });
});

describe('a database that another process locks', () => {
  test('costs the caller a wait, not its event loop', async (t) => {
    const busyTimeoutMs = 700;
    const path = join(scratchDirectory(t), 'a.db');
    const store = await Store.open(path, { busyTimeoutMs });
    t.after(() => store.close());
    await store.seed(emptyTraffic, entry);
    const unlock = await lock(t, path);

    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const startMs = performance.now();
    await assert.rejects(store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry), {
      code: 'busy',
    });
    const waitedMs = performance.now() - startMs;
    delay.disable();
    t.diagnostic(
      `refused after ${waitedMs.toFixed(0)} ms; event loop late by ${(delay.max / 1e6).toFixed(1)} ms at most`,
    );
    assert.ok(waitedMs >= busyTimeoutMs - 50 && waitedMs < busyTimeoutMs + 2_000, `${waitedMs} ms`);
    assert.ok(delay.max / 1e6 < busyTimeoutMs / 2, `the event loop stood still for ${delay.max / 1e6} ms`);

    assert.equal((await store.load())?.version, 1, 'reading goes on beside the lock');
    await unlock();
    assert.equal(await store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry), 2);
  });

  test('a commit that waits for the lock is done as soon as it is free', async (t) => {
    const path = join(scratchDirectory(t), 'a.db');
    const store = await Store.open(path, { busyTimeoutMs: 10_000 });
    t.after(() => store.close());
    await store.seed(emptyTraffic, entry);
    const unlock = await lock(t, path);
    const commit = store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry);
    await unlock();
    assert.equal(await commit, 2);
  });
});

describe('a database that a server in another process has open', () => {
  test('is refused to servers and to a restore, until that one ends, however it ends', async (t) => {
    const path = join(scratchDirectory(t), 'a.db');
    const server = startProgram('writer.ts', path);
    t.after(() => server.kill('SIGKILL'));
    await once(server.stdout, 'data');
    const copy = snapshotOffline(path, `${path}.copy`).path;
    const refusal = { code: 'in-use', message: new RegExp(`in use by process ${server.pid};`) };
    assert.throws(() => StoreDatabase.open(path, limits), refusal);
    assert.throws(() => restoreDatabase(copy, path), refusal);
    server.kill('SIGKILL');
    await once(server, 'exit');
    restoreDatabase(copy, path);
    StoreDatabase.open(path, limits).close();
  });
});

/** Runs the writer in a mount namespace of its own, after a shell line that mounts something on `$1`. */
function runMounted(
  t: TestContext,
  mount: string,
  program: (directory: string) => string[],
  prepare: (directory: string) => void = () => {},
): WriterLine[] {
  const directory = scratchDirectory(t);
  prepare(directory);
  const script = `set -e; ${mount}; directory=$1; shift; exec "$@"`;
  const command = [...unshare, 'sh', '-c', script, 'sh', directory, process.execPath, ...program(directory)];
  const output = execFileSync('unshare', command, { encoding: 'utf8', maxBuffer: 2 ** 26, timeout: 60_000 });
  return output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as WriterLine);
}

/** Answers what frees the lock. */
async function lock(t: TestContext, path: string): Promise<() => Promise<void>> {
  const holder = startProgram('lock-holder.ts', path);
  t.after(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  return async () => {
    const exited = once(holder, 'exit');
    holder.stdin.end();
    await exited;
  };
}
