/**
 * A channel as a stream of Node: for TLS on any channel (a tunnel, an HTTP/2 stream, TLS itself) and on the public
 * transport. Not for hot paths: it copies what arrives and allocates for every chunk.
 *
 * Back-pressure goes both ways: the channel reads only while the stream is wanted, and a write is done when the
 * channel has passed it on.
 */
import { Duplex } from 'node:stream';
import type { HostBytes } from '../core/bytes.ts';
import { deafSink, type Channel, type ChannelSink } from './channel.ts';

type Done = (error?: Error | null) => void;

export class ChannelDuplex extends Duplex implements ChannelSink {
  /** True when the channel has ended, and all that arrived has been read. */
  isSpent = false;
  readonly #channel: Channel;
  /** Waits for the channel to drain. */
  #written: Done | undefined;

  /** Takes the channel over. `opening` has been read from it before. */
  constructor(channel: Channel, opening?: Uint8Array) {
    super({ allowHalfOpen: true, emitClose: true });
    this.#channel = channel;
    channel.sink = this;
    // First of the listeners, so that whoever is told of the end finds it said here.
    this.on('end', () => (this.isSpent = true));
    if (opening !== undefined && opening.length > 0) this.push(Buffer.from(opening));
  }

  get isBacklogged(): boolean {
    return this.writableLength > 0 || this.#channel.isBacklogged;
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#channel.isClosed) done(failure('EPIPE'));
    else if (chunk.length === 0 || this.#channel.write(chunk as unknown as HostBytes)) done();
    else this.#written = done;
  }

  override _final(done: Done): void {
    this.#channel.halfClose();
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#channel.sink = deafSink;
    if (error === null) this.#channel.close();
    else this.#channel.reset();
    this.#settle(error ?? failure('ECANCELED'));
    done(error);
  }

  onData(channel: Channel, bytes: HostBytes): void {
    if (!this.push(Buffer.from(bytes))) channel.pause();
  }

  onEnd(): void {
    this.push(null);
  }

  onDrain(): void {
    this.#settle(null);
  }

  onError(_channel: Channel, code: string): void {
    this.destroy(failure(code));
  }

  onFault(_channel: Channel, error: unknown): void {
    this.destroy(error instanceof Error ? error : new Error('a sink failed', { cause: error }));
  }

  #settle(error: Error | null): void {
    const written = this.#written;
    this.#written = undefined;
    written?.(error);
  }
}

function failure(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`the channel failed: ${code}`), { code });
}
