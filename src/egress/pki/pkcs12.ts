/**
 * PKCS#12 keystores (RFC 7292): read, whatever tool wrote them, and written as OpenSSL 3 and Java read them.
 *
 * Written with PBES2 (PBKDF2 with HMAC-SHA-256, AES-256-CBC) and an HMAC-SHA-256. Read are also the older
 * SHA-1 with triple DES. RC2 with 40 bits, what OpenSSL 1 and Java 8 wrote, is no longer in the crypto library, and the
 * error says how to convert such a file.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import {
  children,
  der,
  DerError,
  expect,
  integer,
  nothing,
  octetString,
  oid,
  oidText,
  readDer,
  sequence,
  set,
  smallInteger,
  tagged,
  tags,
  type DerNode,
} from './der.ts';

/** Why a keystore was not read. `message` completes "the keystore …". */
export class KeystoreError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KeystoreError';
  }
}

export interface Keystore {
  /** The first private key; null: a truststore. */
  readonly key: KeyObject | null;
  /** In the order of the file. */
  readonly certificates: readonly X509Certificate[];
}

/** A file asks for no more rounds of its key derivation than this: a minute otherwise becomes an hour. */
const iterationsMax = 5_000_000;
const iterationsWritten = 10_000;

const oids = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  x509: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  /** Oracle's: Java takes a certificate without it for no trust anchor. */
  trustedKeyUsage: '2.16.840.1.113894.746875.1.1',
  anyExtendedKeyUsage: '2.5.29.37.0',
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  pbmac1: '1.2.840.113549.1.5.14',
  tripleDes: '1.2.840.113549.1.12.1.3',
  hmacSha256: '1.2.840.113549.2.9',
  aes256: '2.16.840.1.101.3.4.1.42',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;

// --- reading ---

export function readKeystore(bytes: Uint8Array, password: string): Keystore {
  try {
    return read(bytes, password);
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new KeystoreError(`is no PKCS#12 in DER: ${error.message}`, { cause: error });
  }
}

function read(bytes: Uint8Array, password: string): Keystore {
  const [version, authSafe, mac] = children(expect(readDer(bytes), tags.sequence));
  if (smallInteger(version) !== 3) throw new KeystoreError('has a version other than 3');
  const content = dataOf(authSafe);
  if (mac === undefined) throw new KeystoreError('has no MAC, so that anybody could have written it');
  checkMac(children(mac), content, password);
  let key: KeyObject | null = null;
  const certificates: X509Certificate[] = [];
  for (const info of children(readDer(content))) {
    for (const bag of children(readDer(safeOf(info, password)))) {
      const [type, value] = children(bag);
      const inner = children(expect(value, 0xa0))[0];
      const kind = oidText(type);
      if (kind === oids.certBag) certificates.push(readCertBag(inner));
      else if (kind === oids.keyBag) key ??= loadKey(inner!.whole);
      else if (kind === oids.shroudedKeyBag) key ??= loadKey(decryptShrouded(inner, password));
    }
  }
  return { key, certificates };
}

function dataOf(info: DerNode | undefined): Buffer {
  const [type, content] = children(expect(info, tags.sequence));
  if (oidText(type) !== oids.data) throw new KeystoreError('is signed with a public key, which is not read');
  return expect(children(expect(content, 0xa0))[0], tags.octetString).content;
}

/** The bags of one part, decrypted where it is encrypted. */
function safeOf(info: DerNode, password: string): Buffer {
  const [type, content] = children(info);
  if (oidText(type) === oids.data) return dataOf(info);
  if (oidText(type) !== oids.encryptedData) throw new KeystoreError('has a part of an unknown kind');
  const [, encrypted] = children(expect(children(expect(content, 0xa0))[0], tags.sequence));
  const [, algorithm, bytes] = children(expect(encrypted, tags.sequence));
  return decrypt(algorithm, expect(bytes, 0x80).content, password);
}

function decryptShrouded(node: DerNode | undefined, password: string): Buffer {
  const [algorithm, bytes] = children(expect(node, tags.sequence));
  return decrypt(algorithm, expect(bytes, tags.octetString).content, password);
}

function readCertBag(node: DerNode | undefined): X509Certificate {
  const [type, value] = children(expect(node, tags.sequence));
  if (oidText(type) !== oids.x509) throw new KeystoreError('has a certificate that is not X.509');
  const { content } = expect(children(expect(value, 0xa0))[0], tags.octetString);
  try {
    return new X509Certificate(content);
  } catch (error) {
    throw new KeystoreError('has a certificate that does not load', { cause: error });
  }
}

function loadKey(bytes: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' });
  } catch (error) {
    throw new KeystoreError('has a private key that does not load', { cause: error });
  }
}

