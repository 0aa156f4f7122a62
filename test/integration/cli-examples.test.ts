/** Every command's help has an example, and the example works as printed, on a server that was started as printed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectClient } from '../../src/cli/client.ts';
import { leafCommands, pathOf } from '../../src/cli/command.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { Shell } from '../../src/cli/shell.ts';
import { countryRecord, writeMmdb } from '../support/mmdb-writer.ts';
import { Operator } from '../support/operator.ts';

const config = `
[server]
workers = 1
shutdown_timeout = "1s"
[database]
path = "portcullis.db"
[admin]
grpc_addr = "unix:admin.sock"
[firewall]
geoip_db = "countries.mmdb"
blocked_countries = ["KP"]
[[listeners]]
addr = "127.0.0.1:0"
routes = [{ hostname = "app.example.com", backend = "127.0.0.1:9" }]
`;

const egress = `
[egress]
whitelist = ["*.example.com"]
[[listeners]]
kind = "egress"
addr = "127.0.0.1:0"
`;

/** What `--help` of each command prints, by its path. */
async function helpPages(): Promise<Map<string, string>> {
  const pages = new Map<string, string>();
  for (const path of [...leafCommands(buildProgram(quiet()))].map(pathOf)) {
    let printed = '';
    const output = { write: (text: string) => (printed += text) };
    const program = buildProgram(new Shell(output, output, {}));
    await assert.rejects(program.parseAsync([...path.split(' '), '--help'], { from: 'user' }), {
      exitCode: 0,
    });
    pages.set(path, printed);
  }
  return pages;
}

function quiet(): Shell {
  return new Shell({ write: () => true }, { write: () => true }, {});
}

/** The lines below `Example:`, as somebody would copy them. */
function examplesIn(help: string): string[] {
  const [, block = ''] = help.split(/\nExamples?:\n/);
  return block
    .split(/\n(?=  \S)/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** A test takes no fixed port: 127.0.0.1:0 stands for :443, 127.0.0.2:0 for :8443 and 127.0.0.3:0 for :8080. */
function withFreePorts(line: string): string {
  const ports = { ':443': '127.0.0.1:0', ':8443': '127.0.0.2:0', ':8080': '127.0.0.3:0' };
  return Object.entries(ports).reduce(
    (text, [port, free]) => text.replaceAll(` ${port} `, ` ${free} `),
    line,
  );
}

test('every example works as printed', { timeout: 120_000 }, async () => {
  const pages = await helpPages();
  await using operator = new Operator(config);
  operator.write('countries.mmdb', writeMmdb({ networks: [['203.0.113.0/24', countryRecord('KP')]] }));
  operator.write('egress.toml', egress);
  operator.write('portcullis.log', '{"time":"2026-01-01T00:00:00.000Z","msg":"request"}\n');
  assert.deepEqual(examplesIn(pages.get('serve')!), ['portcullis serve -c portcullis.toml']);
  await operator.serve();
  for (const [path, help] of pages) {
    const examples = examplesIn(help).map(withFreePorts);
    assert.ok(examples.length > 0, `${path} has no example`);
    assert.ok(
      help.split('\n').every((line) => line.length <= 80),
      `${path}: the help fits a terminal`,
    );
    // One starts a server and the other replaces it: upgrade.test.ts runs that.
    if (path === 'serve' || path === 'upgrade') continue;
    for (const example of examples) {
      assert.match(example, /\bportcullis\b/);
      if (path === 'events') await follow(operator, example);
      else if (path === 'restore') await restore(operator, example);
      else await operator.run(example);
    }
  }
});

/** Until it has shown a change, then Ctrl-C. */
async function follow(operator: Operator, example: string): Promise<void> {
  const following = operator.typing(`exec ${example}`);
  using client = connectClient({ address: `unix:${operator.file('admin.sock')}` });
  let connections = 0;
  const changing = setInterval(
    () => void client.setRateLimit({ rateLimit: { connections: ++connections } }).catch(() => 0),
    50,
  );
  await following.says(/SetRateLimit by unix\n  ~ rate-limit/);
  clearInterval(changing);
  following.child.kill('SIGINT');
  const { code, stderr } = await following.ended;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
}

/** Needs the server stopped, and the backup that the example of `snapshot` wrote. */
async function restore(operator: Operator, example: string): Promise<void> {
  const refused = await operator.type(example);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^portcullis: the database \S+ is in use by process \d+; stop it first\n$/);
  await operator.stop();
  assert.match(
    await operator.run(example),
    /^restored \S+portcullis\.db from backup\.db: \d+ bytes, verified/,
  );
  await operator.serve();
}
