/**
 * TLS by Node's public TLSSocket, over any channel: the way for tunnels and for TLS within TLS, and for every
 * connection where the fast one (tls-handle-channel.ts) can not serve.
 */
import type { X509Certificate } from 'node:crypto';
import { connect, TLSSocket } from 'node:tls';
import type { HostBytes } from '../core/bytes.ts';
import { deafSink, type Channel, type ChannelSink, type Endpoint } from './channel.ts';
import { ChannelDuplex } from './tls-duplex.ts';
import type { ClientRole, EngineListener, EngineRole, TlsEngine } from './tls-engine.ts';

export class TlsSocketChannel implements TlsEngine {
  sink: ChannelSink = deafSink;
  isClosed = false;
  isTruncated = false;
  readonly #beneath: Channel;
  readonly #role: EngineRole;
  readonly #sessions: EngineListener;
  /** Until the handshake has ended. */
  #listener: EngineListener | null;
  #duplex: ChannelDuplex | undefined;
  #socket: TLSSocket | undefined;

  constructor(channel: Channel, role: EngineRole, listener: EngineListener) {
    this.#beneath = channel;
    this.#role = role;
    this.#listener = listener;
    this.#sessions = listener;
  }

  start(opening?: Uint8Array): void {
    const duplex = new ChannelDuplex(this.#beneath, opening);
    const role = this.#role;
    const socket = role.kind === 'client' ? connectOver(duplex, role) : acceptOver(duplex, role);
    this.#duplex = duplex;
    this.#socket = socket;
    this.#watch(socket, duplex);
  }

  get isBacklogged(): boolean {
    if (this.isClosed || this.#socket === undefined) return false;
    return this.#socket.writableLength > 0 || this.#duplex!.isBacklogged;
  }

  peer(): Endpoint | undefined {
    return this.isClosed ? undefined : this.#beneath.peer();
  }

  local(): Endpoint | undefined {
    return this.isClosed ? undefined : this.#beneath.local();
  }

  alpn(): string | null {
    return this.#socket!.alpnProtocol || null;
  }

  version(): string {
    return this.#socket!.getProtocol() ?? '';
  }

  cipher(): string {
    return this.#socket!.getCipher().name;
  }

  isResumed(): boolean {
    return this.#socket!.isSessionReused();
  }

  verifyFault(): string | null {
    // Undocumented beside the sockets of a tls.Server, and the same that the fast way asks.
    const { ssl } = this.#socket as unknown as {
      ssl: { verifyError(): NodeJS.ErrnoException | null } | null;
    };
    return ssl === null ? 'ECANCELED' : (ssl.verifyError()?.code ?? null);
  }

  peerCertificate(): X509Certificate | undefined {
    return this.#socket!.getPeerX509Certificate();
  }

  write(bytes: HostBytes): boolean {
    return bytes.length === 0 || this.#write(bytes, undefined);
  }

  writeLatin1(text: string): boolean {
    return text === '' || this.#write(text, 'latin1');
  }

  #write(what: HostBytes | string, encoding: 'latin1' | undefined): boolean {
    const socket = this.#socket!;
    if (this.isClosed || socket.writableEnded) return true;
    socket.write(what, encoding);
    if (!this.isBacklogged) return true;
    // 'drain' comes only after the high-water mark was passed; the contract wants it after every wait.
    if (!socket.writableNeedDrain) socket.write('', () => this.#drained());
    return false;
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    if (!this.isClosed) this.#socket!.resume();
  }

  halfClose(): void {
    if (!this.isClosed) this.#socket!.end();
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#listener = null;
    // The end sends close_notify, as far as it can be sent at once; then both go.
    const socket = this.#socket;
    if (socket === undefined) this.#beneath.close();
    else {
      socket.once('finish', () => socket.destroy());
      if (this.isBacklogged || socket.writableEnded) socket.destroy();
      else socket.end();
    }
  }

  reset(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#listener = null;
    this.#beneath.reset();
    this.#duplex?.destroy();
    this.#socket?.destroy();
  }

  #watch(socket: TLSSocket, duplex: ChannelDuplex): void {
    socket.pause();
    socket.on('secure', () => setImmediate(() => this.#established()));
    socket.on('data', (chunk: Buffer) =>
      this.#guard(() => this.sink.onData(this, chunk as unknown as HostBytes)),
    );
    // A channel begins paused, and 'data' starts the flow.
    socket.pause();
    socket.on('end', () => this.#ended());
    socket.on('drain', () => this.#drained());
    const fail = (error: NodeJS.ErrnoException): void => this.#failSoon(error.code ?? 'ERR_SSL');
    socket.on('error', fail);
    // What breaks a server's socket after its handshake is said by this name only.
    socket.on('_tlsError', fail);
    socket.on('close', () => this.#failSoon('ECONNRESET'));
    duplex.on('error', fail);
    noteTruncation(socket, () => (this.isTruncated = duplex.isSpent));
    if (this.#role.kind === 'client')
      socket.on('session', (session: Buffer) => this.#sessions.onSession(session));
  }

  #established(): void {
    const listener = this.#listener;
    this.#listener = null;
    if (!this.isClosed) listener?.onHandshakeDone();
  }

  #ended(): void {
    if (this.#listener === null) this.#guard(() => this.sink.onEnd(this));
    else this.#failSoon('ECONNRESET');
  }

  #drained(): void {
    if (!this.isBacklogged) this.#guard(() => this.sink.onDrain(this));
  }

  #failSoon(code: string): void {
    if (!this.isClosed) setImmediate(() => this.#fail(code));
  }

  #fail(code: string): void {
    if (this.isClosed) return;
    const listener = this.#listener;
    this.isClosed = true;
    this.#listener = null;
    this.#socket!.destroy();
    this.#duplex!.destroy();
    if (listener !== null) {
      listener.onHandshakeFailed(code);
      return;
    }
    try {
      this.sink.onError(this, code);
    } catch (error) {
      this.sink.onFault(this, error);
    }
  }

  #guard(call: () => void): void {
    if (this.isClosed) return;
    try {
      call();
    } catch (error) {
      this.sink.onFault(this, error);
    }
  }
}

function acceptOver(duplex: ChannelDuplex, role: Extract<EngineRole, { kind: 'server' }>): TLSSocket {
  return new TLSSocket(duplex, {
    isServer: true,
    secureContext: role.context,
    requestCert: role.requestsCertificate,
    rejectUnauthorized: role.demandsCertificate,
    ...(role.alpn.length > 0 && { ALPNProtocols: [...role.alpn] }),
  });
}

function connectOver(duplex: ChannelDuplex, role: ClientRole): TLSSocket {
  return connect({
    socket: duplex,
    secureContext: role.context,
    // The connector verifies, the same for both ways; without this line the environment would have a say.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(role.alpn.length > 0 && { ALPNProtocols: [...role.alpn] }),
    ...(role.serverName !== null && { servername: role.serverName }),
    ...(role.session !== undefined && { session: role.session }),
  });
}

/** Node hands the end of plaintext to `push`: the last moment to see whether TCP had ended before. */
function noteTruncation(socket: TLSSocket, note: () => void): void {
  const push = socket.push.bind(socket);
  socket.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null) note();
    return push(chunk, encoding);
  };
}