function checkMac(
  [digestInfo, saltNode, iterationsNode]: readonly DerNode[],
  content: Buffer,
  password: string,
): void {
  const [algorithm, expected] = children(expect(digestInfo, tags.sequence));
  const name = oidText(children(expect(algorithm, tags.sequence))[0]);
  if (name === oids.pbmac1)
    throw new KeystoreError('has a PBMAC1, which is not read; export it with -macalg sha256');
  const digest = digests.get(name);
  if (digest === undefined) throw new KeystoreError('has a MAC of an unknown kind');
  const salt = expect(saltNode, tags.octetString).content;
  const iterations = iterationsNode === undefined ? 1 : iterationsOf(iterationsNode);
  const { content: wanted } = expect(expected, tags.octetString);
  const macKey = deriveKey(digest, password, salt, iterations, purposes.mac, digestBytes(digest));
  const mac = createHmac(digest, macKey).update(content).digest();
  if (mac.length !== wanted.length || !timingSafeEqual(mac, wanted)) {
    throw new KeystoreError('does not open with this password');
  }
}

function decrypt(algorithm: DerNode | undefined, bytes: Buffer, password: string): Buffer {
  const [type, parameters] = children(expect(algorithm, tags.sequence));
  const name = oidText(type);
  try {
    if (name === oids.pbes2) return decryptPbes2(parameters, bytes, password);
    if (name === oids.tripleDes) return decryptTripleDes(parameters, bytes, password);
  } catch (error) {
    if (error instanceof KeystoreError || error instanceof DerError) throw error;
    throw new KeystoreError('does not decrypt with this password', { cause: error });
  }
  if (name === '1.2.840.113549.1.12.1.6' || name === '1.2.840.113549.1.12.1.5') {
    throw new KeystoreError(
      'is encrypted with RC2, which OpenSSL 3 no longer has; convert it: openssl pkcs12 -legacy -in OLD -nodes | ' +
        'openssl pkcs12 -export -out NEW',
    );
  }
  throw new KeystoreError('is encrypted in a way that is not read');
}

function decryptPbes2(parameters: DerNode | undefined, bytes: Buffer, password: string): Buffer {
  const [derivation, encryption] = children(expect(parameters, tags.sequence));
  const [kdf, kdfParameters] = children(expect(derivation, tags.sequence));
  const [cipherType, ivNode] = children(expect(encryption, tags.sequence));
  const cipher = ciphers.get(oidText(cipherType));
  if (oidText(kdf) !== oids.pbkdf2 || cipher === undefined) {
    throw new KeystoreError('is encrypted in a way that is not read');
  }
  const [salt, rounds, ...rest] = children(expect(kdfParameters, tags.sequence));
  const prf = rest.find(({ tag }) => tag === tags.sequence);
  const digest = prf === undefined ? 'sha1' : prfs.get(oidText(children(prf)[0]));
  if (digest === undefined) throw new KeystoreError('derives its key in a way that is not read');
  const saltBytes = expect(salt, tags.octetString).content;
  const key = pbkdf2Sync(password, saltBytes, iterationsOf(rounds), cipher.keyBytes, digest);
  return finish(cipher.name, key, expect(ivNode, tags.octetString).content, bytes);
}

function decryptTripleDes(parameters: DerNode | undefined, bytes: Buffer, password: string): Buffer {
  const [saltNode, rounds] = children(expect(parameters, tags.sequence));
  const salt = expect(saltNode, tags.octetString).content;
  const iterations = iterationsOf(rounds);
  const key = deriveKey('sha1', password, salt, iterations, purposes.key, 24);
  const iv = deriveKey('sha1', password, salt, iterations, purposes.iv, 8);
  return finish('des-ede3-cbc', key, iv, bytes);
}

function finish(cipher: string, key: Buffer, iv: Buffer, bytes: Buffer): Buffer {
  const decipher = createDecipheriv(cipher, key, iv);
  return Buffer.concat([decipher.update(bytes), decipher.final()]);
}

function iterationsOf(node: DerNode | undefined): number {
  const iterations = smallInteger(node);
  if (iterations < 1 || iterations > iterationsMax)
    throw new KeystoreError('asks for too many rounds of derivation');
  return iterations;
}

const digests: ReadonlyMap<string, string> = new Map([
  ['1.3.14.3.2.26', 'sha1'],
  [oids.sha256, 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
]);

const prfs: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.2.7', 'sha1'],
  [oids.hmacSha256, 'sha256'],
  ['1.2.840.113549.2.10', 'sha384'],
  ['1.2.840.113549.2.11', 'sha512'],
]);

const ciphers: ReadonlyMap<string, { name: string; keyBytes: number }> = new Map([
  ['2.16.840.1.101.3.4.1.2', { name: 'aes-128-cbc', keyBytes: 16 }],
  ['2.16.840.1.101.3.4.1.22', { name: 'aes-192-cbc', keyBytes: 24 }],
  [oids.aes256, { name: 'aes-256-cbc', keyBytes: 32 }],
  ['1.2.840.113549.3.7', { name: 'des-ede3-cbc', keyBytes: 24 }],
]);

// --- writing ---

export interface KeystoreContents {
  readonly key: KeyObject | null;
  /** With a key: its certificate first, then the chain. Without: trust anchors. */
  readonly certificates: readonly X509Certificate[];
  /** The name that Java lists an entry under. */
  readonly alias: string;
}

