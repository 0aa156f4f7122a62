/** New CAs and client certificates, for `portcullis gencert`. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { randomSerial } from '../certificate-authority.ts';
import {
  authorityKeyIdentifier,
  basicConstraints,
  distinguishedName,
  extendedKeyUsage,
  extendedKeyUsages,
  keyIdOf,
  keyUsage,
  keyUsages,
  nameConstraints,
  readCertificate,
  signCertificate,
  signerOf,
  subjectKeyIdentifier,
  type NameConstraints,
  type NameParts,
} from './certificate.ts';

export const keyAlgorithms = ['ecdsa-p256', 'ecdsa-p384', 'rsa-2048', 'rsa-4096', 'ed25519'] as const;
export type KeyAlgorithm = (typeof keyAlgorithms)[number];

export interface Issued {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

export interface AuthorityRequest {
  readonly name: NameParts;
  readonly algorithm: KeyAlgorithm;
  readonly validityDays: number;
  /** CAs below it; null: any number. */
  readonly pathLength: number | null;
  readonly constraints: NameConstraints | null;
  /** Who signs it; null: itself, a root. */
  readonly issuer: Issued | null;
}

const dayMs = 86_400_000;

export function generateAuthority(request: AuthorityRequest, nowMs: number): Issued {
  const key = generateKey(request.algorithm);
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const keyId = keyIdOf(publicKey);
  const { constraints, pathLength } = request;
  const extensions = [
    basicConstraints(true, pathLength),
    keyUsage(keyUsages.keyCertSign | keyUsages.crlSign),
    subjectKeyIdentifier(keyId),
  ];
  if (constraints !== null) extensions.push(nameConstraints(constraints));
  return issue(request, { key, publicKey, ownKeyId: keyId, extensions }, nowMs);
}

export interface ClientRequest {
  readonly name: NameParts;
  readonly algorithm: KeyAlgorithm;
  readonly validityDays: number;
  readonly issuer: Issued;
}

/** A certificate that a client shows to the proxy. */
export function generateClient(request: ClientRequest, nowMs: number): Issued {
  const key = generateKey(request.algorithm);
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const extensions = [
    basicConstraints(false, null),
    keyUsage(keyUsages.digitalSignature),
    extendedKeyUsage(extendedKeyUsages.clientAuth),
  ];
  return issue(request, { key, publicKey, ownKeyId: null, extensions }, nowMs);
}

export function generateKey(algorithm: KeyAlgorithm): KeyObject {
  switch (algorithm) {
    case 'ecdsa-p256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    case 'ecdsa-p384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    case 'rsa-2048':
      return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    case 'rsa-4096':
      return generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey;
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey;
  }
}

/** The pair from PEM texts. Undefined when they do not belong together, or the certificate is no CA's. */
export function issuerOf(certificate: string, key: string): Issued | undefined {
  const issuer = { certificate: new X509Certificate(certificate), key: createPrivateKey(key) };
  return issuer.certificate.ca && issuer.certificate.checkPrivateKey(issuer.key) ? issuer : undefined;
}

interface Parts {
  readonly key: KeyObject;
  readonly publicKey: Buffer;
  /** Of a root, which is its own authority. */
  readonly ownKeyId: Buffer | null;
  readonly extensions: readonly Buffer[];
}

function issue(
  { name, validityDays, issuer }: Pick<AuthorityRequest, 'name' | 'validityDays' | 'issuer'>,
  { key, publicKey, ownKeyId, extensions }: Parts,
  nowMs: number,
): Issued {
  const facts = issuer === null ? null : readCertificate(issuer.certificate.raw);
  const subject = distinguishedName(name);
  const authorityKeyId = facts === null ? ownKeyId! : (facts.subjectKeyId ?? keyIdOf(facts.publicKey));
  const issuerEndMs = issuer === null ? Infinity : Date.parse(issuer.certificate.validTo);
  const certificate = signCertificate(
    {
      serial: randomSerial(),
      issuer: facts?.subject ?? subject,
      subject,
      notBefore: new Date(nowMs - dayMs),
      notAfter: new Date(Math.min(nowMs + validityDays * dayMs, issuerEndMs)),
      publicKey,
      extensions: [...extensions, authorityKeyIdentifier(authorityKeyId)],
    },
    signerOf(issuer?.key ?? key)!,
  );
  return { certificate: new X509Certificate(certificate), key };
}
