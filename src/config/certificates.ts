/**
 * Certificates and private keys that settings name: do they load, do they belong together, are they valid now?
 *
 * Ten thousand routes may share one pair, so everything is read and tried once for each load.
 */

import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { SecretReference } from '../model/settings.ts';
import type { CheckContext } from './check-context.ts';
import type { Environment } from './environment.ts';
import { Unreadable, readSmallFile } from './files.ts';
import { plain, quote } from './problem.ts';
import type { Path, ProblemCode } from './problem.ts';

/** Of a file of certificates or a key. */
const pemBytesMax = 2 ** 20;

/** Why something could not be loaded. */
export class PemFault {
  readonly code: ProblemCode;
  /** Completes "found …". */
  readonly found: string;

  constructor(code: ProblemCode, found: string) {
    this.code = code;
    this.found = found;
  }
}

export class CertificateReader {
  readonly #environment: Environment;
  readonly #nowMs: number;
  readonly #certificates = new Map<string, readonly X509Certificate[] | PemFault>();
  readonly #keys = new Map<SecretReference, KeyObject | PemFault>();
  readonly #matches = new Map<string, boolean>();
  readonly #questioned = new Set<string>();

  constructor(environment: Environment, nowMs: number) {
    this.#environment = environment;
    this.#nowMs = nowMs;
  }

  /** At least one; a chain begins with the leaf. */
  certificates(path: string): readonly X509Certificate[] | PemFault {
    return memo(this.#certificates, path, () => {
      const text = readSmallFile(path, pemBytesMax);
      return text instanceof Unreadable ? unreadable(path, text) : parseCertificates(text, path);
    });
  }

  key(reference: SecretReference): KeyObject | PemFault {
    return memo(this.#keys, reference, () => {
      const text = this.#secret(reference);
      return text instanceof PemFault ? text : parseKey(text, reference);
    });
  }

  /** Whether the key belongs to the first certificate of the file at `path`; true when one of them does not load. */
  isPair(path: string, reference: SecretReference): boolean {
    return memo(this.#matches, `${path}\0${reference}`, () => {
      const certificates = this.certificates(path);
      const key = this.key(reference);
      if (certificates instanceof PemFault || key instanceof PemFault) return true;
      return certificates[0]!.checkPrivateKey(key);
    });
  }

  /** Why clients would not take the certificate today. Asked again for the same file it has nothing to add. */
  validityFault(path: string): string | undefined {
    if (this.#questioned.has(path)) return undefined;
    this.#questioned.add(path);
    const certificates = this.certificates(path);
    if (certificates instanceof PemFault) return undefined;
    const expired = certificates.find(({ validTo }) => Date.parse(validTo) <= this.#nowMs);
    if (expired !== undefined) return `one that expired on ${day(expired.validTo)}`;
    const early = certificates.find(({ validFrom }) => Date.parse(validFrom) > this.#nowMs);
    return early === undefined ? undefined : `one that begins on ${day(early.validFrom)}`;
  }

  /** Why there is no secret; undefined when there is one. */
  secretFault(reference: SecretReference): PemFault | undefined {
    const secret = this.#secret(reference);
    if (secret instanceof PemFault) return secret;
    return secret.trim() === ''
      ? new PemFault('secret-missing', `${quote(reference)}, which is empty`)
      : undefined;
  }

  #secret(reference: SecretReference): string | PemFault {
    if (!reference.startsWith('env:')) {
      const text = readSmallFile(reference, pemBytesMax);
      return text instanceof Unreadable ? unreadable(reference, text) : text;
    }
    const value = this.#environment[reference.slice(4)] ?? '';
    return value === '' ? new PemFault('secret-missing', `${quote(reference)}, which is not set`) : value;
  }
}

/** A certificate and its key, where both are named, as errors at their settings. */
export function checkPair(
  { tls_cert: cert, tls_key: key }: PairSettings,
  path: Path,
  { certificates, report }: CheckContext,
): void {
  const keyPath = [...path, 'tls_key'];
  if (typeof cert === 'string') checkCertificates(cert, [...path, 'tls_cert'], { certificates, report });
  if (typeof key !== 'string') return;
  const loaded = certificates.key(key);
  if (loaded instanceof PemFault) report.error(loaded.code, keyPath, keyExpected, loaded.found);
  else if (typeof cert === 'string' && !certificates.isPair(cert, key)) {
    const expected = 'the key of the first certificate in tls_cert';
    report.error('certificate-mismatch', keyPath, expected, `${quote(key)}, which is the key of another`);
  }
}

export interface PairSettings {
  readonly tls_cert: string | null | undefined;
  readonly tls_key: SecretReference | null | undefined;
}

/** A file of certificates: an error when it does not load, a warning when its time is not now. */
export function checkCertificates(
  file: string,
  path: Path,
  { certificates, report }: Pick<CheckContext, 'certificates' | 'report'>,
): void {
  const loaded = certificates.certificates(file);
  if (loaded instanceof PemFault) {
    report.error(loaded.code, path, 'a file with certificates in PEM', loaded.found);
    return;
  }
  const fault = certificates.validityFault(file);
  if (fault !== undefined) report.warning('certificate-expired', path, 'a certificate valid today', fault);
}

const keyExpected = 'a private key in PEM, without a passphrase';

function unreadable(path: string, { fault }: Unreadable): PemFault {
  return new PemFault('file-unreadable', `${quote(path)}: ${fault}`);
}

function parseCertificates(text: string, path: string): readonly X509Certificate[] | PemFault {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) return new PemFault('certificate-invalid', `${quote(path)}, which has none`);
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    return new PemFault('certificate-invalid', `${quote(path)}, which does not load: ${reasonOf(error)}`);
  }
}

function parseKey(pem: string, reference: SecretReference): KeyObject | PemFault {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    return new PemFault(
      'certificate-invalid',
      `${quote(reference)}, which does not load: ${reasonOf(error)}`,
    );
  }
}

function reasonOf(error: unknown): string {
  return plain(error instanceof Error ? error.message : String(error), 120);
}

/** `2027-01-31`. */
function day(date: string): string {
  return new Date(date).toISOString().slice(0, 10);
}

function memo<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
