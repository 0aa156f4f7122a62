/**
 * One request on an HTTP/1 connection from a client, and its response. The session owns the connection and reads
 * it; the stream knows how far both directions have come, and writes.
 */
import type { HostBytes } from '../core/bytes.ts';
import { assert } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import type { HeadWriter, ResponseContext } from '../codec/http1/head-writer.ts';
import type { Http1Request } from '../codec/http1/request-head.ts';
import type { FieldList, ResponseHead } from '../codec/http-message.ts';
import type { Http1Output } from './http1-output.ts';
import type { DownstreamStream, RequestSink, ResetReason, ServerSession } from './stream.ts';
import { webSocketAccept } from './websocket-handshake.ts';

/** What a stream asks of the session that it belongs to. */
export interface ServerStreamHost extends ServerSession {
  readonly output: Http1Output;
  readonly writer: HeadWriter;
  /** Whether this response may leave the connection open. */
  mayKeepAlive(): boolean;
  onHeadSent(): void;
  /** Bytes went to the client; `isStuck` when it has no room for more. */
  onSent(stream: Http1ServerStream, isStuck: boolean): void;
  /** What was sent may leave now rather than with the turn. */
  onResponseEnded(stream: Http1ServerStream): void;
  onCredit(): void;
  onReset(stream: Http1ServerStream): void;
  /** The response can not be completed: the connection ends, and the sink learns it from the event loop. */
  onBroken(stream: Http1ServerStream, reason: Reason, detail: string): void;
  onStreamFault(error: unknown): void;
}

export class Http1ServerStream implements DownstreamStream {
  sink: RequestSink = deafRequestSink;
  readonly session: ServerStreamHost;
  readonly request: Http1Request;
  isClosed = false;
  /** It can not be completed: nothing more of it leaves, and its end is under way. */
  isBroken = false;
  /** The request asks for a tunnel, and no final head has said whether it gets one. */
  isUndecided: boolean;
  isTunnel = false;
  isRequestEnded = false;
  isHeadSent = false;
  isResponseEnded = false;
  /** 100 was sent, or the client sent its body without waiting for it. */
  wasContinued = false;
  /** The response leaves the connection open. */
  isKeepAlive = false;
  owesDrain = false;
  /** Handed out and not consumed. */
  unconsumedBytes = 0;

  constructor(session: ServerStreamHost, request: Http1Request) {
    this.session = session;
    this.request = request;
    this.isUndecided = request.head.method === 'CONNECT' || request.head.protocol !== null;
  }

  get isBacklogged(): boolean {
    return this.owesDrain;
  }

  /** True when nothing may be written for it any more. */
  get isSilent(): boolean {
    return this.isClosed || this.isBroken;
  }

  sendInformational(head: ResponseHead): void {
    if (this.isSilent || this.isHeadSent || this.request.version === 'HTTP/1.0') return;
    if (head.status === 100) this.wasContinued = true;
    try {
      this.session.output.text(this.session.writer.informational(head));
    } catch (error) {
      this.#unwritable(error);
    }
  }

  sendHead(head: ResponseHead, isEnd: boolean): void {
    if (this.isSilent) return;
    assert(!this.isHeadSent, 'a response has one head');
    this.isHeadSent = true;
    this.isKeepAlive = this.request.isKeepAlive && this.session.mayKeepAlive();
    const { writer, output } = this.session;
    let text: string;
    try {
      text = writer.response(head, isEnd, this.#context());
    } catch (error) {
      this.#unwritable(error);
      return;
    }
    output.head(text, writer.framing, writer.contentLength);
    this.isTunnel = writer.framing === 'tunnel';
    if (writer.framing === 'close') this.isKeepAlive = false;
    this.session.onHeadSent();
    if (isEnd) this.sendEnd();
  }

  sendData(bytes: HostBytes, isEnd: boolean): boolean {
    if (this.isSilent || this.isResponseEnded) return true;
    assert(this.isHeadSent, 'a body follows its head');
    const { output } = this.session;
    if (!output.body(bytes)) {
      this.session.onBroken(this, 'upstream-malformed', 'the body is longer than its content-length');
      return true;
    }
    if (isEnd) this.sendEnd();
    const { isStuck } = output;
    if (!this.isClosed) this.session.onSent(this, isStuck);
    return !isStuck;
  }

  sendTrailers(fields: FieldList): void {
    if (this.isSilent || this.isResponseEnded) return;
    if (this.session.output.framing !== 'chunked') return this.sendEnd();
    try {
      this.#finish(this.session.writer.trailers(fields));
    } catch (error) {
      this.#unwritable(error);
    }
  }

  sendEnd(): void {
    if (this.isSilent || this.isResponseEnded) return;
    this.#finish('0\r\n\r\n');
  }

  consume(byteCount: number): void {
    if (this.isClosed) return;
    this.unconsumedBytes -= byteCount;
    this.session.onCredit();
  }

  reset(_reason: ResetReason): void {
    if (!this.isClosed) this.session.onReset(this);
  }

  #finish(trailers: string): void {
    if (!this.session.output.finish(trailers)) {
      this.session.onBroken(this, 'upstream-reset', 'the body is shorter than its content-length');
      return;
    }
    this.isResponseEnded = true;
    this.session.onResponseEnded(this);
  }

  #context(): ResponseContext {
    const { head, version, webSocketKey } = this.request;
    return {
      method: head.method,
      isFirstVersion: version === 'HTTP/1.0',
      protocol: head.protocol,
      webSocketAccept: webSocketKey === null ? null : webSocketAccept(webSocketKey),
      isKeepAlive: this.isKeepAlive,
    };
  }

  /** The writer refused what must not leave: nothing after it may leave either. */
  #unwritable(error: unknown): void {
    this.session.onStreamFault(error);
    this.session.onBroken(this, 'internal-error', 'a head that can not be written');
  }
}

const deafRequestSink: RequestSink = {
  onData() {},
  onTrailers() {},
  onEnd() {},
  onDrain() {},
  onReset() {},
};
