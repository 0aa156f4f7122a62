/**
 * One HTTP/1 connection to a backend: one request at a time. It is used again only when nothing about it is in
 * doubt: the request was sent completely, its response read to an end that the head announced, and not one byte
 * came that nobody asked for.
 */
import type { HostBytes } from '../core/bytes.ts';
import { assert, ProtocolError } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import { HeadWriter } from '../codec/http1/head-writer.ts';
import type { Http1Response } from '../codec/http1/response-head.ts';
import { ResponseParser, type ResponseEvents } from '../codec/http1/response-parser.ts';
import type { FieldList, RequestHead } from '../codec/http-message.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import type { Flushable, FlushQueue } from './flush-queue.ts';
import { Farewell } from './http1-farewell.ts';
import { Http1ClientStream, type ClientStreamHost } from './http1-client-stream.ts';
import { allocate, codecLimits, drainPatience } from './http1-limits.ts';
import { Http1Output } from './http1-output.ts';
import { ReadAhead } from './http1-read-ahead.ts';
import { StallWatch, type StallObserver } from './http1-stall-watch.ts';
import {
  windowBytes,
  type ClientSessionObserver,
  type HttpVersion,
  type ResponseSink,
  type UpstreamStream,
} from './stream.ts';
import { newWebSocketKey, webSocketAccept } from './websocket-handshake.ts';

export interface Http1ClientOptions {
  /** Paused; the session takes it over. */
  readonly channel: Channel;
  readonly network: Network;
  readonly settings: HttpSettings;
  readonly flushes: FlushQueue;
}

