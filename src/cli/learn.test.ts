import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { loadSettings } from '../config/load.ts';
import { lineCharactersMax, linesOf } from './learn.ts';
import { LearnedHosts, suggestWildcards } from './learned-hosts.ts';
import { buildProgram } from './program.ts';
import { Shell } from './shell.ts';

function line(host: string, action: string, changed: Record<string, unknown> = {}): string {
  const time = new Date().toISOString();
  const fields = {
    level: 'info',
    time,
    msg: 'request',
    method: 'GET',
    host,
    verdict: 'served',
    reason: 'completed',
  };
  return JSON.stringify({ ...fields, action, ...changed });
}

function tunnel(host: string, action: string, changed: Record<string, unknown> = {}): string {
  return line(host, action, { method: 'CONNECT', ...changed });
}

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-learn-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function run(...args: string[]): Promise<string> {
  let printed = '';
  const output = { write: (text: string) => (printed += text) };
  await buildProgram(new Shell(output, output, {})).parseAsync(['learn', ...args], { from: 'user' });
  return printed;
}

const seen = [
  tunnel('a.example.com:443', 'ALLOWED-BY-DEFAULT'),
  line('A.Example.com', 'ALLOWED-BY-DEFAULT'),
  line('a.example.com', 'WHITE-LISTED'),
  tunnel('b.example.com:8443', 'ALLOWED-BY-DEFAULT'),
  line('c.example.com:8080', 'ALLOWED-BY-DEFAULT'),
  tunnel('vault.internal:443', 'PASSTHROUGH'),
  tunnel('blocked.example:443', 'BLOCKED', { verdict: 'refused', reason: 'host-blocked' }),
  tunnel('smuggled.example:443', 'ALLOWED-BY-DEFAULT', { verdict: 'refused', reason: 'sni-mismatch' }),
  tunnel('typo.example:443', 'ALLOWED-BY-DEFAULT', { verdict: 'failed', reason: 'name-not-found' }),
  line('bad.example', 'BLACK-LISTED', { verdict: 'refused', reason: 'host-blacklisted' }),
  line('rewritten.example', 'REWRITTEN'),
  JSON.stringify({ msg: 'request', host: 'ingress.example', time: new Date().toISOString() }),
  line('user@evil.example', 'ALLOWED-BY-DEFAULT'),
  '{"msg":"request","action":"ALLOWED-BY-DEFAULT","host":"cut',
  'no JSON',
];

test('hosts that were let through, the most frequent first, with what a wildcard would stand for', async (t) => {
  const log = join(scratch(t), 'a.log');
  writeFileSync(log, `${seen.join('\n')}\n`);
  assert.equal(
    await run('--log', log),
    `# 6 requests, 4 hosts; how often stands behind each
[egress]
default_policy = "BLOCK"
# "*.example.com" would stand for 3 of these
whitelist = [
  "a.example.com", # 3
  { pattern = "b.example.com", ports = [8443] }, # 1
  "c.example.com", # 1
]
passthrough = [
  "vault.internal", # 1
]
`,
  );
  assert.match(await run('--log', log, '--blocked'), /"blocked\.example", # 1/);
});

test('the YAML form, with wildcards; the file it makes is a good one', async (t) => {
  const directory = scratch(t);
  const log = join(directory, 'a.log');
  writeFileSync(log, seen.join('\n'));
  const text = await run('--log', log, '--yaml', '--wildcards');
  assert.equal(
    text,
    `# 6 requests, 4 hosts; how often stands behind each
proxy:
  default_policy: "BLOCK"
acl:
  whitelist:
    - "*.example.com" # 5, also to port 8443
  passthrough:
    - "vault.internal" # 1
`,
  );
  const own = `${await run('--log', log)}\n[[listeners]]\naddr = "127.0.0.1:0"\nkind = "egress"\n`;
  for (const [name, written] of [
    ['egress.yaml', text],
    ['egress.toml', own],
  ] as const) {
    const file = join(directory, name);
    writeFileSync(file, written);
    const { problems } = loadSettings(file, {});
    assert.deepEqual(
      problems.filter(({ severity }) => severity === 'error'),
      [],
    );
  }
});

test('rotated files count too, packed ones and all, and what is older than asked for does not', async (t) => {
  const directory = scratch(t);
  const old = line('old.example', 'ALLOWED-BY-DEFAULT', {
    time: new Date(Date.now() - 7_200_000).toISOString(),
  });
  writeFileSync(join(directory, 'a.log'), line('new.example', 'ALLOWED-BY-DEFAULT'));
  writeFileSync(
    join(directory, 'a.log.1.gz'),
    gzipSync(`${old}\n${line('new.example', 'ALLOWED-BY-DEFAULT')}\n`),
  );
  const files = ['--log', join(directory, 'a.log'), '--log', join(directory, 'a.log.1.gz')];
  assert.match(await run(...files), /"new\.example", # 2\n {2}"old\.example", # 1/);
  const recent = await run('--since', '1h', ...files);
  assert.match(recent, /"new\.example", # 2/);
  assert.doesNotMatch(recent, /old/);
});

test('what is no log of requests is said to be none', async (t) => {
  const directory = scratch(t);
  const log = join(directory, 'a.log');
  writeFileSync(log, 'INFO request a.example\n');
  await assert.rejects(run('--log', log), { exitCode: 1, message: /no line about a request in JSON/ });
  await assert.rejects(run('--log', join(directory, 'none.log')), {
    exitCode: 1,
    message: /can not be read/,
  });
  writeFileSync(join(directory, 'bad.gz'), 'no gzip');
  await assert.rejects(run('--log', join(directory, 'bad.gz')), { exitCode: 1, message: /can not be read/ });
  await assert.rejects(run(), { exitCode: 2 });
});

test('no wildcard over names of more than one owner', () => {
  const hosts = (parent: string) =>
    ['a', 'b', 'c'].map((name) => ({ host: `${name}.${parent}`, count: 1, ports: [] }));
  const patterns = (parent: string) => suggestWildcards(hosts(parent)).map(({ pattern }) => pattern);
  assert.deepEqual(patterns('example.com'), ['*.example.com']);
  assert.deepEqual(patterns('eu.example.co.uk'), ['*.eu.example.co.uk']);
  for (const shared of ['com', 'co.uk', 'github.io', 's3.eu-west-1.amazonaws.com']) {
    assert.deepEqual(patterns(shared), [], shared);
  }
  assert.deepEqual(suggestWildcards(hosts('example.com').slice(1)), []);
  const addresses = ['10.0.0.1', '11.0.0.1', '12.0.0.1'].map((host) => ({ host, count: 1, ports: [] }));
  assert.deepEqual(suggestWildcards(addresses), []);
});

test('memory is bounded: hosts beyond the limit are counted, lines beyond it passed over', async () => {
  const hostsMax = 100;
  const learned = new LearnedHosts({ sinceMs: -Infinity, includesBlocked: false, hostsMax });
  for (let index = 0; index < hostsMax + 5; index++) learned.add(line(`h${index}.example`, 'WHITE-LISTED'));
  assert.deepEqual(
    [learned.requests, learned.leftOut, learned.hosts('whitelist').length],
    [hostsMax, 5, hostsMax],
  );
  const chunks = ['a\n', 'x'.repeat(lineCharactersMax), 'x'.repeat(9), 'x\nb\nc'].map((text) =>
    Buffer.from(text),
  );
  const lines: string[] = [];
  for await (const each of linesOf(asyncly(chunks))) lines.push(each);
  assert.deepEqual(lines, ['a', 'b', 'c']);
});

async function* asyncly<T>(items: readonly T[]): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item);
}
