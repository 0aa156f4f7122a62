/** Egress on the command line of a running server: applied, shown, explained, and a listener added and removed. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Operator } from '../support/operator.ts';

const base = `
[server]
workers = 1
shutdown_timeout = "1s"
[database]
path = "portcullis.db"
[admin]
grpc_addr = "unix:admin.sock"
[[listeners]]
addr = "127.0.0.1:0"
routes = [{ hostname = "app.example.com", backend = "127.0.0.1:9" }]
`;
const egress = `
[egress]
whitelist = ["*.example.com", { pattern = "db.example.net", methods = ["GET"], ports = [8443] }]
rewrites = [{ pattern = "old.example.org", target_ip = "10.20.30.40", headers = { x-key = "hush" } }]
credentials = [{ pattern = "api.example.com", prefix = "Bearer ", secret = "env:EGRESS_KEY" }]
[[listeners]]
kind = "egress"
addr = "127.0.0.2:0"
`;
const at = '-c portcullis.toml';

describe('egress through the API', () => {
  let operator: Operator;
  before(async () => {
    operator = new Operator(base, { EGRESS_KEY: 'hush' });
    await operator.serve();
  });
  after(() => operator[Symbol.asyncDispose]());

  test('a listener of egress has nothing to go by before there are settings', async () => {
    const { code, stderr } = await operator.type(`portcullis listeners add 127.0.0.3:0 --kind egress ${at}`);
    assert.notEqual(code, 0);
    assert.match(
      stderr,
      /there are no egress settings to go by; apply a configuration with \[egress\] first/,
    );
  });

  test('a file with egress is told in words, applied, and exported as it was', async () => {
    operator.write('portcullis.toml', base + egress);
    const diff = await operator.run(`portcullis config diff ${at}`);
    for (const line of [
      /^\+ listener\/127\.0\.0\.2:0: egress$/m,
      /^\+ egress$/m,
      /^\+ whitelist\/-\/\*\.example\.com$/m,
      /^\+ whitelist\/-\/db\.example\.net: methods GET, ports 8443$/m,
      /^\+ rewrite\/-\/old\.example\.org: target_ip 10\.20\.30\.40, headers x-key$/m,
      /^\+ credential\/-\/api\.example\.com: prefix Bearer , secret env:EGRESS_KEY$/m,
    ]) {
      assert.match(diff, line);
    }
    await operator.run(`portcullis config apply ${at}`);
    assert.match(await operator.run(`portcullis config diff ${at}`), /agree \(version 2\)/);
    await operator.run(`portcullis config export -o exported.toml ${at}`);
    assert.match(await operator.run(`cat exported.toml`), /^kind = "egress"\n\n\[egress\]\nwhitelist = \[$/m);
    await operator.run(`{ head -8 portcullis.toml; cat exported.toml; } > again.toml`);
    assert.match(await operator.run('portcullis config diff -c again.toml'), /agree/);
  });

  test('status, listeners and audit say what there is, and no secret', async () => {
    assert.match(
      await operator.run(`portcullis status ${at}`),
      /^127\.0\.0\.2:0  egress active=0 port=\d+$/m,
    );
    assert.match(await operator.run(`portcullis listeners list ${at}`), /^127\.0\.0\.2:0 \(\d+\) +egress/m);
    const audit = await operator.run(`portcullis audit -n 1 --json ${at}`);
    assert.match(audit, /rewrite\/-\/old\.example\.org/);
    assert.doesNotMatch(audit, /hush/);
  });

  test('explain says what the running gateway would', async () => {
    const allowed = await operator.run(`portcullis explain https://old.example.org/x --from 127.0.0.1 ${at}`);
    assert.match(allowed, /^https:\/\/old\.example\.org:443 from 127\.0\.0\.1 on listener 127\.0\.0\.2:0$/m);
    assert.match(allowed, /^matched +rewrite\/-\/old\.example\.org/m);
    const json = await operator.run(`portcullis explain http://evil.example/ --json ${at}`);
    const [explained] = JSON.parse(json) as { action: string; reason: string }[];
    assert.deepEqual([explained!.action, explained!.reason], ['BLOCKED', 'host-blocked']);
    const offline = `portcullis explain https://a.example.com/ --offline ${at}`;
    assert.match(await operator.run(offline), /by whitelist\/-\/\*\.example\.com, WHITE-LISTED$/m);
  });

  test('a bad pattern is refused by its place, and changes nothing', async () => {
    operator.write('bad.toml', (base + egress).replace('"*.example.com"', '"~("'));
    const { code, stderr } = await operator.type('portcullis config apply -c bad.toml');
    assert.notEqual(code, 0);
    assert.match(stderr, /egress\.whitelist\[0\]/);
  });

  test('a secret that is not there is refused whole', async () => {
    operator.write('bad.toml', (base + egress).replace('env:EGRESS_KEY', 'env:EGRESS_NONE'));
    const { code } = await operator.type('portcullis config apply -c bad.toml');
    assert.notEqual(code, 0);
    assert.match(await operator.run(`portcullis config diff ${at}`), /agree/);
  });

  test('one more listener, which a restart keeps, and the end of it', async () => {
    await operator.run(`portcullis listeners add 127.0.0.3:0 --kind egress ${at}`);
    await operator.stop();
    await operator.serve();
    assert.match(await operator.run(`portcullis status ${at}`), /^127\.0\.0\.3:0  egress/m);
    await operator.run(`portcullis listeners remove 127.0.0.3:0 ${at}`);
    assert.match(await operator.run(`portcullis config diff ${at}`), /agree/);
  });
});
