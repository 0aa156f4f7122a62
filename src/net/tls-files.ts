/**
 * TLS identities from the files that routes name. Nothing is read before its first use, so that ten thousand
 * certificates do not slow the start; the first use reads at once, and later ones never wait: files are looked at
 * again at most once a second, beside the data path. New files that do not load, or do not belong together, leave the old
 * identity in service and are complained of once.
 */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync, type Stats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import type { RouteTlsSettings } from '../model/http-settings.ts';
import type { SecretReference } from '../model/settings.ts';
import type { Logger } from '../telemetry/logger.ts';
import { codeOf } from './tls-handshake.ts';
import type { TlsIdentity } from './tls.ts';

export interface TlsFilesOptions {
  readonly logger: Logger;
  /** Where `env:NAME` is looked up. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Identities that are kept; the least used is forgotten, and read again at its next use. */
  readonly entriesMax?: number;
  /** A clock that never goes back, in milliseconds. */
  readonly clock?: () => number;
}

/** What is loaded now, for people. */
export interface LoadedCertificate {
  readonly cert: string;
  readonly subject: string;
  /** `DNS:app.example.com, IP Address:192.0.2.1`; empty without any. */
  readonly altNames: string;
  readonly validFromMs: number;
  readonly validToMs: number;
  /** What is wrong with the files as they are now, while the ones before go on serving; null: nothing. */
  readonly fault: string | null;
}

const entriesMaxDefault = 4096;
const checkIntervalMs = 1_000;
/** Far above any chain, below what would hurt when a path names the wrong file. */
const fileBytesMax = 1024 * 1024;

export class TlsFiles {
  readonly #logger: Logger;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #entriesMax: number;
  readonly #clock: () => number;
  /** By all of their settings, in the order of use: routes with equal ones share an entry. */
  readonly #entries = new Map<string, Entry>();
  /** The same by the settings' object, which is what the data path has in hand. */
  #byObject = new WeakMap<RouteTlsSettings, Entry>();

  constructor({ logger, environment, entriesMax, clock }: TlsFilesOptions) {
    this.#logger = logger;
    this.#environment = environment;
    this.#entriesMax = entriesMax ?? entriesMaxDefault;
    this.#clock = clock ?? (() => performance.now());
  }

  /** The identity to serve with, or in one sentence why there is none. */
  identity(settings: RouteTlsSettings, alpn: readonly string[]): TlsIdentity | string {
    const entry = this.#entry(settings);
    const nowMs = this.#clock();
    if (entry.material === null) {
      // A file that is missing must not cost a read for each connection.
      if (nowMs - entry.checkedMs >= checkIntervalMs) this.#load(entry, nowMs);
      if (entry.material === null) return entry.fault!;
    } else if (nowMs - entry.checkedMs >= checkIntervalMs && entry.reading === null) {
      entry.checkedMs = nowMs;
      entry.reading = this.#refresh(entry, false);
    }
    return identityOf(entry, entry.material, alpn);
  }

  /** Reads every loaded identity again, changed or not. */
  async reload(): Promise<void> {
    for (const entry of this.#entries.values()) {
      await entry.reading;
      entry.reading = this.#refresh(entry, true);
      await entry.reading;
    }
  }

  /** What has been used so far. */
  list(): LoadedCertificate[] {
    const loaded: LoadedCertificate[] = [];
    for (const { settings, material, fault } of this.#entries.values()) {
      if (material === null) continue;
      const { subject, subjectAltName, validFromDate, validToDate } = material.leaf;
      loaded.push({
        cert: settings.cert,
        subject: subject.replaceAll('\n', ', '),
        altNames: subjectAltName ?? '',
        validFromMs: validFromDate.getTime(),
        validToMs: validToDate.getTime(),
        fault,
      });
    }
    return loaded;
  }

  /** Resolves when no file is being read. */
  async settled(): Promise<void> {
    for (const { reading } of this.#entries.values()) if (reading !== null) await reading;
  }

  #entry(settings: RouteTlsSettings): Entry {
    let entry = this.#byObject.get(settings);
    if (entry !== undefined && !entry.isForgotten) return entry;
    const name = nameOf(settings);
    entry = this.#entries.get(name) ?? new Entry(settings);
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    this.#byObject.set(settings, entry);
    if (this.#entries.size > this.#entriesMax) this.#forgetOldest();
    return entry;
  }

  #forgetOldest(): void {
    const [name, entry] = this.#entries.entries().next().value!;
    this.#entries.delete(name);
    entry.isForgotten = true;
  }

