/** The client's side of HTTP/2: requests go out, responses come in. See stream.ts for the rules it keeps. */
import type { HostBytes } from '../core/bytes.ts';
import { assert } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import type { ResetCause } from '../codec/http2/connection-events.ts';
import { errorCodes, errorName, type ErrorCode } from '../codec/http2/protocol.ts';
import { Http2Stream } from '../codec/http2/stream.ts';
import type { FieldList, RequestHead, ResponseHead } from '../codec/http-message.ts';
import { Http2Session, type Http2SessionOptions } from './http2-session.ts';
import {
  windowBytes,
  type ClientSession,
  type ClientSessionObserver,
  type ResetReason,
  type ResponseSink,
  type StreamFailure,
  type UpstreamStream,
} from './stream.ts';

/** What a server is taken to allow until its SETTINGS say (RFC 9113 §6.5.2 recommends no less). */
const streamsAssumed = 100;

export class Http2ClientSession extends Http2Session<Http2ClientStream> implements ClientSession {
  requestCount = 0;
  protected readonly lostReason = 'upstream-reset';
  protected readonly endReason = 'backend-closed';
  protected readonly resetReason = 'backend-reset';
  protected readonly lateReason = 'upstream-timeout';
  readonly #observer: ClientSessionObserver;
  /** Upgrades that wait for the server's SETTINGS, which say whether it takes any (RFC 8441 §3). */
  #unsent: { stream: Http2ClientStream; head: RequestHead; isEnd: boolean }[] = [];
  #wasAvailable = true;
  #wasBusy = false;

  constructor(options: Http2SessionOptions, observer: ClientSessionObserver) {
    super('client', options);
    this.#observer = observer;
  }

  override get streamCount(): number {
    return this.connection.streams.count + this.#unsent.length;
  }

  get isAvailable(): boolean {
    const { streams, hasPeerSettings, send } = this.connection;
    const streamsMax = hasPeerSettings ? send.peer.streamsMax : streamsAssumed;
    return this.phase === 'open' && streams.hasIds && this.streamCount < streamsMax && !this.channel.isClosed;
  }

  /** Whether the server takes upgrades; undefined before its SETTINGS. */
  get hasExtendedConnect(): boolean | undefined {
    return this.connection.hasPeerSettings ? this.connection.send.peer.hasExtendedConnect : undefined;
  }

  request(head: RequestHead, isEnd: boolean, sink: ResponseSink): Http2ClientStream {
    assert(this.isAvailable, 'a request needs a session that is available');
    const { connection } = this;
    const stream = new Http2ClientStream(this, sink, connection.send.peer.windowBytes);
    stream.isHeadRequest = head.method === 'HEAD';
    this.requestCount++;
    this.#wasBusy = true;
    if (head.protocol === null) {
      this.#send(stream, head, isEnd);
    } else if (connection.hasPeerSettings) {
      this.#upgrade(stream, head, isEnd);
    } else {
      stream.isHeld = true;
      this.#unsent.push({ stream, head, isEnd });
    }
    this.watch();
    this.touch();
    return stream;
  }

  drain(): void {
    if (this.phase !== 'open') return;
    this.phase = 'draining';
    this.touch();
  }

  onPeerSettings(isFirst: boolean): void {
    if (!isFirst) return;
    const waiting = this.#unsent;
    this.#unsent = [];
    // Ones that were reset meanwhile are gone already.
    for (const { stream, head, isEnd } of waiting) {
      stream.isHeld = false;
      stream.sendWindow = this.connection.send.peer.windowBytes;
      this.#upgrade(stream, head, isEnd);
      if (!stream.isClosed) this.connection.send.wake(stream);
    }
    this.connection.mayPump = true;
  }

  onGoAway(lastStreamId: number, code: ErrorCode): void {
    if (this.phase === 'open') this.phase = 'draining';
    const detail = `GOAWAY ${errorName(code)}`;
    for (const stream of [...this.connection.streams.all()]) {
      if (stream.id <= lastStreamId) continue;
      this.connection.close(stream, 'reset');
      this.tellReset(stream, { reason: 'upstream-reset', detail, isUnprocessed: true });
    }
    for (const { stream } of this.#takeWaiting()) {
      stream.move('reset');
      this.tellReset(stream, { reason: 'upstream-reset', detail, isUnprocessed: true });
    }
  }

  onInformational(stream: Http2ClientStream, head: ResponseHead): void {
    try {
      stream.sink.onInformational(stream, head);
    } catch (error) {
      this.faultOf(stream, error);
    }
  }

