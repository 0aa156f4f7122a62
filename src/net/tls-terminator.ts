/**
 * TLS to clients. Handshakes are completed from the bytes that routing has read; the identity is chosen by our own
 * reading of the ClientHello, never by SNICallback. Contexts and tickets: tls-contexts.ts.
 */
import type { SecureContext } from 'node:tls';
import { ClientHelloReader } from '../codec/client-hello.ts';
import type { HostBytes } from '../core/bytes.ts';
import { ProtocolError } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import type { Channel, ChannelSink } from './channel.ts';
import { deafSink } from './channel.ts';
import type { Network } from './network.ts';
import { TlsContexts } from './tls-contexts.ts';
import type { TlsEngine } from './tls-engine.ts';
import { codeOf, Handshake, type Refusal } from './tls-handshake.ts';
import type { TlsAttempt, TlsIdentity, TlsObserver, TlsTerminator } from './tls.ts';

export interface TerminatorOptions {
  /** Of which ticket keys are made: 32 random bytes that every worker of the process gets alike. */
  readonly secret: Uint8Array;
  /** Handshakes under way at once; more are refused with `tls-handshake-limit`. */
  readonly handshakesMax: number;
  /** Identities whose contexts are kept. */
  readonly contextsMax?: number;
  /** Wall clock by which ticket keys and client certificates expire. */
  readonly clock?: () => number;
}

const contextsMaxDefault = 1024;

export class OpenSslTerminator implements TlsTerminator {
  readonly network: Network;
  readonly contexts: TlsContexts;
  readonly clock: () => number;
  /** Handshakes under way. */
  underWay = 0;
  readonly #handshakesMax: number;

  constructor(network: Network, { secret, handshakesMax, contextsMax, clock }: TerminatorOptions) {
    this.network = network;
    this.clock = clock ?? Date.now;
    this.contexts = new TlsContexts(secret, { contextsMax: contextsMax ?? contextsMaxDefault }, this.clock);
    this.#handshakesMax = handshakesMax;
  }

  accept(
    channel: Channel,
    opening: HostBytes,
    identity: TlsIdentity,
    deadlineMs: number,
    observer: TlsObserver,
  ): TlsAttempt {
    const attempt = new Accept(this, channel, identity, deadlineMs, observer);
    if (this.underWay > this.#handshakesMax) attempt.failSoon('tls-handshake-limit', 'EAGAIN');
    else attempt.begin(opening);
    return attempt;
  }
}

/** One client's handshake. It is the sink of the channel only while the ClientHello is not complete. */
class Accept extends Handshake implements ChannelSink {
  protected readonly failureReason = 'tls-handshake-failed';
  protected readonly timeoutReason = 'tls-handshake-timeout';
  readonly #terminator: OpenSslTerminator;
  readonly #identity: TlsIdentity;
  #reader: ClientHelloReader | undefined;
  #channel: Channel;
  #subject: string | null = null;

  constructor(
    terminator: OpenSslTerminator,
    channel: Channel,
    identity: TlsIdentity,
    deadlineMs: number,
    observer: TlsObserver,
  ) {
    super(terminator.network, channel, deadlineMs, observer);
    this.#terminator = terminator;
    this.#identity = identity;
    this.#channel = channel;
    channel.pause();
    channel.sink = this;
    terminator.underWay++;
  }

  begin(opening: HostBytes): void {
    this.#reader = new ClientHelloReader();
    this.#readHello(opening);
    if (this.#reader !== undefined) this.#channel.resume();
  }

  // --- the sink's part: more of the ClientHello ---

  onData(_channel: Channel, bytes: HostBytes): void {
    if (this.#reader !== undefined) this.#readHello(bytes);
  }

  onEnd(): void {
    this.fail('tls-handshake-failed', 'ECONNRESET');
  }

  onDrain(): void {}

  onError(_channel: Channel, code: string): void {
    this.fail('tls-handshake-failed', code);
  }

  onFault(_channel: Channel, error: unknown): void {
    this.fault(error);
  }

  #readHello(bytes: HostBytes): void {
    const reader = this.#reader!;
    try {
      const hello = reader.receive(bytes);
      if (hello === undefined) return;
      this.#reader = undefined;
      this.#handshake(reader.buffered ?? bytes, hello.alpn);
    } catch (error) {
      this.#reader = undefined;
      if (error instanceof ProtocolError) this.failSoon('tls-handshake-failed', error.code);
      else setImmediate(() => this.fault(error));
    }
  }

  #handshake(opening: Uint8Array, offered: readonly string[]): void {
    const { clientAuth, alpn } = this.#identity;
    const context = this.#context();
    if (context === undefined) return;
    this.#channel.pause();
    this.#channel.sink = deafSink;
    this.run(
      {
        kind: 'server',
        context,
        // OpenSSL answers a list without overlap by a fatal alert; such a client is served without ALPN.
        alpn: alpn.some((protocol) => offered.includes(protocol)) ? alpn : [],
        requestsCertificate: clientAuth !== 'none',
        demandsCertificate: clientAuth === 'require',
      },
      opening,
    );
  }

  #context(): SecureContext | undefined {
    try {
      return this.#terminator.contexts.of(this.#identity);
    } catch (error) {
      this.failSoon('tls-unavailable', codeOf(error));
      return undefined;
    }
  }

  protected inspect(engine: TlsEngine): Refusal | null {
    const { clientAuth } = this.#identity;
    if (clientAuth === 'none') return null;
    const certificate = engine.peerCertificate();
    let fault =
      certificate === undefined ? 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE' : engine.verifyFault();
    // A resumed session was verified when it began; the certificate may have expired since.
    if (certificate !== undefined && certificate.validToDate.getTime() <= this.#terminator.clock()) {
      fault ??= 'CERT_HAS_EXPIRED';
    }
    if (fault !== null) {
      return clientAuth === 'require' ? { reason: 'tls-client-certificate', detail: fault } : null;
    }
    this.#subject = rfc2253(certificate!.subject);
    return null;
  }

  protected override clientSubject(): string | null {
    return this.#subject;
  }

  protected override reasonOf(code: string): Reason {
    const isMissing = code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE';
    return isMissing ? 'tls-client-certificate' : 'tls-handshake-failed';
  }

  protected override settle(): boolean {
    if (!super.settle()) return false;
    this.#terminator.underWay--;
    return true;
  }
}

/**
 * Node writes a subject one attribute a line, in the order of the certificate, each value escaped as RFC 2253 §2.4
 * asks; the RFC wants the last attribute first, separated by commas, and no space around a plus.
 */
function rfc2253(subject: string): string {
  return subject.replaceAll(' + ', '+').split('\n').toReversed().join(',');
}
