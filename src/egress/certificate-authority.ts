/**
 * The certificate authority of MITM: loads the CA, mints a leaf for each host.
 *
 * One P-256 leaf key serves all hosts of a process and a CA (15 µs; an RSA key for each host would be 100 ms). A leaf
 * is written from a template and signed with native crypto, so a first request waits well under a millisecond; minting
 * is synchronous, so requests for one host that come together share it. What strict verifiers ask for is kept: the
 * authority's key id, no key id of its own, a life under 200 days, a name or address in subjectAltName.
 */
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { assert } from '../core/errors.ts';
import { parseIp } from '../core/ip.ts';
import type { AuthoritySettings } from '../model/egress-settings.ts';
import type { TlsIdentity } from '../net/tls.ts';
import { GenerationCache } from './host-rules.ts';
import {
  authorityKeyIdentifier,
  basicConstraints,
  certificatesOf,
  distinguishedName,
  extendedKeyUsage,
  extendedKeyUsages,
  keyIdOf,
  keyUsage,
  keyUsages,
  pemOf,
  readCertificate,
  signCertificate,
  signerOf,
  subjectAlternativeName,
  type Signer,
} from './pki/certificate.ts';
import { KeystoreError, readKeystore } from './pki/pkcs12.ts';
import { readSecret, SecretError, type SecretEnvironment } from './secret.ts';

/** Everything of a CA that workers need: plain text, so that it may cross threads. */
export interface AuthorityMaterial {
  /** PEM: the CA whose key signs, then what leads from it to its root. */
  readonly chain: readonly string[];
  /** PEM, PKCS#8. */
  readonly key: string;
}

/** Why a CA does not load. `message` is a whole clause for the operator. */
export class AuthorityError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AuthorityError';
  }
}

const dayMs = 86_400_000;
/** Backdated for clients whose clocks are behind. */
const backdatingMs = 2 * dayMs;
/** In all under 200 days, which is what clients will bear from 2026 on. */
const validityMs = 90 * dayMs;
/** A leaf that is older is minted again. */
const renewalMs = 30 * dayMs;
/** At most twice as many leaves are kept. */
const hostsMaxDefault = 4096;
/** RFC 5280's ub-common-name. */
const commonNameCharactersMax = 63;

/** Reads and checks; the key's file may be read by nobody else. */
export function loadAuthority(
  settings: AuthoritySettings,
  environment: SecretEnvironment,
): AuthorityMaterial {
  try {
    const material =
      settings.kind === 'pem' ? loadPem(settings, environment) : loadKeystore(settings, environment);
    checkMaterial(material);
    return material;
  } catch (error) {
    if (error instanceof SecretError) throw new AuthorityError(error.message, { cause: error });
    throw error;
  }
}

export interface AuthorityOptions {
  readonly clock?: () => number;
  /** At most twice as many leaves are kept. */
  readonly hostsMax?: number;
}

export class CertificateAuthority {
  /** Names the CA and this process's leaf key. */
  readonly generation: string;
  readonly #signer: Signer;
  readonly #issuer: Buffer;
  readonly #issuerKeyId: Buffer;
  readonly #notBeforeMs: number;
  readonly #notAfterMs: number;
  /** Sent behind the leaf: everything but the root, which clients have or do not trust. */
  readonly #sentChain: string;
  readonly #leafKey: string;
  readonly #leafPublicKey: Buffer;
  readonly #clock: () => number;
  readonly #leaves: GenerationCache<Leaf>;

