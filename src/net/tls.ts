/**
 * TLS as the rest of the data plane sees it: a channel goes in, a channel comes out.
 *
 * The channel that comes out keeps every rule of channel.ts: `halfClose` sends close_notify and then ends the
 * TCP direction, `onEnd` comes for close_notify or for a bare end of TCP (`isTruncated` tells which), `reset`
 * resets the TCP connection, and the bytes of `onData` are a view that the next read overwrites.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import type { ClientAuthMode, TlsVersion } from '../model/http-settings.ts';
import type { Channel } from './channel.ts';

/** Whose certificate we show, and whom we let in. Equal keys mean equal identities: they share contexts and sessions. */
export interface TlsIdentity {
  /** Names everything below, content of the files included. A session of one key never resumes under another. */
  readonly key: string;
  /** PEM: leaf first, then its chain. */
  readonly cert: string | Buffer;
  readonly privateKey: string | Buffer;
  /** PEM bundle that client certificates must chain to, or null. */
  readonly clientCa: string | Buffer | null;
  readonly clientAuth: ClientAuthMode;
  readonly minVersion: TlsVersion;
  /** In our order of preference. A client that offers none of them gets no ALPN, never an alert. */
  readonly alpn: readonly string[];
}

/** What a handshake settled. */
export interface TlsFacts {
  /** The protocol that ALPN chose; null without one. */
  readonly alpn: string | null;
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string;
  readonly cipher: string;
  readonly isResumed: boolean;
  /** RFC 2253 subject of the verified client certificate; null without one. */
  readonly clientSubject: string | null;
}

/** Learns how a handshake ended; exactly one call comes, unless it was cancelled. */
export interface TlsObserver {
  /** The channel is paused and has no sink yet. */
  onSecure(channel: Channel, facts: TlsFacts): void;
  /** The connection underneath is closed. `detail` is OpenSSL's name of the fault, never bytes of the peer. */
  onTlsFailed(reason: Reason, detail: string): void;
  onTlsFault(error: unknown): void;
}

/** A handshake under way. */
export interface TlsAttempt {
  cancel(): void;
}

/** TLS to clients. One per worker. */
export interface TlsTerminator {
  /**
   * Completes a handshake from the bytes already read: `opening` begins with the ClientHello and is a view. Takes
   * the channel over. `deadlineMs` is on the network's clock.
   */
  accept(
    channel: Channel,
    opening: HostBytes,
    identity: TlsIdentity,
    deadlineMs: number,
    observer: TlsObserver,
  ): TlsAttempt;
}

/** How an upstream is spoken to by TLS. */
export interface UpstreamTls {
  /** Sent as SNI, and verified; an IP literal is verified and not sent. */
  readonly serverName: string;
  /** PEM roots in the place of the system's; null: those. */
  readonly ca: string | Buffer | null;
  /** Also refuse what these PEM revocation lists name. */
  readonly crl: string | Buffer | null;
  readonly insecure: boolean;
  readonly alpn: readonly string[];
  /** A client certificate to show, PEM, or null. */
  readonly clientCert: { readonly cert: string | Buffer; readonly key: string | Buffer } | null;
}

/** TLS to upstreams. Sessions are resumed within one `UpstreamTls` (by identity of the object) only. */
export interface TlsConnector {
  connect(channel: Channel, tls: UpstreamTls, deadlineMs: number, observer: TlsObserver): TlsAttempt;
}
