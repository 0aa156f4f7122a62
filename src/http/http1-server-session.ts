/**
 * One HTTP/1 connection of a client. Requests are served one at a time, in order: the next head is parsed when the
 * response before it is complete, so nothing of a second request ever rides on the first.
 *
 * The session reads and decides; a stream (http1-server-stream.ts) writes; the end of the connection, after its last
 * response, is a Farewell's (http1-farewell.ts).
 */
import type { HostBytes } from '../core/bytes.ts';
import { assert, ProtocolError } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import { HeadWriter } from '../codec/http1/head-writer.ts';
import { NotHttpError, type Http1Request } from '../codec/http1/request-head.ts';
import { RequestParser, type RequestEvents } from '../codec/http1/request-parser.ts';
import type { FieldList } from '../codec/http-message.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import type { Flushable, FlushQueue } from './flush-queue.ts';
import { Http1Deadlines, type DeadlineObserver, type Wait } from './http1-deadlines.ts';
import { Farewell, type FarewellObserver } from './http1-farewell.ts';
import { allocate, codecLimits, discardBytesMax } from './http1-limits.ts';
import { Http1Output } from './http1-output.ts';
import { ReadAhead } from './http1-read-ahead.ts';
import { refusalReason, refusalStatus, refusalText } from './http1-refusal.ts';
import { Http1ServerStream, type ServerStreamHost } from './http1-server-stream.ts';
import { windowBytes, type HttpVersion, type ServerSessionObserver } from './stream.ts';

export interface Http1ServerOptions {
  /** Paused; the session takes it over. */
  readonly channel: Channel;
  readonly network: Network;
  readonly settings: HttpSettings;
  /** What requests without a scheme have: that of the connection. */
  readonly scheme: 'http' | 'https';
  readonly flushes: FlushQueue;
  /** What was read from the channel already: a view, used up by `start`. */
  readonly opening?: HostBytes;
}

type Phase = 'open' | 'leaving' | 'closed';

