/** The server's side of HTTP/2: requests come in, responses go out. See stream.ts for the rules it keeps. */
import type { HostBytes } from '../core/bytes.ts';
import { assert, type ProtocolError } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import type { ResetCause } from '../codec/http2/connection-events.ts';
import type { HeadFault } from '../codec/http2/heads.ts';
import { errorCodes, errorName, streamIdMax } from '../codec/http2/protocol.ts';
import { Http2Stream } from '../codec/http2/stream.ts';
import { getField, type FieldList, type RequestHead, type ResponseHead } from '../codec/http-message.ts';
import { Http2Session, type Http2SessionOptions } from './http2-session.ts';
import { deafRequestSink } from './http2-sinks.ts';
import type {
  DownstreamStream,
  RequestSink,
  ResetReason,
  ServerSession,
  ServerSessionObserver,
  StreamFailure,
} from './stream.ts';

export interface Http2ServerOptions extends Http2SessionOptions {
  /** What the connection is; a request says its own, which may differ behind another terminator. */
  readonly scheme: 'http' | 'https';
}

/** How a request is refused that never becomes one. */
const refusals: Readonly<Record<HeadFault, { readonly reason: Reason; readonly status: number }>> = {
  malformed: { reason: 'request-malformed', status: 400 },
  ambiguous: { reason: 'request-ambiguous', status: 400 },
  oversized: { reason: 'head-oversized', status: 431 },
  'target-oversized': { reason: 'target-oversized', status: 414 },
};

/** How long a draining client has to acknowledge that it heard of it. */
const drainNoticeMs = 1000;

export class Http2ServerSession extends Http2Session<Http2ServerStream> implements ServerSession {
  readonly scheme: 'http' | 'https';
  protected readonly lostReason = 'client-cancelled';
  protected readonly endReason = 'session-closed';
  protected readonly resetReason = 'client-reset';
  protected readonly lateReason = 'request-timeout';
  readonly #observer: ServerSessionObserver;
  /** When the first of the two GOAWAYs went out; 0: not yet. */
  #noticeMs = 0;
  #isDrainFinal = false;

  constructor(options: Http2ServerOptions, observer: ServerSessionObserver) {
    super('server', options);
    this.scheme = options.scheme;
    this.#observer = observer;
  }

  /**
   * In two steps (RFC 9113 §6.8): a GOAWAY that names no stream yet and a PING, then, when the client has
   * answered and what it had sent meanwhile is here, the one that counts. Of an idle one too: a request may be on its
   * way, and would be lost.
   */
  drain(): void {
    if (this.phase !== 'open') return;
    this.phase = 'draining';
    this.#noticeMs = this.network.nowMs;
    this.connection.goAway(streamIdMax, errorCodes.noError);
    this.connection.ping();
    this.watch();
    this.touch();
  }

  newStream(id: number, sendWindow: number, receiveWindow: number): Http2ServerStream {
    return new Http2ServerStream(this, id, sendWindow, receiveWindow);
  }

  onRequest(stream: Http2ServerStream, head: RequestHead, isEnd: boolean): void {
    if (!isEnd) stream.begin(head, this.network.nowMs);
    this.watch();
    try {
      this.#observer.onRequest(stream, head, isEnd);
    } catch (error) {
      this.faultOf(stream, error);
    }
  }

  onRefusedRequest(fault: HeadFault): void {
    const { reason, status } = refusals[fault];
    try {
      this.#observer.onRefused(reason, status, undefined);
    } catch (error) {
      this.tellFault(error);
    }
  }

  override onPong(): void {
    if (this.phase === 'draining') this.#sendFinalGoAway();
  }

  onPeerSettings(): void {}

  /** A client that takes no pushes, as none do, says with this only that it is about to leave. */
  onGoAway(): void {
    if (this.phase !== 'open') return;
    if (this.connection.streams.count === 0 && !this.connection.send.isBlocked)
      this.#finishDrain('session-closed');
    else this.drain();
  }

  onInformational(): void {
    assert(false, 'a server gets no responses');
  }

  onResponse(): void {
    assert(false, 'a server gets no responses');
  }

  sendHead(stream: Http2ServerStream, head: ResponseHead, isEnd: boolean): void {
    this.connection.sendResponse(stream, head, isEnd);
    this.touch();
  }

  sendInformational(stream: Http2ServerStream, head: ResponseHead): void {
    this.connection.sendInformational(stream, head);
    this.touch();
  }

  sendData(stream: Http2ServerStream, bytes: HostBytes, isEnd: boolean): boolean {
    this.touch();
    return this.connection.sendData(stream, bytes, isEnd);
  }

  sendTrailers(stream: Http2ServerStream, fields: FieldList): void {
    this.connection.sendTrailers(stream, fields);
    this.touch();
  }

  sendEnd(stream: Http2ServerStream): void {
    this.connection.sendEnd(stream);
    this.touch();
  }

  consume(stream: Http2ServerStream, byteCount: number): void {
    this.connection.consume(stream, byteCount);
    this.touch();
  }

  protected failureOf(cause: ResetCause): StreamFailure {
    if (cause.kind === 'ours')
      return { reason: 'internal-error', detail: cause.detail, isUnprocessed: false };
    if (cause.kind === 'fault')
      return { reason: 'http2-protocol-error', detail: cause.detail, isUnprocessed: false };
    return { reason: 'client-cancelled', detail: errorName(cause.code), isUnprocessed: false };
  }

