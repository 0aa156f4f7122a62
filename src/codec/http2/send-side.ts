/**
 * Everything that leaves a connection: frames gathered in one sink, DATA within both windows, and what waits for
 * them. RFC 9113 §5.2, §6.9.
 *
 * Streams that wait take turns, one frame each, so that a large download does not starve a small one.
 */
import { assert } from '../../core/errors.ts';
import { ByteSink, type Allocate } from '../byte-sink.ts';
import type { FieldList } from '../http-message.ts';
import type { AbuseCounters } from './abuse.ts';
import { ConnectionError } from './errors.ts';
import { closeHeaders, writeData, writeFrameHeader } from './frame-writer.ts';
import { HeadEncoder } from './head-encoder.ts';
import {
  errorCodes,
  flags,
  frameHeaderBytes,
  frameTypes,
  windowBytesDefault,
  windowBytesLimit,
} from './protocol.ts';
import { PeerSettings } from './settings.ts';
import type { Http2Stream } from './stream.ts';

/** Gathered beyond this, output is written before the turn ends. */
export const outputBytesMax = 256 * 1024;

/**
 * What one stream may have waiting: its sender stops at the first false, which leaves what its source had handed
 * out by then (a window), the piece that was refused, and whatever a filter made of them.
 */
export const queuedBytesMax = 4 * 1024 * 1024;

/** Frames longer than this would make others wait without making this one faster. */
const dataFrameBytesMax = 64 * 1024;
/** A DATA frame this long, or the last, is work that lets its peer update windows. */
const usefulFrameBytes = 256;

export interface SendSideOwner<S extends Http2Stream> {
  /** The sink holds `outputBytesMax`: write it now, or say by `isBlocked` that it can not be. */
  onOutputFull(): void;
  /** All of the stream's queue has gone. */
  onSendDrained(stream: S): void;
  /** The end has gone out. */
  onSendEnd(stream: S): void;
}

export class SendSide<S extends Http2Stream> {
  readonly sink: ByteSink;
  readonly encoder = new HeadEncoder();
  readonly peer = new PeerSettings();
  /** The channel takes nothing: DATA waits. What little control frames need is still gathered. */
  isBlocked = false;
  window = windowBytesDefault;
  nowMs = 0;
  readonly #owner: SendSideOwner<S>;
  readonly #abuse: AbuseCounters;
  readonly #allocate: Allocate;
  /** Streams with something to send whose own window is open, in the order of their turns. */
  readonly #ready: S[] = [];

  constructor(owner: SendSideOwner<S>, abuse: AbuseCounters, allocate: Allocate) {
    this.#owner = owner;
    this.#abuse = abuse;
    this.#allocate = allocate;
    this.sink = new ByteSink(allocate);
  }

  get readyCount(): number {
    return this.#ready.length;
  }

  /** Begins a HEADERS frame: the block is appended next, then `endHead` called with what this answers. */
  beginHead(): number {
    const start = this.sink.length;
    this.sink.ensure(frameHeaderBytes);
    this.sink.length += frameHeaderBytes;
    return start;
  }

  endHead(stream: S, start: number, isEnd: boolean): void {
    closeHeaders(this.sink, start, stream.id, isEnd, this.peer.frameBytesMax);
  }

  /** True when all of it went out. */
  sendData(stream: S, bytes: Uint8Array, isEnd: boolean): boolean {
    let at = 0;
    if (!stream.isQueueing && !stream.isHeld) {
      while (at < bytes.length) {
        const length = this.#allowed(stream, bytes.length - at);
        if (length <= 0) break;
        this.#writeData(stream, bytes, at, length, isEnd && at + length === bytes.length);
        at += length;
      }
      if (at === bytes.length) {
        if (isEnd && bytes.length === 0) this.#writeEnd(stream);
        if (isEnd) this.#owner.onSendEnd(stream);
        return true;
      }
    }
    this.#enqueue(stream, bytes, at);
    if (isEnd) stream.isEndQueued = true;
    return false;
  }

  sendTrailers(stream: S, fields: FieldList): void {
    if (stream.isQueueing || stream.isHeld) stream.queuedTrailers = fields.slice();
    else this.#writeTrailers(stream, fields);
  }

  sendEnd(stream: S): void {
    if (stream.isQueueing || stream.isHeld) {
      stream.isEndQueued = true;
      return;
    }
    this.#writeEnd(stream);
    this.#owner.onSendEnd(stream);
  }

  /** Sends what the windows and the channel let out, a frame from each stream in turn. */
  pump(): void {
    const ready = this.#ready;
    while (ready.length > 0 && this.window > 0 && this.#hasRoom()) {
      const stream = ready.shift()!;
      stream.isReady = false;
      if (stream.isClosed) continue;
      this.#sendQueued(stream);
      this.#makeReady(stream);
    }
  }