export class Http1ServerSession
  implements ServerStreamHost, ChannelSink, RequestEvents, Flushable, FarewellObserver, DeadlineObserver
{
  version: HttpVersion = 'HTTP/1.1';
  readonly output: Http1Output;
  readonly writer = new HeadWriter();
  readonly #channel: Channel;
  readonly #network: Network;
  readonly #flushes: FlushQueue;
  readonly #observer: ServerSessionObserver;
  readonly #parser: RequestParser;
  readonly #readAhead: ReadAhead;
  readonly #deadlines: Http1Deadlines;
  readonly #opening: HostBytes | undefined;
  #farewell: Farewell | undefined = undefined;
  #phase: Phase = 'open';
  #stream: Http1ServerStream | null = null;
  /** The stream was given up after its response; the rest of its request is dropped, this much of it so far. */
  #discardedBytes = -1;
  #requestCount = 0;
  #isInputEnded = false;
  #isDraining = false;
  #isFeeding = false;
  #isQueued = false;
  /** What ends the connection, once its farewell is over. */
  #endReason: Reason = 'session-closed';
  #endDetail: string | undefined = undefined;
  /** What the sink of the stream has yet to learn, outside of its owner's call. */
  #owedReset: { readonly reason: Reason; readonly detail: string } | null = null;

  constructor(options: Http1ServerOptions, observer: ServerSessionObserver) {
    const { channel, settings, flushes } = options;
    this.#channel = channel;
    this.#network = options.network;
    this.#flushes = flushes;
    this.#observer = observer;
    this.#opening = options.opening;
    this.output = new Http1Output(channel, flushes);
    this.#parser = new RequestParser(codecLimits(settings), options.scheme, allocate);
    this.#readAhead = new ReadAhead(settings.pipelinedMax, settings.headBytesMax);
    this.#deadlines = new Http1Deadlines(options.network, settings, this);
  }

  /** Takes the channel over. The observer may be called before this returns, for what `opening` holds. */
  start(): void {
    this.#channel.sink = this;
    // Who read the opening may be reading still, and a channel that is taken for paused is never paused again.
    if (this.#opening !== undefined) this.#channel.pause();
    this.#deadlines.watch('first');
    if (this.#opening !== undefined) this.onData(this.#channel, this.#opening);
    if (this.#phase === 'open') this.#steer();
  }

  get streamCount(): number {
    return this.#stream === null ? 0 : 1;
  }

  drain(): void {
    if (this.#phase !== 'open' || this.#isDraining) return;
    this.#isDraining = true;
    if (this.#isIdle()) this.#deadlines.watch('last');
  }

  abort(reason: Reason, detail?: string): void {
    this.#cut(reason, detail, true);
  }

  /**
   * Gives the connection up to whoever serves the tunnel that the last head opened; the observer hears no more of it.
   * Answers what the client sent ahead of its turn, or null when it has left meanwhile and the session goes on to its
   * end. The channel is paused and has no sink. Never from inside `onRequest`.
   */
  detach(): { readonly opening: HostBytes | undefined } | null {
    const stream = this.#stream;
    if (this.#phase !== 'open' || this.#isInputEnded || stream === null) return null;
    assert(
      stream.isTunnel && !this.#isFeeding,
      'a session gives up an open tunnel, from outside its own calls',
    );
    this.output.flush();
    const opening = this.#readAhead.take();
    this.#phase = 'closed';
    this.#stream = null;
    stream.isClosed = true;
    this.#parser.stop();
    this.#deadlines.close();
    this.#channel.sink = deafSink;
    this.#channel.pause();
    return { opening };
  }

  // --- the channel ---

  onData(_channel: Channel, bytes: HostBytes): void {
    if (!this.#readAhead.isEmpty) this.#readAhead.append(bytes, 0);
    else this.#feed(bytes);
    this.#steer();
  }

  onEnd(_channel: Channel): void {
    this.#isInputEnded = true;
    this.#settleEnd();
  }

  onDrain(_channel: Channel): void {
    this.output.flush();
    if (this.output.isStuck) return;
    this.#deadlines.drained();
    const stream = this.#stream;
    if (stream === null || !stream.owesDrain) return;
    stream.owesDrain = false;
    try {
      stream.sink.onDrain(stream);
    } catch (error) {
      this.#sinkFault(error);
    }
  }

  onError(_channel: Channel, code: string): void {
    this.#cut('client-reset', code, false);
  }

  onFault(_channel: Channel, error: unknown): void {
    this.#cut('internal-error', undefined, true);
    this.#observer.onFault(error);
  }

  // --- the parser ---

  onHead(request: Http1Request, isEnd: boolean): void {
    this.#requestCount++;
    this.version = request.version;
    const stream = new Http1ServerStream(this, request);
    this.#stream = stream;
    stream.isRequestEnded = isEnd && !stream.isUndecided;
    if (stream.isRequestEnded || stream.isUndecided) this.#deadlines.rest();
    else this.#deadlines.watch('body');
    try {
      this.#observer.onRequest(stream, request.head, stream.isRequestEnded);
    } catch (error) {
      this.#sinkFault(error);
    }
  }

  onBody(bytes: HostBytes, isEnd: boolean): void {
    const stream = this.#stream;
    if (stream === null) return this.#discardBody(bytes.length, isEnd);
    stream.wasContinued = true;
    stream.unconsumedBytes += bytes.length;
    if (stream.isTunnel) this.#deadlines.touchTunnel();
    else this.#deadlines.addBody(bytes.length);
    if (isEnd) this.#requestEnded(stream);
    try {
      stream.sink.onData(stream, bytes, isEnd);
    } catch (error) {
      this.#sinkFault(error);
    }
    if (isEnd) this.#settleStream(stream);
  }

  onTrailers(fields: FieldList): void {
    const stream = this.#stream;
    if (stream === null) return this.#discardBody(0, true);
    this.#requestEnded(stream);
    try {
      stream.sink.onTrailers(stream, fields);
    } catch (error) {
      this.#sinkFault(error);
    }
    this.#settleStream(stream);
  }

  onBodyEnd(): void {
    const stream = this.#stream;
    if (stream === null) return this.#discardBody(0, true);
    this.#requestEnded(stream);
    this.#tellEnd(stream);
    this.#settleStream(stream);
  }

  // --- the stream ---

  mayKeepAlive(): boolean {
    const stream = this.#stream!;
    if (this.#isDraining || this.#isInputEnded || this.#phase !== 'open') return false;
    // The client may or may not send the body it was never asked for: what comes next would be unclear.
    if (stream.request.expectsContinue && !stream.wasContinued && !stream.isRequestEnded) return false;
    // What came behind a CONNECT or an upgrade was meant for the tunnel.
    return !stream.isUndecided || this.#readAhead.isEmpty;
  }

  onHeadSent(): void {
    const stream = this.#stream!;
    if (!stream.isUndecided) return;
    stream.isUndecided = false;
    if (stream.isTunnel) {
      this.#parser.openTunnel();
      this.#deadlines.watch('tunnel');
    }
    // Either way the request's direction goes on from the event loop: with the tunnel's bytes, or with its end.
    this.#continueLater();
  }

  onSent(stream: Http1ServerStream, isStuck: boolean): void {
    if (stream.isTunnel) this.#deadlines.touchTunnel();
    if (!isStuck) return;
    stream.owesDrain = true;
    this.#deadlines.watchDrain();
  }

  onStalled(): void {
    this.#cut('body-stalled', 'the client takes nothing', true);
  }

  onResponseEnded(stream: Http1ServerStream): void {
    if (this.#readAhead.isEmpty) this.output.flush();
    if (stream.isTunnel) {
      this.output.flush();
      this.#channel.halfClose();
    }
    this.#settleStream(stream);
  }

  onCredit(): void {
    if (this.#isFeeding) return;
    if (!this.#readAhead.isEmpty) this.#continueLater();
    else this.#steer();
  }

  onReset(stream: Http1ServerStream): void {
    stream.isClosed = true;
    this.#owedReset = null;
    if (!stream.isResponseEnded) return this.#cut('session-closed', 'a response was given up', true);
    // The response is complete: only the rest of the request is unwanted.
    this.#stream = null;
    this.#parser.stop();
    if (stream.isTunnel) return this.#finish('tunnel-closed', undefined);
    if (!stream.isKeepAlive || this.#isInputEnded) return this.#finish('session-closed', undefined);
    this.#discardedBytes = this.#parser.isIdle ? -1 : 0;
    this.#continueLater();
  }

  onBroken(stream: Http1ServerStream, reason: Reason, detail: string): void {
    stream.isBroken = true;
    this.#owedReset = { reason, detail };
    this.#parser.stop();
    this.#continueLater();
  }

  onStreamFault(error: unknown): void {
    this.#observer.onFault(error);
  }

  /** The turn's end: what could not be done inside of a call of the stream's owner. */
  flush(): void {
    this.#isQueued = false;
    // A reset, and not an end, tells every client that the response is not whole.
    if (this.#owedReset !== null) return this.#cut(this.#owedReset.reason, this.#owedReset.detail, true);
    if (this.#phase !== 'open') return;
    const stream = this.#stream;
    if (stream !== null && !stream.isUndecided && !stream.isTunnel && !stream.isRequestEnded) {
      this.#endDeclined(stream);
    }
    const bytes = this.#readAhead.take();
    if (bytes !== undefined) this.#feed(bytes);
    this.#steer();
  }

  onDeadline(wait: Wait): void {
    if (wait === 'head') this.#refuse('request-timeout', 'the head did not arrive in time');
    else if (wait === 'first') this.#cut('request-timeout', 'no request came', false);
    else if (wait === 'request') this.#cut('keep-alive-timeout', undefined, false);
    else if (wait === 'last') this.#finish('session-closed', undefined);
    else this.#cut('idle-timeout', undefined, true);
  }

  onSlowBody(detail: string): void {
    this.#refuse('request-timeout', detail);
  }

  // --- reading ---

  #feed(bytes: HostBytes): void {
    let at = 0;
    this.#isFeeding = true;
    try {
      while (at < bytes.length && this.#mayParse()) at = this.#parseSome(bytes, at);
    } catch (error) {
      this.#isFeeding = false;
      if (!(error instanceof ProtocolError)) throw error;
      const reason = refusalReason(error.code);
      // An answer in HTTP/1 would be noise to a client that never spoke it (RFC 9113 §3.4).
      if (error instanceof NotHttpError && this.#requestCount === 0)
        return this.#cut(reason, error.message, false);
      return this.#refuse(reason, error.message);
    }
    this.#isFeeding = false;
    if (this.#phase === 'open' && at < bytes.length) this.#readAhead.append(bytes, at);
  }

  /** No more is given to the parser than the stream may hand out. */
  #parseSome(bytes: HostBytes, at: number): number {
    const stream = this.#stream;
    if (stream === null) return this.#parser.receive(bytes, at, this);
    const room = windowBytes - stream.unconsumedBytes;
    const part = bytes.length - at > room ? bytes.subarray(0, at + room) : bytes;
    return this.#parser.receive(part, at, this);
  }

  #mayParse(): boolean {
    if (this.#phase !== 'open' || this.#owedReset !== null) return false;
    const stream = this.#stream;
    if (stream === null) return true;
    return !stream.isRequestEnded && !stream.isUndecided && stream.unconsumedBytes < windowBytes;
  }

  /** Reads or pauses, and sets the deadline of what is waited for. */
  #steer(): void {
    if (this.#phase !== 'open') return;
    if (this.#isInputEnded) return this.#settleEnd();
    const stream = this.#stream;
    const isFull = stream !== null && stream.unconsumedBytes >= windowBytes / 2;
    if (isFull || this.#readAhead.isFull) this.#pause();
    else this.#resume();
    if (stream !== null) return;
    // A request may be on its way, and whoever sent it would see it fail: it is answered, with Connection: close.
    if (this.#isDraining && this.#isIdle()) return this.#deadlines.watch('last');
    if (this.#discardedBytes >= 0) this.#deadlines.watch('body');
    else if (this.#parser.isInHead) this.#deadlines.watch('head');
    else if (this.#requestCount > 0) this.#deadlines.watch('request');
  }

  #isIdle(): boolean {
    return this.#stream === null && this.#parser.isIdle && this.#readAhead.isEmpty;
  }

  #pause(): void {
    if (this.#deadlines.isPaused) return;
    this.#deadlines.isPaused = true;
    this.#channel.pause();
  }

  #resume(): void {
    if (!this.#deadlines.isPaused || this.#isInputEnded) return;
    this.#deadlines.isPaused = false;
    this.#channel.resume();
  }

  #continueLater(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#flushes.add(this);
  }

  // --- the request's direction ---

  #requestEnded(stream: Http1ServerStream): void {
    stream.isRequestEnded = true;
    this.#deadlines.rest();
  }

  #tellEnd(stream: Http1ServerStream): void {
    try {
      stream.sink.onEnd(stream);
    } catch (error) {
      this.#sinkFault(error);
    }
  }

  /** No tunnel was opened: the request has no more than its head. */
  #endDeclined(stream: Http1ServerStream): void {
    if (stream.request.head.protocol === null && stream.request.head.method !== 'CONNECT') return;
    stream.isRequestEnded = true;
    this.#tellEnd(stream);
    this.#settleStream(stream);
  }

  /** The rest of a request whose response is complete. */
  #discardBody(byteCount: number, isEnd: boolean): void {
    this.#discardedBytes += byteCount;
    if (isEnd) this.#discardedBytes = -1;
    else if (this.#discardedBytes > discardBytesMax) this.#finish('session-closed', undefined);
  }

  /** The client finished writing: what it asked for completely is still answered. */
  #settleEnd(): void {
    const stream = this.#stream;
    if (!this.#readAhead.isEmpty) return;
    if (stream === null) {
      if (this.#parser.isInHead) this.#refuse('request-malformed', 'the head ends before its empty line');
      else this.#finish('session-closed', undefined);
    } else if (stream.isTunnel) {
      if (stream.isRequestEnded) return;
      stream.isRequestEnded = true;
      this.#tellEnd(stream);
      this.#settleStream(stream);
    } else if (!stream.isRequestEnded && !stream.isUndecided) {
      this.#cut('client-cancelled', 'the client left in the middle of its request', false);
    }
  }

  // --- ends ---

  /** After either direction of a stream ended. */
  #settleStream(stream: Http1ServerStream): void {
    if (this.#stream !== stream || !stream.isResponseEnded) return;
    // A client that was never asked for its body may never send it.
    const isUnasked = stream.request.expectsContinue && !stream.wasContinued;
    if (!stream.isRequestEnded && (!isUnasked || stream.isTunnel)) return;
    stream.isClosed = true;
    this.#stream = null;
    this.#deadlines.rest();
    if (stream.isTunnel) return this.#finish('tunnel-closed', undefined);
    if (!stream.isKeepAlive) return this.#finish('session-closed', undefined);
    if (this.#isFeeding) return;
    if (!this.#readAhead.isEmpty) this.#continueLater();
    else this.#steer();
  }

  /** The last response was written. */
  #finish(reason: Reason, detail: string | undefined): void {
    if (this.#phase !== 'open') return;
    const isClean = this.#parser.isIdle && this.#readAhead.isEmpty;
    this.#leave(reason, detail, !isClean || reason === 'tunnel-closed');
  }

  #leave(reason: Reason, detail: string | undefined, isLingering: boolean): void {
    this.#phase = 'leaving';
    this.#endReason = reason;
    this.#endDetail = detail;
    this.#readAhead.clear();
    this.#parser.stop();
    this.#deadlines.close();
    this.#farewell = new Farewell(this.#channel, this.output, this.#network, this);
    this.#farewell.start(isLingering, this.#isInputEnded, this.#deadlines.patienceMs);
  }

  onFarewell(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#observer.onClosed(this.#endReason, this.#endDetail);
  }

  /** The client broke the protocol, a limit or a deadline. */
  #refuse(reason: Reason, detail: string): void {
    if (this.#phase !== 'open') return;
    const stream = this.#stream;
    const status = refusalStatus(reason);
    if (stream === null && this.#discardedBytes < 0) this.#observer.onRefused(reason, status, detail);
    const isUnanswered = stream === null ? this.#discardedBytes < 0 : !stream.isHeadSent;
    if (!isUnanswered) return this.#cut(reason, detail, true);
    this.output.text(refusalText(status, reason));
    this.#leave(reason, detail, true);
    if (stream !== null) this.#failStream(stream, reason, detail);
  }

  #sinkFault(error: unknown): void {
    this.#cut('internal-error', undefined, true);
    this.#observer.onFault(error);
  }

  /** Ends the connection at once, and the stream with it. */
  #cut(reason: Reason, detail: string | undefined, isReset: boolean): void {
    if (this.#phase === 'leaving') return this.#farewell!.abort();
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    const stream = this.#stream;
    this.#parser.stop();
    this.#readAhead.clear();
    this.#deadlines.close();
    this.#channel.sink = deafSink;
    if (isReset) this.#channel.reset();
    else this.#channel.close();
    if (stream !== null) this.#failStream(stream, reason, detail);
    this.#observer.onClosed(reason, detail);
  }

  #failStream(stream: Http1ServerStream, reason: Reason, detail: string | undefined): void {
    this.#stream = null;
    if (stream.isClosed) return;
    stream.isClosed = true;
    try {
      stream.sink.onReset(stream, { reason, detail, isUnprocessed: false });
    } catch (error) {
      this.#observer.onFault(error);
    }
  }
}
