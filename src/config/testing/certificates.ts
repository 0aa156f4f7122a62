/** Self-signed certificates for tests, made by openssl into a directory. Valid for 30 days from now. */

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

export function makeCertificate(directory: string, name: string): CertificateFiles {
  const files = { cert: join(directory, `${name}.pem`), key: join(directory, `${name}.key`) };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', files.key];
  const request = ['-subj', `/CN=${name}`, '-days', '30', '-out', files.cert];
  execFileSync('openssl', ['req', '-x509', ...key, ...request], { stdio: 'pipe' });
  return files;
}
