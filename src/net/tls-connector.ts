/**
 * TLS to upstreams, over a channel that was dialled. Verification is decided here and by OpenSSL alone; nothing in
 * the environment switches it off.
 *
 * A session is resumed within one UpstreamTls object only, and only after a handshake of it was verified.
 */
import { constants, createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Channel } from './channel.ts';
import type { Network } from './network.ts';
import type { TlsEngine } from './tls-engine.ts';
import { codeOf, Handshake, isFast, type Refusal } from './tls-handshake.ts';
import { isFor, systemRoots } from './tls-trust.ts';
import type { TlsAttempt, TlsConnector, TlsObserver, UpstreamTls } from './tls.ts';

/** A server's certificate and revocation are looked at anew at least this often. */
const sessionAgeMsMax = 3_600_000;
/** Contexts are shared by settings that agree in all that a context holds; one with the system's roots is 1 MiB. */
const contextsMax = 256;

const secureOptions = constants.SSL_OP_NO_COMPRESSION | constants.SSL_OP_NO_RENEGOTIATION;

/** Said in full, so that `--tls-cipher-list` has no say. The last ones are for servers of ten years ago. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:DHE-RSA-AES128-GCM-SHA256',
  'AES128-GCM-SHA256:AES256-GCM-SHA384',
].join(':');

/** Node's own sockets wrap their sessions, so that the two ways can not share any. */
type Way = 'fast' | 'public';

/** What is kept for one UpstreamTls. */
interface Peer {
  readonly context: SecureContext;
  /** The last session of each way. */
  readonly sessions: Map<Way, Session>;
}

interface Session {
  readonly bytes: Buffer;
  /** Of the handshake in which the server showed its certificate. */
  readonly sinceMs: number;
}

export class OpenSslConnector implements TlsConnector {
  readonly network: Network;
  readonly #peers = new WeakMap<UpstreamTls, Peer>();
  /** By a digest of what they were made of, in the order of use. */
  readonly #contexts = new Map<string, SecureContext>();

  constructor(network: Network) {
    this.network = network;
  }

  connect(channel: Channel, tls: UpstreamTls, deadlineMs: number, observer: TlsObserver): TlsAttempt {
    const attempt = new Connect(this.network, channel, tls, deadlineMs, observer);
    channel.pause();
    let peer = this.#peers.get(tls);
    try {
      if (peer === undefined) {
        peer = { context: this.#context(tls), sessions: new Map() };
        this.#peers.set(tls, peer);
      }
    } catch (error) {
      attempt.failSoon('upstream-tls-failed', codeOf(error));
      return attempt;
    }
    attempt.begin(peer);
    return attempt;
  }

  #context(tls: UpstreamTls): SecureContext {
    const digest = digestOf(tls);
    const context = this.#contexts.get(digest) ?? makeContext(tls);
    this.#contexts.delete(digest);
    this.#contexts.set(digest, context);
    if (this.#contexts.size > contextsMax) this.#contexts.delete(this.#contexts.keys().next().value!);
    return context;
  }
}

class Connect extends Handshake {
  protected readonly failureReason = 'upstream-tls-failed';
  protected readonly timeoutReason = 'upstream-tls-failed';
  readonly #network: Network;
  readonly #tls: UpstreamTls;
  readonly #way: Way;
  #peer: Peer | undefined;
  /** What this handshake offered to resume. */
  #offered: Session | undefined;
  /** When the session's certificate was looked at; undefined before. */
  #sinceMs: number | undefined;
  /** TLS 1.2 gives its session before the handshake is done. */
  #early: Buffer | undefined;

  constructor(
    network: Network,
    channel: Channel,
    tls: UpstreamTls,
    deadlineMs: number,
    observer: TlsObserver,
  ) {
    super(network, channel, deadlineMs, observer);
    this.#network = network;
    this.#tls = tls;
    this.#way = isFast(channel) ? 'fast' : 'public';
  }

  begin(peer: Peer): void {
    const { serverName, alpn } = this.#tls;
    const session = peer.sessions.get(this.#way);
    const isFresh = session !== undefined && this.#network.nowMs - session.sinceMs < sessionAgeMsMax;
    this.#peer = peer;
    this.#offered = isFresh ? session : undefined;
    this.run({
      kind: 'client',
      context: peer.context,
      alpn,
      // RFC 6066 §3: no literals.
      serverName: serverName === '' || isIP(serverName) !== 0 ? null : serverName,
      session: this.#offered?.bytes,
    });
  }

  override onSession(session: Buffer): void {
    if (this.#sinceMs === undefined) this.#early = session;
    else this.#peer!.sessions.set(this.#way, { bytes: session, sinceMs: this.#sinceMs });
  }

  override onHandshakeFailed(code: string): void {
    // Should the server have choked on the session, the next attempt goes without.
    if (this.#offered !== undefined) this.#peer!.sessions.delete(this.#way);
    super.onHandshakeFailed(code);
  }

  protected inspect(engine: TlsEngine): Refusal | null {
    const isResumed = engine.isResumed();
    const fault = this.#tls.insecure ? null : this.#faultOf(engine, isResumed);
    if (fault !== null) return { reason: 'upstream-tls-failed', detail: fault };
    this.#sinceMs = isResumed ? this.#offered!.sinceMs : this.#network.nowMs;
    if (this.#early !== undefined) this.onSession(this.#early);
    return null;
  }

  #faultOf(engine: TlsEngine, isResumed: boolean): string | null {
    const fault = engine.verifyFault();
    // A resumed session was kept because its certificate had been looked at, for this very name.
    if (fault !== null || isResumed) return fault;
    const certificate = engine.peerCertificate();
    const isRight = certificate !== undefined && isFor(certificate, this.#tls.serverName);
    return isRight ? null : 'ERR_TLS_CERT_ALTNAME_INVALID';
  }
}

function makeContext({ ca, crl, clientCert, insecure }: UpstreamTls): SecureContext {
  return createSecureContext({
    ca: insecure ? [] : ((ca ?? systemRoots()) as string | Buffer | string[]),
    ...(crl !== null && { crl }),
    ...(clientCert !== null && { cert: clientCert.cert, key: clientCert.key }),
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    ciphers,
    ecdhCurve: 'auto',
    secureOptions,
  });
}

/** Names all that `makeContext` puts into a context. */
function digestOf({ ca, crl, clientCert, insecure }: UpstreamTls): string {
  const hash = createHash('sha256');
  for (const part of [
    insecure ? 'insecure' : null,
    ca,
    crl,
    clientCert?.cert ?? null,
    clientCert?.key ?? null,
  ]) {
    // The length first, so that no two lists run together.
    hash.update(`${part === null ? 'none' : part.length} `);
    if (part !== null) hash.update(part);
  }
  return hash.digest('hex');
}
