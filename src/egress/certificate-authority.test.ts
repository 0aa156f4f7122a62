import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { AuthorityError, CertificateAuthority, loadAuthority } from './certificate-authority.ts';
import { pemOf } from './pki/certificate.ts';
import {
  generateAuthority,
  generateClient,
  keyAlgorithms,
  type AuthorityRequest,
  type Issued,
} from './pki/generate.ts';
import { KeystoreError, readKeystore, writeKeystore } from './pki/pkcs12.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-ca-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

function authority(request: Partial<AuthorityRequest> = {}): Issued {
  const name = { commonName: 'Test Root', organization: 'Test', country: 'GB' };
  return generateAuthority(
    {
      name,
      algorithm: 'ecdsa-p256',
      validityDays: 365,
      pathLength: null,
      constraints: null,
      issuer: null,
      ...request,
    },
    Date.now(),
  );
}

function pem({ certificate }: Issued): string {
  return pemOf(certificate.raw);
}

function keyPem({ key }: Issued): string {
  return key.export({ format: 'pem', type: 'pkcs8' });
}

function minter(issuer: Issued, ...above: Issued[]): CertificateAuthority {
  return new CertificateAuthority({ chain: [issuer, ...above].map(pem), key: keyPem(issuer) });
}

/** What OpenSSL says with every strict rule on; `OK` at its end. */
function opensslVerify(root: Issued, chain: string, host: string): string {
  const rootFile = file('root.pem', pem(root));
  const leaf = file('leaf.pem', chain);
  const name = /^[\d.:a-f]+$/.test(host) ? ['-verify_ip', host] : ['-verify_hostname', host];
  const run = spawnSync(
    'openssl',
    [
      'verify',
      '-x509_strict',
      '-purpose',
      'sslserver',
      '-no-CApath',
      '-CAfile',
      rootFile,
      '-untrusted',
      leaf,
      ...name,
      leaf,
    ],
    { encoding: 'utf8' },
  );
  return run.stdout + run.stderr;
}

