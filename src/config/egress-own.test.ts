import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { egressDefaults, type EgressSettings } from '../model/egress-settings.ts';
import { listenerDefaults, type TrafficSettings } from '../model/settings.ts';
import { egressSettings } from '../model/testing/arbitrary-egress.ts';
import type { Environment } from './environment.ts';
import { PatternIndex } from './egress-rule-checks.ts';
import { formatTraffic } from './format.ts';
import { loadSettings } from './load.ts';
import { readEgress } from './rows.ts';
import { makeCertificate } from './testing/certificates.ts';
import { told as toldOf } from './testing/told.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-egress-own-'));
after(() => rmSync(directory, { recursive: true }));

const ca = makeCertificate(directory, 'ca');
const secret = join(directory, 'secret');
writeFileSync(secret, 'hunter2\n');
const environment: Environment = { TOKEN: 'hunter2', CA_KEY: readFileSync(ca.key, 'utf8') };
const hash = `scrypt$16384$8$1$${'a'.repeat(22)}$${'b'.repeat(43)}`;
const listener = '[[listeners]]\naddr = "127.0.0.1:8080"\nkind = "egress"\n';

/** What is said of `[egress]` with `text`, on a listener that only this machine reaches. */
function told(text: string, env: Environment = environment): readonly string[] {
  return toldOf(directory, `${listener}[egress]\n${text}`, env);
}

function load(text: string, env: Environment = environment): EgressSettings {
  const path = join(directory, 'y.toml');
  writeFileSync(path, `${listener}[egress]\n${text}`);
  const { settings, problems } = loadSettings(path, env);
  assert.deepEqual(
    problems.filter(({ severity }) => severity === 'error').map(({ message }) => message),
    [],
  );
  return settings!.traffic.egress!;
}

describe('[egress]', () => {
  test('alone refuses everything', () => {
    assert.deepEqual(load(''), egressDefaults);
    assert.deepEqual(told(''), []);
  });

  test('is read with all it may say', () => {
    const egress = load(`
      default_policy = "BLOCK"
      mitm_cert = "ca.pem"
      mitm_key = "ca.key"
      outgoing_ca = "ca.pem"
      blocked_log = "blocked.json"
      connect_ports = [443, 8443]
      allowed_clients = []
      whitelist = ["GitHub.com.", { pattern = "*.bücher.example", methods = ["GET"], path_pattern = "^/v1/" }]
      blacklist = ["~tracker"]
      passthrough = [{ pattern = "*.vault.internal", allow_private = true, clients = ["ci"] }]

      [[egress.rewrites]]
      pattern = "api.production.com"
      target_ip = "10.20.30.40"
      headers = { X-Proxy-Source = "gateway", Host = "inner.example:8080" }

      [[egress.credentials]]
      pattern = "api.example.com"
      prefix = "Bearer "
      secret = "env:TOKEN"

      [[egress.clients]]
      name = "ci"
      password = "${hash}"

      [[egress.parents]]
      patterns = ["*.example.com"]
      url = "http://us%40er@[2001:db8::1]:3128"
      password = "secret"
    `);
    assert.deepEqual(
      egress.whitelist.map(({ pattern, methods, pathPattern }) => [pattern, methods, pathPattern]),
      [
        ['github.com', [], null],
        ['*.xn--bcher-kva.example', ['GET'], '^/v1/'],
      ],
    );
    assert.equal(egress.blacklist[0]!.pattern, '~tracker');
    assert.deepEqual(
      egress.passthrough.map(({ pattern, allowPrivate, clients }) => [pattern, allowPrivate, clients]),
      [['*.vault.internal', true, ['ci']]],
    );
    assert.deepEqual(egress.rewrites[0]!.headers, [
      ['x-proxy-source', 'gateway'],
      ['host', 'inner.example:8080'],
    ]);
    assert.deepEqual(egress.credentials[0]!.secret, 'env:TOKEN');
    assert.deepEqual(egress.parents, [
      {
        patterns: ['*.example.com'],
        kind: 'http',
        host: '2001:db8::1',
        port: 3128,
        username: 'us@er',
        password: secret,
        trustDns: false,
      },
    ]);
    assert.deepEqual(egress.authority, { kind: 'pem', cert: ca.cert, key: ca.key });
    assert.deepEqual([egress.allowedClients, egress.connectPorts], [[], [443, 8443]]);
    assert.equal(egress.blockedLog, join(directory, 'blocked.json'));
  });

  test('is set by variables, which add to entries that are text', () => {
    const egress = load('whitelist = ["a.example"]', {
      PORTCULLIS_EGRESS_DEFAULT_POLICY: 'ALLOW',
      PORTCULLIS_EGRESS_WHITELIST_0_METHODS: 'GET,HEAD',
      PORTCULLIS_EGRESS_WHITELIST_1_PATTERN: '*.b.example',
      PORTCULLIS_EGRESS_CONNECT_PORTS: '',
    });
    assert.equal(egress.defaultPolicy, 'ALLOW');
    assert.deepEqual(
      egress.whitelist.map(({ pattern, methods }) => [pattern, methods]),
      [
        ['a.example', ['GET', 'HEAD']],
        ['*.b.example', []],
      ],
    );
    assert.deepEqual(egress.connectPorts, []);
  });
});

