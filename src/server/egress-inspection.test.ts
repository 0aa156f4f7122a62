import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadSettings } from '../config/load.ts';
import { formatProblem } from '../config/problem.ts';
import { inspectEgress } from './egress-inspection.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-inspection-'));
after(() => rmSync(directory, { recursive: true }));

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
}

const subject = ['-subj', '/CN=test', '-days', '30', '-nodes'];
const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
openssl('req', '-x509', ...key, ...subject, '-keyout', 'ca.key', '-out', 'ca.crt');
openssl(
  'pkcs12',
  '-export',
  '-in',
  'ca.crt',
  '-inkey',
  'ca.key',
  '-out',
  'ca.p12',
  '-passout',
  'pass:hunter2',
);
openssl('req', '-x509', '-newkey', 'ed448', ...subject, '-keyout', 'no.key', '-out', 'no.crt');
chmodSync(join(directory, 'ca.p12'), 0o600);

function told(text: string, env: Readonly<Record<string, string>> = {}): string {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, text);
  const { problems } = loadSettings(path, env, { inspectEgress: inspectEgress(env) });
  return problems.map((problem) => formatProblem(problem, false).replaceAll(`${directory}/`, '')).join('\n');
}

test('a keystore opens by the password that a variable holds', () => {
  const text = 'proxy:\n  mitm_keystore_path: ca.p12\n';
  assert.equal(told(text, { PROXY_MITM_KEYSTORE_PASSWORD: 'hunter2' }), '');
  assert.equal(told(`${text}  mitm_keystore_password: hunter2\n`), '');
});

test('a keystore that does not open is told where it is named, without the password', () => {
  const line = told('proxy:\n  mitm_keystore_path: ca.p12\n', { PROXY_MITM_KEYSTORE_PASSWORD: 'hunter3' });
  assert.match(line, /^error config\.yaml:2:23 proxy\.mitm_keystore_path: expected a CA .*password/);
  assert.doesNotMatch(line, /hunter/);
});

test('each part is told by itself: a CA whose key nobody knows, a truststore that is none, a secret of two lines', () => {
  writeFileSync(join(directory, 'none.p12'), 'none');
  const path = join(directory, 'x.toml');
  writeFileSync(
    path,
    `[[listeners]]
     addr = "127.0.0.1:8080"
     kind = "egress"
     [egress]
     mitm_cert = "no.crt"
     mitm_key = "no.key"
     outgoing_truststore = "none.p12"
     credentials = [{ pattern = "a.b", secret = "env:TOKEN" }]`,
  );
  const env = { TOKEN: 'two\nlines' };
  const { settings, problems } = loadSettings(path, env, { inspectEgress: inspectEgress(env) });
  assert.equal(settings, undefined);
  assert.deepEqual(
    problems.map(({ line, path: where, code }) => [line, where, code]),
    [
      [4, 'egress', 'keystore-invalid'],
      [5, 'egress.mitm_cert', 'keystore-invalid'],
      [7, 'egress.outgoing_truststore', 'keystore-invalid'],
    ],
  );
});
