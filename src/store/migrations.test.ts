import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { egressDefaults } from '../model/egress-settings.ts';
import { applicationId, migrate, type Migration, migrations, runStep, schemaVersion } from './migrations.ts';
import { readPragma } from './sql.ts';
import { StoreDatabase } from './store-database.ts';
import { scratchDirectory } from './testing/scratch.ts';
import { emptyTraffic, sampleListener, sampleRoute } from './testing/sample-traffic.ts';

const limits = { busyTimeoutMs: 100, bytesMax: 2 ** 30 };

describe('migrations', () => {
  for (let older = 0; older <= migrations.length; older++) {
    test(`a file of schema ${older} becomes what a new one is`, (t) => {
      const path = join(scratchDirectory(t), 'old.db');
      withDatabase(path, (db) => migrate(db, path, migrations.slice(0, older)));
      StoreDatabase.open(path, limits).close();
      withDatabase(path, (db) => {
        assert.equal(schemaVersion(db), migrations.length);
        assert.deepEqual(schemaOf(db), schemaOf(newDatabase(t)));
      });
    });
  }

  test('each step may run again and changes nothing', (t) => {
    const db = newDatabase(t);
    db.exec(sampleRows);
    db.exec(`UPDATE listeners SET protocol = 'auto'; UPDATE routes SET mode = 'l7', path_prefix = '/a'`);
    const before = [schemaOf(db), rowsOf(db)];
    for (const step of migrations) runStep(db, step);
    assert.deepEqual([schemaOf(db), rowsOf(db)], before);
    assert.equal(readPragma(db, 'application_id'), applicationId);
  });

  test('a database of version 0.1.0 opens with every row, in its order, and the defaults of what is new', (t) => {
    const path = join(scratchDirectory(t), 'old.db');
    withDatabase(path, (db) => {
      migrate(db, path, migrations.slice(0, 1));
      db.exec(rowsOfFirstSchema);
    });
    const store = StoreDatabase.open(path, limits);
    t.after(() => store.close());
    const { version, traffic } = store.load()!;
    assert.equal(version, 7);
    const [listener] = traffic.listeners;
    const tls = {
      cert: '/a.pem',
      key: 'env:K',
      clientCa: null,
      clientAuth: 'none',
      minVersion: '1.2',
    } as const;
    assert.deepEqual(traffic.listeners, [
      sampleListener(':443', [
        sampleRoute('b.example', { backend: { kind: 'unix', path: '/run/b.sock' } }),
        sampleRoute('a.example', {
          mode: 'l7',
          tls,
          backendTls: { ca: null, serverName: null, insecure: false },
          policies: [
            { type: 'require_header', value: 'x-api-key' },
            { type: 'block_user_agent', value: 'bot' },
          ],
        }),
      ]),
    ]);
    const route = { ...listener!.routes[1]!, pathPrefix: '/api', policies: [] };
    const entry = { actor: 'test', action: 'Test', changes: [] };
    store.commit(7, [{ kind: 'route-put', listener: ':443', route }], entry);
    store.commit(
      8,
      [{ kind: 'route-remove', listener: ':443', hostname: 'a.example', pathPrefix: '' }],
      entry,
    );
    assert.deepEqual(store.load()!.traffic.listeners[0]!.routes.slice(1), [route]);
  });

  test('a file of the second schema keeps its rows; a listener has no certificate of its own, and there is no egress', (t) => {
    const path = join(scratchDirectory(t), 'old.db');
    withDatabase(path, (db) => {
      migrate(db, path, migrations.slice(0, 2));
      db.exec(`INSERT INTO settings VALUES ('version', 3); ${sampleRows}`);
    });
    const store = StoreDatabase.open(path, limits);
    t.after(() => store.close());
    const { traffic } = store.load()!;
    assert.deepEqual([traffic.egress, traffic.listeners.map(({ tls }) => tls)], [null, [null]]);
    store.commit(3, [{ kind: 'egress-set', egress: egressDefaults }], {
      actor: 'a',
      action: 'b',
      changes: [],
    });
    assert.deepEqual(store.load()!.traffic.egress, egressDefaults);
  });

  test('a step that fails leaves the file at the step before', (t) => {
    const db = newDatabase(t);
    const steps: Migration[] = [
      ...migrations,
      { name: 'good', sql: 'CREATE TABLE good (id INTEGER) STRICT' },
      { name: 'broken', sql: 'CREATE TABLE half (id INTEGER) STRICT; CREATE TABLE nonsense (' },
    ];
    assert.throws(() => migrate(db, 'a.db', steps), /incomplete input/);
    assert.equal(schemaVersion(db), migrations.length + 1);
    assert.ok(schemaOf(db).some((row) => row['name'] === 'good'));
    assert.ok(!schemaOf(db).some((row) => row['name'] === 'half'));
  });

  test('a file of a newer program is refused by both numbers, and left as it was', (t) => {
    const path = join(scratchDirectory(t), 'newer.db');
    const newer = migrations.length + 41;
    withDatabase(path, (db) => db.exec(`CREATE TABLE future (id); PRAGMA application_id = ${applicationId}`));
    withDatabase(path, (db) => db.exec(`PRAGMA user_version = ${newer}`));
    const refusal = {
      code: 'newer-schema',
      message: new RegExp(`schema ${newer}.* up to ${migrations.length}`),
    };
    assert.throws(() => StoreDatabase.open(path, limits), refusal);
    withDatabase(path, (db) => {
      assert.equal(schemaVersion(db), newer);
      assert.equal(db.prepare('PRAGMA journal_mode').get()?.['journal_mode'], 'delete');
    });
  });

  test('a database of another program is refused and left as it was', (t) => {
    const path = join(scratchDirectory(t), 'other.db');
    withDatabase(path, (db) => db.exec('CREATE TABLE theirs (id)'));
    assert.throws(() => StoreDatabase.open(path, limits), { code: 'foreign' });
    withDatabase(path, (db) =>
      assert.deepEqual(
        schemaOf(db).map((row) => row['name']),
        ['theirs'],
      ),
    );
  });
});

