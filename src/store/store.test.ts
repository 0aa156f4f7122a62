import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { egressDefaults } from '../model/egress-settings.ts';
import { AuditLog, auditEntriesMax } from './audit-log.ts';
import { migrate } from './migrations.ts';
import { type AuditInput, Store, type StoredChange, type StoreLimits } from './store.ts';
import { emptyTraffic, sampleListener, sampleRoute } from './testing/sample-traffic.ts';
import { scratchDirectory } from './testing/scratch.ts';

const entry: AuditInput = {
  actor: 'CN=ops',
  action: 'AddRoute',
  changes: ['+ route/:443/a.example → 10.0.0.1:8443'],
};
const traffic = { ...emptyTraffic, listeners: [sampleListener(':443', [sampleRoute('a.example')])] };

describe('the store', () => {
  test('is empty, is seeded, and answers the same after it was opened again', async (t) => {
    const { store, path } = await openStore(t);
    assert.equal(await store.load(), null);
    assert.equal(await store.seed(traffic, entry), 1);
    assert.equal(await store.commit(1, [{ kind: 'geoip-path-set', path: '/var/lib/geo.mmdb' }], entry), 2);
    await store.close();
    const again = await reopen(t, path);
    const firewall = { ...traffic.firewall, geoipDatabase: '/var/lib/geo.mmdb' };
    assert.deepEqual(await again.load(), { version: 2, traffic: { ...traffic, firewall } });
  });

  test('egress settings that hold a secret are not stored, and damaged ones are not served', async (t) => {
    const { store, path } = await openStore(t);
    await store.seed(traffic, entry);
    const authority = { kind: 'keystore', path: '/ca.p12', password: 'text:hush' } as const;
    await assert.rejects(
      store.commit(1, [{ kind: 'egress-set', egress: { ...egressDefaults, authority } }], entry),
      {
        code: 'invalid',
        message: 'the egress settings can not be stored: authority.password is no reference to a secret',
      },
    );
    await store.commit(1, [{ kind: 'egress-set', egress: egressDefaults }], entry);
    await store.close();
    const db = new DatabaseSync(path);
    db.exec(`UPDATE egress SET settings = '{"whitelist":[{"pattern":"~("}]}'`);
    db.close();
    const damaged = await reopen(t, path);
    await assert.rejects(damaged.load(), {
      code: 'corrupt',
      message: /the egress settings are damaged: whitelist\[0\]\.pattern is no canonical pattern; restore/,
    });
  });

  test('nobody but its owner may read any of its files', async (t) => {
    const { store, path, directory } = await openStore(t);
    await store.seed(traffic, entry);
    assert.deepEqual(modes(directory), {
      'a.db': 0o600,
      'a.db-shm': 0o600,
      'a.db-wal': 0o600,
      'a.db.lock': 0o600,
    });
    await store.close();
    chmodSync(path, 0o644);
    await reopen(t, path);
    assert.equal(modes(directory)['a.db'], 0o600, 'a file that was opened to others is closed to them again');
  });

  test('a second server on the same file is refused, by whatever name', async (t) => {
    const { store, path, directory } = await openStore(t);
    const link = join(directory, 'link.db');
    symlinkSync(path, link);
    const refusal = {
      code: 'in-use',
      message: new RegExp(`in use by process ${process.pid}; stop it first`),
    };
    await assert.rejects(Store.open(path), refusal);
    await assert.rejects(Store.open(link), refusal);
    assert.equal(await store.seed(traffic, entry), 1, 'the first one works on');
    await store.close();
    assert.equal((await (await reopen(t, link)).load())?.version, 1);
  });

  test('is seeded once', async (t) => {
    const { store } = await openStore(t);
    await store.seed(traffic, entry);
    await assert.rejects(store.seed(emptyTraffic, entry), { code: 'version-mismatch' });
    assert.deepEqual(await store.load(), { version: 1, traffic });
  });

  test('of many writers from one version exactly one gets through', async (t) => {
    const { store } = await openStore(t);
    await store.seed(traffic, entry);
    const commits = Array.from({ length: 20 }, (_, index) =>
      store.commit(1, [{ kind: 'exempt-put', cidr: `10.0.0.${index}/32` }], entry),
    );
    const results = await Promise.allSettled(commits);
    assert.deepEqual(
      results.map((result) => result.status === 'fulfilled'),
      [true, ...Array(19).fill(false)],
    );
    assert.deepEqual((await store.load())?.traffic.firewall.rateLimitExempt, ['10.0.0.0/32']);
    assert.equal((await store.audit(10)).length, 2);
  });

  test('commits that follow each other without a pause are answered in their order', async (t) => {
    const { store } = await openStore(t);
    await store.seed(traffic, entry);
    const commits = Array.from({ length: 50 }, (_, index) =>
      store.commit(
        index + 1,
        [{ kind: 'firewall-put', rule: { type: 'ip', value: `10.0.0.${index}` } }],
        entry,
      ),
    );
    assert.deepEqual(
      await Promise.all(commits),
      Array.from({ length: 50 }, (_, index) => index + 2),
    );
  });

  test('a commit with one bad change keeps none of them', async (t) => {
    const { store } = await openStore(t);
    await store.seed(traffic, entry);
    const bad: StoredChange[] = [
      { kind: 'route-put', listener: ':8443', route: sampleRoute('b.example') },
      { kind: 'max-connections-set', listener: ':8443', maxConnections: 1 },
      { kind: 'route-remove', listener: ':8443', hostname: 'a.example', pathPrefix: '' },
      { kind: 'max-connections-set', listener: ':443', maxConnections: -1 },
      { kind: 'route-put', listener: ':443', route: sampleRoute('a.example', { pathPrefix: '/api' }) },
    ];
    for (const change of bad) {
      const commit = store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }, change], entry);
      await assert.rejects(commit, { code: 'invalid' });
    }
    assert.deepEqual(await store.load(), { version: 1, traffic });
    assert.equal((await store.audit(10)).length, 1);
  });

  test('a file that is no database is refused', async (t) => {
    const path = join(scratchDirectory(t), 'notes.txt');
    writeFileSync(path, 'To do: buy milk.\n'.repeat(100));
    await assert.rejects(Store.open(path), { code: 'foreign' });
  });

  test('a damaged database is refused', async (t) => {
    const { store, path } = await openStore(t);
    const routes = Array.from({ length: 500 }, (_, index) => sampleRoute(`host-${index}.example`));
    await store.seed({ ...traffic, listeners: [sampleListener(':443', routes)] }, entry);
    await store.close();
    damage(path);
    await assert.rejects(Store.open(path), { code: 'corrupt' });
  });

  test('a missing directory is named', async (t) => {
    const directory = join(scratchDirectory(t), 'missing');
    await assert.rejects(Store.open(join(directory, 'a.db')), {
      code: 'unavailable',
      message: new RegExp(directory),
    });
  });

  test('a snapshot is taken beside commits and holds what was answered before', async (t) => {
    const { store, path } = await openStore(t);
    await store.seed(traffic, entry);
    await store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry);
    const [snapshot, version] = await Promise.all([
      store.snapshot(`${path}.copy`),
      store.commit(2, [{ kind: 'exempt-remove', cidr: '10.0.0.0/8' }], entry),
    ]);
    assert.deepEqual(snapshot, { path: `${path}.copy`, bytes: statSync(`${path}.copy`).size });
    assert.equal(version, 3);
    await assert.rejects(store.snapshot(`${path}.copy`), { code: 'exists' });
    await assert.rejects(Promise.all([store.snapshot(`${path}.1`), store.snapshot(`${path}.2`)]), {
      code: 'busy',
    });
    const copy = await (await reopen(t, `${path}.copy`)).load();
    assert.ok(copy !== null && copy.version >= 2);
  });
});

