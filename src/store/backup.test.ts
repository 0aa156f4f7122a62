import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { defaultSnapshotName, restoreDatabase, snapshotOffline } from './backup.ts';
import { migrations } from './migrations.ts';
import { StoreDatabase } from './store-database.ts';
import { emptyTraffic, sampleListener, sampleRoute } from './testing/sample-traffic.ts';
import { scratchDirectory } from './testing/scratch.ts';

const limits = { busyTimeoutMs: 100, bytesMax: 2 ** 30 };
const entry = { actor: 'test', action: 'Test', changes: [] };
const listeners = [sampleListener(':443', [sampleRoute('a.example'), sampleRoute('b.example')])];
const traffic = { ...emptyTraffic, listeners };

describe('a snapshot', () => {
  test('holds what the database holds, its log included, for its owner alone', (t) => {
    const { store, path, directory } = openStore(t);
    store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry);
    const target = join(directory, 'copy.db');
    const snapshot = snapshotOffline(path, target);
    assert.deepEqual(snapshot, { path: target, bytes: statSync(target).size });
    assert.equal(statSync(target).mode & 0o777, 0o600);
    assert.deepEqual(load(target), store.load());
    assert.ok(!readdirSync(directory).some((file) => file.includes('partial')));
    store.close();
    assert.equal(snapshotOffline(path, join(directory, 'offline.db')).bytes, snapshot.bytes);
  });

  test('never replaces a file, nor stands beside the log of another', (t) => {
    const { path, directory } = openStore(t);
    const target = join(directory, 'copy.db');
    writeFileSync(`${target}-wal`, 'what is left of a database of this name');
    assert.throws(() => snapshotOffline(path, target), { code: 'exists' });
    assert.throws(() => snapshotOffline(path, path), { code: 'exists' });
    assert.equal(existsSync(target), false);
  });

  test('of a database that is not there, or not ours, is refused and creates nothing', (t) => {
    const directory = scratchDirectory(t);
    const target = join(directory, 'copy.db');
    assert.throws(() => snapshotOffline(join(directory, 'none.db'), target), { code: 'unavailable' });
    new DatabaseSync(join(directory, 'other.db')).exec('CREATE TABLE theirs (id)');
    assert.throws(() => snapshotOffline(join(directory, 'other.db'), target), { code: 'foreign' });
    assert.deepEqual(readdirSync(directory), ['other.db']);
    const missing = join(directory, 'missing', 'copy.db');
    assert.throws(() => snapshotOffline(join(directory, 'other.db'), missing), { code: 'unavailable' });
  });

  test('is named by the time, beside the database', () => {
    const now = new Date('2027-01-31T23:59:59.123Z');
    assert.equal(
      defaultSnapshotName('/var/lib/portcullis.db', now),
      '/var/lib/portcullis-20270131T235959.123Z.db',
    );
    assert.equal(defaultSnapshotName('/var/lib/store', now), '/var/lib/store-20270131T235959.123Z.db');
  });
});

