/** `portcullis debug bundle` on a real server, and when there is none: what is in it, and what must never be. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Authority } from '../support/authority.ts';
import { Operator } from '../support/operator.ts';
import { lacks } from '../support/tools.ts';

const planted = {
  header: 'planted-header-value-1',
  laterHeader: 'planted-header-value-2',
  query: 'planted-query-token',
  environment: 'planted-environment-value',
} as const;

const config = (identity: { certPath: string; keyPath: string }): string => `
[server]
workers = 1
shutdown_timeout = "1s"
[log]
file = "portcullis.log"
[database]
path = "portcullis.db"
[admin]
grpc_addr = "unix:admin.sock"
http_addr = "unix:http.sock"
[[listeners]]
addr = "127.0.0.1:0"
protocol = "auto"
  [[listeners.routes]]
  hostname = "app.example.com"
  mode = "l7"
  backend = "127.0.0.1:9"
  backend_protocol = "http1"
  tls_cert = "${identity.certPath}"
  tls_key = "env:APP_KEY"
  request_headers = { set = { x-upstream-id = "${planted.header}" } }
`;

/** File names in the bundle, and every byte of it. */
async function unpack(operator: Operator, bundle: string): Promise<Map<string, string>> {
  await operator.run(
    `rm -rf unpacked && mkdir unpacked && tar -xzf ${bundle} -C unpacked --strip-components=1`,
  );
  const folder = operator.file('unpacked');
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

function assertClean(files: ReadonlyMap<string, string>, privateKey: string): void {
  const secrets = [...Object.values(planted), privateKey.split('\n')[1]!];
  for (const [name, text] of files)
    for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} in ${name}`);
}

describe('a debug bundle', { skip: lacks('openssl') || lacks('curl') }, () => {
  test('tells what there is to tell and none of the secrets, with a server and without', async () => {
    const identity = new Authority('bundle').issue({ altNames: ['DNS:app.example.com'] });
    const env = { APP_KEY: identity.key, PORTCULLIS_LOG_LEVEL: 'debug', UNRELATED: planted.environment };
    await using operator = new Operator(config(identity), env);
    const on = '-c portcullis.toml';
    const server = operator.typing(`exec portcullis serve ${on}`);
    await using serving = {
      async [Symbol.asyncDispose]() {
        server.child.kill('SIGTERM');
        await server.ended;
      },
    };
    await operator.run(
      'for i in $(seq 200); do [ "$(curl -s --unix-socket http.sock http://localhost/readyz)" != live ] || exit 0; sleep 0.05; done; cat portcullis.log; exit 1',
    );
    const status = JSON.parse(await operator.run(`portcullis status --json ${on}`)) as {
      listeners: { boundPort: number }[];
    };
    const port = status.listeners[0]!.boundPort;
    await operator.run(
      `portcullis routes update app.example.com --listener 127.0.0.1:0 --set-request-header 'x-later: ${planted.laterHeader}' ${on}`,
    );
    await operator.run(
      `curl -sS -m 5 -H 'Host: app.example.com' -H 'Authorization: Bearer ${planted.environment}' http://127.0.0.1:${port}/a?token=${planted.query}`,
    );

    const said = await operator.type(`portcullis debug bundle -o one.tar.gz ${on}`);
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stdout, /^wrote one\.tar\.gz: \d+ files, \d+ bytes\n$/);
    assert.equal(said.stderr, '');
    assert.equal(statSync(operator.file('one.tar.gz')).mode & 0o777, 0o600);
    const files = await unpack(operator, 'one.tar.gz');
    assertClean(files, identity.key);
    assert.match(files.get('log.txt')!, /"msg":"ready"[\s\S]*"path":"\/a\?\[redacted\]"/);
    assert.match(files.get('config.json')!, /"x-later",\s+"\[redacted\]"/);
    assert.match(files.get('routes.txt')!, /app\.example\.com l7 → 127\.0\.0\.1:9/u);
    assert.match(files.get('metrics.txt')!, /^portcullis_config_version 2$/m);
    assert.match(files.get('audit.json')!, /UpdateRoute/);
    assert.match(files.get('versions.json')!, /"PORTCULLIS_LOG_LEVEL"/);
    const processes = JSON.parse(files.get('processes.json')!) as { pid: number; open_descriptors: number }[];
    assert.ok(
      processes.some(({ pid, open_descriptors }) => pid === server.child.pid && open_descriptors > 10),
    );

    const again = await operator.type(`portcullis debug bundle -o one.tar.gz ${on}`);
    assert.match(again.stderr, /one\.tar\.gz is there already/);
    assert.equal(again.code, 1);

    await serving[Symbol.asyncDispose]();
    const alone = await operator.type(`portcullis debug bundle --with-database -o two.tar.gz ${on}`);
    assert.equal(alone.code, 0, alone.stderr);
    assert.match(alone.stderr, /without status\.json: no server answers at unix:/);
    const left = await unpack(operator, 'two.tar.gz');
    assert.match(left.get('MISSING.txt')!, /^metrics\.txt: connect ENOENT /m);
    assert.match(left.get('config.json')!, /"from": "database",\s+"version": 2/);
    assert.match(left.get('portcullis.db')!, /^SQLite format 3/);
    left.delete('portcullis.db');
    assertClean(left, identity.key);

    writeFileSync(operator.file('portcullis.toml'), `[admin]\ntls_key = "${planted.header}"\nnonsense = 1\n`);
    const invalid = await operator.type(`portcullis debug bundle -o three.tar.gz ${on}`);
    assert.equal(invalid.code, 0, invalid.stderr);
    const broken = await unpack(operator, 'three.tar.gz');
    assert.match(broken.get('problems.json')!, /"code": "key-unknown"/);
    assertClean(broken, identity.key);
  });

  test('that can not be written leaves nothing behind', async () => {
    await using operator = new Operator('');
    const { code, stderr } = await operator.type('portcullis debug bundle -o nowhere/one.tar.gz');
    assert.equal(code, 1);
    assert.match(stderr, /nowhere\/one\.tar\.gz can not be written \(ENOENT\)/);
  });
});