describe('the audit log', () => {
  test('has one entry for each version, the newest first', async (t) => {
    const { store } = await openStore(t);
    const start = Date.now();
    await store.seed(traffic, {
      actor: 'seed',
      action: 'Seed',
      changes: ['+ listener/:443/-', '+ "quoted" → ü'],
    });
    await store.commit(1, [{ kind: 'listener-remove', listener: ':443' }], entry);
    const [newest, oldest] = await store.audit(10);
    assert.deepEqual({ ...newest, at: null }, { version: 2, at: null, ...entry });
    assert.deepEqual(oldest?.changes, ['+ listener/:443/-', '+ "quoted" → ü']);
    assert.ok(newest!.at.getTime() >= start && newest!.at.getTime() <= Date.now());
    assert.equal((await store.audit(1)).length, 1);
  });

  test('keeps its newest entries only', () => {
    const db = new DatabaseSync(':memory:');
    migrate(db, ':memory:');
    const log = new AuditLog(db);
    for (const version of [1, 2, auditEntriesMax, auditEntriesMax + 1]) log.write(version, 0, entry);
    assert.deepEqual(
      log.read(10).map(({ version }) => version),
      [auditEntriesMax + 1, auditEntriesMax, 2],
    );
    db.close();
  });
});

describe('the limits of the store', () => {
  test('a full queue refuses at once', async (t) => {
    const { store } = await openStore(t, { requestsMax: 3 });
    await store.seed(traffic, entry);
    const audits = Array.from({ length: 5 }, () => store.audit(1));
    const statuses = (await Promise.allSettled(audits)).map(({ status }) => status);
    assert.deepEqual(statuses, ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected']);
    await assert.rejects(audits[4]!, { code: 'busy' });
    assert.equal((await store.audit(1)).length, 1, 'and takes requests again when it is not');
  });

  test('a request that waited too long is not begun', async (t) => {
    const path = join(scratchDirectory(t), 'a.db');
    await assert.rejects(Store.open(path, { queueTimeoutMs: -1_000 }), { code: 'busy' });
    assert.equal(existsSync(path), false);
  });

  test('a commit of too many changes is refused', async (t) => {
    const { store } = await openStore(t, { changesMax: 2 });
    await store.seed(traffic, entry);
    const change: StoredChange = { kind: 'exempt-put', cidr: '10.0.0.0/8' };
    await assert.rejects(store.commit(1, [change, change, change], entry), { code: 'invalid' });
    assert.equal(await store.commit(1, [change, change], entry), 2);
  });

  test('a database at its limit is full, and whole', async (t) => {
    const { store } = await openStore(t, { bytesMax: 200_000 });
    await store.seed(traffic, entry);
    const long = { ...entry, changes: ['x'.repeat(200_000)] };
    await assert.rejects(store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], long), {
      code: 'full',
    });
    assert.deepEqual(await store.load(), { version: 1, traffic });
    assert.equal(await store.commit(1, [{ kind: 'exempt-put', cidr: '10.0.0.0/8' }], entry), 2);
  });

  test('a thread that does not answer is given up', async (t) => {
    const { store, path } = await openStore(t);
    await store.seed(traffic, entry);
    await store.close();
    await assert.rejects(Store.open(path, { stallMs: 1 }), { code: 'stalled' });
  });
});