  protected endingOf(error: ProtocolError): Reason {
    return error.code === 'http2-abuse' ? 'http2-abuse' : 'http2-protocol-error';
  }

  protected override check(nowMs: number): void {
    super.check(nowMs);
    if (this.phase === 'draining' && !this.#isDrainFinal && nowMs - this.#noticeMs >= drainNoticeMs)
      this.#sendFinalGoAway();
    if (this.phase === 'open' && this.isOutputDone && nowMs >= this.idleDeadlineMs())
      this.#finishDrain('keep-alive-timeout');
  }

  protected checkStream(stream: Http2ServerStream, nowMs: number): void {
    const slowness = stream.slowness(nowMs, this.settings.bodyIdleTimeoutMs, this.settings.bodyRateMin);
    if (slowness === undefined) return;
    // Answered here, because the stream is gone for its owner with `onReset`.
    this.connection.sendResponse(stream, { status: 408, fields: ['content-length', '0'] }, true);
    this.resetStream(stream, 'no-error');
    this.tellReset(stream, { reason: 'request-timeout', detail: slowness, isUnprocessed: false });
  }

  protected settle(): void {
    // What is still on its way to the channel would be lost behind an end.
    const isServed = this.connection.streams.count === 0 && this.isOutputDone;
    if (this.phase === 'draining' && this.#isDrainFinal && isServed) this.finish();
  }

  protected idleDeadlineMs(): number {
    if (this.connection.streams.count > 0) return Infinity;
    return this.lastActiveMs + this.settings.keepAliveTimeoutMs;
  }

  protected tellClosed(reason: Reason, detail: string | undefined): void {
    this.#observer.onClosed(reason, detail);
  }

  protected tellFault(error: unknown): void {
    this.#observer.onFault(error);
  }

  protected takeUnsent(): Http2ServerStream[] {
    return [];
  }

  #sendFinalGoAway(): void {
    if (this.#isDrainFinal) return;
    this.#isDrainFinal = true;
    this.connection.stopAccepting();
    this.touch();
  }

  #finishDrain(reason: Reason): void {
    this.connection.stopAccepting();
    this.finish({ reason, detail: undefined });
  }
}

export class Http2ServerStream extends Http2Stream implements DownstreamStream {
  sink: RequestSink = deafRequestSink;
  readonly session: Http2ServerSession;
  #isHeadSent = false;
  /** A tunnel or a gRPC stream: silence is no fault of it. */
  #isPatient = false;
  /** Where the measure of the request body's rate began. */
  #rateMs = 0;
  #rateBytes = 0;

  constructor(session: Http2ServerSession, id: number, sendWindow: number, receiveWindow: number) {
    super(id, sendWindow, receiveWindow);
    this.session = session;
  }

  /** A body is to come: what its deadlines need to know. */
  begin(head: RequestHead, nowMs: number): void {
    this.#rateMs = nowMs;
    this.#isPatient =
      head.protocol !== null ||
      head.method === 'CONNECT' ||
      (getField(head.fields, 'content-type') ?? '').startsWith('application/grpc');
  }

  sendInformational(head: ResponseHead): void {
    if (!this.isLocalDone && !this.#isHeadSent) this.session.sendInformational(this, head);
  }

  sendHead(head: ResponseHead, isEnd: boolean): void {
    if (this.isLocalDone) return;
    assert(!this.#isHeadSent, 'a response has one head');
    this.#isHeadSent = true;
    this.session.sendHead(this, head, isEnd);
  }

  sendData(bytes: HostBytes, isEnd: boolean): boolean {
    if (this.isSendOver) return true;
    assert(this.#isHeadSent, 'the head comes first');
    return this.session.sendData(this, bytes, isEnd);
  }

  sendTrailers(fields: FieldList): void {
    if (this.isSendOver) return;
    assert(this.#isHeadSent, 'the head comes first');
    this.session.sendTrailers(this, fields);
  }

  sendEnd(): void {
    if (this.isSendOver) return;
    assert(this.#isHeadSent, 'the head comes first');
    this.session.sendEnd(this);
  }

  consume(byteCount: number): void {
    if (!this.isClosed) this.session.consume(this, byteCount);
  }

  reset(reason: ResetReason): void {
    if (!this.isClosed) this.session.resetStream(this, reason);
  }

  /**
   * How the request body is too slow, or undefined. Only while nothing was answered, and while it is the client
   * that we wait for: what it sent has been consumed.
   */
  slowness(nowMs: number, idleMs: number, rateMin: number): string | undefined {
    if (this.isRemoteDone || this.#isHeadSent || this.#isPatient) return undefined;
    if (this.unconsumedBytes > 0) {
      this.receivedMs = nowMs;
      this.#startRate(nowMs);
      return undefined;
    }
    if (nowMs - this.receivedMs >= idleMs) return 'no progress of the body';
    const passedMs = nowMs - this.#rateMs;
    if (passedMs < idleMs) return undefined;
    if (this.receivedBytes - this.#rateBytes < (rateMin * passedMs) / 1000)
      return 'a body below body_rate_min';
    this.#startRate(nowMs);
    return undefined;
  }

  #startRate(nowMs: number): void {
    this.#rateMs = nowMs;
    this.#rateBytes = this.receivedBytes;
  }
}