  onResponse(stream: Http2ClientStream, head: ResponseHead, isEnd: boolean): void {
    try {
      stream.sink.onHead(stream, head, isEnd);
    } catch (error) {
      this.faultOf(stream, error);
    }
  }

  newStream(): Http2ClientStream {
    throw new Error('a server opens no streams');
  }

  onRequest(): void {
    assert(false, 'a client gets no requests');
  }

  onRefusedRequest(): void {
    assert(false, 'a client gets no requests');
  }

  sendData(stream: Http2ClientStream, bytes: HostBytes, isEnd: boolean): boolean {
    this.touch();
    return this.connection.sendData(stream, bytes, isEnd);
  }

  sendTrailers(stream: Http2ClientStream, fields: FieldList): void {
    this.connection.sendTrailers(stream, fields);
    this.touch();
  }

  sendEnd(stream: Http2ClientStream): void {
    this.connection.sendEnd(stream);
    this.touch();
  }

  consume(stream: Http2ClientStream, byteCount: number): void {
    this.connection.consume(stream, byteCount);
    this.touch();
  }

  override resetStream(stream: Http2ClientStream, reason: ResetReason): void {
    if (stream.isHeld) {
      this.#unsent = this.#unsent.filter((waiting) => waiting.stream !== stream);
      stream.move('reset');
      this.touch();
    } else {
      super.resetStream(stream, reason);
    }
  }

  protected failureOf(cause: ResetCause): StreamFailure {
    if (cause.kind === 'ours')
      return { reason: 'internal-error', detail: cause.detail, isUnprocessed: false };
    if (cause.kind === 'fault')
      return { reason: 'upstream-malformed', detail: cause.detail, isUnprocessed: false };
    return { reason: 'upstream-reset', detail: errorName(cause.code), isUnprocessed: cause.isUnprocessed };
  }

  protected endingOf(): Reason {
    return 'upstream-malformed';
  }

  protected checkStream(): void {}

  protected settle(): void {
    if (this.phase === 'draining' && this.streamCount === 0 && this.isOutputDone) {
      this.connection.goAway(0, errorCodes.noError);
      this.finish();
    }
    const isAvailable = this.isAvailable;
    const isBusy = this.streamCount > 0;
    const isNews = isAvailable !== this.#wasAvailable || (this.#wasBusy && !isBusy);
    this.#wasAvailable = isAvailable;
    this.#wasBusy = isBusy;
    if (isNews) this.#observer.onAvailability(this);
  }

  /** The pool decides how long an idle session is kept. */
  protected idleDeadlineMs(): number {
    return Infinity;
  }

  protected tellClosed(reason: Reason, detail: string | undefined): void {
    this.#observer.onClosed(this, reason, detail);
  }

  protected tellFault(error: unknown): void {
    this.#observer.onFault(error);
  }

  protected takeUnsent(): Http2ClientStream[] {
    return this.#takeWaiting().map(({ stream }) => stream);
  }

  #takeWaiting(): { stream: Http2ClientStream }[] {
    const waiting = this.#unsent;
    this.#unsent = [];
    return waiting;
  }

  #upgrade(stream: Http2ClientStream, head: RequestHead, isEnd: boolean): void {
    if (this.connection.send.peer.hasExtendedConnect) {
      this.#send(stream, head, isEnd);
      return;
    }
    stream.move('reset');
    const detail = 'the server takes no extended CONNECT';
    this.owe(stream, { reason: 'upstream-malformed', detail, isUnprocessed: false });
  }

  #send(stream: Http2ClientStream, head: RequestHead, isEnd: boolean): void {
    stream.id = this.connection.streams.takeId();
    this.connection.streams.add(stream);
    this.connection.sendRequest(stream, head, isEnd);
  }
}

export class Http2ClientStream extends Http2Stream implements UpstreamStream {
  sink: ResponseSink;
  readonly session: Http2ClientSession;

  constructor(session: Http2ClientSession, sink: ResponseSink, sendWindow: number) {
    super(0, sendWindow, windowBytes);
    this.session = session;
    this.sink = sink;
  }

  sendData(bytes: HostBytes, isEnd: boolean): boolean {
    return this.isSendOver || this.session.sendData(this, bytes, isEnd);
  }

  sendTrailers(fields: FieldList): void {
    if (!this.isSendOver) this.session.sendTrailers(this, fields);
  }

  sendEnd(): void {
    if (!this.isSendOver) this.session.sendEnd(this);
  }

  consume(byteCount: number): void {
    if (!this.isClosed) this.session.consume(this, byteCount);
  }

  reset(reason: ResetReason): void {
    if (!this.isClosed) this.session.resetStream(this, reason);
  }
}