describe('the end of the store', () => {
  test('closing answers what was asked before, and refuses the rest', async (t) => {
    const { store, path, directory } = await openStore(t);
    const seeded = store.seed(traffic, entry);
    const closed = store.close();
    await assert.rejects(store.load(), { code: 'closed' });
    await assert.rejects(store.snapshot(`${path}.copy`), { code: 'closed' });
    assert.equal(await seeded, 1);
    await closed;
    await store.close();
    assert.deepEqual(readdirSync(directory).sort(), ['a.db', 'a.db.lock'], 'the log went into the database');
  });

  test('when its thread dies, everything that waits is told, and another store takes over', async (t) => {
    const { store, path } = await openStore(t);
    await store.seed(traffic, entry);
    const waiting = Array.from({ length: 10 }, () => store.load());
    const results = Promise.allSettled(waiting);
    await store.crash();
    for (const result of await results) {
      if (result.status === 'rejected') assert.equal(result.reason.code, 'crashed');
    }
    await assert.rejects(store.load(), { code: 'crashed' });
    const next = await reopen(t, path);
    assert.deepEqual(await next.load(), { version: 1, traffic });
    assert.equal(await next.commit(1, [], entry), 2);
    await store.close();
  });
});

interface Opened {
  readonly store: Store;
  readonly path: string;
  readonly directory: string;
}

async function openStore(t: TestContext, limits: Partial<StoreLimits> = {}): Promise<Opened> {
  const directory = scratchDirectory(t);
  const path = join(directory, 'a.db');
  const store = await Store.open(path, limits);
  t.after(() => store.close());
  return { store, path, directory };
}

async function reopen(t: TestContext, path: string): Promise<Store> {
  assert.ok(existsSync(path));
  const store = await Store.open(path);
  t.after(() => store.close());
  return store;
}

function modes(directory: string): Record<string, number> {
  return Object.fromEntries(
    readdirSync(directory).map((file) => [file, statSync(join(directory, file)).mode & 0o777]),
  );
}

/** Overwrites a page in the middle. The file is closed by then. */
function damage(path: string): void {
  const pages = statSync(path).size / 4096;
  const file = readFileSync(path);
  file.fill(0xab, Math.floor(pages / 2) * 4096, Math.floor(pages / 2) * 4096 + 4096);
  writeFileSync(path, file);
}
