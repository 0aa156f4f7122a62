/**
 * One end of TLS on one connection, whichever way it is run: by the handle (tls-handle-channel.ts) or by Node's
 * public sockets (tls-socket-channel.ts). It becomes the channel of the connection when its handshake is done.
 *
 * An engine reports to `listener` from the event loop and never from inside OpenSSL, so that whoever listens may
 * write, close or reset.
 */
import type { X509Certificate } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import type { Channel } from './channel.ts';

/** A channel that came out of a handshake. */
export interface SecureChannel extends Channel {
  /**
   * After `onEnd`: true when TCP ended without close_notify. Whatever ends by the end of the connection may then
   * have been cut short by somebody in between.
   */
  readonly isTruncated: boolean;
}

/** What becomes of a handshake: exactly one of the first two, unless the engine is closed or reset before. */
export interface EngineListener {
  onHandshakeDone(): void;
  /** The connection is closed. `code` is OpenSSL's, Node's or the system's name of the fault. */
  onHandshakeFailed(code: string): void;
  /** A client's: the server gave a session to resume by. May come before `onHandshakeDone`, and often. */
  onSession(session: Buffer): void;
}

export interface TlsEngine extends SecureChannel {
  /** Begins the handshake. A server's engine takes `opening`, what has been read already. */
  start(opening?: Uint8Array): void;

  // --- to be asked once, when the handshake is done ---

  alpn(): string | null;
  version(): string;
  cipher(): string;
  isResumed(): boolean;
  /** Why the other side's certificate did not verify, `CERT_HAS_EXPIRED`; null when it did, or there is none. */
  verifyFault(): string | null;
  peerCertificate(): X509Certificate | undefined;
}

/** What an engine needs to know of its role. */
export type EngineRole = ServerRole | ClientRole;

export interface ServerRole {
  readonly kind: 'server';
  readonly context: SecureContext;
  /** Protocols of which the client is known to offer one, or none: no ALPN then. */
  readonly alpn: readonly string[];
  readonly requestsCertificate: boolean;
  /** A client without a certificate gets an alert. One that does not verify shows in `verifyFault`. */
  readonly demandsCertificate: boolean;
}

export interface ClientRole {
  readonly kind: 'client';
  readonly context: SecureContext;
  readonly alpn: readonly string[];
  /** For SNI; null: none is sent. */
  readonly serverName: string | null;
  readonly session: Buffer | undefined;
}
