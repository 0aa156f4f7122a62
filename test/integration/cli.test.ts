/** The commands as an operator meets them: what they print, what they say when something is wrong, and exit codes. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Authority, TemporaryDirectory } from '../../src/admin/testing/fixture.ts';
import { Operator } from '../support/operator.ts';
import { lacks } from '../support/tools.ts';

const config = `
[server]
workers = 1
shutdown_timeout = "1s"
[database]
path = "portcullis.db"
[admin]
grpc_addr = "unix:admin.sock"
[firewall]
blocked_cidrs = ["192.0.2.0/24"]
rate_limit = 6000
[[listeners]]
addr = "127.0.0.1:0"
  [[listeners.routes]]
  hostname = "app.example.com"
  backend = "127.0.0.1:9001"
  [[listeners.routes]]
  hostname = "*.example.com"
  backend = "127.0.0.1:9002"
`;

describe('with a server', () => {
  let operator: Operator;
  before(async () => {
    operator = new Operator(config, { PORTCULLIS_ADMIN_GRPC_ADDR: 'unix:admin.sock' });
    await operator.serve();
  });
  after(() => operator[Symbol.asyncDispose]());

  test('status has its fixed form', async () => {
    assert.match(
      await operator.run('portcullis status'),
      /^portcullis v\d+\.\d+\.\d+\nuptime: \d+s\nconnections: 0\n127\.0\.0\.1:0  routes=2 active=0 port=\d+\n$/,
    );
    const status = JSON.parse(await operator.run('portcullis status --json')) as Record<string, unknown>;
    assert.deepEqual([status['totalConnections'], status['draining']], ['0', false]);
  });

  test('a route lives: added, listed, updated field by field, removed', async () => {
    const at = '--listener 127.0.0.1:0';
    const added = await operator.run(
      `portcullis routes add API.example.com ${at} --backend 10.0.0.5:8443 --send-proxy-protocol`,
    );
    assert.match(added, /^added route API\.example\.com on 127\.0\.0\.1:0 \(version \d+\)\n$/);
    const rows = (await operator.run('portcullis routes list'))
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    assert.deepEqual(rows[0], ['LISTENER', 'ROUTE', 'MODE', 'BACKEND', 'OPTIONS']);
    assert.deepEqual(rows[3], [
      '127.0.0.1:0',
      'api.example.com',
      'l4',
      '10.0.0.5:8443',
      'send-proxy-protocol',
    ]);
    await operator.run(`portcullis routes update api.example.com ${at} --backend unix:/run/api.sock`);
    const listed = await operator.run(`portcullis routes list ${at} --json`);
    const updated = (JSON.parse(listed) as Record<string, unknown>[])[2]!;
    assert.deepEqual([updated['backend'], updated['sendProxyProtocol']], ['unix:/run/api.sock', true]);
    const removed = JSON.parse(
      await operator.run(`portcullis routes remove api.example.com ${at} --json`),
    ) as object;
    assert.deepEqual(Object.keys(removed), ['version']);
  });

  test('a policy of an l4 route is added with a warning', async () => {
    const policy = 'app.example.com --listener 127.0.0.1:0 --type require_header --value X-Token';
    const added = await operator.type(`portcullis policies add ${policy}`);
    assert.equal(added.code, 0);
    assert.match(added.stdout, /added require_header "X-Token" \(version \d+\)\n$/);
    assert.equal(
      added.stderr,
      'warning: app.example.com has mode l4: its policies have no effect until it is l7\n',
    );
    assert.match(
      await operator.run('portcullis policies list'),
      /app\.example\.com  require_header  x-token\n$/,
    );
    await operator.run(`portcullis routes update app.example.com --listener 127.0.0.1:0 --no-policy`);
    assert.deepEqual(await operator.type('portcullis policies list'), {
      code: 0,
      stdout: '',
      stderr: 'no policies\n',
    });
  });

  test('explain tells the rules in order and the verdict', async () => {
    assert.equal(
      await operator.run('portcullis explain app.example.com --from 198.51.100.7'),
      `app.example.com from 198.51.100.7 on listener 127.0.0.1:0
OUTCOME   RULE                               DETAIL
passed    rate-limit/-/source                at most 6000 connections in 60 s
matched   route/127.0.0.1:0/app.example.com  l4 → 127.0.0.1:9001
shadowed  route/127.0.0.1:0/*.example.com    l4 → 127.0.0.1:9002
verdict: routed to 127.0.0.1:9001 by route/127.0.0.1:0/app.example.com
`,
    );
    assert.match(
      await operator.run('portcullis explain app.example.com --from 192.0.2.9'),
      /\nverdict: refused by cidr\/-\/192\.0\.2\.0\/24, blocked-cidr: /,
    );
  });

  test('the file is compared with the database, and applied, through the server', async () => {
    operator.write('other.toml', config.replace('127.0.0.1:9001', '127.0.0.1:9003'));
    const diff = await operator.type('portcullis config diff -c other.toml --exit-code');
    assert.equal(diff.code, 9);
    const line = '~ route/127.0.0.1:0/app.example.com: l4 127.0.0.1:9001 → l4 127.0.0.1:9003';
    assert.ok(diff.stdout.startsWith(`${line}\n1 change would make the database match other.toml (version `));
    const dry = await operator.type('portcullis config apply -c other.toml --dry-run');
    assert.match(dry.stdout, /would make 1 change to version \d+\n$/);
    assert.match(dry.stderr, /^warning: route\/\S+ shadows part of route\/\S+\n$/);
    assert.equal((await operator.type('portcullis config apply -c other.toml --if-version 1000')).code, 8);
    await operator.run('portcullis config apply -c other.toml');
    assert.match(
      await operator.run('portcullis config diff -c other.toml'),
      /^other\.toml and the database agree/,
    );
    const [entry] = JSON.parse(await operator.run('portcullis audit -n 1 --json')) as Record<
      string,
      unknown
    >[];
    assert.deepEqual([entry!['action'], entry!['actor'], entry!['changes']], ['ApplyConfig', 'unix', [line]]);
    await operator.run('portcullis config apply -c portcullis.toml');
  });

  test('what config export writes is a file that config apply takes', async () => {
    await operator.run('{ head -8 portcullis.toml; portcullis config export; } > exported.toml');
    assert.match(await operator.run('portcullis config diff -c exported.toml'), /agree/);
    assert.match(
      await operator.run('portcullis config show'),
      /^# version \d+: 1 listener, 2 routes, 1 firewall rule\n/,
    );
  });

  for (const [line, code, sentence] of [
    [
      'status --addr unix:gone.sock',
      4,
      /^portcullis: no server answers at unix:\S+gone\.sock: is it running\? start it with portcullis serve -c FILE\n$/,
    ],
    [
      'status --addr 127.0.0.1:1 --insecure-loopback',
      4,
      /^portcullis: no server answers at 127\.0\.0\.1:1: is it running\?/,
    ],
    ['status --addr 192.0.2.1:9443 --insecure-loopback', 2, /is no loopback address: speak TLS to it\n$/],
    ['status --addr nonsense', 2, /^portcullis: expected unix:\/path or host:port, found nonsense\n$/],
    [
      'status -c absent.toml',
      3,
      /^error absent\.toml: .*no such file.*\nportcullis: absent\.toml has 1 error\n$/,
    ],
    [
      'routes add x.example.com --listener 127.0.0.1:0 --backend 10.0.0.1',
      5,
      /^portcullis: route\.backend: expected an address .* which has no port\n$/,
    ],
    [
      'routes add app.example.com --listener 127.0.0.1:0 --backend 10.0.0.1:1',
      7,
      /^portcullis: .*already\n$/,
    ],
    [
      'routes remove gone.example.com --listener 127.0.0.1:0',
      6,
      /^portcullis: .*no route for gone\.example\.com\n$/,
    ],
    [
      'routes remove app.example.com/api --listener 127.0.0.1:0',
      6,
      /^portcullis: .*no route for app\.example\.com\/api; it has \/\n$/,
    ],
    ['listeners remove :99', 6, /^portcullis: no listener :99; there are: 127\.0\.0\.1:0\n$/],
    ['firewall add somewhere', 2, /^portcullis: somewhere is no address, no network .* and no country .*\n$/],
    ['firewall reload-geoip', 1, /^portcullis: no GeoIP database is configured\n$/],
    ['statsu', 2, /^portcullis: unknown command 'statsu' \(Did you mean status\?\); see --help\n$/],
    [
      'routes add x.example.com --listener :443',
      2,
      /^portcullis: required option '--backend <address>' not specified; see --help\n$/,
    ],
    ['listeners set-max-connections 127.0.0.1:0 many', 2, /Expected a whole number; see --help\n$/],
    ['explain :', 2, /^portcullis: expected HOST\[:PORT\]\[\/PATH\], :PORT or a URL, found :\n$/],
  ] as const) {
    test(`says what is wrong with: ${line}`, async () => {
      const typed = await operator.type(`portcullis ${line}`);
      assert.match(typed.stderr, sentence);
      assert.deepEqual([typed.code, typed.stdout], [code, '']);
    });
  }

  test('without an address it says what to give', async () => {
    const typed = await operator.type('unset PORTCULLIS_ADMIN_GRPC_ADDR; portcullis status');
    assert.equal(typed.code, 2);
    assert.match(
      typed.stderr,
      /^portcullis: say where the server is: -c FILE, --addr ADDRESS, or the variable \w+\n$/,
    );
  });

  test('tables fit a terminal, in colour unless NO_COLOR is set', { skip: lacks('script') }, async () => {
    const onTerminal = (line: string): Promise<string> =>
      operator.run(`script -qec 'stty cols 60; ${line}' /dev/null | tr -d '\\r'`);
    const lines = (await onTerminal('portcullis routes list')).split('\n');
    assert.match(lines[0]!, /^\x1b\[1mLISTENER .*\x1b\[0m$/);
    const narrow = await onTerminal('NO_COLOR=1 portcullis explain app.example.com');
    assert.doesNotMatch(narrow, /\x1b/);
    const rows = narrow.split('\n').filter((line) => /^(matched|shadowed)/.test(line));
    assert.equal(rows.length, 2);
    for (const row of rows) assert.ok(row.length <= 60 && row.includes('…'), row);
  });

  test('whoever stops reading is no error', async () => {
    const typed = await operator.type('set -o pipefail; portcullis --help 2>&1 | head -1');
    assert.equal(typed.stderr, '');
  });

  test('the completion of bash offers commands, flags, choices and files', async () => {
    const complete = async (...words: string[]): Promise<string[]> => {
      const quoted = words.map((word) => `'${word}'`).join(' ');
      const script = `eval "$(portcullis completion bash)"; COMP_WORDS=(portcullis ${quoted}); COMP_CWORD=${words.length}
        compopt() { :; }; _portcullis; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return (await operator.run(script)).trim().split('\n').toSorted();
    };
    assert.deepEqual(await complete('s'), ['serve', 'snapshot', 'status']);
    assert.deepEqual(await complete('routes', 'add', 'x', '--mo'), ['--mode']);
    assert.deepEqual(await complete('routes', 'add', '--mode', ''), ['l4', 'l7']);
    assert.deepEqual(await complete('completion', ''), ['--help', '-h', 'bash', 'fish', 'zsh']);
    assert.deepEqual(await complete('status', '-c', 'portcullis.t'), ['portcullis.toml']);
  });
});

test('without a server, the database and the file answer', async () => {
  await using operator = new Operator(config);
  const early = await operator.type('portcullis config diff -c portcullis.toml');
  assert.equal(early.code, 1);
  assert.match(
    early.stderr,
    /is empty or not there yet: the first portcullis serve fills it from the file\n$/,
  );
  assert.equal(existsSync(operator.file('portcullis.db')), false, 'asking makes no database');
  assert.match(
    await operator.run('portcullis explain app.example.com --offline -c portcullis.toml'),
    /\nverdict: routed to 127\.0\.0\.1:9001 by route\/127\.0\.0\.1:0\/app\.example\.com\n$/,
  );

  await operator.serve();
  assert.equal(await operator.stop(), 0);
  const diff = await operator.type('portcullis config diff -c portcullis.toml');
  assert.equal(diff.stdout, 'portcullis.toml and the database agree (version 1)\n');
  assert.match(diff.stderr, /^no server answers at unix:\S+; using the database \S+portcullis\.db\n$/);

  await operator.run('portcullis snapshot -o before.db -c portcullis.toml');
  operator.write('portcullis.toml', config.replace('app.example.com', 'web.example.com'));
  assert.match(
    await operator.run('portcullis config apply -c portcullis.toml'),
    /\nmade 2 changes \(version 2\)\n$/,
  );
  assert.match(await operator.run('portcullis config show -c portcullis.toml'), /web\.example\.com/);
  const kept = readFileSync(operator.file('before.db'));
  await operator.run('portcullis restore before.db -c portcullis.toml');
  assert.deepEqual(readFileSync(operator.file('before.db')), kept, 'the backup is not touched');
  assert.match(
    await operator.run('portcullis config show -c portcullis.toml'),
    /^# version 1: [^]*app\.example\.com/,
  );
  assert.equal((await operator.type('portcullis restore before.db')).code, 2);
  assert.equal((await operator.type('portcullis restore portcullis.toml -c portcullis.toml')).code, 1);
});

// Once a SIGTERM that came between the first line of the log and `ready` ended the process without a drain, and a
// service manager took the stop for a crash.
test('a server that is told to end while it starts drains and exits with 0', async () => {
  await using operator = new Operator(config);
  const serving = operator.typing('exec portcullis serve -c portcullis.toml');
  await serving.says(/database seeded/);
  serving.child.kill('SIGTERM');
  assert.equal((await serving.ended).code, 0);
});

test('over TCP both sides show certificates', { skip: lacks('openssl') }, async () => {
  using directory = new TemporaryDirectory();
  const servers = new Authority(directory, 'servers');
  const clients = new Authority(directory, 'clients');
  const server = servers.issue('server', '/CN=localhost');
  const ops = clients.issue('ops', '/CN=ops');
  const stranger = servers.issue('stranger', '/CN=ops');
  const port = 20_000 + (process.pid % 10_000);
  const admin = {
    grpc_addr: `127.0.0.1:${port}`,
    tls_cert: server.cert,
    tls_key: server.key,
    client_ca: clients.certificate,
  };
  const lines = Object.entries(admin).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
  await using operator = new Operator(config.replace('grpc_addr = "unix:admin.sock"', lines.join('\n')));
  await operator.serve();
  const shown = `--cert ${ops.cert} --key ${ops.key}`;
  const there = `--addr localhost:${port}`;
  assert.match(
    await operator.run(`portcullis status ${there} --ca ${servers.certificate} ${shown}`),
    /^portcullis v/,
  );
  assert.match(await operator.run(`portcullis status -c portcullis.toml ${shown}`), /^portcullis v/);
  for (const [line, sentence] of [
    [`${there} --ca ${servers.certificate}`, /asks for a client certificate; see --ca, --cert and --key\n$/],
    [`${there} ${shown}`, /is not from an authority we trust; see --ca, --cert and --key\n$/],
    [
      `${there} --ca ${servers.certificate} --cert ${stranger.cert} --key ${stranger.key}`,
      /our client certificate|our certificate\n$/,
    ],
    [
      `--addr localhost:${port} --insecure-loopback`,
      /^portcullis: the connection to \S+ was lost; perhaps what answers there is no admin API/,
    ],
  ] as const) {
    const typed = await operator.type(`portcullis status ${line}`);
    assert.match(typed.stderr, sentence);
    assert.equal(typed.code, 4, line);
  }
  const half = await operator.type(`portcullis status ${there} --cert ${ops.cert}`);
  assert.deepEqual(
    [half.code, half.stderr],
    [2, 'portcullis: a client certificate needs both --cert and --key\n'],
  );
  await operator.run(`portcullis firewall add 198.51.100.9 -c portcullis.toml ${shown}`);
  assert.match(
    await operator.run(`portcullis audit -n 1 -c portcullis.toml ${shown}`),
    /AddFirewallRule by ops \(CN=ops\)\n/,
  );
});

test('portcullis/client is the typed client', async () => {
  await using operator = new Operator(config);
  await operator.serve();
  const root = new URL('../..', import.meta.url).pathname;
  operator.write(
    'use.mjs',
    `
    import { AdminError, connectClient } from 'portcullis/client';
    using client = connectClient({ address: 'unix:${operator.file('admin.sock')}' });
    const { version } = await client.getStatus({});
    const error = await client.removeRoute({ listenerAddr: ':9' }).catch((error) => error);
    const events = client.watchEvents({ changes: true })[Symbol.asyncIterator]();
    const first = events.next();
    await client.addFirewallRule({ rule: { type: 1, value: '203.0.113.1' } });
    const change = (await first).value.event.value;
    await events.return();
    console.log(JSON.stringify([typeof version, error instanceof AdminError, error.code, error.field, change.action]));
  `,
  );
  // A package finds itself by its own name: the script stands in the package's folder, as text.
  const line = `cd ${root} && scripts/node --conditions=portcullis-source --input-type=module -e "$(cat ${operator.file('use.mjs')})"`;
  assert.deepEqual(JSON.parse(await operator.run(line)), [
    'string',
    true,
    'not-found',
    'listener_addr',
    'AddFirewallRule',
  ]);
});
