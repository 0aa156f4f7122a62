/** X.509 certificates (RFC 5280): written from a DER template and signed with native crypto; read for what a signer needs. */
import { createHash, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { parseIp, writeIp } from '../../core/ip.ts';
import {
  bigInteger,
  bitString,
  boolean,
  children,
  der,
  DerError,
  expect,
  implicit,
  integer,
  nothing,
  octetString,
  oid,
  oidText,
  readDer,
  sequence,
  set,
  tagged,
  tags,
  time,
  utf8String,
  type DerNode,
} from './der.ts';

export interface CertificateTemplate {
  /** Positive, at most 20 bytes. */
  readonly serial: Uint8Array;
  /** A Name in DER. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** A SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

/** A key and how it signs. */
export interface Signer {
  readonly key: KeyObject;
  /** An AlgorithmIdentifier in DER. */
  readonly algorithm: Buffer;
  readonly digest: string | null;
}

/** Answers the certificate in DER. */
export function signCertificate(template: CertificateTemplate, { key, algorithm, digest }: Signer): Buffer {
  const body = sequence(
    tagged(0, integer(2)),
    bigInteger(template.serial),
    algorithm,
    template.issuer,
    sequence(time(template.notBefore), time(template.notAfter)),
    template.subject,
    template.publicKey,
    tagged(3, sequence(...template.extensions)),
  );
  return sequence(body, algorithm, bitString(sign(digest, body, key)));
}

/** How a key signs; undefined for a kind that is not used for certificates here. */
export function signerOf(key: KeyObject): Signer | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ed25519') return { key, algorithm: sequence(oid('1.3.101.112')), digest: null };
  if (type === 'rsa') {
    return { key, algorithm: sequence(oid('1.2.840.113549.1.1.11'), nothing()), digest: 'sha256' };
  }
  const curve = type === 'ec' ? ecdsa.get(details?.namedCurve ?? '') : undefined;
  return curve && { key, algorithm: sequence(oid(curve.oid)), digest: curve.digest };
}

const ecdsa: ReadonlyMap<string, { oid: string; digest: string }> = new Map([
  ['prime256v1', { oid: '1.2.840.10045.4.3.2', digest: 'sha256' }],
  ['secp384r1', { oid: '1.2.840.10045.4.3.3', digest: 'sha384' }],
  ['secp521r1', { oid: '1.2.840.10045.4.3.4', digest: 'sha512' }],
]);

// --- names ---

export interface NameParts {
  readonly commonName: string | null;
  readonly organization: string | null;
  /** Two letters. */
  readonly country: string | null;
}

export function distinguishedName({ commonName, organization, country }: NameParts): Buffer {
  const parts: Buffer[] = [];
  if (country !== null)
    parts.push(attribute('2.5.4.6', der(tags.printableString, Buffer.from(country, 'latin1'))));
  if (organization !== null) parts.push(attribute('2.5.4.10', utf8String(organization)));
  if (commonName !== null) parts.push(attribute('2.5.4.3', utf8String(commonName)));
  return sequence(...parts);
}

function attribute(type: string, value: Buffer): Buffer {
  return set(sequence(oid(type), value));
}

// --- extensions ---

export const keyUsages = {
  digitalSignature: 0x80,
  keyEncipherment: 0x20,
  keyCertSign: 0x04,
  crlSign: 0x02,
} as const;

export const extendedKeyUsages = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

export function basicConstraints(isAuthority: boolean, pathLength: number | null): Buffer {
  if (!isAuthority) return extension('2.5.29.19', true, sequence());
  const length = pathLength === null ? [] : [integer(pathLength)];
  return extension('2.5.29.19', true, sequence(boolean(true), ...length));
}

/** The bits of the first octet of KeyUsage. */
export function keyUsage(bits: number): Buffer {
  const unused = 31 - Math.clz32(bits & -bits);
  return extension('2.5.29.15', true, der(tags.bitString, Buffer.of(unused, bits)));
}

export function extendedKeyUsage(...usages: readonly string[]): Buffer {
  return extension('2.5.29.37', false, sequence(...usages.map(oid)));
}

export function subjectKeyIdentifier(id: Uint8Array): Buffer {
  return extension('2.5.29.14', false, octetString(id));
}

export function authorityKeyIdentifier(id: Uint8Array): Buffer {
  return extension('2.5.29.35', false, sequence(implicit(0, id)));
}

/** Critical where the subject is empty (RFC 5280 §4.2.1.6). An address is written as one, a name as dNSName. */
export function subjectAlternativeName(hosts: readonly string[], isCritical: boolean): Buffer {
  return extension('2.5.29.17', isCritical, sequence(...hosts.map(generalName)));
}

export interface NameConstraints {
  /** `example.com` is the name and all below; networks are canonical CIDRs. */
  readonly permitted: readonly string[];
  readonly excluded: readonly string[];
}

export function nameConstraints({ permitted, excluded }: NameConstraints): Buffer {
  const parts: Buffer[] = [];
  if (permitted.length > 0) parts.push(tagged(0, ...permitted.map(subtree)));
  if (excluded.length > 0) parts.push(tagged(1, ...excluded.map(subtree)));
  return extension('2.5.29.30', true, sequence(...parts));
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(isCritical ? [boolean(true)] : []), octetString(value));
}

