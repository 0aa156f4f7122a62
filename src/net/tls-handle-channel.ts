/**
 * TLS on a handle of the fast transport: Node's TLSWrap without a TLSSocket around it. Costs half of one per
 * handshake, and decrypts into the buffer that all sockets of a worker share.
 *
 * Keeps the two rules of TlsHandle (native.ts), and gives back what TLSWrap takes away from channel.ts:
 * - One read of ciphertext yields several pieces of plaintext, also after reading was stopped: what comes while the
 *   channel is paused is kept, at most one read of TLSWrap (64 KiB) with what its last record completes.
 * - A write occupies TLSWrap until the check phase: what is written meanwhile waits here, and is merged.
 */
import { X509Certificate } from 'node:crypto';
import type { HostBytes } from '../core/bytes.ts';
import { deafSink, type ChannelSink, type Endpoint } from './channel.ts';
import type { FastTransport, HandleChannel } from './fast-transport.ts';
import { endOfFile, type Handle, type TlsHandle, type WriteRequest } from './native.ts';
import { alpnWire } from './tls-contexts.ts';
import type { EngineListener, EngineRole, TlsEngine } from './tls-engine.ts';

/** Waiting writes are joined up to this length, so that small ones do not cost a record each. */
const mergedBytesMax = 64 * 1024;

export class TlsHandleChannel implements TlsEngine {
  sink: ChannelSink = deafSink;
  isClosed = false;
  isTruncated = false;
  readonly #transport: FastTransport;
  readonly #handle: Handle;
  readonly #tls: TlsHandle;
  /** Until the handshake has ended. */
  #listener: EngineListener | null;
  /** Stays for the sessions that TLS 1.3 gives after the handshake. */
  readonly #sessions: EngineListener;
  #isEstablished = false;

  /** The owner's wish, and what the handle does: it reads through the handshake while the owner has not resumed. */
  #isPaused = true;
  #isReading = false;
  /** True inside `onread`, where OpenSSL may hold plaintext that `shutdown` would choke on. */
  #isInRead = false;
  /** Plaintext that came while paused, and whether the end came after it. */
  #arrived: HostBytes[] = [];
  #hasEnded = false;
  #isDelivering = false;

  #isWriting = false;
  #isInWrite = false;
  #waiting: HostBytes[] = [];
  #owesDrain = false;
  #ending: 'open' | 'wanted' | 'done' = 'open';
  /** Closed by the owner, and only kept until the last write is off TLSWrap and close_notify can follow it. */
  #isLeaving = false;

