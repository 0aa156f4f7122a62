/**
 * Who a client is: Basic credentials of the proxy, or the subject of a certificate. And whether one that nobody knows
 * may use the proxy at all: it is no open one.
 */
import { createHash, scrypt, timingSafeEqual } from 'node:crypto';
import { assert } from '../core/errors.ts';
import { parseCidr, type IpAddress } from '../core/ip.ts';
import { CidrTable } from '../model/cidr-table.ts';
import type { EgressClientSettings, EgressSettings } from '../model/egress-settings.ts';
import { GenerationCache } from './host-rules.ts';

/** A client that may go on: its name, or null for one of the allowed addresses. Or why it may not. */
export type Admission = { readonly name: string | null } | 'proxy-auth-required' | 'client-denied';

/** Slow hashes under way at once: each takes a thread of the pool for a tenth of a second. */
const hashesMax = 4;
const rememberedMax = 256;

export class Authenticator {
  readonly #byName = new Map<string, EgressClientSettings>();
  readonly #bySubject = new Map<string, string>();
  readonly #secrets: ReadonlyMap<string, string>;
  readonly #allowed: CidrTable<true>;
  /** Digests of credentials that were right, so that a slow hash is worked out once. */
  readonly #remembered = new GenerationCache<true>(rememberedMax);
  #hashing = 0;

  constructor(settings: EgressSettings, secrets: ReadonlyMap<string, string>) {
    for (const client of settings.clients) {
      this.#byName.set(client.name, client);
      if (client.subject !== null) this.#bySubject.set(client.subject, client.name);
    }
    this.#secrets = secrets;
    this.#allowed = CidrTable.from(
      settings.allowedClients.map((text) => [parseCidr(text)!.cidr, true] as const),
    );
  }

  /** Whether anybody can show a password. */
  get hasPasswords(): boolean {
    for (const { password, secret } of this.#byName.values())
      if (password !== null || secret !== null) return true;
    return false;
  }

  /** What the address and the certificate say, without credentials. */
  admit(ip: IpAddress, subject: string | null): Admission {
    const name = subject === null ? undefined : this.#bySubject.get(subject);
    if (name !== undefined) return { name };
    if (this.#allowed.lookup(ip) !== undefined) return { name: null };
    return this.hasPasswords ? 'proxy-auth-required' : 'client-denied';
  }

  /** What a `Proxy-Authorization` says; a promise only where a slow hash has to be worked out. */
  admitBasic(header: string): Admission | Promise<Admission> {
    const credentials = parseBasic(header);
    if (credentials === undefined) return 'proxy-auth-required';
    return this.admitPassword(credentials.username, credentials.password);
  }

  admitPassword(username: string, password: string): Admission | Promise<Admission> {
    const client = this.#byName.get(username);
    const granted: Admission = { name: username };
    if (client === undefined) return 'proxy-auth-required';
    if (client.secret !== null) {
      const secret = this.#secrets.get(client.secret);
      assert(secret !== undefined, 'the secret of a client is loaded');
      if (isEqual(secret, password)) return granted;
    }
    if (client.password === null) return 'proxy-auth-required';
    const key = digest(`${username}\0${client.password}\0${password}`).toString('base64');
    if (this.#remembered.get(key) !== undefined) return granted;
    if (this.#hashing >= hashesMax) return 'proxy-auth-required';
    this.#hashing++;
    return verifyHash(client.password, password).then((isRight) => {
      this.#hashing--;
      if (!isRight) return 'proxy-auth-required';
      this.#remembered.set(key, true);
      return granted;
    });
  }
}

/** `scrypt$N$r$p$salt$hash`, salt and hash in base64url. */
export interface PasswordHash {
  readonly cost: number;
  readonly blockSize: number;
  readonly parallelization: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

export function parsePasswordHash(text: string): PasswordHash | undefined {
  const match = /^scrypt\$(\d{1,8})\$(\d{1,2})\$(\d{1,2})\$([\w-]{8,128})\$([\w-]{22,128})$/.exec(text);
  if (match === null) return undefined;
  const [cost, blockSize, parallelization] = match.slice(1, 4).map(Number) as [number, number, number];
  const isPower = cost >= 2 && (cost & (cost - 1)) === 0;
  // More than 64 MiB for each guess would let guessers do the harm.
  if (!isPower || blockSize < 1 || parallelization < 1 || 128 * cost * blockSize > 64 * 2 ** 20)
    return undefined;
  return {
    cost,
    blockSize,
    parallelization,
    salt: Buffer.from(match[4]!, 'base64url'),
    hash: Buffer.from(match[5]!, 'base64url'),
  };
}

function verifyHash(text: string, password: string): Promise<boolean> {
  const parsed = parsePasswordHash(text);
  if (parsed === undefined) return Promise.resolve(false);
  const { cost, blockSize, parallelization, salt, hash } = parsed;
  const options = { N: cost, r: blockSize, p: parallelization, maxmem: 128 * 2 ** 20 };
  return new Promise((resolve) => {
    scrypt(password, salt, hash.length, options, (error, derived) => {
      resolve(error === null && timingSafeEqual(derived, hash));
    });
  });
}

/** RFC 7617: a name without a colon, and a password, in UTF-8. */
function parseBasic(header: string): { username: string; password: string } | undefined {
  const match = /^basic +([\w+/-]{1,1024}={0,2})$/i.exec(header);
  if (match === null) return undefined;
  const text = Buffer.from(match[1]!, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function isEqual(a: string, b: string): boolean {
  return timingSafeEqual(digest(a), digest(b));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