export class Http1ClientSession
  extends TimerEntry
  implements ClientStreamHost, ChannelSink, ResponseEvents, Flushable, StallObserver
{
  readonly version: HttpVersion = 'HTTP/1.1';
  readonly output: Http1Output;
  readonly writer = new HeadWriter();
  requestCount = 0;
  readonly #channel: Channel;
  readonly #network: Network;
  readonly #settings: HttpSettings;
  readonly #flushes: FlushQueue;
  readonly #observer: ClientSessionObserver;
  readonly #parser: ResponseParser;
  /** What the stream has no credit for; the channel is paused while there is any. */
  readonly #held = new ReadAhead(Infinity, 1);
  /** Made when the backend first has no room. */
  #stallWatch: StallWatch | undefined = undefined;
  #stream: Http1ClientStream | null = null;
  #isOpen = true;
  #isInputEnded = false;
  #isDraining = false;
  #isFeeding = false;
  #isPaused = true;
  #isQueued = false;
  /** The last stream ended, and the owner is to be told from the event loop. */
  #owesAvailability = false;
  #owedReset: { readonly reason: Reason; readonly detail: string } | null = null;

  constructor(options: Http1ClientOptions, observer: ClientSessionObserver) {
    super();
    const { channel, settings, flushes } = options;
    this.#channel = channel;
    this.#network = options.network;
    this.#settings = settings;
    this.#flushes = flushes;
    this.#observer = observer;
    this.output = new Http1Output(channel, flushes);
    this.#parser = new ResponseParser(codecLimits(settings), allocate);
  }

  /** Takes the channel over. */
  start(): void {
    this.#channel.sink = this;
    this.#armIdle();
    this.#steer();
  }

  get streamCount(): number {
    return this.#stream === null ? 0 : 1;
  }

  get isAvailable(): boolean {
    return this.#isOpen && this.#stream === null && !this.#isDraining && !this.#isFeeding;
  }

  /**
   * As ClientSession has it. Throws ProtocolError of source `internal` at a head that can not be written: nothing
   * was sent then, and the session is as it was.
   */
  request(head: RequestHead, isEnd: boolean, sink: ResponseSink): UpstreamStream {
    assert(this.isAvailable, 'a request needs an available session');
    const key = head.protocol === 'websocket' ? newWebSocketKey() : null;
    const text = this.writer.request(head, isEnd, key);
    const stream = new Http1ClientStream(this, head, sink, key);
    stream.isRequestEnded = isEnd && !stream.isUndecided;
    stream.isEndEarly = isEnd;
    this.#stream = stream;
    this.#network.timers.disarm(this);
    this.#parser.expect({
      isHead: head.method === 'HEAD',
      isConnect: head.method === 'CONNECT',
      protocol: head.protocol,
    });
    this.output.head(text, this.writer.framing, this.writer.contentLength);
    if (isEnd || stream.isUndecided) this.output.flush();
    return stream;
  }

  drain(): void {
    this.#isDraining = true;
    if (this.#stream === null) this.#close('session-closed', undefined);
  }

  abort(reason: Reason, detail?: string): void {
    this.#cut(reason, detail);
  }

  // --- the channel ---

  onData(_channel: Channel, bytes: HostBytes): void {
    if (!this.#held.isEmpty) this.#held.append(bytes, 0);
    else this.#feed(bytes);
    this.#steer();
  }

  onEnd(_channel: Channel): void {
    this.#isInputEnded = true;
    if (this.#held.isEmpty) this.#settleEnd();
  }

  onDrain(_channel: Channel): void {
    this.output.flush();
    if (this.output.isStuck) return;
    if (this.#stallWatch !== undefined) this.#network.timers.disarm(this.#stallWatch);
    const stream = this.#stream;
    if (stream === null || stream.isUndecided) return;
    this.#payDrain(stream);
  }

  onError(_channel: Channel, code: string): void {
    this.#cut('upstream-reset', code);
  }

  onFault(_channel: Channel, error: unknown): void {
    this.#cut('internal-error', undefined);
    this.#observer.onFault(error);
  }

  // --- the parser ---

  onInformational(response: Http1Response): void {
    const stream = this.#stream!;
    try {
      stream.sink.onInformational(stream, response.head);
    } catch (error) {
      this.#sinkFault(error);
    }
  }

  onHead(response: Http1Response, isEnd: boolean): void {
    const stream = this.#stream!;
    stream.isKeepAlive = response.isKeepAlive;
    if (stream.isUndecided && !this.#decide(stream, response)) return;
    stream.isResponseEnded = isEnd;
    try {
      stream.sink.onHead(stream, response.head, isEnd);
    } catch (error) {
      return this.#sinkFault(error);
    }
    if (isEnd) this.#settleStream(stream);
  }

  onBody(bytes: HostBytes, isEnd: boolean): void {
    const stream = this.#stream!;
    stream.unconsumedBytes += bytes.length;
    if (stream.isTunnel) this.#touchTunnel();
    stream.isResponseEnded = isEnd;
    try {
      stream.sink.onData(stream, bytes, isEnd);
    } catch (error) {
      return this.#sinkFault(error);
    }
    if (isEnd) this.#settleStream(stream);
  }

  onTrailers(fields: FieldList): void {
    const stream = this.#stream!;
    stream.isResponseEnded = true;
    try {
      stream.sink.onTrailers(stream, fields);
    } catch (error) {
      return this.#sinkFault(error);
    }
    this.#settleStream(stream);
  }

  onBodyEnd(): void {
    const stream = this.#stream!;
    stream.isResponseEnded = true;
    try {
      stream.sink.onEnd(stream);
    } catch (error) {
      return this.#sinkFault(error);
    }
    this.#settleStream(stream);
  }

  // --- the stream ---

  onSent(stream: Http1ClientStream, isStuck: boolean): void {
    if (stream.isTunnel) this.#touchTunnel();
    if (!isStuck) return;
    stream.owesDrain = true;
    this.#stallWatch ??= new StallWatch(this);
    const patienceMs = drainPatience * this.#settings.bodyIdleTimeoutMs;
    this.#network.timers.arm(this.#stallWatch, this.#network.nowMs + patienceMs);
  }

  onStalled(): void {
    this.#cut('body-stalled', 'the backend takes nothing');
  }

  onRequestEnded(stream: Http1ClientStream): void {
    this.output.flush();
    if (stream.isTunnel) this.#channel.halfClose();
    this.#settleStream(stream);
  }

  onCredit(): void {
    if (this.#isFeeding) return;
    if (this.#held.isEmpty) this.#steer();
    else this.#continueLater();
  }

  onReset(stream: Http1ClientStream): void {
    stream.isClosed = true;
    this.#cut('session-closed', 'a request was given up');
  }

  onBroken(stream: Http1ClientStream, reason: Reason, detail: string): void {
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
    if (!this.#isOpen) return;
    if (this.#owedReset !== null) return this.#cut(this.#owedReset.reason, this.#owedReset.detail);
    const bytes = this.#held.take();
    if (bytes !== undefined) this.#feed(bytes);
    if (this.#isOpen && this.#isInputEnded && this.#held.isEmpty) this.#settleEnd();
    this.#steer();
    this.#announce();
  }

  /** No request for `upstreamIdleTimeoutMs`, or no byte in a tunnel. */
  override expire(): void {
    this.#cut('idle-timeout', undefined);
  }

  // --- reading ---

  #feed(bytes: HostBytes): void {
    let at = 0;
    this.#isFeeding = true;
    const stream = this.#stream;
    if (stream !== null) stream.isAnswered = true;
    try {
      while (at < bytes.length && this.#mayParse(stream)) at = this.#parseSome(bytes, at, stream);
    } catch (error) {
      this.#isFeeding = false;
      if (!(error instanceof ProtocolError)) throw error;
      return this.#refuse(error.message);
    }
    this.#isFeeding = false;
    if (!this.#isOpen) return;
    // Behind a complete response: the next request must never read it.
    if (at < bytes.length && this.#parser.isIdle) return this.#refuse('bytes that answer no request');
    if (at < bytes.length) this.#held.append(bytes, at);
    this.#announce();
  }

  /** No more is given to the parser than the stream may hand out. Without a stream the parser refuses. */
  #parseSome(bytes: HostBytes, at: number, stream: Http1ClientStream | null): number {
    const room = stream === null ? 1 : windowBytes - stream.unconsumedBytes;
    const part = bytes.length - at > room ? bytes.subarray(0, at + room) : bytes;
    return this.#parser.receive(part, at, this);
  }

  #mayParse(stream: Http1ClientStream | null): boolean {
    if (!this.#isOpen || this.#owedReset !== null) return false;
    if (stream === null) return true;
    return !stream.isResponseEnded && stream.unconsumedBytes < windowBytes;
  }

  #steer(): void {
    if (!this.#isOpen || this.#isInputEnded) return;
    const stream = this.#stream;
    const isFull = stream !== null && stream.unconsumedBytes >= windowBytes / 2;
    const isPaused = isFull || this.#held.isFull;
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    if (isPaused) this.#channel.pause();
    else this.#channel.resume();
  }

  #continueLater(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#flushes.add(this);
  }

  /** An upgrade or a CONNECT has its answer. False: it is none that proves anything. */
  #decide(stream: Http1ClientStream, response: Http1Response): boolean {
    const isTunnel = response.body === 'tunnel';
    const key = stream.webSocketKey;
    if (isTunnel && key !== null && response.webSocketAccept !== webSocketAccept(key)) {
      this.#parser.stop();
      this.#refuse('a WebSocket handshake whose Sec-WebSocket-Accept does not answer the key');
      return false;
    }
    const isWaiting = stream.owesDrain;
    stream.decide(isTunnel);
    if (isTunnel) this.#touchTunnel();
    if (isTunnel) this.#network.timers.arm(this, this.deadlineMs);
    // What was kept for the tunnel has gone on, or is wanted by nobody.
    if (isWaiting && !this.output.isStuck) this.#payDrain(stream);
    return this.#isOpen;
  }

  #payDrain(stream: Http1ClientStream): void {
    if (!stream.owesDrain) return;
    stream.owesDrain = false;
    try {
      stream.sink.onDrain(stream);
    } catch (error) {
      this.#sinkFault(error);
    }
  }

  // --- ends ---

  /** The backend finished writing, and everything before that was read. */
  #settleEnd(): void {
    const stream = this.#stream;
    if (stream === null) return this.#close('backend-closed', undefined);
    // The response is complete, and the rest of the request is wanted by nobody.
    if (stream.isResponseEnded) return stream.isTunnel ? undefined : this.#letGo(stream);
    if (!stream.isTunnel && isTruncated(this.#channel)) {
      return this.#cut('upstream-reset', 'TLS ended without close_notify');
    }
    if (!this.#parser.finish()) {
      const place = stream.isAnswered ? 'in the middle of its response' : 'before it answered';
      return this.#cut('upstream-reset', `the backend closed the connection ${place}`);
    }
    this.onBodyEnd();
  }

  /** After either direction of a stream ended. */
  #settleStream(stream: Http1ClientStream): void {
    if (this.#stream !== stream || !stream.isResponseEnded) return;
    if (!stream.isRequestEnded && (stream.isKeepAlive || stream.isTunnel) && !this.#isInputEnded) return;
    if (!stream.isRequestEnded && stream.isTunnel) return;
    this.#letGo(stream);
  }

  /** The stream is over, and with it the connection unless it may serve another. */
  #letGo(stream: Http1ClientStream): void {
    this.#stream = null;
    this.requestCount++;
    stream.isClosed = true;
    const isReusable =
      stream.isKeepAlive && stream.isRequestEnded && !this.#isInputEnded && !this.#isDraining;
    if (!isReusable) return this.#close(stream.isTunnel ? 'tunnel-closed' : 'session-closed', undefined);
    this.#armIdle();
    this.#owesAvailability = true;
    if (!this.#isFeeding) this.#continueLater();
  }

  /** Tells the owner that the session is free again, when it certainly is. */
  #announce(): void {
    if (!this.#owesAvailability || !this.#isOpen || this.#stream !== null) return;
    this.#owesAvailability = false;
    this.#observer.onAvailability(this);
  }

  /** The backend broke the protocol. */
  #refuse(detail: string): void {
    this.#cut('upstream-malformed', detail);
  }

  #sinkFault(error: unknown): void {
    this.#cut('internal-error', undefined);
    this.#observer.onFault(error);
  }

  /** Nothing is wanted any more; the end of a tunnel still leaves. */
  #close(reason: Reason, detail: string | undefined): void {
    if (!this.#isOpen) return;
    this.#release();
    const patienceMs = drainPatience * this.#settings.bodyIdleTimeoutMs;
    new Farewell(this.#channel, this.output, this.#network, deafFarewell).start(false, true, patienceMs);
    this.#observer.onClosed(this, reason, detail);
  }

  /** Ends the connection at once, and the stream with it. */
  #cut(reason: Reason, detail: string | undefined): void {
    if (!this.#isOpen) return;
    const stream = this.#stream;
    const isUnsent = stream !== null && stream.writeCountBefore === this.output.writeCount;
    this.#release();
    if (stream === null) this.#channel.close();
    else this.#channel.reset();
    this.#stream = null;
    if (stream !== null && !stream.isClosed) this.#failStream(stream, reason, detail, isUnsent);
    this.#observer.onClosed(this, reason, detail);
  }

  #failStream(
    stream: Http1ClientStream,
    reason: Reason,
    detail: string | undefined,
    isUnprocessed: boolean,
  ): void {
    stream.isClosed = true;
    // After a complete response there is nothing left to fail.
    if (stream.isResponseEnded && !stream.isTunnel) return;
    try {
      stream.sink.onReset(stream, { reason, detail, isUnprocessed, isUnanswered: !stream.isAnswered });
    } catch (error) {
      this.#observer.onFault(error);
    }
  }

  #release(): void {
    this.#isOpen = false;
    this.#parser.stop();
    this.#held.clear();
    this.#network.timers.disarm(this);
    if (this.#stallWatch !== undefined) this.#network.timers.disarm(this.#stallWatch);
    this.#channel.sink = deafSink;
  }

  // --- deadlines ---

  #armIdle(): void {
    this.#network.timers.arm(this, this.#network.nowMs + this.#settings.upstreamIdleTimeoutMs);
  }

  #touchTunnel(): void {
    this.deadlineMs = this.#network.nowMs + this.#settings.tunnelIdleTimeoutMs;
  }
}

const deafFarewell = { onFarewell(): void {} };

/** A TLS channel tells whether its end was announced; others can not know. */
function isTruncated(channel: Channel): boolean {
  return 'isTruncated' in channel && channel.isTruncated === true;
}
