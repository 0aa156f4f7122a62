/** One request on an HTTP/1 connection to a backend, and its response. The session owns the connection and reads it. */
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import type { HeadWriter } from '../codec/http1/head-writer.ts';
import type { FieldList, RequestHead } from '../codec/http-message.ts';
import type { Http1Output } from './http1-output.ts';
import type { ClientSession, ResetReason, ResponseSink, UpstreamStream } from './stream.ts';

/** What a stream asks of the session that it belongs to. */
export interface ClientStreamHost extends ClientSession {
  readonly output: Http1Output;
  readonly writer: HeadWriter;
  /** Bytes went to the backend; `isStuck` when it has no room for more. */
  onSent(stream: Http1ClientStream, isStuck: boolean): void;
  onRequestEnded(stream: Http1ClientStream): void;
  onCredit(): void;
  onReset(stream: Http1ClientStream): void;
  /** The request can not be completed: the connection ends, and the sink learns it from the event loop. */
  onBroken(stream: Http1ClientStream, reason: Reason, detail: string): void;
  onStreamFault(error: unknown): void;
}

export class Http1ClientStream implements UpstreamStream {
  sink: ResponseSink;
  readonly session: ClientStreamHost;
  readonly head: RequestHead;
  readonly webSocketKey: string | null;
  /** What the output had written before this request. */
  readonly writeCountBefore: number;
  isClosed = false;
  isBroken = false;
  /** The request asks for a tunnel, and no final head has said whether it gets one. */
  isUndecided: boolean;
  isTunnel = false;
  isRequestEnded = false;
  isResponseEnded = false;
  /** A byte of the response has come. */
  isAnswered = false;
  /** The backend leaves the connection open. */
  isKeepAlive = false;
  owesDrain = false;
  /** Handed out and not consumed. */
  unconsumedBytes = 0;
  /** For the tunnel, from before it was open: no more than one window, since its source is not given credit. */
  #early: Buffer[] = [];

  constructor(session: ClientStreamHost, head: RequestHead, sink: ResponseSink, webSocketKey: string | null) {
    this.session = session;
    this.head = head;
    this.sink = sink;
    this.webSocketKey = webSocketKey;
    this.writeCountBefore = session.output.writeCount;
    this.isUndecided = head.method === 'CONNECT' || head.protocol !== null;
  }

  get isBacklogged(): boolean {
    return this.owesDrain;
  }

  /** True when nothing may be written for it any more. */
  get isSilent(): boolean {
    return this.isClosed || this.isBroken || this.isRequestEnded;
  }

  sendData(bytes: HostBytes, isEnd: boolean): boolean {
    if (this.isSilent) return true;
    if (this.isUndecided) return this.#keep(bytes, isEnd);
    const { output } = this.session;
    if (!output.body(bytes)) {
      this.session.onBroken(this, 'request-malformed', 'the body is longer than its content-length');
      return true;
    }
    if (isEnd) this.sendEnd();
    const { isStuck } = output;
    if (!this.isClosed) this.session.onSent(this, isStuck);
    return !isStuck;
  }

  sendTrailers(fields: FieldList): void {
    if (this.isSilent) return;
    if (this.session.output.framing !== 'chunked') return this.sendEnd();
    try {
      this.#finish(this.session.writer.trailers(fields));
    } catch (error) {
      this.session.onStreamFault(error);
      this.session.onBroken(this, 'internal-error', 'trailers that can not be written');
    }
  }

  sendEnd(): void {
    if (this.isSilent) return;
    // The end of a tunnel that is not open yet waits with its bytes.
    if (this.isUndecided) this.isEndEarly = true;
    else this.#finish('0\r\n\r\n');
  }

  consume(byteCount: number): void {
    if (this.isClosed) return;
    this.unconsumedBytes -= byteCount;
    this.session.onCredit();
  }

  reset(_reason: ResetReason): void {
    if (!this.isClosed) this.session.onReset(this);
  }

  isEndEarly = false;

  /** The backend decided: what was kept for the tunnel leaves, or the request has no more than its head. */
  decide(isTunnel: boolean): void {
    this.isUndecided = false;
    this.isTunnel = isTunnel;
    const early = this.#early;
    this.#early = [];
    if (!isTunnel) {
      this.isRequestEnded = true;
      return;
    }
    for (const bytes of early) this.session.output.body(bytes as unknown as HostBytes);
    if (this.isEndEarly) this.sendEnd();
  }

  #keep(bytes: HostBytes, isEnd: boolean): boolean {
    this.#early.push(Buffer.from(bytes));
    this.isEndEarly ||= isEnd;
    this.owesDrain = true;
    return false;
  }

  #finish(trailers: string): void {
    if (!this.session.output.finish(trailers)) {
      this.session.onBroken(this, 'request-malformed', 'the body is shorter than its content-length');
      return;
    }
    this.isRequestEnded = true;
    this.session.onRequestEnded(this);
  }
}
