/**
 * Rules of the files that egress names, whichever form names them: the CA of MITM, what upstreams are verified by,
 * secrets, and the log of refusals. What only the gateway can tell, a keystore that does not open, is asked of
 * `inspect` (see load.ts).
 */
import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { SecretReference } from '../model/settings.ts';
import { PemFault, checkCertificates } from './certificates.ts';
import type { CheckContext } from './check-context.ts';
import { Unreadable, readFault, readSmallFile } from './files.ts';
import { quote, systemMessage } from './problem.ts';
import type { Path } from './problem.ts';

/** A value as it was read, null when left out, and the name of its setting. */
export interface Named<T = string> {
  readonly name: string;
  readonly value: T | null | undefined;
}

export interface AuthorityValues {
  readonly cert: Named;
  readonly key: Named;
  readonly keystore: Named;
  /** A reference, or only whether there is one. */
  readonly password: Named;
}

/** Settings of one table, whose path is `path`. */
export function checkAuthority(values: AuthorityValues, path: Path, context: CheckContext): void {
  const { cert, key, keystore, password } = values;
  const { report } = context;
  const pair = [cert, key].filter(isSet);
  if (pair.length === 1) {
    const other = pair[0] === cert ? key : cert;
    if (other.value === null)
      report.error('tls-missing', [...path, pair[0]!.name], `${other.name} beside it`, 'none');
  }
  if (isSet(keystore) && pair.length > 0) {
    const expected = `either ${keystore.name} or ${cert.name} and ${key.name}`;
    report.error('option-conflict', [...path, keystore.name], expected, 'both');
  }
  if (isSet(password) && keystore.value === null) {
    const expected = `${keystore.name} beside it, which it opens`;
    report.warning('option-unused', [...path, password.name], expected, 'none');
  }
  checkCa(cert, path, context);
  checkKey(cert, key, path, context);
  if (typeof keystore.value === 'string' && checkReadable(keystore, path, context))
    checkPrivacy(keystore.value, [...path, keystore.name], context);
}

export interface OutgoingValues {
  readonly certificates: readonly Named[];
  readonly truststore: Named;
  readonly password: Named;
  readonly crl: Named;
  readonly insecure: Named<boolean>;
}

export function checkOutgoing(values: OutgoingValues, path: Path, context: CheckContext): void {
  const { certificates, truststore, password, crl, insecure } = values;
  const { report } = context;
  for (const { name, value } of certificates) {
    if (typeof value === 'string') checkCertificates(value, [...path, name], context);
  }
  checkReadable(truststore, path, context);
  if (isSet(password) && truststore.value === null) {
    const expected = `${truststore.name} beside it, which it opens`;
    report.warning('option-unused', [...path, password.name], expected, 'none');
  }
  checkCrl(crl, path, context);
  if (insecure.value !== true) return;
  const expected = 'false: as it is, whoever answers in the place of an upstream is believed';
  report.warning('egress-insecure', [...path, insecure.name], expected, 'true');
}

/** A secret that is there now. What it is is never told. */
export function checkSecret(
  reference: SecretReference | null | undefined,
  path: Path,
  { certificates, report }: CheckContext,
): void {
  if (typeof reference !== 'string') return;
  const fault = certificates.secretFault(reference);
  if (fault !== undefined) report.error(fault.code, path, 'a secret that can be read', fault.found);
}

/** A log is made where it is missing, so only its directory has to be there. */
export function checkLog(file: string | null | undefined, path: Path, { report }: CheckContext): void {
  if (typeof file !== 'string') return;
  const fault = writeFault(file);
  if (fault === undefined) return;
  report.error('file-unwritable', path, 'a file that can be appended to', `${quote(file)}: ${fault}`);
}

function isSet({ value }: Named<unknown>): boolean {
  return value !== null;
}

function checkCa({ name, value }: Named, path: Path, context: CheckContext): void {
  if (typeof value !== 'string') return;
  const { certificates, report } = context;
  checkCertificates(value, [...path, name], context);
  const loaded = certificates.certificates(value);
  if (loaded instanceof PemFault || loaded[0]!.ca) return;
  const found = `${quote(value)}, whose first certificate is that of no CA`;
  report.error('certificate-invalid', [...path, name], 'the certificate of a CA', found);
}

function checkKey(cert: Named, { name, value }: Named, path: Path, context: CheckContext): void {
  if (typeof value !== 'string') return;
  const { certificates, report } = context;
  const here = [...path, name];
  const loaded = certificates.key(value);
  if (loaded instanceof PemFault) {
    report.error(loaded.code, here, 'a private key in PEM, without a passphrase', loaded.found);
    return;
  }
  if (typeof cert.value === 'string' && !certificates.isPair(cert.value, value)) {
    const found = `${quote(value)}, which is the key of another`;
    report.error('certificate-mismatch', here, `the key of the first certificate in ${cert.name}`, found);
  }
  if (!value.startsWith('env:')) checkPrivacy(value, here, context);
}

/** Whoever reads the key of the CA can be any host to every client that trusts it. */
function checkPrivacy(file: string, path: Path, { report }: CheckContext): void {
  if (((statSync(file, { throwIfNoEntry: false })?.mode ?? 0) & 0o007) === 0) return;
  const expected = 'a file that no other user of this machine may read: chmod 600 it';
  report.error('key-exposed', path, expected, quote(file));
}

/** True when it is. */
function checkReadable({ name, value }: Named, path: Path, { report }: CheckContext): boolean {
  if (typeof value !== 'string') return false;
  const fault = readFault(value);
  if (fault !== undefined) {
    report.error('file-unreadable', [...path, name], 'a file that can be read', `${quote(value)}: ${fault}`);
  }
  return fault === undefined;
}

const crlBytesMax = 16 * 2 ** 20;

function checkCrl({ name, value }: Named, path: Path, { report }: CheckContext): void {
  if (typeof value !== 'string') return;
  const text = readSmallFile(value, crlBytesMax);
  const expected = 'a file with revocation lists in PEM';
  if (text instanceof Unreadable) {
    report.error('file-unreadable', [...path, name], expected, `${quote(value)}: ${text.fault}`);
  } else if (!text.includes('-----BEGIN X509 CRL-----')) {
    report.error('certificate-invalid', [...path, name], expected, `${quote(value)}, which has none`);
  }
}

function writeFault(file: string): string | undefined {
  try {
    const facts = statSync(file, { throwIfNoEntry: false });
    if (facts?.isDirectory() === true) return 'a directory';
    accessSync(facts === undefined ? dirname(file) : file, constants.W_OK);
    return undefined;
  } catch (error) {
    return systemMessage(error);
  }
}