  constructor(
    material: AuthorityMaterial,
    { clock = Date.now, hostsMax = hostsMaxDefault }: AuthorityOptions = {},
  ) {
    const certificates = material.chain.map((pem) => new X509Certificate(pem));
    const [issuer] = certificates;
    const signer = signerOf(createPrivateKey(material.key));
    assert(issuer !== undefined && signer !== undefined, 'the material of an authority is checked');
    const facts = readCertificate(issuer.raw);
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#signer = signer;
    this.#issuer = facts.subject;
    this.#issuerKeyId = facts.subjectKeyId ?? keyIdOf(facts.publicKey);
    this.#notBeforeMs = Date.parse(issuer.validFrom);
    this.#notAfterMs = Date.parse(issuer.validTo);
    this.#sentChain = certificates
      .filter((each) => !isSelfIssued(each))
      .map((each) => pemOf(each.raw))
      .join('');
    this.#leafKey = privateKey.export({ format: 'pem', type: 'pkcs8' });
    this.#leafPublicKey = publicKey.export({ format: 'der', type: 'spki' });
    this.#clock = clock;
    this.#leaves = new GenerationCache(hostsMax);
    this.generation = createHash('sha256')
      .update(issuer.raw)
      .update(this.#leafPublicKey)
      .digest('base64url')
      .slice(0, 16);
  }

  /** Leaves that are kept now. */
  get leafCount(): number {
    return this.#leaves.size;
  }

  /** `host` is canonical: a name or an address. */
  identityFor(host: string): TlsIdentity {
    const nowMs = this.#clock();
    const known = this.#leaves.get(host);
    if (known !== undefined && nowMs < known.renewMs) return known.identity;
    const leaf = { identity: this.#mint(host, nowMs), renewMs: nowMs + renewalMs };
    this.#leaves.set(host, leaf);
    return leaf.identity;
  }

  #mint(host: string, nowMs: number): TlsIdentity {
    const serial = randomSerial();
    // Some verifiers hold a common name that looks like one against the name constraints of DNS: addresses have none.
    const hasName = host.length <= commonNameCharactersMax && parseIp(host) === undefined;
    const commonName = hasName ? host : null;
    const certificate = signCertificate(
      {
        serial,
        issuer: this.#issuer,
        subject: distinguishedName({ commonName, organization: null, country: null }),
        notBefore: new Date(Math.max(this.#notBeforeMs, nowMs - backdatingMs)),
        notAfter: new Date(Math.min(this.#notAfterMs, nowMs + validityMs)),
        publicKey: this.#leafPublicKey,
        extensions: [
          basicConstraints(false, null),
          keyUsage(keyUsages.digitalSignature),
          extendedKeyUsage(extendedKeyUsages.serverAuth),
          subjectAlternativeName([host], !hasName),
          authorityKeyIdentifier(this.#issuerKeyId),
        ],
      },
      this.#signer,
    );
    return {
      key: `mitm ${this.generation} ${serial.toString('hex')}`,
      cert: pemOf(certificate) + this.#sentChain,
      privateKey: this.#leafKey,
      clientCa: null,
      clientAuth: 'none',
      minVersion: '1.2',
      alpn: ['h2', 'http/1.1'],
    };
  }
}

/** 127 random bits: positive, and never zero. */
export function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial;
}

interface Leaf {
  readonly identity: TlsIdentity;
  readonly renewMs: number;
}

const fileBytesMax = 2 ** 20;

function loadPem(
  { cert, key }: Extract<AuthoritySettings, { kind: 'pem' }>,
  environment: SecretEnvironment,
): AuthorityMaterial {
  const text = readFile(cert).toString('latin1');
  const certificates = loadCertificates(text, cert);
  if (certificates.length === 0) throw new AuthorityError(`${cert} holds no certificate in PEM`);
  const secret = readSecret(key, environment, { isKey: true });
  return { chain: certificates.map(({ raw }) => pemOf(raw)), key: normaliseKey(secret, key) };
}

function loadCertificates(text: string, path: string): X509Certificate[] {
  try {
    return certificatesOf(text);
  } catch (error) {
    throw new AuthorityError(`${path} holds a certificate that does not load`, { cause: error });
  }
}

function loadKeystore(
  { path, password }: Extract<AuthoritySettings, { kind: 'keystore' }>,
  environment: SecretEnvironment,
): AuthorityMaterial {
  refuseReadable(path);
  const secret = password === null ? '' : readSecret(password, environment);
  try {
    const { key, certificates } = readKeystore(readFile(path), secret);
    if (key === null) throw new AuthorityError(`the keystore ${path} holds no private key`);
    const issuer = certificates.find((each) => each.checkPrivateKey(key));
    if (issuer === undefined)
      throw new AuthorityError(`the keystore ${path} holds no certificate of its key`);
    const pem = key.export({ format: 'pem', type: 'pkcs8' });
    return { chain: orderChain(issuer, certificates).map(({ raw }) => pemOf(raw)), key: pem };
  } catch (error) {
    if (!(error instanceof KeystoreError)) throw error;
    throw new AuthorityError(`the keystore ${path} ${error.message}`, { cause: error });
  }
}

/** From the one whose key signs upwards; keystores keep theirs in any order. */
function orderChain(issuer: X509Certificate, all: readonly X509Certificate[]): X509Certificate[] {
  const chain = [issuer];
  for (let last = issuer; !isSelfIssued(last) && chain.length <= all.length;) {
    const next = all.find((each) => each !== last && last.checkIssued(each));
    if (next === undefined) break;
    chain.push(next);
    last = next;
  }
  return chain;
}

function normaliseKey(text: string, reference: string): string {
  try {
    return createPrivateKey(text).export({ format: 'pem', type: 'pkcs8' });
  } catch (error) {
    throw new AuthorityError(`${reference} is no private key in PEM without a passphrase`, { cause: error });
  }
}

function checkMaterial({ chain, key }: AuthorityMaterial): void {
  const certificate = new X509Certificate(chain[0]!);
  const privateKey = createPrivateKey(key);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new AuthorityError('the key of the CA is not that of its first certificate');
  }
  if (!certificate.ca)
    throw new AuthorityError('the certificate is not that of a CA: it may not sign others');
  const { keyUsage: usage } = readCertificate(certificate.raw);
  if (usage !== undefined && (usage & keyUsages.keyCertSign) === 0) {
    throw new AuthorityError('the certificate of the CA may not sign others: its keyUsage lacks keyCertSign');
  }
  if (signerOf(privateKey) === undefined) {
    throw new AuthorityError('the key of the CA is neither RSA, P-256, P-384, P-521 nor Ed25519');
  }
  if (Date.parse(certificate.validTo) <= Date.now()) {
    throw new AuthorityError(`the certificate of the CA expired on ${certificate.validTo}`);
  }
}

function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && certificate.checkIssued(certificate);
}

function readFile(path: string): Buffer {
  try {
    if (statSync(path).size > fileBytesMax)
      throw new AuthorityError(`${path} is larger than ${fileBytesMax} bytes`);
    return readFileSync(path);
  } catch (error) {
    if (error instanceof AuthorityError) throw error;
    throw new AuthorityError(`${path} can not be read`, { cause: error });
  }
}

function refuseReadable(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o007) {
    throw new AuthorityError(`${path} may be read by every user of this machine; chmod 600 it`);
  }
}