  /** The stream may go on: its window opened, its head went out. */
  wake(stream: S): void {
    // What no window holds back needs no turn.
    if (stream.queuedBytes === 0 && stream.isQueueing && !stream.isHeld) this.#finishQueue(stream);
    else this.#makeReady(stream);
  }

  forget(stream: S): void {
    stream.queue = [];
    stream.queuedBytes = 0;
    stream.isEndQueued = false;
    stream.queuedTrailers = null;
    if (stream.isReady) this.#ready.splice(this.#ready.indexOf(stream), 1);
    stream.isReady = false;
  }

  /** The connection's window opens. */
  openWindow(increment: number): void {
    this.window += increment;
    if (this.window > windowBytesLimit)
      throw new ConnectionError(errorCodes.flowControlError, 'the window of the connection passes the limit');
  }

  /** How long a DATA frame of the stream may be now: at most `wanted`; 0: not at all. */
  #allowed(stream: S, wanted: number): number {
    if (!this.#hasRoom()) return 0;
    return Math.min(wanted, stream.sendWindow, this.window, this.peer.frameBytesMax, dataFrameBytesMax);
  }

  #hasRoom(): boolean {
    if (this.sink.length >= outputBytesMax && !this.isBlocked) this.#owner.onOutputFull();
    return !this.isBlocked;
  }

  #writeData(stream: S, bytes: Uint8Array, start: number, length: number, isEnd: boolean): void {
    writeData(this.sink, stream.id, bytes, start, length, isEnd);
    stream.sendWindow -= length;
    this.window -= length;
    if (length >= usefulFrameBytes || isEnd) {
      this.#abuse.earn('window-update-flood', 2);
      this.#abuse.earn('ping-flood', 1);
    }
  }

  #writeEnd(stream: S): void {
    writeFrameHeader(this.sink, 0, frameTypes.data, flags.endStream, stream.id);
  }

  #writeTrailers(stream: S, fields: FieldList): void {
    const start = this.beginHead();
    this.encoder.trailers(this.sink, fields);
    // A section that a filter emptied is no block worth a frame: the end alone says as much.
    if (fields.length === 0 && this.sink.length === start + frameHeaderBytes) {
      this.sink.length = start;
      this.#writeEnd(stream);
    } else {
      this.endHead(stream, start, true);
    }
    this.#owner.onSendEnd(stream);
  }

  #enqueue(stream: S, bytes: Uint8Array, start: number): void {
    const length = bytes.length - start;
    stream.owesDrain = true;
    if (length === 0) return;
    assert(stream.queuedBytes + length <= queuedBytesMax, 'a stream that is told to stop must stop');
    if (stream.queuedBytes === 0) stream.sentMs = this.nowMs;
    const copy = this.#allocate(length);
    copy.set(start === 0 ? bytes : bytes.subarray(start));
    stream.queue.push(copy);
    stream.queuedBytes += length;
    this.#makeReady(stream);
  }

  #makeReady(stream: S): void {
    if (stream.isReady || stream.isHeld || stream.isClosed || !stream.isQueueing) return;
    if (stream.queuedBytes > 0 && stream.sendWindow <= 0) return;
    stream.isReady = true;
    this.#ready.push(stream);
  }

  /** One frame of the stream's queue, and the end when that was all. */
  #sendQueued(stream: S): void {
    if (stream.queuedBytes > 0) {
      const first = stream.queue[0]!;
      const length = this.#allowed(stream, first.length - stream.queueOffset);
      if (length <= 0) return;
      const isLast = stream.isEndQueued && length === stream.queuedBytes;
      this.#writeData(stream, first, stream.queueOffset, length, isLast);
      stream.queuedBytes -= length;
      stream.queueOffset += length;
      stream.sentMs = this.nowMs;
      if (stream.queueOffset === first.length) {
        stream.queue.shift();
        stream.queueOffset = 0;
      }
      if (isLast) {
        stream.isEndQueued = false;
        this.#owner.onSendEnd(stream);
        return;
      }
      if (stream.queuedBytes > 0) return;
    }
    this.#finishQueue(stream);
  }

  #finishQueue(stream: S): void {
    const trailers = stream.queuedTrailers;
    if (trailers !== null) {
      stream.queuedTrailers = null;
      this.#writeTrailers(stream, trailers);
    } else if (stream.isEndQueued) {
      stream.isEndQueued = false;
      this.#writeEnd(stream);
      this.#owner.onSendEnd(stream);
    } else if (stream.owesDrain) {
      stream.owesDrain = false;
      this.#owner.onSendDrained(stream);
    }
  }
}
