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

  it('is not mistaken for the project’s own', () => {
    assert.match(told(load('listeners: []\nacl: {}\n')).join(), /acl key-unknown/);
  });
});