  /** The channel must not be closed, nor backlogged. */
  constructor(channel: HandleChannel, role: EngineRole, listener: EngineListener) {
    const { native } = channel.transport;
    this.#transport = channel.transport;
    this.#handle = channel.takeHandle()!;
    this.#listener = listener;
    this.#sessions = listener;
    const tls = native.wrapTls!(this.#handle, role.context, role.kind === 'server');
    this.#tls = tls;
    // The handle lives in libuv; it keeps the rest alive.
    this.#handle.channel = this;
    tls.channel = this;
    tls.onread = onTlsRead;
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- a handle of Node's, no EventTarget
    tls.onerror = onTlsError;
    tls.onhandshakestart = ignore;
    tls.onhandshakedone = onTlsDone;
    tls.useUserBuffer(native.shared);
    try {
      configure(tls, role);
    } catch (error) {
      this.isClosed = true;
      this.#closeHandle();
      throw error;
    }
  }

  start(opening?: Uint8Array): void {
    this.#isReading = true;
    // A copy: plaintext may be written into the memory of the view while it is still being taken in.
    if (opening === undefined) this.#tls.start();
    else this.#tls.receive(Buffer.from(opening));
    if (this.#isReading && !this.isClosed) this.#tls.readStart();
  }

  get isBacklogged(): boolean {
    return this.#waiting.length > 0 || (this.#isWriting && !this.isClosed && this.#handle.writeQueueSize > 0);
  }

  peer(): Endpoint | undefined {
    return this.isClosed ? undefined : this.#transport.native.endpoint(this.#handle.fd, true);
  }

  local(): Endpoint | undefined {
    return this.isClosed ? undefined : this.#transport.native.endpoint(this.#handle.fd, false);
  }

  alpn(): string | null {
    return this.#tls.getALPNNegotiatedProtocol() || null;
  }

  version(): string {
    return this.#tls.getProtocol();
  }

  cipher(): string {
    return this.#tls.getCipher().name;
  }

  isResumed(): boolean {
    return this.#tls.isSessionReused();
  }

  verifyFault(): string | null {
    return this.#tls.verifyError()?.code ?? null;
  }

  peerCertificate(): X509Certificate | undefined {
    const raw = this.#tls.hasPeerCertificate() ? this.#tls.getPeerCertificate(false)?.raw : undefined;
    return raw === undefined ? undefined : new X509Certificate(raw);
  }

  write(bytes: HostBytes): boolean {
    if (this.isClosed || this.#ending !== 'open' || bytes.length === 0) return true;
    if (!this.#isWriting && this.#waiting.length === 0) return this.#send(bytes);
    const isShared = bytes.buffer === this.#transport.native.shared.buffer;
    this.#waiting.push(isShared ? (Buffer.from(bytes) as unknown as HostBytes) : bytes);
    this.#owesDrain = true;
    return false;
  }

  writeLatin1(text: string): boolean {
    if (this.isClosed || this.#ending !== 'open' || text === '') return true;
    if (!this.#isWriting && this.#waiting.length === 0) return this.#send(text);
    this.#waiting.push(Buffer.from(text, 'latin1') as unknown as HostBytes);
    this.#owesDrain = true;
    return false;
  }

  pause(): void {
    this.#isPaused = true;
    this.#stopReading();
  }

  resume(): void {
    if (!this.#isPaused || this.isClosed) return;
    this.#isPaused = false;
    if (this.#arrived.length > 0 || this.#hasEnded) this.#deliverSoon();
    else this.#startReading();
  }

  halfClose(): void {
    if (this.isClosed || this.#ending !== 'open') return;
    this.#ending = 'wanted';
    if (this.#isInRead) setImmediate(endSoon, this);
    else this.endWhenWritten();
  }

  close(): void {
    if (this.isClosed) return;
    // Without close_notify the other side could not tell our end from one that was forged.
    const says = this.#isEstablished && this.#ending !== 'done';
    this.#isLeaving = says && this.#isWriting && this.#handle.writeQueueSize === 0;
    if (says && !this.#isWriting) this.#shutdown();
    this.#release();
    if (this.#isLeaving) this.#handle.readStop();
    else this.#closeHandle();
  }

  reset(): void {
    if (this.isClosed) return;
    this.#release();
    const done = (): void => this.#tls.destroySSL();
    // A pipe has no reset, and libuv refuses one while a shutdown waits behind queued writes.
    if (this.#handle.reset === undefined || this.#handle.reset(done) !== 0) this.#handle.close(done);
  }

  // --- what TLSWrap calls ---

  onRead(): void {
    if (this.isClosed) return;
    const status = this.#transport.native.readBytesOrError();
    const wasInRead = this.#isInRead;
    this.#isInRead = true;
    if (status > 0) this.#onPlaintext(this.#transport.view(status));
    else if (status === endOfFile) this.#onEnd();
    else if (status < 0) this.#fail(this.#transport.native.errorName(status));
    this.#isInRead = wasInRead;
  }

  onHandshakeDone(): void {
    if (this.#isEstablished) return;
    this.#isEstablished = true;
    // The caller is inside OpenSSL; the owner hears of it outside.
    setImmediate(settleSoon, this);
  }

  onFailure(code: string): void {
    // Also this may come from inside OpenSSL's read: nothing is destroyed before the loop has turned.
    if (!this.isClosed) setImmediate(failSoon, this, code);
  }

  onSession(session: Buffer): void {
    this.#sessions.onSession(session);
  }

  onWritten(status: number): void {
    if (this.#isLeaving) this.#leave(status);
    if (this.isClosed) return;
    // A write that fails at once is reported like every other: not from inside the caller's call.
    if (this.#isInWrite) {
      setImmediate(finishWrite, this, status);
      return;
    }
    this.#isWriting = false;
    if (status < 0) {
      this.#fail(this.#transport.native.errorName(status));
      return;
    }
    if (this.#waiting.length > 0) this.#send(this.#takeWaiting());
    else if (this.#ending === 'wanted') this.endWhenWritten();
    if (this.#owesDrain && this.#waiting.length === 0 && !this.isBacklogged) {
      this.#owesDrain = false;
      this.#tell('onDrain');
    }
  }

  // --- what was put off until the loop had turned ---

  settle(): void {
    const listener = this.#listener;
    if (this.isClosed || listener === null) return;
    this.#listener = null;
    if (this.#isPaused) this.#stopReading();
    listener.onHandshakeDone();
  }

  failLater(code: string): void {
    this.#fail(code);
  }

  deliver(): void {
    this.#isDelivering = false;
    while (this.#arrived.length > 0) {
      if (this.#isPaused || this.isClosed) return;
      this.#tell('onData', this.#arrived.shift()!);
    }
    if (this.#isPaused || this.isClosed) return;
    if (!this.#hasEnded) this.#startReading();
    else {
      this.#hasEnded = false;
      this.#tell('onEnd');
    }
  }

  endWhenWritten(): void {
    if (this.#ending === 'wanted' && !this.#isWriting && this.#waiting.length === 0) this.#shutdown();
  }

  // --- the rest ---

  #onPlaintext(bytes: HostBytes): void {
    if (this.#isPaused || this.#arrived.length > 0) {
      this.#arrived.push(Buffer.from(bytes) as unknown as HostBytes);
    } else this.#tell('onData', bytes);
  }

  #onEnd(): void {
    // TLSWrap does not say why it ended. TCP's end stopped the reading and close_notify did not: libuv tells that
    // apart (0, or EALREADY). When reading was stopped before, plaintext in memory is all that can have ended.
    this.isTruncated = this.#isReading && this.#handle.readStart() === 0;
    this.#isReading = false;
    this.#handle.readStop();
    if (!this.#isEstablished) this.#fail('ECONNRESET');
    else if (this.#isPaused || this.#arrived.length > 0) this.#hasEnded = true;
    else this.#tell('onEnd');
  }

  #startReading(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#tls.readStart();
  }

  #stopReading(): void {
    if (!this.#isReading || this.isClosed || this.#listener !== null) return;
    this.#isReading = false;
    this.#handle.readStop();
  }

  #deliverSoon(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    setImmediate(deliverSoon, this);
  }

  /** Encrypts and sends; TLSWrap copies what it can not send at once. True: the kernel has it all. */
  #send(what: HostBytes | string): boolean {
    const request = this.#transport.native.newWrite();
    request.oncomplete = onTlsWritten;
    request.channel = this;
    this.#isWriting = true;
    this.#isInWrite = true;
    const status =
      typeof what === 'string'
        ? this.#tls.writeLatin1String(request, what)
        : this.#tls.writeBuffer(request, what);
    this.#isInWrite = false;
    if (status !== 0) setImmediate(finishWrite, this, status);
    if (status === 0 && this.#handle.writeQueueSize === 0) return true;
    this.#owesDrain = true;
    return false;
  }

  #takeWaiting(): HostBytes {
    const waiting = this.#waiting;
    let count = 1;
    let length = waiting[0]!.length;
    while (count < waiting.length && length + waiting[count]!.length <= mergedBytesMax) {
      length += waiting[count++]!.length;
    }
    const taken = waiting.splice(0, count);
    return count === 1 ? taken[0]! : (Buffer.concat(taken, length) as unknown as HostBytes);
  }

  #shutdown(): void {
    this.#ending = 'done';
    const request = this.#transport.native.newShutdown();
    request.oncomplete = ignore;
    this.#tls.shutdown(request);
  }

  #leave(status: number): void {
    this.#isLeaving = false;
    if (status === 0) this.#shutdown();
    this.#closeHandle();
  }

  /** OpenSSL's part goes when libuv's is gone, which is in a later turn of the loop. */
  #closeHandle(): void {
    this.#handle.close(() => this.#tls.destroySSL());
  }

  #fail(code: string): void {
    if (this.isClosed) return;
    const listener = this.#listener;
    this.#release();
    this.#closeHandle();
    if (listener === null) this.#tell('onError', code);
    else listener.onHandshakeFailed(code);
  }

  #release(): void {
    this.isClosed = true;
    this.#listener = null;
    this.#arrived = [];
    this.#waiting = [];
  }

  #tell(call: 'onData', value: HostBytes): void;
  #tell(call: 'onError', value: string): void;
  #tell(call: 'onEnd' | 'onDrain'): void;
  #tell(call: 'onData' | 'onError' | 'onEnd' | 'onDrain', value?: HostBytes | string): void {
    const sink = this.sink;
    try {
      if (call === 'onData') sink.onData(this, value as HostBytes);
      else if (call === 'onError') sink.onError(this, value as string);
      else sink[call](this);
    } catch (error) {
      sink.onFault(this, error);
    }
  }
}

function configure(tls: TlsHandle, role: EngineRole): void {
  if (role.alpn.length > 0) tls.setALPNProtocols(alpnWire(role.alpn));
  if (role.kind === 'server') {
    if (role.requestsCertificate) tls.setVerifyMode(true, role.demandsCertificate);
    return;
  }
  tls.onnewsession = onTlsSession;
  tls.enableSessionCallbacks();
  if (role.serverName !== null) tls.setServername(role.serverName);
  if (role.session !== undefined) tls.setSession(role.session);
}

/** One function for all handles: TLSWrap calls it with itself as `this`. */
function onTlsRead(this: TlsHandle): void {
  (this.channel as TlsHandleChannel).onRead();
}

function onTlsDone(this: TlsHandle): void {
  (this.channel as TlsHandleChannel).onHandshakeDone();
}

function onTlsError(this: TlsHandle, error: NodeJS.ErrnoException): void {
  (this.channel as TlsHandleChannel).onFailure(error.code ?? 'ERR_SSL');
}

function onTlsSession(this: TlsHandle, _id: Buffer, session: Buffer): void {
  (this.channel as TlsHandleChannel).onSession(session);
}

function onTlsWritten(this: WriteRequest, status: number): void {
  (this.channel as TlsHandleChannel).onWritten(status);
}

function finishWrite(channel: TlsHandleChannel, status: number): void {
  channel.onWritten(status);
}

function settleSoon(channel: TlsHandleChannel): void {
  channel.settle();
}

function failSoon(channel: TlsHandleChannel, code: string): void {
  channel.failLater(code);
}

function deliverSoon(channel: TlsHandleChannel): void {
  channel.deliver();
}

function endSoon(channel: TlsHandleChannel): void {
  channel.endWhenWritten();
}

function ignore(): void {}
