/**
 * A stream: one request and its response on a session, whatever the version. Sessions implement it; the
 * exchange joins two of them, and never learns which versions they speak.
 *
 * Rules every implementation keeps:
 * - A sink is called only from the event loop (a read, a drain, a deadline), never from inside a call of its
 *   owner. What a sink throws ends this one stream (`internal-error`) and is told to the session's observer.
 * - In each direction: head, then data and at most one trailer section, then the end, once. `isEnd` on a head or
 *   on data is the end; no `onEnd` follows it.
 * - `onReset` is the last call, and comes instead of an end in either direction. After one's own `reset` no call
 *   comes at all. A stream whose both directions ended is gone by itself.
 * - Bytes given to `onData` are a view that the next read overwrites: they must be passed to `sendData` of
 *   another stream, or copied, before the call returns.
 * - Back-pressure is credit: whoever receives data owes `consume` of as many bytes once they have gone on. A
 *   stream hands out no more than `windowBytes` unconsumed.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { FieldList, RequestHead, ResponseHead } from '../codec/http-message.ts';
import type { Reason } from '../core/reason.ts';

/** What one stream may hand out before it is consumed (bytes); for HTTP/2 also the stream's first window. */
export const windowBytes = 256 * 1024;

/** Takes what arrives on a stream after the head. */
export interface BodySink {
  onData(stream: Stream, bytes: HostBytes, isEnd: boolean): void;
  /** Ends the message. */
  onTrailers(stream: Stream, fields: FieldList): void;
  /** The end, where it came with neither data nor trailers. */
  onEnd(stream: Stream): void;
  /** Everything given to `sendData` has left. Follows a `sendData` that answered false, once. */
  onDrain(stream: Stream): void;
  /** The stream is gone before its end. */
  onReset(stream: Stream, failure: StreamFailure): void;
}

export interface RequestSink extends BodySink {}

export interface ResponseSink extends BodySink {
  /** 100, 102–199. */
  onInformational(stream: Stream, head: ResponseHead): void;
  onHead(stream: Stream, head: ResponseHead, isEnd: boolean): void;
}

/** Why a stream ended before its time. */
export interface StreamFailure {
  readonly reason: Reason;
  /** What the reason leaves open: an errno, a codec's message. */
  readonly detail: string | undefined;
  /** True when the peer certainly did nothing with the request: the same request may be sent again. */
  readonly isUnprocessed: boolean;
  /**
   * True when no byte of a response had come. On a connection that served requests before (`requestCount`) it most
   * likely died while it was idle: what may be repeated without harm may be sent once more.
   */
  readonly isUnanswered?: boolean;
}

/** What both sides of a stream can do. */
export interface Stream {
  /** True while bytes given to `sendData` wait. */
  readonly isBacklogged: boolean;
  /** True after both directions ended, or a reset: every method is then a no-op. */
  readonly isClosed: boolean;
  /**
   * Sends body bytes, in order: any view, used up before the call returns. True: more may follow. False: some
   * wait; `onDrain` will follow, and the caller should stop consuming its source.
   */
  sendData(bytes: HostBytes, isEnd: boolean): boolean;
  /** Sends a trailer section and ends the message. Dropped, but the end, where the version or the framing has no room for it. */
  sendTrailers(fields: FieldList): void;
  /** Ends the message. */
  sendEnd(): void;
  /** Gives back credit for bytes that `onData` handed out. */
  consume(byteCount: number): void;
  /** Ends the stream now, in both directions. The peer sees a failure: RST_STREAM, or the end of its connection. */
  reset(reason: ResetReason): void;
}

/** Why we end a stream; each maps to an HTTP/2 error code. */
export type ResetReason = 'cancel' | 'refused' | 'internal-error' | 'protocol-error' | 'no-error';

/** The server's side: a request came in. The head was given to `SessionHandler.onRequest`. */
export interface DownstreamStream extends Stream {
  sink: RequestSink;
  readonly session: ServerSession;
  /** Sends 100 or 102–199; skipped for HTTP/1.0 clients. */
  sendInformational(head: ResponseHead): void;
  /**
   * Sends the head of the response, once. With `isEnd` there is no body: an empty one, or none because of HEAD,
   * 204, 304. A `content-length` is kept for HEAD and checked against the body otherwise.
   */
  sendHead(head: ResponseHead, isEnd: boolean): void;
}

/** The client's side: a request we sent. Made by `ClientSession.request`. */
export interface UpstreamStream extends Stream {
  sink: ResponseSink;
  readonly session: ClientSession;
}

export type HttpVersion = 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';

/** One downstream connection that speaks HTTP. */
export interface ServerSession {
  readonly version: HttpVersion;
  /** Streams that are open now. */
  readonly streamCount: number;
  /**
   * Lets open streams finish and takes no new ones: GOAWAY, or `Connection: close` on the next response. An
   * idle session closes at once.
   */
  drain(): void;
  /** Ends the session and every stream on it at once; streams see `onReset` with that reason. */
  abort(reason: Reason, detail?: string): void;
}

/** Who owns a server session: told of its requests and of its end. */
export interface ServerSessionObserver {
  /** A request's head is complete. Sets `stream.sink` before it returns. With `isEnd` the request has no body. */
  onRequest(stream: DownstreamStream, head: RequestHead, isEnd: boolean): void;
  /**
   * The client broke the protocol (or a limit, or a deadline) before a request could be made of it. The session
   * answers by itself where the version can (400, 408, 413, 414, 431, GOAWAY); this is for the log.
   */
  onRefused(reason: Reason, status: number, detail: string | undefined): void;
  /** The connection is closed, and every stream on it has ended. Once. */
  onClosed(reason: Reason, detail: string | undefined): void;
  /** A fault of ours. The session has ended the stream, or itself. */
  onFault(error: unknown): void;
}

/** One upstream connection that speaks HTTP. */
export interface ClientSession {
  readonly version: HttpVersion;
  readonly streamCount: number;
  /** Requests it served before; above 0 a failure may be that of a connection that had died meanwhile. */
  readonly requestCount: number;
  /** True while `request` may be called: open, not going away, below its limit of streams. */
  readonly isAvailable: boolean;
  /** Opens a stream and sends the head. With `isEnd` the request has no body. Only while `isAvailable`. */
  request(head: RequestHead, isEnd: boolean, sink: ResponseSink): UpstreamStream;
  /** Takes no more requests and closes when the last one has ended. */
  drain(): void;
  abort(reason: Reason, detail?: string): void;
}

/** Who owns a client session: the pool. */
export interface ClientSessionObserver {
  /** `isAvailable` changed, or the last stream ended (`streamCount` is 0). */
  onAvailability(session: ClientSession): void;
  onClosed(session: ClientSession, reason: Reason, detail: string | undefined): void;
  onFault(error: unknown): void;
}
