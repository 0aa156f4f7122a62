/**
 * The contexts of OpenSSL that serve clients: one for each identity, made at its first use, the least used dropped.
 *
 * Tickets: keys come from a secret that all workers share, by HKDF over the identity and an epoch, so that any
 * worker opens what any other sealed, and none opens one of another identity or epoch. OpenSSL holds one set of
 * keys in a context; a new epoch is a new context, and a client with a ticket of the old one goes through a full
 * handshake once. Epochs begin at another time for each identity, so that not all clients come on one second.
 */
import { constants, createHash, hkdfSync } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { TlsIdentity } from './tls.ts';

/** How long ticket keys live. Half a day bounds what a stolen key reads of sessions resumed without a new exchange. */
const epochMs = 12 * 3_600_000;
const ticketKeyBytes = 48;
/** How long a session may be resumed. */
const sessionTimeoutSeconds = 2 * 3600;

/**
 * Ours first, AES-128-GCM before AES-256: half a handshake's hashing, and a tenth less per record. A client that
 * puts ChaCha20 first has no AES in hardware and gets it. Forward secrecy and AEAD only.
 */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/**
 * One group of equals to OpenSSL, so that it takes the first for which the client has sent a share and never asks
 * for another (a round trip). Post-quantum first, since what is recorded today should stay secret: it makes a full
 * handshake a fifth dearer. X25519 and P-256 cost the same (bench/micro/tls.ts).
 */
const groups = 'X25519MLKEM768:X25519:P-256:P-384';

const secureOptions =
  constants.SSL_OP_NO_COMPRESSION |
  constants.SSL_OP_PRIORITIZE_CHACHA |
  constants.SSL_OP_NO_RENEGOTIATION |
  constants.SSL_OP_CIPHER_SERVER_PREFERENCE;

export interface ContextLimits {
  /** Identities whose contexts are kept, per worker. One is some 60 KiB. */
  readonly contextsMax: number;
}

interface Entry {
  readonly context: SecureContext;
  readonly epoch: number;
  readonly digest: Buffer;
}

export class TlsContexts {
  readonly #secret: Uint8Array;
  readonly #contextsMax: number;
  /** Wall clock: the same for all workers, and after a restart. */
  readonly #clock: () => number;
  /** In the order of use. */
  readonly #entries = new Map<string, Entry>();

  constructor(secret: Uint8Array, { contextsMax }: ContextLimits, clock: () => number = Date.now) {
    this.#secret = secret;
    this.#contextsMax = contextsMax;
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Throws what OpenSSL says of a certificate or key that does not load. */
  of(identity: TlsIdentity): SecureContext {
    const { key } = identity;
    const found = this.#entries.get(key);
    const digest = found?.digest ?? createHash('sha256').update(key).digest();
    const epoch = epochOf(digest, this.#clock());
    const isCurrent = found !== undefined && found.epoch === epoch;
    const entry = isCurrent ? found : { context: this.#make(identity, digest, epoch), epoch, digest };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > this.#contextsMax) this.#entries.delete(this.#entries.keys().next().value!);
    return entry.context;
  }

  #make(identity: TlsIdentity, digest: Buffer, epoch: number): SecureContext {
    const { cert, privateKey, clientCa, minVersion } = identity;
    const info = Buffer.concat([Buffer.from(`portcullis tls ticket ${epoch} `), digest]);
    return createSecureContext({
      cert,
      key: privateKey,
      // Without a client CA an empty list: undefined would load all roots of the web into the context.
      ca: clientCa ?? [],
      minVersion: minVersion === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      ciphers,
      ecdhCurve: groups,
      honorCipherOrder: true,
      secureOptions,
      // OpenSSL's bound is 32 bytes.
      sessionIdContext: digest.toString('hex').slice(0, 32),
      sessionTimeout: sessionTimeoutSeconds,
      ticketKeys: Buffer.from(hkdfSync('sha256', this.#secret, '', info, ticketKeyBytes)),
    });
  }
}

/** The length-prefixed list of RFC 7301 §3.1. */
export function alpnWire(protocols: readonly string[]): Buffer {
  const key = protocols.join();
  let wire = wires.get(key);
  if (wire === undefined) {
    wire = Buffer.concat(
      protocols.map((name) => Buffer.from(`${String.fromCharCode(name.length)}${name}`, 'latin1')),
    );
    // Lists come from settings, of which there are few; a caller that invents them costs time, not memory.
    if (wires.size < wiresMax) wires.set(key, wire);
  }
  return wire;
}

const wires = new Map<string, Buffer>();
const wiresMax = 64;

function epochOf(digest: Buffer, nowMs: number): number {
  return Math.floor((nowMs + (digest.readUInt32BE(0) % epochMs)) / epochMs);
}
