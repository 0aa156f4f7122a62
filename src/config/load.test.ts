import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { stringify as toToml } from 'smol-toml';
import { httpDefaults } from '../model/http-settings.ts';
import { operateDefaults } from '../model/operate-settings.ts';
import { listenerDefaults } from '../model/settings.ts';
import { loadSettings } from './load.ts';
import type { LoadedSettings } from './load.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-config-'));
after(() => rmSync(directory, { recursive: true }));

function load(text: string, name = 'x.toml', environment: Record<string, string> = {}): LoadedSettings {
  const path = join(directory, name);
  writeFileSync(path, text);
  return loadSettings(path, environment);
}

const minimal = '[[listeners]]\naddr = ":443"\ndefault_backend = "10.0.0.1:443"\n';

test('a listener alone gets every default', () => {
  const { settings, problems } = load(minimal);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    { ...settings, process: { ...settings!.process, server: { ...settings!.process.server, workers: 0 } } },
    {
      process: {
        server: {
          workers: 0,
          shutdownTimeoutMs: 30_000,
          connectTimeoutMs: 5000,
          idleTimeoutMs: 300_000,
          clientHelloTimeoutMs: 10_000,
          maxConnections: 0,
          sockets: 'auto',
        },
        http: httpDefaults,
        operate: operateDefaults,
        log: { level: 'info', format: null },
        database: { path: null },
        admin: { address: null, tlsCert: null, tlsKey: null, clientCa: null, insecureLoopback: false },
      },
      traffic: {
        listeners: [
          {
            ...listenerDefaults,
            name: ':443',
            address: { host: '', port: 443 },
            defaultBackend: { kind: 'tcp', host: '10.0.0.1', port: 443 },
            routes: [],
          },
        ],
        firewall: {
          geoipDatabase: null,
          blockedIps: [],
          blockedCidrs: [],
          blockedCountries: [],
          rateLimitExempt: [],
          rateLimit: null,
        },
        egress: null,
      },
    },
  );
  assert.ok(settings!.process.server.workers >= 1);
});

test('values are normalised: case, final dots, other scripts, spellings of addresses, paths', () => {
  const { settings, problems } = load(`
[firewall]
blocked_ips = ["2001:DB8:0::1", "::ffff:192.0.2.1"]
blocked_countries = ["de"]
geoip_db = "x.toml"
[[listeners]]
addr = "[0:0::1]:8443"
routes = [
  { hostname = "App.Example.COM.", backend = "LOCALHOST:1" },
  { hostname = "*.Bücher.example", backend = "unix:run/app.sock" },
]`);
  assert.deepEqual(problems, []);
  const { listeners, firewall } = settings!.traffic;
  assert.deepEqual(firewall.blockedIps, ['2001:db8::1', '192.0.2.1']);
  assert.deepEqual(firewall.blockedCountries, ['DE']);
  assert.equal(firewall.geoipDatabase, join(directory, 'x.toml'));
  assert.equal(listeners[0]!.name, '[::1]:8443');
  assert.deepEqual(
    listeners[0]!.routes.map(({ hostname, backend }) => ({ hostname, backend })),
    [
      { hostname: 'app.example.com', backend: { kind: 'tcp', host: 'localhost', port: 1 } },
      {
        hostname: '*.xn--bcher-kva.example',
        backend: { kind: 'unix', path: join(directory, 'run/app.sock') },
      },
    ],
  );
});

test('the port of every interface clashes with the same port of one, and port 0 with none', () => {
  const clashes = (...addresses: string[]): number => {
    const rows = addresses.map((addr) => ({ addr, default_backend: '10.0.0.1:1' }));
    return load(toToml({ listeners: rows })).problems.length;
  };
  assert.equal(clashes(':443', '0.0.0.0:443'), 1);
  assert.equal(clashes('[::]:443', '127.0.0.1:443'), 1);
  assert.equal(clashes('0.0.0.0:443', '192.0.2.1:443'), 1);
  assert.equal(clashes('192.0.2.1:443', '[::ffff:192.0.2.1]:443'), 1);
  assert.equal(clashes('0.0.0.0:443', '[::1]:443'), 0);
  assert.equal(clashes('127.0.0.1:443', '127.0.0.2:443'), 0);
  assert.equal(clashes('127.0.0.1:0', ':0'), 0);
  assert.equal(clashes(':443', ':8443'), 0);
});

test('ten thousand problems are listed and the rest is counted', () => {
  const list = Array.from({ length: 10_050 }, () => '"x"').join(',');
  const { problems } = load(`${minimal}[firewall]\nblocked_ips = [${list}]\n`);
  assert.equal(problems.length, 10_001);
  assert.equal(problems.at(-1)!.message, 'expected at most 10000 problems, found 10050');
});

test('ten thousand warnings keep nothing from starting', () => {
  const list = Array.from({ length: 10_050 }, () => '"192.0.2.1"').join(',');
  const { settings, problems } = load(`${minimal}[firewall]\nblocked_ips = [${list}]\n`);
  assert.equal(problems.length, 10_001);
  assert.deepEqual(settings?.traffic.firewall.blockedIps, ['192.0.2.1']);
});

test('a file past its size limit, a directory, a missing file and an unknown ending are each said', () => {
  const large = join(directory, 'large.toml');
  writeFileSync(large, '');
  truncateSync(large, 64 * 2 ** 20 + 1);
  const messages = [large, directory, join(directory, 'absent.toml'), join(directory, 'x.json')].map(
    (path) => loadSettings(path, {}).problems[0]!.message,
  );
  assert.deepEqual(messages, [
    'expected at most 64MiB, found 67108865 bytes',
    'expected a name that ends in .toml, .yaml or .yml, found ""',
    'expected a file that can be read, found no such file or directory',
    'expected a name that ends in .toml, .yaml or .yml, found ".json"',
  ]);
});

test('YAML aliases cannot make a small file large', () => {
  const anchors = Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} [${`*a${n},`.repeat(9)}]`);
  const bomb = load(`a0: &a0 [x]\n${anchors.join('\n')}\n`, 'x.yaml');
  assert.ok(bomb.problems.some(({ path }) => path === 'a9'));
  const many = load(`a: &a [x]\nb: [${'*a,'.repeat(101)}]\n`, 'x.yaml');
  assert.match(many.problems[0]!.message, /^expected valid YAML: aliases exceeded/);
  const circle = load('listeners: &a [*a, { routes: *a }]\nlog: &b { level: *b }\n', 'x.yaml');
  assert.equal(circle.settings, undefined);
});

test('nesting as deep as a stack is refused, in TOML too', () => {
  const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  assert.match(load(`a: ${nested}`, 'x.yaml').problems[0]!.message, /^expected valid YAML: nesting exceeded/);
  assert.match(load(`a = ${nested}`).problems[0]!.message, /^expected valid TOML: /);
});
