/**
 * A stream that opened a tunnel (CONNECT over HTTP/2), as a channel: relay and TLS know nothing else.
 *
 * Back-pressure is the stream's credit: while paused, what still arrives is kept, and it is at most what the stream
 * hands out unconsumed (`windowBytes`).
 */
import type { FieldList } from '../codec/http-message.ts';
import type { HostBytes } from '../core/bytes.ts';
import type { DownstreamStream, RequestSink, Stream, StreamFailure } from '../http/stream.ts';
import { deafSink, type Channel, type ChannelSink, type Endpoint } from '../net/channel.ts';

export class StreamChannel implements Channel, RequestSink {
  sink: ChannelSink = deafSink;
  isClosed = false;
  readonly #stream: DownstreamStream;
  readonly #underneath: Channel;
  #isPaused = true;
  #isDelivering = false;
  #kept: HostBytes[] = [];
  #isEndKept = false;

  /** Becomes the stream's sink. `underneath` is the connection that carries it. */
  constructor(stream: DownstreamStream, underneath: Channel) {
    this.#stream = stream;
    this.#underneath = underneath;
    stream.sink = this;
  }

  get isBacklogged(): boolean {
    return this.#stream.isBacklogged;
  }

  peer(): Endpoint | undefined {
    return this.#underneath.peer();
  }

  local(): Endpoint | undefined {
    return this.#underneath.local();
  }

  write(bytes: HostBytes): boolean {
    return this.isClosed || this.#stream.sendData(bytes, false);
  }

  writeLatin1(text: string): boolean {
    return this.write(Buffer.from(text, 'latin1') as unknown as HostBytes);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#kept.length > 0 || this.#isEndKept) this.#deliverLater();
  }

  halfClose(): void {
    if (!this.isClosed) this.#stream.sendEnd();
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#stream.sendEnd();
    if (!this.#stream.isClosed) this.#stream.reset('no-error');
  }

  reset(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#stream.reset('cancel');
  }

  // --- the stream ---

  onData(_stream: Stream, bytes: HostBytes, isEnd: boolean): void {
    if (this.isClosed) return;
    if (this.#isPaused || this.#kept.length > 0) {
      if (bytes.length > 0) this.#kept.push(Buffer.from(bytes) as unknown as HostBytes);
      this.#isEndKept ||= isEnd;
      return;
    }
    if (bytes.length > 0) this.#deliver(bytes);
    if (isEnd) this.#deliverEnd();
  }

  onTrailers(stream: Stream, _fields: FieldList): void {
    this.onEnd(stream);
  }

  onEnd(_stream: Stream): void {
    if (this.isClosed) return;
    if (this.#isPaused || this.#kept.length > 0) this.#isEndKept = true;
    else this.#deliverEnd();
  }

  onDrain(): void {
    if (!this.isClosed) this.#call(() => this.sink.onDrain(this));
  }

  onReset(_stream: Stream, failure: StreamFailure): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#call(() => this.sink.onError(this, failure.detail ?? 'ECONNRESET'));
  }

  // --- delivery ---

  /** A sink is called from the event loop, never from inside of its owner's `resume`. */
  #deliverLater(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    setImmediate(() => {
      this.#isDelivering = false;
      while (!this.isClosed && !this.#isPaused && this.#kept.length > 0) this.#deliver(this.#kept.shift()!);
      if (!this.isClosed && !this.#isPaused && this.#isEndKept) this.#deliverEnd();
    });
  }

  #deliver(bytes: HostBytes): void {
    const byteCount = bytes.length;
    this.#call(() => this.sink.onData(this, bytes));
    if (!this.isClosed) this.#stream.consume(byteCount);
  }

  #deliverEnd(): void {
    this.#isEndKept = false;
    this.#call(() => this.sink.onEnd(this));
  }

  #call(deliver: () => void): void {
    const { sink } = this;
    try {
      deliver();
    } catch (error) {
      sink.onFault(this, error);
    }
  }
}
