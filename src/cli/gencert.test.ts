import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { loadAuthority } from '../egress/certificate-authority.ts';
import { readKeystore } from '../egress/pki/pkcs12.ts';
import { toFailure } from './failure.ts';
import { buildProgram } from './program.ts';
import { Shell } from './shell.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-gencert-'));
after(() => rmSync(folder, { recursive: true }));

/** What a command prints; a failure is thrown as the sentence it would say. */
async function run(line: string, env: Record<string, string> = {}): Promise<string> {
  let printed = '';
  const shell = new Shell({ write: (text) => (printed += text) !== '' }, { write: () => true }, env);
  try {
    await buildProgram(shell).parseAsync(['node', 'portcullis', ...line.split(' ')]);
  } catch (error) {
    throw new Error(toFailure(error)?.message ?? String(error), { cause: error });
  }
  return printed;
}

function at(name: string): string {
  return join(folder, name);
}

describe('gencert', () => {
  it('makes a root that the proxy loads, its key for its owner alone', async () => {
    await run(`gencert --out ${at('a')} --cn Test --org Example --country gb --days 30`);
    assert.equal(statSync(at('a/ca.key')).mode & 0o777, 0o600);
    const { chain } = loadAuthority({ kind: 'pem', cert: at('a/ca.crt'), key: at('a/ca.key') }, {});
    assert.equal(new X509Certificate(chain[0]!).subject, 'C=GB\nO=Example\nCN=Test');
    await assert.rejects(run(`gencert --out ${at('a')}`), /--force overwrites/);
    await run(`gencert --out ${at('a')} --force`);
  });

  it('makes a constrained intermediate and a client, each with its chain and keystores', async () => {
    const out = at('b');
    await run(`gencert --out ${out}`);
    const below = `--out ${out} --issuer-cert ${out}/ca.crt --issuer-key ${out}/ca.key --password env:PW`;
    await run(`gencert ${below} --type intermediate --permit example.com --exclude 10.0.0.0/8`, {
      PW: 'secret',
    });
    const text = execFileSync('openssl', ['x509', '-noout', '-text', '-in', `${out}/intermediate.crt`], {
      encoding: 'utf8',
    });
    assert.match(text, /CA:TRUE, pathlen:0/);
    assert.match(text, /Permitted:\s+DNS:example\.com\s+Excluded:\s+IP:10\.0\.0\.0\/255\.0\.0\.0/);
    assert.equal(readKeystore(readFileSync(`${out}/intermediate.p12`), 'secret').certificates.length, 2);
    assert.equal(readKeystore(readFileSync(`${out}/intermediate-truststore.p12`), 'secret').key, null);
    const files = JSON.parse(
      await run(`gencert ${below} --type client --cn agent --json`, { PW: 'secret' }),
    ) as { files: string[] };
    assert.deepEqual(
      files.files,
      ['client.crt', 'client.key', 'client-chain.crt', 'client.pem', 'client.p12'].map((name) =>
        join(out, name),
      ),
    );
    assert.match(
      readFileSync(`${out}/client.pem`, 'latin1'),
      /PRIVATE KEY[^]*BEGIN CERTIFICATE[^]*BEGIN CERTIFICATE/,
    );
    assert.match(
      execFileSync(
        'openssl',
        ['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', `${out}/ca.crt`, `${out}/client.crt`],
        { encoding: 'utf8' },
      ),
      /OK/,
    );
  });

  it('says what is missing', async () => {
    await assert.rejects(run(`gencert --out ${at('c')} --type client`), /needs --issuer-cert/);
    await assert.rejects(run(`gencert --out ${at('c')} --permit *`), /expected a name/);
    await assert.rejects(run(`gencert --out ${at('c')} --days 0`), /usage|Expected|days/);
    await assert.rejects(run(`gencert --out ${at('c')} --password env:NONE`), /env:NONE is not set/);
  });
});

describe('trust', () => {
  it('writes the CA and the system roots, because variables replace stores', async () => {
    await run(`gencert --out ${at('d')}`);
    const lines = await run(
      `trust --ca ${at('d/ca.crt')} --out ${at('d/bundle.pem')} --truststore ${at('d/trust.p12')} --proxy http://localhost:8080`,
    );
    const count = readFileSync(at('d/bundle.pem'), 'latin1').match(/BEGIN CERTIFICATE/g)!.length;
    assert(count > 50);
    assert.equal(readKeystore(readFileSync(at('d/trust.p12')), 'changeit').certificates.length, count);
    for (const name of [
      'SSL_CERT_FILE',
      'NODE_EXTRA_CA_CERTS',
      'REQUESTS_CA_BUNDLE',
      'GIT_SSL_CAINFO',
      'JAVA_TOOL_OPTIONS',
      'HTTPS_PROXY',
    ]) {
      assert.match(lines, new RegExp(`^export ${name}=`, 'm'));
    }
  });

  it('refuses what is no CA', async () => {
    await assert.rejects(run(`trust --ca ${at('d/ca.key')}`), /holds no certificate/);
    await assert.rejects(run(`trust --ca ${at('none')}`), /does not load/);
  });
});