interface Story {
  readonly title: string;
  readonly text: string;
  /** Each once, in the order of the file. */
  readonly lines: readonly RegExp[];
}

const stories: readonly Story[] = [
  {
    title: 'patterns that are none, and expressions that would stall a worker',
    text: `whitelist = ["*", "a..b", "10.0.0.1/8", "^a\\\\.b$", "~(a)\\\\1", "~(", "~"]`,
    lines: [
      /x\.toml:5:14 egress\.whitelist\[0\]\.pattern: expected a host .* found "\*", which is a bare "\*"/,
      /x\.toml:5:19 egress\.whitelist\[1\]\.pattern: .*empty label/,
      /egress\.whitelist\[2\]\.pattern/,
      /egress\.whitelist\[3\]\.pattern: .*did you mean "~\^a/,
      /egress\.whitelist\[4\]\.pattern: .*which .*/,
      /egress\.whitelist\[5\]\.pattern/,
      /egress\.whitelist\[6\]\.pattern: .*is an empty regular expression/,
    ],
  },
  {
    title: 'misspelt keys, and those of another list',
    text: `
      defalt_policy = "ALLOW"
      passthrough = [{ pattern = "a.b", methods = ["GET"] }]
      blacklist = [{ pattern = "a.c", allow_private = true }]
      whitelist = [{ pattern = "a.d", methods = ["get"] }]`,
    lines: [
      /:6:7 egress\.defalt_policy: .*did you mean "default_policy"/,
      /:7:41 egress\.passthrough\[0\]\.methods: expected one of pattern, mode, clients/,
      /:8:39 egress\.blacklist\[0\]\.allow_private/,
      /warning x\.toml:9:49 egress\.whitelist\[0\]\.methods/,
      /:9:50 egress\.whitelist\[0\]\.methods\[0\]: .*did you mean "GET"/,
    ],
  },
  {
    title: 'a CA in two places, half of one, and files that are not there',
    text: `
      mitm_cert = "ca.pem"
      mitm_keystore = "none.p12"
      outgoing_ca = "none.pem"
      outgoing_crl = "secret"
      outgoing_truststore_password = "env:NOT_SET"
      blocked_log = "none/blocked.json"`,
    lines: [
      /error x\.toml:6:19 egress\.mitm_cert: expected mitm_key beside it, found none/,
      /error x\.toml:7:23 egress\.mitm_keystore: expected either mitm_keystore or mitm_cert and mitm_key/,
      /error x\.toml:7:23 egress\.mitm_keystore: .*none\.p12": no such file/,
      /error x\.toml:8:21 egress\.outgoing_ca: .*no such file/,
      /error x\.toml:9:22 egress\.outgoing_crl: .*which has none/,
      /error x\.toml:10:38 egress\.outgoing_truststore_password: .*"env:NOT_SET", which is not set/,
      /warning x\.toml:10:38 egress\.outgoing_truststore_password: expected outgoing_truststore beside it/,
      /error x\.toml:11:21 egress\.blocked_log: .*no such file/,
    ],
  },
  {
    title: 'rewrites that name two targets, frame messages, change nothing, or never come to be asked',
    text: `
      mitm_cert = "ca.pem"
      mitm_key = "ca.key"
      rewrites = [
        { pattern = "a.b", target_ip = "10.0.0.1", target_host = "c.d" },
        { pattern = "a.c", headers = { Transfer-Encoding = "chunked", X-A = "1", x-a = "2", host = "a b" } },
        { pattern = "a.d", drop_headers = ["Content-Length"], insecure = true, target_scheme = "http" },
        { pattern = "a.e" },
        { pattern = "a.f", target_port = 81 },
        { pattern = "a.f", target_port = 82, path_pattern = "^/x" },
      ]`,
    lines: [
      /error .*rewrites\[0\]\.target_host: expected either target_ip or target_host, found both/,
      /error .*rewrites\[1\]\.headers\.transfer-encoding: .*frames the message/,
      /error .*rewrites\[1\]\.headers: expected each header once/,
      /error .*rewrites\[1\]\.headers\.host: expected a host such as/,
      /error .*rewrites\[2\]\.drop_headers\[0\]: .*frames the message/,
      /warning .*rewrites\[2\]\.insecure: .*there is no certificate/,
      /error .*rewrites\[3\]: expected something that it changes/,
      /warning .*rewrites\[5\]: .*\[4\] is before it and takes all of it/,
    ],
  },
  {
    title: 'secrets that would leave in clear, frame a message, or are not there',
    text: `
      mitm_cert = "ca.pem"
      mitm_key = "ca.key"
      rewrites = [{ pattern = "*.a.b", target_scheme = "http" }]
      credentials = [
        { pattern = "x.a.b", secret = "env:TOKEN" },
        { pattern = "c.d", header = "Connection", secret = "none" },
      ]`,
    lines: [
      /credentials\[0\]\.pattern: expected no rewrite to target_scheme = "http".*rewrites\[0\] is one/,
      /credentials\[1\]\.header: .*frames the message/,
      /credentials\[1\]\.secret: expected a secret that can be read, found .*no such file/,
    ],
  },
  {
    title: 'clients that nobody is, two are, or that can not show who they are',
    text: `
      whitelist = [{ pattern = "a.b", clients = ["cii"] }]
      [[egress.clients]]
      name = "ci"
      subject = "CN=ci"
      [[egress.clients]]
      name = "ci"
      subject = "CN=ci"
      [[egress.clients]]
      name = "a:b"
      password = "hunter2"
      [[egress.clients]]
      name = "none"`,
    lines: [
      /whitelist\[0\]\.clients\[0\]: expected the name of one of \[\[egress\.clients\]\], found "cii" \(did you mean "ci"\?\)/,
      /clients\[1\]\.name: expected another name/,
      /clients\[1\]\.subject: expected another subject/,
      /clients\[2\]\.name: expected a name/,
      /clients\[2\]\.password: expected a hash .* found another value/,
      /clients\[3\]: expected password, secret or subject/,
    ],
  },
  {
    title: 'parents with a password in their address, without hosts, or trusted too far',
    text: `
      [[egress.parents]]
      patterns = ["a.b"]
      url = "http://me:hunter2@proxy.example:3128"
      [[egress.parents]]
      url = "socks5://proxy.example:1080"
      password = "secret"
      trust_dns = true`,
    lines: [
      /parents\[0\]\.url: .*found another value, which holds a password/,
      /parents\[1\]\.patterns: expected at least one pattern/,
      /parents\[1\]\.password: expected a user in url/,
      /parents\[1\]\.trust_dns: .*nobody judges/,
    ],
  },
  {
    title: 'doors that stand open',
    text: `
      mitm_cert = "ca.pem"
      mitm_key = "ca.key"
      insecure_skip_verify = true
      allowed_clients = ["0.0.0.0/0"]
      whitelist = ["~^github\\\\.com", "tiktok.com"]
      blacklist = ["tiktok.com"]`,
    lines: [
      /warning .*egress\.insecure_skip_verify/,
      /warning .*egress\.allowed_clients\[0\]: .*serves everybody/,
      /warning .*egress\.whitelist\[0\]\.pattern: .*ends in "\$"/,
      /warning .*egress\.whitelist\[1\]\.pattern: .*stays refused/,
    ],
  },
  {
    title: 'rules that look into HTTPS without a CA',
    text: `
      whitelist = [{ pattern = "a.b", methods = ["GET"] }, { pattern = "a.c", path_pattern = "^/x" }]
      rewrites = [{ pattern = "a.d", headers = { x-a = "1" } }]
      credentials = [{ pattern = "a.e", secret = "env:TOKEN" }]`,
    lines: [
      /warning .*whitelist\[0\]\.methods: expected mitm_cert and mitm_key/,
      /warning .*whitelist\[1\]\.path_pattern/,
      /warning .*rewrites\[0\]\.headers/,
      /warning .*credentials\[0\]/,
    ],
  },
];