function generalName(host: string): Buffer {
  const ip = parseIp(host);
  if (ip === undefined) return implicit(2, Buffer.from(host, 'latin1'));
  return implicit(7, addressBytes(host));
}

function subtree(text: string): Buffer {
  const [address, length] = text.split('/');
  if (length === undefined) return sequence(implicit(2, Buffer.from(text, 'latin1')));
  const bytes = addressBytes(address!);
  const mask = Buffer.alloc(bytes.length);
  for (let bit = 0; bit < Number(length); bit++) mask[bit >> 3]! |= 0x80 >> (bit & 7);
  return sequence(implicit(7, Buffer.concat([bytes, mask])));
}

function addressBytes(text: string): Buffer {
  const ip = parseIp(text);
  if (ip === undefined) throw new DerError('not an address');
  const bytes = Buffer.alloc(ip.family === 4 ? 4 : 16);
  writeIp(ip, bytes, 0);
  return bytes;
}

// --- reading ---

/** What signing and sending a certificate asks of its issuer. */
export interface CertificateFacts {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Buffer;
  /** Null without the extension. */
  readonly subjectKeyId: Buffer | null;
  /** Undefined: no KeyUsage, which allows everything. */
  readonly keyUsage: number | undefined;
}

export function readCertificate(bytes: Uint8Array): CertificateFacts {
  const [body] = children(readDer(bytes));
  const parts = children(expect(body, tags.sequence));
  // The version is absent from version 1, which no authority of today has.
  const start = parts[0]?.tag === 0xa0 ? 1 : 0;
  const extensions = readExtensions(parts.find(({ tag }) => tag === 0xa3));
  const id = extensions.get('2.5.29.14');
  const usage = extensions.get('2.5.29.15');
  return {
    issuer: expect(parts[start + 2], tags.sequence).whole,
    subject: expect(parts[start + 4], tags.sequence).whole,
    publicKey: expect(parts[start + 5], tags.sequence).whole,
    subjectKeyId: id === undefined ? null : expect(readDer(id), tags.octetString).content,
    keyUsage: usage === undefined ? undefined : (expect(readDer(usage), tags.bitString).content[1] ?? 0),
  };
}

/** SHA-1 of the public key's bits: how most software derives it (RFC 5280 §4.2.1.2, method 1). */
export function keyIdOf(publicKey: Uint8Array): Buffer {
  const bits = expect(children(readDer(publicKey))[1], tags.bitString).content.subarray(1);
  return createHash('sha1').update(bits).digest();
}

export function pemOf(certificate: Uint8Array, label = 'CERTIFICATE'): string {
  const lines =
    Buffer.from(certificate)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Every certificate of a PEM text. Throws what OpenSSL says of one that does not load. */
export function certificatesOf(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

function readExtensions(node: DerNode | undefined): Map<string, Buffer> {
  const values = new Map<string, Buffer>();
  if (node === undefined) return values;
  for (const each of children(expect(children(node)[0], tags.sequence))) {
    const parts = children(each);
    values.set(oidText(parts[0]), expect(parts.at(-1), tags.octetString).content);
  }
  return values;
}