describe('a restore', () => {
  test('brings the snapshot back, for its owner alone', (t) => {
    const { store, path, directory } = openStore(t);
    const snapshot = snapshotOffline(path, join(directory, 'copy.db'));
    store.commit(1, [{ kind: 'listener-remove', listener: ':443' }], entry);
    store.close();
    assert.deepEqual(restoreDatabase(snapshot.path, path), { path, bytes: snapshot.bytes });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(load(path), { version: 1, traffic });
    assert.ok(existsSync(snapshot.path));
  });

  test('makes a database where none was', (t) => {
    const { path, directory } = openStore(t);
    snapshotOffline(path, join(directory, 'copy.db'));
    const fresh = join(directory, 'fresh.db');
    restoreDatabase(join(directory, 'copy.db'), fresh);
    assert.deepEqual(load(fresh), { version: 1, traffic });
  });

  test('is refused while a server owns the database', (t) => {
    const { store, path, directory } = openStore(t);
    snapshotOffline(path, join(directory, 'copy.db'));
    assert.throws(() => restoreDatabase(join(directory, 'copy.db'), path), { code: 'in-use' });
    assert.equal(store.commit(1, [], entry), 2);
  });

  // A server was killed, an older snapshot was restored, and the rows of the log came back with the next start.
  test('the log of a killed server is not replayed into it', (t) => {
    const { store, path, directory } = openStore(t);
    const snapshot = snapshotOffline(path, join(directory, 'copy.db')).path;
    store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry);
    const killed = copyOf(path, join(directory, 'killed.db'));
    assert.equal(
      load(copyOf(killed, join(directory, 'proof.db')))?.version,
      2,
      'the log holds the later rows',
    );
    restoreDatabase(snapshot, killed);
    assert.deepEqual(companionsOf(killed), []);
    assert.deepEqual(load(killed), { version: 1, traffic });
  });

  test('a log that belongs to nothing, or to a damaged database, goes as well', (t) => {
    const { store, path, directory } = openStore(t);
    const snapshot = snapshotOffline(path, join(directory, 'copy.db')).path;
    store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry);
    const damaged = copyOf(path, join(directory, 'damaged.db'));
    writeFileSync(damaged, 'not a database at all');
    writeFileSync(`${damaged}-journal`, 'nor is this its journal');
    restoreDatabase(snapshot, damaged);
    assert.deepEqual(companionsOf(damaged), []);
    assert.deepEqual(load(damaged), { version: 1, traffic });
  });

  const refused: [string, string, (file: string) => void][] = [
    ['a damaged snapshot', 'corrupt', damage],
    [
      'a snapshot cut short',
      'corrupt',
      (file) => writeFileSync(file, readFileSync(file).subarray(0, 40_000)),
    ],
    ['a file of another program', 'foreign', (file) => writeFileSync(file, 'hello '.repeat(1000))],
    ['an empty file', 'foreign', (file) => writeFileSync(file, '')],
    ['a snapshot of a newer program', 'newer-schema', makeNewer],
  ];
  for (const [what, code, spoil] of refused) {
    test(`${what} is refused and the database stays`, (t) => {
      const { store, path, directory } = openStore(t);
      const snapshot = snapshotOffline(path, join(directory, 'copy.db')).path;
      store.commit(1, [], entry);
      store.close();
      spoil(snapshot);
      assert.throws(() => restoreDatabase(snapshot, path), { code });
      assert.equal(load(path)?.version, 2);
      assert.ok(!readdirSync(directory).some((file) => file.includes('partial')));
    });
  }

  test('the database itself is no snapshot of it', (t) => {
    const { store, path } = openStore(t);
    store.close();
    assert.throws(() => restoreDatabase(path, path), { code: 'invalid' });
  });
});

interface Opened {
  readonly store: StoreDatabase;
  readonly path: string;
  readonly directory: string;
}

/** Seeded, at version 1. */
function openStore(t: TestContext): Opened {
  const directory = scratchDirectory(t);
  const path = join(directory, 'a.db');
  const store = StoreDatabase.open(path, limits);
  store.seed(traffic, entry);
  return { store, path, directory };
}

function load(path: string): ReturnType<StoreDatabase['load']> {
  const store = StoreDatabase.open(path, limits);
  try {
    return store.load();
  } finally {
    store.close();
  }
}

/** With its log, as a kill leaves it. */
function copyOf(path: string, target: string): string {
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(path + suffix)) copyFileSync(path + suffix, target + suffix);
  }
  return target;
}

function companionsOf(path: string): string[] {
  return ['-wal', '-shm', '-journal'].filter((suffix) => existsSync(path + suffix));
}

function damage(path: string): void {
  const file = readFileSync(path);
  writeFileSync(path, file.fill(0xab, file.length - 8 * 4096, file.length - 4096));
}

function makeNewer(path: string): void {
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA user_version = ${migrations.length + 1}`);
  db.close();
}
