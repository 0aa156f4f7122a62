/**
 * What the peer may send, on each stream and on the connection, and when it is told that it may send more:
 * RFC 9113 §5.2, §6.9. A window is refilled when half of it has been consumed, so that an update costs little
 * and the peer never waits for one.
 */
import type { ByteSink } from '../byte-sink.ts';
import { ConnectionError } from './errors.ts';
import { writeWindowUpdate } from './frame-writer.ts';
import { errorCodes, windowBytesDefault } from './protocol.ts';
import type { Http2Stream } from './stream.ts';

export class ReceiveWindows {
  readonly #sink: ByteSink;
  readonly #connectionHalf: number;
  readonly #streamHalf: number;
  readonly #isShared: boolean;
  #window = windowBytesDefault;
  #creditBytes = 0;

  /**
   * `isShared`: the streams belong to different people, as those of an upstream connection do. What one of them does
   * not take must not hold up the others, so the connection's window opens with what arrives; each stream's own window
   * bounds what is held.
   */
  constructor(connectionBytes: number, streamBytes: number, sink: ByteSink, isShared: boolean) {
    this.#isShared = isShared;
    this.#connectionHalf = connectionBytes >>> 1;
    this.#streamHalf = streamBytes >>> 1;
    this.#sink = sink;
  }

  /** Widens the connection's window, which no setting does. */
  open(increment: number): void {
    if (increment <= 0) return;
    this.#window += increment;
    writeWindowUpdate(this.#sink, 0, increment);
  }

  /** What the peer may still send on the connection. */
  get connectionBytes(): number {
    return this.#window;
  }

  /** A DATA frame of that length came, for whatever stream. */
  receive(byteCount: number): void {
    this.#window -= byteCount;
    if (this.#window < 0)
      throw new ConnectionError(errorCodes.flowControlError, 'more than the window of the connection');
    if (this.#isShared) this.#give(byteCount);
  }

  /** The same for its stream; the caller looks whether its window broke. */
  receiveOn(stream: Http2Stream, byteCount: number): void {
    stream.receiveWindow -= byteCount;
    stream.unconsumedBytes += byteCount;
  }

  consume(stream: Http2Stream, byteCount: number): void {
    // More than was handed out would let the peer send more than we ever said.
    const consumed = Math.min(byteCount, stream.unconsumedBytes);
    stream.unconsumedBytes -= consumed;
    this.credit(consumed);
    if (stream.isRemoteDone) return;
    stream.creditBytes += consumed;
    if (stream.creditBytes < this.#streamHalf) return;
    stream.receiveWindow += stream.creditBytes;
    writeWindowUpdate(this.#sink, stream.id, stream.creditBytes);
    stream.creditBytes = 0;
  }

  /** Gives back what a stream that is gone will not consume. */
  settle(stream: Http2Stream): void {
    this.credit(stream.unconsumedBytes);
    stream.unconsumedBytes = 0;
  }

  /** Credit for the connection, of what arrived and is done with. */
  credit(byteCount: number): void {
    if (!this.#isShared) this.#give(byteCount);
  }

  /**
   * Beside the half, it goes back as soon as it is half of what the peer has left:
   * where streams that stall hold most of the window, the others live on little updates.
   */
  #give(byteCount: number): void {
    this.#creditBytes += byteCount;
    const credit = this.#creditBytes;
    if (credit === 0 || (credit < this.#connectionHalf && credit * 2 < this.#window)) return;
    this.#window += this.#creditBytes;
    writeWindowUpdate(this.#sink, 0, this.#creditBytes);
    this.#creditBytes = 0;
  }
}
