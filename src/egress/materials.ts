/**
 * What egress needs beside its settings: the CA, roots, revocation lists, secrets. Read once, by the supervisor, as
 * plain data that may cross threads, so that a bad file is refused whole before any worker learns of it.
 */
import { readFileSync, statSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { EgressSettings, OutgoingTlsSettings } from '../model/egress-settings.ts';
import { systemRoots } from '../net/tls-trust.ts';
import { loadAuthority, type AuthorityMaterial } from './certificate-authority.ts';
import type { OwnAddresses } from './network-guard.ts';
import { certificatesOf, pemOf } from './pki/certificate.ts';
import { KeystoreError, readKeystore } from './pki/pkcs12.ts';
import { readSecret, type SecretEnvironment } from './secret.ts';

export interface EgressMaterials {
  readonly authority: AuthorityMaterial | null;
  /** PEM in the place of the system's roots; null: those. */
  readonly roots: string | null;
  readonly crl: string | null;
  /** By reference. */
  readonly secrets: ReadonlyMap<string, string>;
  readonly own: OwnAddresses;
}

/** Why the files that the settings name do not serve. `message` is for the operator. */
export class MaterialsError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MaterialsError';
  }
}

const fileBytesMax = 16 * 2 ** 20;

/** `ownPorts` are all that this process listens on. Throws MaterialsError, AuthorityError or SecretError. */
export function loadMaterials(
  settings: EgressSettings,
  environment: SecretEnvironment,
  ownPorts: readonly number[],
): EgressMaterials {
  return {
    authority: settings.authority === null ? null : loadAuthority(settings.authority, environment),
    roots: loadRoots(settings.outgoing, environment),
    crl: settings.outgoing.crl === null ? null : readText(settings.outgoing.crl),
    secrets: loadSecrets(settings, environment),
    own: { addresses: interfaceAddresses(), ports: ownPorts },
  };
}

function loadRoots(outgoing: OutgoingTlsSettings, environment: SecretEnvironment): string | null {
  const { caBundle, ca, truststore } = outgoing;
  if (caBundle === null && ca === null && truststore === null) return null;
  const parts = caBundle === null ? [...systemRoots()] : [certificatesIn(caBundle)];
  if (ca !== null) parts.push(certificatesIn(ca));
  if (truststore !== null) parts.push(anchorsIn(truststore, outgoing, environment));
  return parts.join('\n');
}

function certificatesIn(path: string): string {
  const text = readText(path);
  let count = 0;
  try {
    count = certificatesOf(text).length;
  } catch (error) {
    throw new MaterialsError(`${path} holds a certificate that does not load`, { cause: error });
  }
  if (count === 0) throw new MaterialsError(`${path} holds no certificate in PEM`);
  return text;
}

function anchorsIn(
  path: string,
  { truststorePassword }: OutgoingTlsSettings,
  environment: SecretEnvironment,
): string {
  const password = truststorePassword === null ? '' : readSecret(truststorePassword, environment);
  try {
    const { certificates } = readKeystore(readBytes(path), password);
    if (certificates.length === 0) throw new MaterialsError(`the truststore ${path} holds no certificate`);
    return certificates.map(({ raw }) => pemOf(raw)).join('');
  } catch (error) {
    if (!(error instanceof KeystoreError)) throw error;
    throw new MaterialsError(`the truststore ${path} ${error.message}`, { cause: error });
  }
}

function loadSecrets(settings: EgressSettings, environment: SecretEnvironment): Map<string, string> {
  const secrets = new Map<string, string>();
  const references = [
    ...settings.credentials.map(({ secret }) => secret),
    ...settings.clients.map(({ secret }) => secret),
    ...settings.parents.map(({ password }) => password),
  ];
  for (const reference of references) {
    if (reference === null) continue;
    const value = readSecret(reference, environment);
    if (/[\0\r\n]/.test(value))
      throw new MaterialsError(`${reference} holds more than one line, which no header can`);
    secrets.set(reference, value);
  }
  return secrets;
}

/** Of this machine, as its interfaces write them. */
export function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
}

function readText(path: string): string {
  return readBytes(path).toString('latin1');
}

function readBytes(path: string): Buffer {
  try {
    if (statSync(path).size <= fileBytesMax) return readFileSync(path);
  } catch (error) {
    throw new MaterialsError(`${path} can not be read`, { cause: error });
  }
  throw new MaterialsError(`${path} is larger than ${fileBytesMax} bytes`);
}