describe('an operator is told, each thing once and with its place, of', () => {
  for (const { title, text, lines } of stories) {
    test(title, () => {
      const said = told(text);
      assert.equal(said.length, lines.length, said.join('\n'));
      const inOrder = said.every((line, index) => lines[index]!.test(line));
      assert.ok(inOrder, said.join('\n'));
      assert.doesNotMatch(said.join('\n'), /hunter2/);
    });
  }

  test('a key of the CA that others may read', () => {
    const open = makeCertificate(directory, 'open');
    chmodSync(open.key, 0o644);
    assert.match(told('mitm_cert = "open.pem"\nmitm_key = "open.key"').join(), /mitm_key: .*chmod 600/);
    chmodSync(open.key, 0o640);
    assert.deepEqual(told('mitm_cert = "open.pem"\nmitm_key = "open.key"'), []);
    assert.match(told('mitm_cert = "open.pem"\nmitm_key = "ca.key"').join(), /mitm_key: .*key of another/);
  });

  test('listeners without [egress], [egress] without a listener, and settings of the other kind', () => {
    const lone = toldOf(directory, '[[listeners]]\naddr = ":8080"\nkind = "egress"\n');
    assert.deepEqual(lone, [
      'error x.toml:3:8 listeners[0].kind: expected [egress] beside it, which says what may leave, found none',
    ]);
    const unused = toldOf(directory, '[egress]\n[[listeners]]\naddr = ":443"\ndefault_backend = "a.b:1"\n');
    assert.match(unused.join('\n'), /^warning x\.toml:1:1 egress: expected a listener with kind = "egress"/);
    const mixed = toldOf(
      directory,
      `[egress]
       default_policy = "ALLOW"
       [[listeners]]
       addr = ":8080"
       kind = "egress"
       protocol = "http"
       redirect_https = true
       default_backend = "a.b:1"
       tls_cert = "ca.pem"
       client_auth = "require"
       routes = [{ hostname = "a.b", backend = "a.b:1" }]
       [[listeners]]
       addr = ":443"
       default_backend = "a.b:1"
       tls_cert = "ca.pem"`,
    ).map((line) => /^(\w+) \S+ (\S+):/.exec(line)!.slice(1).join(' '));
    assert.deepEqual(mixed, [
      'warning egress.default_policy',
      'error listeners[0].protocol',
      'error listeners[0].redirect_https',
      'error listeners[0].default_backend',
      'error listeners[0].tls_cert',
      'error listeners[0].client_auth',
      'error listeners[0].routes',
      'error listeners[1].tls_cert',
    ]);
  });
});

