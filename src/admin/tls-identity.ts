/**
 * The certificate, key and client CA of the admin API, read from their files, and again when these change. New files
 * that do not load or do not match leave the old ones in service.
 */

import { X509Certificate, constants, createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { SecureContextOptions } from 'node:tls';
import type { AdminSettings, SecretReference } from '../model/settings.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Far above any chain; below what would hurt when a path names the wrong file. */
const fileBytesMax = 1024 * 1024;

export interface TlsIdentity {
  readonly context: SecureContextOptions;
  readonly certificate: X509Certificate;
}

/** Rejects when a file cannot be read, or they do not fit together. */
export async function loadTlsIdentity(settings: AdminSettings): Promise<TlsIdentity> {
  return identityOf(await readMaterial(settings));
}

/** Calls `changed` with each new identity until it is stopped. */
export class TlsIdentityWatcher {
  readonly #settings: AdminSettings;
  readonly #changed: (identity: TlsIdentity) => void;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  /** What was tried last, loaded or not: each state of the files is tried, and complained of, once. */
  #tried: string;
  #isReading = false;

  constructor(
    settings: AdminSettings,
    present: TlsIdentity,
    intervalMs: number,
    changed: (identity: TlsIdentity) => void,
    logger: Logger,
  ) {
    this.#settings = settings;
    this.#changed = changed;
    this.#logger = logger;
    this.#tried = fingerprint(present.context as Material);
    this.#timer = setInterval(() => void this.#look(), intervalMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      await this.#reload();
    } catch (error) {
      this.#complain(error);
    } finally {
      this.#isReading = false;
    }
  }

  async #reload(): Promise<void> {
    const material = await readMaterial(this.#settings);
    const found = fingerprint(material);
    if (found === this.#tried) return;
    this.#tried = found;
    this.#changed(identityOf(material));
    this.#logger.info('admin certificate reloaded', { tls_cert: this.#settings.tlsCert });
  }

  /** A file that stays unreadable is said once. */
  #complain(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (isFileError(error) && this.#tried === reason) return;
    if (isFileError(error)) this.#tried = reason;
    this.#logger.warn('the new admin certificate is unusable; the old one goes on serving', { reason });
  }
}

interface Material {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

async function readMaterial({ tlsCert, tlsKey, clientCa }: AdminSettings): Promise<Material> {
  if (tlsCert === null || tlsKey === null) throw new Error('admin: tls_cert and tls_key go together');
  const cert = await readPem(tlsCert);
  const key = await readSecret(tlsKey);
  return clientCa === null ? { cert, key } : { cert, key, ca: await readPem(clientCa) };
}

function identityOf(material: Material): TlsIdentity {
  const context: SecureContextOptions = {
    ...material,
    minVersion: 'TLSv1.2',
    // No resumption: a session from before its client CA changed, or its certificate expired, must not live on.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
  createSecureContext(context);
  if (material.ca !== undefined) parseCertificate(material.ca);
  return { context, certificate: parseCertificate(material.cert) };
}

/** A file without a certificate in it makes a context that trusts nobody, silently; this refuses it. */
function parseCertificate(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

async function readSecret(reference: SecretReference): Promise<string> {
  if (!reference.startsWith('env:')) return readPem(reference);
  const name = reference.slice(4);
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`the environment variable ${name} is not set`);
  return value;
}

async function readPem(path: string): Promise<string> {
  await using file = await open(path);
  const { size } = await file.stat();
  if (size > fileBytesMax) throw new Error(`${path} is larger than ${fileBytesMax} bytes`);
  return await file.readFile('utf8');
}

function fingerprint({ cert, key, ca = '' }: Material): string {
  return createHash('sha256').update([cert, key, ca].join('\0')).digest('hex');
}

function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
