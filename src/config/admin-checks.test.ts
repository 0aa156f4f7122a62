import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeCertificate } from './testing/certificates.ts';
import { told } from './testing/told.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-admin-'));
after(() => rmSync(directory, { recursive: true }));
makeCertificate(directory, 'a');
makeCertificate(directory, 'b');

const rest = '[[listeners]]\naddr = ":443"\ndefault_backend = "10.0.0.1:443"\n';

/** Of an `[admin]` section alone: its severity, the setting, and what is said. */
function toldOf(section: string, environment: Record<string, string> = {}): readonly string[] {
  return told(directory, `[admin]\n${section}\n${rest}`, environment).map((line) =>
    line.replace(/ x\.toml:\d+:\d+ admin\./, ' '),
  );
}

test('loopback takes TLS, or the word that it is to go without', () => {
  assert.deepEqual(toldOf('grpc_addr = "127.0.0.1:9443"'), [
    'error grpc_addr: expected tls_cert and tls_key beside it, or insecure_loopback = true: without TLS every user of this machine may change the configuration, found neither',
  ]);
  assert.deepEqual(toldOf('grpc_addr = "[::1]:9443"\ninsecure_loopback = true'), []);
  assert.deepEqual(toldOf('grpc_addr = "[::1]:9443"\ntls_cert = "a.pem"\ntls_key = "a.key"'), []);
  assert.deepEqual(
    toldOf('grpc_addr = "[::1]:9443"\ntls_cert = "a.pem"\ntls_key = "a.key"\ninsecure_loopback = true'),
    [
      'warning insecure_loopback: expected false beside TLS settings, which it does not switch off, found true',
    ],
  );
});

test('beyond loopback nobody comes in without a certificate', () => {
  assert.deepEqual(toldOf('grpc_addr = ":9443"\ninsecure_loopback = true'), [
    'error grpc_addr: expected tls_cert, tls_key and client_ca beside it: beyond loopback every caller must show a certificate, found none',
    'error insecure_loopback: expected false, or a loopback address such as "127.0.0.1:9443" as grpc_addr, found true',
  ]);
  assert.deepEqual(toldOf('grpc_addr = "192.0.2.1:9443"\ntls_cert = "a.pem"\ntls_key = "a.key"'), [
    'error grpc_addr: expected client_ca beside it: beyond loopback every caller must show a certificate, found none',
  ]);
  assert.deepEqual(toldOf('grpc_addr = ":9443"\nclient_ca = "a.pem"'), [
    'error client_ca: expected tls_cert and tls_key beside it: clients show their certificates within TLS, found none',
  ]);
  assert.deepEqual(
    toldOf('grpc_addr = ":9443"\ntls_cert = "a.pem"\ntls_key = "a.key"\nclient_ca = "b.pem"'),
    [],
  );
});

test('a certificate and its key come together, load, match and are valid', (t) => {
  const tls = (cert: string, key: string): readonly string[] =>
    toldOf(`grpc_addr = "[::1]:9443"\ntls_cert = "${cert}"\ntls_key = "${key}"`);
  writeFileSync(join(directory, 'none.pem'), 'nothing');
  writeFileSync(
    join(directory, 'broken.pem'),
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  );
  assert.deepEqual(toldOf('grpc_addr = "[::1]:9443"\ntls_cert = "a.pem"'), [
    'error tls_cert: expected tls_key beside it, found none',
  ]);
  assert.deepEqual(toldOf('grpc_addr = "[::1]:9443"\ntls_key = "a.key"'), [
    'error tls_key: expected tls_cert beside it, found none',
  ]);
  const [absent, none] = tls('absent.pem', 'none.pem');
  assert.equal(
    absent,
    'error tls_cert: expected a file with certificates in PEM, found "absent.pem": no such file or directory',
  );
  // What follows is the sentence of the OpenSSL in use.
  assert.match(
    none!,
    /^error tls_key: expected a private key in PEM, without a passphrase, found "none.pem", which does not load: ./,
  );
  assert.match(
    tls('broken.pem', 'a.key')[0]!,
    /^error tls_cert: .* found "broken.pem", which does not load: /,
  );
  assert.deepEqual(tls('none.pem', 'a.key'), [
    'error tls_cert: expected a file with certificates in PEM, found "none.pem", which has none',
  ]);
  assert.deepEqual(tls('a.pem', 'b.key'), [
    'error tls_key: expected the key of the first certificate in tls_cert, found "b.key", which is the key of another',
  ]);
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 40 * 86_400_000 });
  assert.match(
    tls('a.pem', 'a.key').join('\n'),
    /^warning tls_cert: .*, found one that expired on \d{4}-\d\d-\d\d$/,
  );
  t.mock.timers.setTime(0);
  assert.match(
    tls('a.pem', 'a.key').join('\n'),
    /^warning tls_cert: .*, found one that begins on \d{4}-\d\d-\d\d$/,
  );
});

test('a key may stand in the environment, and is never shown', () => {
  const section = 'grpc_addr = "[::1]:9443"\ntls_cert = "a.pem"\ntls_key = "env:API_KEY"';
  assert.deepEqual(toldOf(section, { API_KEY: readFileSync(join(directory, 'a.key'), 'utf8') }), []);
  assert.deepEqual(toldOf(section), [
    'error tls_key: expected a private key in PEM, without a passphrase, found "env:API_KEY", which is not set',
  ]);
  const [line] = toldOf(section, { API_KEY: 'hunter2' });
  assert.match(line!, /^error tls_key: .*found "env:API_KEY", which does not load/);
  assert.doesNotMatch(line!, /hunter2/);
  assert.match(
    toldOf('grpc_addr = "[::1]:1"\ntls_key = "env:no-name"')[0]!,
    /"env:" and the name of an environment variable, found "env:no-name"/,
  );
});

test('a Unix socket speaks no TLS', () => {
  assert.deepEqual(toldOf('grpc_addr = "unix:admin.sock"'), []);
  assert.deepEqual(toldOf('grpc_addr = "unix:admin.sock"\nclient_ca = "a.pem"\ninsecure_loopback = true'), [
    'error client_ca: expected no TLS on a Unix socket, whose file mode says who may connect, found "a.pem"',
    'warning insecure_loopback: expected false on a Unix socket, where it has no effect, found true',
  ]);
});

test('the address is one, and no listener has it', () => {
  const insecure = '\ninsecure_loopback = true';
  assert.deepEqual(toldOf(`grpc_addr = "127.0.0.1:443"${insecure}`), [
    'error grpc_addr: expected an address apart from every listener\'s: listeners[0].addr is ":443", found "127.0.0.1:443"',
  ]);
  assert.deepEqual(toldOf(`grpc_addr = "127.0.0.1:0"${insecure}`), []);
  assert.match(toldOf(`grpc_addr = "localhost:9443"${insecure}`)[0]!, /did you mean "127.0.0.1:9443"/);
  assert.match(toldOf(`grpc_addr = "/run/a.sock"${insecure}`)[0]!, /did you mean "unix:\/run\/a.sock"/);
});

test('settings of an API that is not there are a warning', () => {
  assert.deepEqual(toldOf('client_ca = "a.pem"'), [
    'warning client_ca: expected grpc_addr beside it, without which there is no admin API, found none',
  ]);
});
