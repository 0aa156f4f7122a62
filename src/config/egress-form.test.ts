import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { EgressSettings } from '../model/egress-settings.ts';
import type { Environment } from './environment.ts';
import { loadSettings, type LoadedSettings } from './load.ts';
import { makeCertificate } from './testing/certificates.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-egress-form-'));
after(() => rmSync(folder, { recursive: true }));

function load(text: string, environment: Environment = {}): LoadedSettings {
  const path = join(folder, 'config.yaml');
  writeFileSync(path, text);
  return loadSettings(path, environment);
}

function egressOf({ settings, problems }: LoadedSettings): EgressSettings {
  assert.deepEqual(
    problems.filter(({ severity }) => severity === 'error'),
    [],
  );
  return settings!.traffic.egress!;
}

function told({ problems }: LoadedSettings): string[] {
  return problems.map(({ line, variable, path, code }) => `${variable ?? line} ${path} ${code}`);
}

const example = `
proxy:
  port: "8080"
  metrics_port: "9090"
  default_policy: "BLOCK"
  outgoing_ca_bundle: ""
  blocked_log_path: ""
rewrites:
  - domain: "api.production.com"
    target_ip: "10.20.30.40"
    headers: { X-Proxy-Source: "egress-gateway" }
  - domain: "*.internal.example.com"
    target_ip: "10.20.30.50"
acl:
  whitelist: ["^.*\\\\.google\\\\.com$", "github.com"]
  blacklist: ["^.*\\\\.tiktok\\\\.com$"]
  passthrough: ["*.vault.internal"]
`;

