/** Certificate authorities for tests, made with openssl, and what they sign. Keys are P-256: an RSA one takes a second. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Issued {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
}

export interface IssueOptions {
  readonly subject?: string;
  /** `DNS:app.example.com`, `IP:127.0.0.1`. */
  readonly altNames?: readonly string[];
  /** Negative: expired already. */
  readonly days?: number;
}

/** A directory that is removed when the process ends. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'portcullis-pki-'));
  process.once('exit', () => rmSync(path, { recursive: true, force: true }));
  return path;
}

export class Authority {
  readonly certPath: string;
  readonly cert: string;
  readonly #directory: string;
  readonly #keyPath: string;
  #count = 0;

  constructor(name: string, directory = temporaryDirectory()) {
    this.#directory = directory;
    this.certPath = join(directory, `${name}.pem`);
    this.#keyPath = join(directory, `${name}.key`);
    const files = ['-keyout', this.#keyPath, '-out', this.certPath];
    openssl('req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${name}`, ...files);
    this.cert = readFileSync(this.certPath, 'utf8');
  }

  issue({ subject = '/CN=leaf', altNames = localNames, days = 2 }: IssueOptions = {}): Issued {
    const base = join(this.#directory, `leaf-${++this.#count}-${Math.abs(days)}`);
    const [certPath, keyPath] = [`${base}.pem`, `${base}.key`];
    const request = ['-subj', subject, '-utf8', '-keyout', keyPath, '-out', `${base}.csr`];
    openssl('req', ...newKey, ...request);
    writeFileSync(`${base}.ext`, altNames.length > 0 ? `subjectAltName=${altNames.join()}\n` : '');
    const signer = ['-CA', this.certPath, '-CAkey', this.#keyPath, '-CAcreateserial'];
    const rest = ['-extfile', `${base}.ext`, '-days', String(days), '-out', certPath];
    openssl('x509', '-req', '-in', `${base}.csr`, ...signer, ...rest);
    return { certPath, keyPath, cert: readFileSync(certPath, 'utf8'), key: readFileSync(keyPath, 'utf8') };
  }

  /** The revocation list, in PEM, that names these. */
  revocationList(...revoked: readonly Issued[]): string {
    const path = (name: string): string => join(this.#directory, name);
    writeFileSync(path('index.txt'), '');
    writeFileSync(
      path('ca.cnf'),
      ['[ca]', 'default_ca=own', '[own]', `database=${path('index.txt')}`, 'default_md=sha256']
        .concat(['default_crl_days=2', `certificate=${this.certPath}`, `private_key=${this.#keyPath}`, ''])
        .join('\n'),
    );
    for (const { certPath } of revoked) openssl('ca', '-config', path('ca.cnf'), '-revoke', certPath);
    openssl('ca', '-config', path('ca.cnf'), '-gencrl', '-out', path('crl.pem'));
    return readFileSync(path('crl.pem'), 'utf8');
  }
}

const localNames: readonly string[] = ['DNS:localhost', 'IP:127.0.0.1'];
const newKey: readonly string[] = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