test('a secret is kept from hosts that any rewrite speaks to in clear', () => {
  const meets = (rewrite: string, credential: string): boolean => {
    const index = new PatternIndex();
    index.add('other.test', 0);
    index.add(rewrite, 1);
    return index.meeting(credential) === 1;
  };
  const meeting = ['a.b.c', '*.b.c', '*.a.b.c', '~^a', '*.c', 'b.c'].map((credential) =>
    ['a.b.c', '*.b.c', '~^a'].filter((rewrite) => meets(rewrite, credential)).join(' '),
  );
  assert.deepEqual(meeting, ['a.b.c *.b.c ~^a', 'a.b.c *.b.c', '*.b.c', '~^a', 'a.b.c *.b.c', '']);
});

test('ten thousand entries and rewrites load in a moment', () => {
  const each = (make: (index: number) => string): string =>
    Array.from({ length: 10_000 }, (_, index) => make(index)).join(',');
  const startMs = performance.now();
  const egress = load(`
    whitelist = [${each((index) => `"h${index}.example.com"`)}]
    rewrites = [${each((index) => `{ pattern = "*.r${index}.example.com", target_ip = "10.0.0.1" }`)}]`);
  assert.equal(egress.whitelist.length + egress.rewrites.length, 20_000);
  assert.ok(performance.now() - startMs < 10_000);
});