describe('the schema', () => {
  const refused: [string, string][] = [
    ['a private key in the place of a reference', route({ tls_key: `'-----BEGIN PRIVATE KEY-----'` })],
    ['a private key that begins like a path', route({ tls_key: `'/-----BEGIN PRIVATE KEY-----'` })],
    ['a key reference of more than one line', route({ tls_key: `'/etc/a' || char(10) || 'b'` })],
    ['a relative key reference', route({ tls_key: `'app.key'` })],
    ['an l7 route without a certificate', route({ mode: `'l7'`, tls_key: `'/a.key'` })],
    ['a route of mode l4 with a path', route({ path_prefix: `'/api'` })],
    ['a path that is no path', route({ mode: `'l7'`, path_prefix: `'api'` })],
    ['a route twice', route({ hostname: `'first.example'` })],
    ['client certificates that nothing verifies', route({ mode: `'l7'`, client_auth: `'require'` })],
    ['an unverified backend without TLS', route({ mode: `'l7'`, backend_insecure: '1' })],
    ['header rules that are none', route({ mode: `'l7'`, request_headers: `'[]'` })],
    ['an unknown protocol', `UPDATE listeners SET protocol = 'quic'`],
    ['an unknown mode', route({ mode: `'l5'` })],
    ['a route without a backend', route({ backend_path: 'NULL' })],
    ['a route with two backends', route({ backend_host: `'a'`, backend_port: '1' })],
    ['a route of no listener', route({ listener_id: '7' })],
    ['a policy without a value', `INSERT INTO policies VALUES (1, 9, 'require_header', '')`],
    ['a policy twice', `INSERT INTO policies VALUES (1, 9, 'require_header', 'x-api-key')`],
    ['a key of a listener without a certificate', `UPDATE listeners SET tls_key = '/a.key'`],
    [
      'a private key of a listener',
      `UPDATE listeners SET tls_cert = '/a.pem', tls_key = '-----BEGIN PRIVATE KEY'`,
    ],
    [
      'client certificates of a listener that nothing verifies',
      `UPDATE listeners SET client_auth = 'require'`,
    ],
    ['a second document of egress settings', `INSERT INTO egress VALUES (2, '{}')`],
    ['egress settings that are no object', `INSERT INTO egress VALUES (1, '[]')`],
    ['a text where a number belongs', `UPDATE listeners SET port = 'https'`],
    ['a negative limit', 'UPDATE listeners SET max_connections = -1'],
    [
      'a firewall rule of an unknown type',
      `INSERT INTO firewall_rules (type, value) VALUES ('asn', '64496')`,
    ],
  ];
  for (const [what, sql] of refused) {
    test(`refuses ${what}`, (t) => {
      const db = newDatabase(t);
      db.exec(sampleRows);
      assert.throws(() => db.exec(sql), /constraint failed|cannot store/);
    });
  }

  test('takes a path and an environment variable as key references', (t) => {
    const db = newDatabase(t);
    db.exec(sampleRows);
    for (const key of [`'/etc/app.key'`, `'env:APP_KEY'`]) {
      db.exec(route({ hostname: key.toLowerCase(), mode: `'l7'`, tls_cert: `'/etc/app.pem'`, tls_key: key }));
    }
  });

  test('routes and policies go with their listener', (t) => {
    const db = newDatabase(t);
    db.exec(sampleRows);
    db.exec('DELETE FROM listeners');
    assert.equal(db.prepare('SELECT 1 FROM routes').get(), undefined);
    assert.equal(db.prepare('SELECT 1 FROM policies').get(), undefined);
  });

  test('is what a seeded store uses', (t) => {
    const path = join(scratchDirectory(t), 'new.db');
    const store = StoreDatabase.open(path, limits);
    store.seed(emptyTraffic, { actor: 'seed', action: 'Seed', changes: [] });
    store.close();
    withDatabase(path, (db) => {
      assert.equal(db.prepare('PRAGMA journal_mode').get()?.['journal_mode'], 'wal');
      assert.equal(readPragma(db, 'application_id'), applicationId);
    });
  });
});