export function writeKeystore({ key, certificates, alias }: KeystoreContents, password: string): Buffer {
  const bags = certificates.map((certificate, index) => {
    const name = index === 0 ? alias : `${alias}-${index}`;
    if (key === null) return certBag(certificate, [nameAttribute(name), trustAttribute()]);
    return certBag(certificate, index === 0 ? [nameAttribute(name), keyIdAttribute()] : []);
  });
  const parts = [encryptedPart(sequence(...bags), password)];
  if (key !== null) parts.push(dataPart(sequence(keyBag(key, alias, password))));
  const content = sequence(...parts);
  const salt = randomBytes(16);
  const macKey = deriveKey('sha256', password, salt, iterationsWritten, purposes.mac, 32);
  const mac = createHmac('sha256', macKey).update(content).digest();
  const digestInfo = sequence(sequence(oid(oids.sha256), nothing()), octetString(mac));
  const macData = sequence(digestInfo, octetString(salt), integer(iterationsWritten));
  return sequence(integer(3), dataPart(content), macData);
}

function dataPart(content: Buffer): Buffer {
  return sequence(oid(oids.data), tagged(0, octetString(content)));
}

function encryptedPart(content: Buffer, password: string): Buffer {
  const { algorithm, bytes } = encrypt(content, password);
  const info = sequence(oid(oids.data), algorithm, der(0x80, bytes));
  return sequence(oid(oids.encryptedData), tagged(0, sequence(integer(0), info)));
}

function certBag(certificate: X509Certificate, attributes: readonly Buffer[]): Buffer {
  const value = sequence(oid(oids.x509), tagged(0, octetString(certificate.raw)));
  const list = attributes.length === 0 ? [] : [set(...attributes)];
  return sequence(oid(oids.certBag), tagged(0, value), ...list);
}

function keyBag(key: KeyObject, alias: string, password: string): Buffer {
  const { algorithm, bytes } = encrypt(key.export({ format: 'der', type: 'pkcs8' }), password);
  const value = sequence(algorithm, octetString(bytes));
  return sequence(oid(oids.shroudedKeyBag), tagged(0, value), set(nameAttribute(alias), keyIdAttribute()));
}

function nameAttribute(name: string): Buffer {
  return sequence(oid(oids.friendlyName), set(der(tags.bmpString, bmp(name))));
}

/** Ties the key to its certificate. */
function keyIdAttribute(): Buffer {
  return sequence(oid(oids.localKeyId), set(octetString(Buffer.of(1))));
}

function trustAttribute(): Buffer {
  return sequence(oid(oids.trustedKeyUsage), set(oid(oids.anyExtendedKeyUsage)));
}

function encrypt(content: Buffer, password: string): { algorithm: Buffer; bytes: Buffer } {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const key = pbkdf2Sync(password, salt, iterationsWritten, 32, 'sha256');
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  const prf = sequence(oid(oids.hmacSha256), nothing());
  const derivation = sequence(oid(oids.pbkdf2), sequence(octetString(salt), integer(iterationsWritten), prf));
  const encryption = sequence(oid(oids.aes256), octetString(iv));
  return {
    algorithm: sequence(oid(oids.pbes2), sequence(derivation, encryption)),
    bytes: Buffer.concat([cipher.update(content), cipher.final()]),
  };
}

// --- the derivation of RFC 7292, appendix B.2 ---

const purposes = { key: 1, iv: 2, mac: 3 } as const;

function deriveKey(
  digest: string,
  password: string,
  salt: Buffer,
  iterations: number,
  purpose: number,
  length: number,
): Buffer {
  const block = digest === 'sha384' || digest === 'sha512' ? 128 : 64;
  const text = Buffer.concat([bmp(password), Buffer.alloc(2)]);
  const diversifier = Buffer.alloc(block, purpose);
  const input = Buffer.concat([fill(salt, block), fill(text, block)]);
  const output: Buffer[] = [];
  for (let have = 0; have < length; have += digestBytes(digest)) {
    let hash = createHash(digest).update(diversifier).update(input).digest();
    for (let round = 1; round < iterations; round++) hash = createHash(digest).update(hash).digest();
    output.push(hash);
    addToBlocks(input, fill(hash, block).subarray(0, block), block);
  }
  return Buffer.concat(output).subarray(0, length);
}

/** Repeated to a whole number of blocks. */
function fill(bytes: Buffer, block: number): Buffer {
  if (bytes.length === 0) return bytes;
  return Buffer.alloc(Math.ceil(bytes.length / block) * block, bytes);
}

/** Each block of `input` becomes itself plus `addend` plus one, in place. */
function addToBlocks(input: Buffer, addend: Buffer, block: number): void {
  for (let start = 0; start < input.length; start += block) {
    let carry = 1;
    for (let at = block - 1; at >= 0; at--) {
      carry += input[start + at]! + addend[at]!;
      input[start + at] = carry & 0xff;
      carry >>= 8;
    }
  }
}

function digestBytes(digest: string): number {
  return { sha1: 20, sha256: 32, sha384: 48, sha512: 64 }[digest]!;
}

/** UTF-16, most significant byte first. */
function bmp(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16();
}