describe('a minted leaf', () => {
  const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.example`;
  // An RSA key of 4096 bits takes seconds to make and signs no differently.
  for (const algorithm of keyAlgorithms.filter((each) => each !== 'rsa-4096')) {
    it(`satisfies OpenSSL at its strictest, signed with ${algorithm}`, () => {
      const root = authority({ algorithm });
      for (const host of ['www.example.com', '192.0.2.1', '2001:db8::1', long]) {
        assert.match(opensslVerify(root, String(minter(root).identityFor(host).cert), host), /OK\n$/, host);
      }
    });
  }

  it('comes with its intermediates, without the root', () => {
    const root = authority();
    const upper = authority({
      name: { commonName: 'Upper', organization: null, country: null },
      issuer: root,
      pathLength: 1,
    });
    const lower = authority({
      name: { commonName: 'Lower', organization: null, country: null },
      issuer: upper,
      pathLength: 0,
      constraints: { permitted: ['example.com', '192.0.2.0/24'], excluded: [] },
    });
    const ca = minter(lower, upper, root);
    const chain = String(ca.identityFor('www.example.com').cert);
    assert.equal(chain.match(/BEGIN/g)?.length, 3);
    assert.match(opensslVerify(root, chain, 'www.example.com'), /OK\n$/);
    assert.match(opensslVerify(root, String(ca.identityFor('192.0.2.9').cert), '192.0.2.9'), /OK\n$/);
    assert.match(
      opensslVerify(root, String(ca.identityFor('evil.test').cert), 'evil.test'),
      /permitted subtree violation/,
    );
  });

  it('is what strict clients ask for', () => {
    const root = authority();
    const leaf = new X509Certificate(minter(root).identityFor('www.example.com').cert);
    const text = execFileSync('openssl', ['x509', '-noout', '-text'], {
      input: leaf.toString(),
      encoding: 'utf8',
    });
    const days = (Date.parse(leaf.validTo) - Date.parse(leaf.validFrom)) / 86_400_000;
    assert(days < 200);
    assert(!text.includes('Subject Key Identifier'));
    const rootId = /Subject Key Identifier:\s+([0-9A-F:]+)/.exec(
      execFileSync('openssl', ['x509', '-noout', '-text'], { input: pem(root), encoding: 'utf8' }),
    )![1]!;
    assert(text.includes(rootId));
    assert.match(text, /Digital Signature/);
    assert.equal(leaf.subjectAltName, 'DNS:www.example.com');
    assert.match(new X509Certificate(minter(root).identityFor(long).cert).toString(), /BEGIN/);
    const longText = execFileSync('openssl', ['x509', '-noout', '-text'], {
      input: String(minter(root).identityFor(long).cert),
      encoding: 'utf8',
    });
    assert.match(longText, /Subject Alternative Name: critical/);
  });

  it('never outlives its CA', () => {
    const root = authority({ validityDays: 10 });
    const leaf = new X509Certificate(minter(root).identityFor('a.test').cert);
    assert.equal(leaf.validTo, root.certificate.validTo);
  });

  it('is the same for every request, until it is old', () => {
    const root = authority();
    let nowMs = Date.now();
    const ca = new CertificateAuthority({ chain: [pem(root)], key: keyPem(root) }, { clock: () => nowMs });
    const first = ca.identityFor('a.test');
    assert.equal(ca.identityFor('a.test'), first);
    nowMs += 31 * 86_400_000;
    assert.notEqual(ca.identityFor('a.test').key, first.key);
    assert.notEqual(ca.identityFor('b.test').key, ca.identityFor('a.test').key);
  });

  it('is forgotten in the end: a million hosts are no million leaves', () => {
    const root = authority();
    const ca = new CertificateAuthority({ chain: [pem(root)], key: keyPem(root) }, { hostsMax: 8 });
    for (let index = 0; index < 100; index++) ca.identityFor(`host-${index}.test`);
    assert(ca.leafCount <= 16);
  });

  it('satisfies Python, with VERIFY_X509_STRICT', async (context) => {
    const root = authority();
    const { cert, privateKey } = minter(root).identityFor('127.0.0.1');
    const server = createServer({ cert, key: privateKey });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.on('tlsClientError', () => {});
    const { port } = server.address() as AddressInfo;
    const script = `import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT
with context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[2]))), server_hostname="127.0.0.1") as tls:
    print(tls.version())`;
    const { spawn } = await import('node:child_process');
    const child = spawn('python3', ['-c', script, file('python-root.pem', pem(root)), String(port)]);
    const output = await new Promise<string | null>((resolve) => {
      let text = '';
      child.stdout.on('data', (chunk) => (text += chunk));
      child.stderr.on('data', (chunk) => (text += chunk));
      child.on('error', () => resolve(null));
      child.on('close', () => resolve(text));
    });
    server.close();
    if (output === null) return context.skip('python3 is missing');
    assert.equal(output.trim(), 'TLSv1.3');
  });
});

describe('loading a CA', () => {
  const root = authority();
  const environment = { CA_KEY: keyPem(root), PASSWORD: 'secret' };

  it('takes PEM with its chain, the key from a file or the environment', () => {
    const middle = authority({ issuer: root, name: { commonName: 'M', organization: null, country: null } });
    const cert = file('chain.pem', pem(middle) + pem(root));
    const key = file('middle.key', keyPem(middle));
    assert.deepEqual(loadAuthority({ kind: 'pem', cert, key }, {}).chain, [pem(middle), pem(root)]);
    const rootFile = file('ca.pem', pem(root));
    assert.equal(
      loadAuthority({ kind: 'pem', cert: rootFile, key: 'env:CA_KEY' }, environment).key,
      keyPem(root),
    );
  });

  it('refuses a key that every user may read', () => {
    const cert = file('open.pem', pem(root));
    const key = file('open.key', keyPem(root), 0o644);
    assert.throws(() => loadAuthority({ kind: 'pem', cert, key }, {}), /chmod 600/);
    const store = file(
      'open.p12',
      writeKeystore({ key: root.key, certificates: [root.certificate], alias: 'ca' }, 'x'),
      0o604,
    );
    assert.throws(() => loadAuthority({ kind: 'keystore', path: store, password: null }, {}), /chmod 600/);
  });

  it('refuses what can not sign', () => {
    const client = generateClient(
      {
        name: { commonName: 'c', organization: null, country: null },
        algorithm: 'ecdsa-p256',
        validityDays: 1,
        issuer: root,
      },
      Date.now(),
    );
    const refusals: [Issued, Issued, RegExp][] = [
      [client, client, /not that of a CA/],
      [root, client, /not that of its first certificate/],
      [authority({ validityDays: -0.5 }), root, /not that of its first/],
    ];
    for (const [index, [cert, key, message]] of refusals.entries()) {
      const settings = {
        kind: 'pem',
        cert: file(`bad${index}.pem`, pem(cert)),
        key: file(`bad${index}.key`, keyPem(key)),
      } as const;
      assert.throws(
        () => loadAuthority(settings, {}),
        (error) => error instanceof AuthorityError && message.test(error.message),
      );
    }
    const expired = authority({ validityDays: -0.5 });
    const settings = {
      kind: 'pem',
      cert: file('old.pem', pem(expired)),
      key: file('old.key', keyPem(expired)),
    } as const;
    assert.throws(() => loadAuthority(settings, {}), /expired/);
    assert.throws(
      () => loadAuthority({ kind: 'pem', cert: join(folder, 'none'), key: 'env:CA_KEY' }, environment),
      /can not be read/,
    );
    assert.throws(
      () => loadAuthority({ kind: 'pem', cert: file('no.pem', 'nothing'), key: 'env:CA_KEY' }, environment),
      /holds no certificate/,
    );
  });

  for (const [what, options] of [
    ['OpenSSL 3', []],
    [
      'older tools, with triple DES',
      ['-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'],
    ],
    ['tools that encrypt keys only', ['-certpbe', 'NONE']],
  ] as const) {
    it(`takes a keystore of ${what}`, () => {
      const middle = authority({
        issuer: root,
        name: { commonName: 'Mid', organization: null, country: null },
      });
      const input = file('store.pem', pem(root) + pem(middle) + keyPem(middle));
      const path = file('store.p12', '');
      execFileSync(
        'openssl',
        ['pkcs12', '-export', '-in', input, '-out', path, '-passout', 'pass:secret', ...options],
        { stdio: 'pipe' },
      );
      chmodSync(path, 0o600);
      const material = loadAuthority({ kind: 'keystore', path, password: 'env:PASSWORD' }, environment);
      assert.deepEqual(material, { chain: [pem(middle), pem(root)], key: keyPem(middle) });
      assert.throws(
        () => loadAuthority({ kind: 'keystore', path, password: null }, environment),
        /does not open with this password/,
      );
    });
  }

  it('says what to do about a keystore in RC2', (context) => {
    const path = file('rc2.p12', '');
    const input = file('rc2.pem', pem(root) + keyPem(root));
    const run = spawnSync('openssl', [
      'pkcs12',
      '-export',
      '-legacy',
      '-in',
      input,
      '-out',
      path,
      '-passout',
      'pass:secret',
    ]);
    if (run.status !== 0) return context.skip('this openssl has no legacy provider');
    chmodSync(path, 0o600);
    assert.throws(
      () => loadAuthority({ kind: 'keystore', path, password: 'env:PASSWORD' }, environment),
      /RC2.*convert it/,
    );
  });
});

describe('a keystore that we write', () => {
  const root = authority();
  const client = generateClient(
    {
      name: { commonName: 'agent', organization: null, country: null },
      algorithm: 'ecdsa-p256',
      validityDays: 30,
      issuer: root,
    },
    Date.now(),
  );

  it('reads back, here and in OpenSSL', () => {
    const bytes = writeKeystore(
      { key: client.key, certificates: [client.certificate, root.certificate], alias: 'agent' },
      'pässword',
    );
    const read = readKeystore(bytes, 'pässword');
    assert(read.key?.equals(client.key));
    assert.deepEqual(
      read.certificates.map(({ raw }) => raw),
      [client.certificate.raw, root.certificate.raw],
    );
    const text = execFileSync(
      'openssl',
      ['pkcs12', '-in', file('ours.p12', bytes), '-passin', 'pass:pässword', '-nodes'],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    assert.equal(text.match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert.match(text, /BEGIN PRIVATE KEY/);
  });

  it('is a truststore to Java', (context) => {
    const bytes = writeKeystore(
      { key: null, certificates: [root.certificate], alias: 'portcullis' },
      'changeit',
    );
    const run = spawnSync(
      'keytool',
      ['-list', '-keystore', file('trust.p12', bytes), '-storepass', 'changeit'],
      { encoding: 'utf8' },
    );
    if (run.error !== undefined) return context.skip('keytool is missing');
    assert.match(run.stdout, /portcullis, .*trustedCertEntry/);
  });

  it('of any bytes is read or refused, never worse', () => {
    const bytes = writeKeystore({ key: null, certificates: [root.certificate], alias: 'a' }, 'x');
    for (let at = 0; at < bytes.length; at += 41) {
      const broken = Buffer.from(bytes);
      broken[at]! ^= 0x41;
      try {
        readKeystore(broken, 'x');
      } catch (error) {
        assert(error instanceof KeystoreError, `${at}: ${String(error)}`);
      }
      assert.throws(() => readKeystore(bytes.subarray(0, at), 'x'), KeystoreError);
    }
  });
});