describe('the YAML form of egress', () => {
  it('loads unchanged', () => {
    const loaded = load(example);
    const egress = egressOf(loaded);
    const { listeners } = loaded.settings!.traffic;
    assert.deepEqual(
      listeners.map(({ kind, name, address }) => ({ kind, name, address })),
      [{ kind: 'egress', name: ':8080', address: { host: '', port: 8080 } }],
    );
    assert.equal(loaded.settings!.process.database.path, null);
    assert.deepEqual(loaded.settings!.process.operate.metrics.address, { host: '', port: 9090 });
    assert.equal(egress.defaultPolicy, 'BLOCK');
    assert.deepEqual(
      egress.whitelist.map(({ pattern, allowPrivate }) => [pattern, allowPrivate]),
      [
        ['~^.*\\.google\\.com$', true],
        ['github.com', true],
      ],
    );
    assert.deepEqual(
      egress.blacklist.map(({ pattern }) => pattern),
      ['~^.*\\.tiktok\\.com$'],
    );
    assert.deepEqual(
      egress.passthrough.map(({ pattern }) => pattern),
      ['*.vault.internal'],
    );
    assert.deepEqual(
      egress.rewrites.map(({ pattern, targetIp }) => [pattern, targetIp]),
      [
        ['api.production.com', '10.20.30.40'],
        ['*.internal.example.com', '10.20.30.50'],
      ],
    );
    assert.deepEqual(egress.rewrites[0]!.headers, [['x-proxy-source', 'egress-gateway']]);
    assert.equal(egress.authority, null);
  });

  it('is overridden by PROXY_ variables', () => {
    const { cert, key } = makeCertificate(folder, 'ca');
    const loaded = load(example, {
      PROXY_PORT: '8181',
      PROXY_METRICS_PORT: '9191',
      PROXY_DEFAULT_POLICY: 'allow',
      PROXY_MITM_CERT_PATH: cert,
      PROXY_MITM_KEY_PATH: key,
      PROXY_OUTGOING_CA_BUNDLE: cert,
      PROXY_INSECURE_SKIP_VERIFY: 'true',
      PROXY_BLOCKED_LOG_PATH: join(folder, 'blocked.json'),
      PROXY_OUTGOING_TRUSTSTORE_PASSWORD: 'secret',
    });
    const egress = egressOf(loaded);
    assert.equal(loaded.settings!.traffic.listeners[0]!.address.port, 8181);
    assert.equal(egress.defaultPolicy, 'ALLOW');
    assert.deepEqual(egress.authority, { kind: 'pem', cert, key });
    assert.equal(egress.outgoing.insecure, true);
    assert.equal(egress.outgoing.truststorePassword, 'env:PROXY_OUTGOING_TRUSTSTORE_PASSWORD');
    assert.equal(egress.blockedLog, join(folder, 'blocked.json'));
  });

  it('tells everything that is wrong, each with its place', () => {
    const wrong = load(
      `proxy:
  port: "0"
  default_policy: MAYBE
  mitm_cert_path: none.pem
  colour: red
rewrites:
  - domain: "a.test"
    target_ip: "10.0.0.1"
    target_host: "b.test"
    headers: { Transfer-Encoding: chunked }
  - target_ip: 300.1.1.1
acl:
  whitelist: ["*example.com", "(?=a)b", "a b", "127.1"]
`,
      { PROXY_METRICS_PORT: 'x' },
    );
    assert.equal(wrong.settings, undefined);
    assert.deepEqual(told(wrong), [
      '2 proxy.port value-invalid',
      '3 proxy.default_policy value-invalid',
      '4 proxy.mitm_cert_path tls-missing',
      '4 proxy.mitm_cert_path file-unreadable',
      '5 proxy.colour key-unknown',
      '9 rewrites[0].target_host rewrite-conflict',
      '10 rewrites[0].headers.transfer-encoding header-reserved',
      '11 rewrites[1].domain key-missing',
      '11 rewrites[1].target_ip value-invalid',
      '13 acl.whitelist[0] value-invalid',
      '13 acl.whitelist[1] value-invalid',
      '13 acl.whitelist[2] value-invalid',
      '13 acl.whitelist[3] value-invalid',
      'PROXY_METRICS_PORT proxy.metrics_port value-invalid',
    ]);
  });

  it('warns of expressions that allow more than they seem to', () => {
    const loaded = load(
      'acl:\n  whitelist: ["^github\\\\.com", "^(a|b)\\\\.test$"]\n  blacklist: ["tiktok.*"]\n',
    );
    assert.deepEqual(told(loaded), ['2 acl.whitelist[0] pattern-open']);
  });

  it('takes what the environment and people really write', () => {
    const loaded = load('proxy:\n  port: 8081\n  insecure_skip_verify: "False"\nrewrites:\nacl:\n', {
      PROXY_INSECURE_SKIP_VERIFY: '1',
      PROXY_METRICS_PORT: '',
      PROXY_PORT: '',
    });
    assert.equal(egressOf(loaded).outgoing.insecure, true);
    assert.equal(loaded.settings!.traffic.listeners[0]!.name, ':8080');
    assert.equal(loaded.settings!.process.operate.metrics.address!.port, 9090);
    assert.deepEqual(told(loaded), ['PROXY_INSECURE_SKIP_VERIFY proxy.insecure_skip_verify egress-insecure']);
  });

  it('leaves how the process runs to PORTCULLIS_ variables', () => {
    const loaded = load('proxy: {}', {
      PORTCULLIS_LOG_LEVEL: 'debug',
      PORTCULLIS_SERVER_WORKERS: '3',
      PORTCULLIS_DATABASE_PATH: '/x.db',
    });
    assert.equal(egressOf(loaded).whitelist.length, 0);
    assert.equal(loaded.settings!.process.log.level, 'debug');
    assert.equal(loaded.settings!.process.server.workers, 3);
    assert.deepEqual(told(loaded), ['PORTCULLIS_DATABASE_PATH  variable-unknown']);
    const bad = load('proxy: {}', { PORTCULLIS_LOG_LEVEL: 'loud' });
    assert.deepEqual(told(bad), ['PORTCULLIS_LOG_LEVEL log.level value-invalid']);
  });

  it('keeps passwords of variables where they are, and shows none', () => {
    const keystore = join(folder, 'ca.p12');
    writeFileSync(keystore, 'none', { mode: 0o600 });
    const text = `proxy:\n  mitm_keystore_path: ca.p12\n  outgoing_truststore_password: hunter2\n`;
    const loaded = load(text, { PROXY_MITM_KEYSTORE_PASSWORD: 'env:hunter2' });
    const { authority, outgoing } = egressOf(loaded);
    assert.deepEqual(authority, {
      kind: 'keystore',
      path: keystore,
      password: 'env:PROXY_MITM_KEYSTORE_PASSWORD',
    });
    assert.equal(outgoing.truststorePassword, 'text:hunter2');
    assert.deepEqual(told(loaded), ['3 proxy.outgoing_truststore_password option-unused']);
    const bad = load(text, { PROXY_MITM_KEYSTORE_PASSWORD: 'hunter2\n' });
    assert.deepEqual(
      told(bad).at(-1),
      'PROXY_MITM_KEYSTORE_PASSWORD proxy.mitm_keystore_password value-invalid',
    );
    assert.doesNotMatch(JSON.stringify([loaded.problems, bad.problems]), /hunter2/);
  });

  it('reads entries as hosts, wildcards and expressions by their characters', () => {
    const { whitelist } = egressOf(
      load(
        'proxy:\nacl:\n  whitelist: ["*.A.example", "a.example.", "api[0-9]$", "192.0.2.7", "[2001:DB8::1]"]\n',
      ),
    );
    assert.deepEqual(
      whitelist.map(({ pattern }) => pattern),
      ['*.a.example', 'a.example', '~api[0-9]$', '192.0.2.7', '2001:db8::1'],
    );
  });

  it('has certificates of its own beside those of the system', () => {
    const { cert } = makeCertificate(folder, 'root');
    const { outgoing } = egressOf(load('proxy:\n  outgoing_ca_bundle: root.pem\n'));
    assert.deepEqual([outgoing.caBundle, outgoing.ca], [null, cert]);
    const both = load('proxy:\n  outgoing_ca_bundle: root.pem\n  outgoing_ca: root.pem\n');
    assert.deepEqual(told(both), ['3 proxy.outgoing_ca option-conflict']);
  });

  it('refuses keys it does not have, and offers those it has', () => {
    const { problems } = load('proxy:\n  defaultpolicy: ALLOW\nrewrite: []\nlisteners: []\n');
    assert.deepEqual(
      problems.map(({ path, suggestion }) => [path, suggestion]),
      [
        ['proxy.defaultpolicy', '"default_policy"'],
        ['rewrite', '"rewrites"'],
        ['listeners', null],
      ],
    );
  });

  it('is not mistaken for the project’s own', () => {
    assert.match(told(load('listeners: []\nacl: {}\n')).join(), /acl key-unknown/);
  });
});