  #load(entry: Entry, nowMs: number): void {
    entry.checkedMs = nowMs;
    const paths = pathsOf(entry.settings);
    try {
      const stamp = paths.map((path) => stampOf(path, statSync(path))).join();
      const texts = new Map(paths.map((path) => [path, readFileSync(path, 'utf8')]));
      this.#take(entry, texts, stamp);
    } catch (error) {
      this.#complain(entry, error, '');
    }
  }

  /** Never rejects. */
  async #refresh(entry: Entry, always: boolean): Promise<void> {
    const paths = pathsOf(entry.settings);
    let stamp = '';
    try {
      const stats = await Promise.all(paths.map((path) => stat(path)));
      stamp = stats.map((found, index) => stampOf(paths[index]!, found)).join();
      if (always || stamp !== entry.stamp) {
        const texts = await Promise.all(
          paths.map(async (path): Promise<[string, string]> => [path, await readFile(path, 'utf8')]),
        );
        this.#take(entry, new Map(texts), stamp);
      }
    } catch (error) {
      this.#complain(entry, error, stamp);
    } finally {
      entry.reading = null;
    }
  }

  /** Throws when they do not load or do not belong together. */
  #take(entry: Entry, texts: ReadonlyMap<string, string>, stamp: string): void {
    const { cert, key, clientCa } = entry.settings;
    const material = new Material(
      texts.get(cert)!,
      isVariable(key) ? this.#variable(key) : texts.get(key)!,
      clientCa === null ? null : texts.get(clientCa)!,
    );
    const isNew = entry.material !== null && entry.material.digest !== material.digest;
    entry.stamp = stamp;
    entry.fault = null;
    // An unchanged identity keeps its object, and with it everything that hangs on that.
    if (entry.material !== null && !isNew) return;
    entry.material = material;
    entry.identities.clear();
    if (isNew) this.#logger.info('certificate reloaded', { tls_cert: cert });
  }

  #variable(reference: SecretReference): string {
    const name = reference.slice('env:'.length);
    const value = this.#environment[name] ?? '';
    if (value === '') throw new Error(`the environment variable ${name} is not set`);
    return value;
  }

  /** Each state of the files is complained of once. */
  #complain(entry: Entry, error: unknown, stamp: string): void {
    const { cert } = entry.settings;
    const message = error instanceof Error ? error.message : codeOf(error);
    const isKnown = entry.fault === message && entry.stamp === stamp;
    entry.fault = message;
    entry.stamp = stamp;
    if (isKnown) return;
    const before =
      entry.material === null ? 'can not be loaded' : 'is unusable; the one before goes on serving';
    this.#logger.warn(`the certificate of a route ${before}`, { tls_cert: cert, reason: message });
  }
}

class Entry {
  readonly settings: RouteTlsSettings;
  material: Material | null = null;
  /** Of the files as they were read last, well or not. */
  stamp = '';
  fault: string | null = null;
  checkedMs = -Infinity;
  reading: Promise<void> | null = null;
  isForgotten = false;
  /** By their protocols. */
  readonly identities = new Map<string, TlsIdentity>();

  constructor(settings: RouteTlsSettings) {
    this.settings = settings;
  }
}

/** What the files hold, found to be whole. */
class Material {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | null;
  readonly leaf: X509Certificate;
  readonly digest: string;

  constructor(cert: string, key: string, clientCa: string | null) {
    this.cert = cert;
    this.key = key;
    this.clientCa = clientCa;
    this.leaf = certificateOf(cert);
    if (!this.leaf.checkPrivateKey(createPrivateKey(key))) {
      throw new Error('the key does not belong to the first certificate');
    }
    if (clientCa !== null) certificateOf(clientCa);
    this.digest = digestOf([cert, key, clientCa ?? '']);
  }
}

/** Throws for a file without a certificate: of such a bundle OpenSSL makes a context that lets nobody in, silently. */
function certificateOf(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

function identityOf(entry: Entry, material: Material, alpn: readonly string[]): TlsIdentity {
  const protocols = alpn.join();
  let identity = entry.identities.get(protocols);
  if (identity === undefined) {
    const { clientAuth, minVersion } = entry.settings;
    const { cert, key, clientCa, digest } = material;
    const name = digestOf([digest, clientAuth, minVersion, ...alpn]);
    identity = { key: name, cert, privateKey: key, clientCa, clientAuth, minVersion, alpn };
    entry.identities.set(protocols, identity);
  }
  return identity;
}

function pathsOf({ cert, key, clientCa }: RouteTlsSettings): string[] {
  return [cert, ...(isVariable(key) ? [] : [key]), ...(clientCa === null ? [] : [clientCa])];
}

function isVariable(reference: SecretReference): boolean {
  return reference.startsWith('env:');
}

/** Changes whenever the file is written or another takes its place. */
function stampOf(path: string, { mtimeMs, ino, size }: Stats): string {
  if (size > fileBytesMax) throw new Error(`${path} is larger than ${fileBytesMax} bytes`);
  return `${mtimeMs}/${ino}/${size}`;
}

function nameOf({ cert, key, clientCa, clientAuth, minVersion }: RouteTlsSettings): string {
  return JSON.stringify([cert, key, clientCa, clientAuth, minVersion]);
}

function digestOf(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