test('what only the gateway can tell of files is told at the settings that name them', () => {
  const path = join(directory, 'z.toml');
  writeFileSync(path, `${listener}[egress]\nmitm_cert = "ca.pem"\nmitm_key = "ca.key"\n`);
  const { settings, problems } = loadSettings(path, environment, {
    inspectEgress: ({ authority }) => [{ part: 'authority', fault: `${authority?.kind} does not serve` }],
  });
  assert.equal(settings, undefined);
  assert.deepEqual(
    problems.map(({ code, path: where, line, found }) => [code, where, line, found]),
    [['keystore-invalid', 'egress.mitm_cert', 5, 'pem does not serve']],
  );
});

const anyEgress = egressSettings({
  file: ca.cert,
  secret: fc.constantFrom(secret, 'env:TOKEN'),
  authority: fc.constantFrom(
    null,
    { kind: 'pem', cert: ca.cert, key: ca.key },
    { kind: 'pem', cert: ca.cert, key: 'env:CA_KEY' },
  ),
}).map((egress): EgressSettings => ({
  ...egress,
  blockedLog: egress.blockedLog === null ? null : join(directory, 'blocked.json'),
  // A secret for a host that is spoken to in clear is refused.
  credentials: egress.rewrites.some(({ targetScheme }) => targetScheme === 'http') ? [] : egress.credentials,
}));

test('any egress settings, exported as TOML, load as they were', () => {
  fc.assert(
    fc.property(anyEgress, (egress) => {
      const traffic: TrafficSettings = {
        listeners: [
          {
            ...listenerDefaults,
            kind: 'egress',
            name: '[::1]:8080',
            address: { host: '::1', port: 8080 },
            tls: { cert: ca.cert, key: ca.key, clientCa: ca.cert, clientAuth: 'request', minVersion: '1.3' },
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
        egress,
      };
      const text = formatTraffic(traffic);
      const path = join(directory, 'export.toml');
      writeFileSync(path, text);
      const { settings, problems } = loadSettings(path, environment);
      assert.deepEqual(
        settings?.traffic,
        traffic,
        `${problems.map(({ message }) => message).join('\n')}\n${text}`,
      );
    }),
    { numRuns: process.env['RUN_SOAK'] === '1' ? 2000 : 50 },
  );
});

test('as a row of the admin API it is read the same, and relative paths are refused', () => {
  assert.deepEqual(readEgress({ whitelist: ['a.b'] }, null).value?.whitelist[0]?.pattern, 'a.b');
  const refused = readEgress({ blocked_log: 'a.log' }, null);
  assert.deepEqual(
    refused.problems.map(({ path, message }) => [path, /must be an absolute path/.test(message)]),
    [['egress.blocked_log', true]],
  );
  assert.deepEqual(readEgress({}, null).value, egressDefaults);
});
