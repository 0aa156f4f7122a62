import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { CertificateReader } from './certificates.ts';
import { makeCertificate } from './testing/certificates.ts';
import { told } from './testing/told.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-routes-'));
after(() => rmSync(directory, { recursive: true }));
makeCertificate(directory, 'a');

/** Of one route: its severity, the setting within the route, and what is said. */
function toldOf(...settings: readonly string[]): readonly string[] {
  const basics = ['[[listeners]]', 'addr = ":443"', '[[listeners.routes]]', 'hostname = "a.example"'];
  const text = [...basics, 'backend = "10.0.0.1:443"', ...settings].join('\n');
  return told(directory, text).map((line) =>
    line.replace(/ x\.toml:\d+:\d+ listeners\[0\]\.routes\[0\]\.?/, ' '),
  );
}

const l7 = ['mode = "l7"', 'tls_cert = "a.pem"', 'tls_key = "a.key"'];
test('a route of mode l7 needs a certificate and its key', () => {
  assert.deepEqual(toldOf(...l7, 'backend_tls = true'), []);
  assert.deepEqual(toldOf('mode = "l7"'), [
    'error mode: expected tls_cert and tls_key beside it: a route of mode l7 ends TLS, found none',
  ]);
  assert.deepEqual(toldOf('mode = "l7"', 'tls_cert = "a.pem"'), [
    'error mode: expected tls_key beside it: a route of mode l7 ends TLS, found none',
  ]);
  assert.deepEqual(toldOf('mode = "l7"', 'tls_cert = "a.pem"', 'tls_key = "absent.key"'), [
    'error tls_key: expected a private key in PEM, without a passphrase, found "absent.key": no such file or directory',
  ]);
});

test('a certificate on a route of mode l4 is an error: it would be relayed past', () => {
  const expected = (name: string): string =>
    `error ${name}: expected mode = "l7" beside it: a route of mode l4 relays TLS as it is, found "l4"`;
  assert.deepEqual(toldOf('tls_cert = "a.pem"', 'tls_key = "a.key"', 'backend_tls = true'), [
    expected('tls_cert'),
    expected('tls_key'),
    expected('backend_tls'),
  ]);
});

test('policies have a value, stand once, and wait on a route of mode l4', () => {
  const policy = (type: string, value: string): string =>
    `[[listeners.routes.policies]]\ntype = "${type}"\nvalue = ${JSON.stringify(value)}`;
  assert.deepEqual(toldOf(policy('require_header', 'X-Key')), [
    'warning policies: expected mode = "l7" beside it: a route of mode l4 sees no requests, so nothing is judged, found "l4"',
  ]);
  assert.deepEqual(
    toldOf(
      ...l7,
      policy('require_header', 'X-Key'),
      policy('require_header', 'x-key'),
      policy('block_user_agent', 'X-Key'),
      policy('block_user_agent', 'x-key'),
      policy('require_header', 'x key'),
      policy('block_user_agent', ''),
      policy('block_user_agent', 'a\nb'),
      policy('block_user_agent', 'x'.repeat(1025)),
      policy('allow', 'x'),
    ).filter((line) => !line.startsWith('warning')),
    [
      'error policies[1]: expected each policy once on its route, and [0] is the same, found require_header "x-key"',
      'error policies[4].value: expected the name of a header such as "x-api-key": letters, digits and !#$%&\'*+-.^_`|~, found "x key"',
      'error policies[5].value: expected text of 1 to 1024 characters without control characters, found ""',
      'error policies[6].value: expected text of 1 to 1024 characters without control characters, found "a\\x0ab"',
      `error policies[7].value: expected text of 1 to 1024 characters without control characters, found "${'x'.repeat(79)}…", which has 1025 characters`,
      'error policies[8].type: expected one of "block_user_agent", "require_header", "allow_methods", "max_body", "rate_limit", found "allow"',
    ],
  );
});

test('a certificate and its key are read once, however many ask', () => {
  const { cert, key } = makeCertificate(directory, 'gone');
  const reader = new CertificateReader({}, Date.now());
  const first = [reader.certificates(cert), reader.key(key), reader.isPair(cert, key)];
  rmSync(cert);
  rmSync(key);
  assert.deepEqual([reader.certificates(cert), reader.key(key), reader.isPair(cert, key)], first);
  assert.equal(reader.isPair(cert, key), true);
});