const rowsOfFirstSchema = `
  INSERT INTO settings VALUES ('version', 7);
  INSERT INTO listeners VALUES (1, ':443', 'ingress', '', 443, 0, '[]', 0, NULL, NULL, NULL);
  INSERT INTO routes VALUES (3, 1, 'b.example', 'l4', NULL, NULL, '/run/b.sock', 0, NULL, NULL, 0);
  INSERT INTO routes VALUES (5, 1, 'a.example', 'l7', '10.0.0.1', 8443, NULL, 0, '/a.pem', 'env:K', 1);
  INSERT INTO policies VALUES (5, 0, 'require_header', 'x-api-key'), (5, 1, 'block_user_agent', 'bot');
`;

const sampleRows = `
  INSERT INTO listeners (id, name, kind, host, port, proxy_protocol, proxy_protocol_from, max_connections)
  VALUES (1, ':443', 'ingress', '', 443, 0, '[]', 0);
  ${route({ id: '1', hostname: `'first.example'` })};
  INSERT INTO policies VALUES (1, 0, 'require_header', 'x-api-key');
`;

function route(changed: Record<string, string>): string {
  const columns = {
    listener_id: '1',
    hostname: `'app.example'`,
    mode: `'l4'`,
    backend_path: `'/run/app.sock'`,
    send_proxy_protocol: '0',
    backend_tls: '0',
    ...changed,
  };
  return `INSERT INTO routes (${Object.keys(columns).join(', ')}) VALUES (${Object.values(columns).join(', ')})`;
}

function newDatabase(t: TestContext): DatabaseSync {
  const db = new DatabaseSync(':memory:');
  t.after(() => db.close());
  migrate(db, ':memory:');
  return db;
}

function withDatabase(path: string, work: (db: DatabaseSync) => void): void {
  const db = new DatabaseSync(path);
  try {
    work(db);
  } finally {
    db.close();
  }
}

function rowsOf(db: DatabaseSync): unknown[] {
  return ['listeners', 'routes', 'policies'].map((table) => db.prepare(`SELECT * FROM ${table}`).all());
}

function schemaOf(db: DatabaseSync): Record<string, unknown>[] {
  return db.prepare('SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name').all();
}
