/**
 * Cuts bytes into frames: RFC 9113 §4.1. Payloads of DATA go on piece by piece as they come; every other frame
 * is given whole, as a view where it came in one piece. Keeps at most one frame that is not DATA.
 */
import type { HostBytes } from '../../core/bytes.ts';
import { ByteSink, type Allocate } from '../byte-sink.ts';
import { ConnectionError } from './errors.ts';
import { errorCodes, flags, frameBytesDefault, frameHeaderBytes, frameTypes, preface } from './protocol.ts';

export interface FrameSink {
  /** False stops the reader: the connection is gone. */
  readonly isReading: boolean;
  /** A frame other than DATA, whole: its payload is `bytes` from `start` to `end`. */
  onFrame(
    type: number,
    flagBits: number,
    streamId: number,
    bytes: HostBytes,
    start: number,
    end: number,
  ): void;
  /** A DATA frame begins; `length` is its whole payload, padding included, of which `padding` is not data. */
  onDataFrame(flagBits: number, streamId: number, length: number, padding: number): void;
  /** A piece of the DATA frame under way, without its padding. An empty frame gives one empty piece. */
  onDataPiece(bytes: HostBytes, start: number, end: number, isLast: boolean): void;
}

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #allocate: Allocate;
  /** Bytes of the client's preface that are still to come. */
  #prefaceLeft: number;
  /** A frame that did not come in one piece; undefined between frames. */
  #held: ByteSink | undefined;
  /** Bytes of data, then of padding, that the DATA frame under way still brings; -1: none is under way. */
  #dataLeft = -1;
  #paddingLeft = 0;
  /** A padded DATA frame whose pad length has not come: its flags, stream and length are held. */
  #isPadLengthDue = false;
  #flagBits = 0;
  #streamId = 0;
  #length = 0;

  constructor(sink: FrameSink, allocate: Allocate, hasPreface: boolean) {
    this.#sink = sink;
    this.#allocate = allocate;
    this.#prefaceLeft = hasPreface ? preface.length : 0;
  }

  /** Frames that did not come in one piece; with `isHolding` it tells one from the next. */
  holdCount = 0;

  /** True while a frame other than DATA is not complete. */
  get isHolding(): boolean {
    return this.#held !== undefined;
  }

  /** Bytes kept of a frame that is not complete. */
  get heldBytes(): number {
    return this.#held?.length ?? 0;
  }

  receive(bytes: HostBytes): void {
    const end = bytes.length;
    let at = this.#prefaceLeft > 0 ? this.#readPreface(bytes) : 0;
    while (at < end && this.#sink.isReading) {
      if (this.#dataLeft >= 0) at = this.#readData(bytes, at, end);
      else if (this.#isPadLengthDue) at = this.#readPadLength(bytes, at);
      else if (this.#held !== undefined) at = this.#resume(this.#held, bytes, at, end);
      else at = this.#begin(bytes, at, end);
    }
  }

  #readPreface(bytes: HostBytes): number {
    const start = preface.length - this.#prefaceLeft;
    const count = Math.min(bytes.length, this.#prefaceLeft);
    for (let at = 0; at < count; at++) {
      if (bytes[at] !== preface.charCodeAt(start + at))
        throw new ConnectionError(errorCodes.protocolError, 'no connection preface');
    }
    this.#prefaceLeft -= count;
    return count;
  }

  /** At a frame's first byte. */
  #begin(bytes: HostBytes, at: number, end: number): number {
    if (end - at < frameHeaderBytes) return this.#hold(bytes, at, end);
    const length = lengthOf(bytes, at);
    const type = bytes[at + 3]!;
    if (type === frameTypes.data) return this.#beginData(bytes, at);
    const next = at + frameHeaderBytes + length;
    if (next > end) return this.#hold(bytes, at, end);
    this.#sink.onFrame(type, bytes[at + 4]!, streamIdOf(bytes, at), bytes, at + frameHeaderBytes, next);
    return next;
  }

  #hold(bytes: HostBytes, at: number, end: number): number {
    this.#held = new ByteSink(this.#allocate, this.#allocate(256));
    this.#held.append(bytes.subarray(at, end));
    this.holdCount++;
    return end;
  }

  /** Goes on with a held frame: its header first, then as much as that asks for. */
  #resume(held: ByteSink, bytes: HostBytes, start: number, end: number): number {
    let at = start;
    if (held.length < frameHeaderBytes) {
      at = takeInto(held, frameHeaderBytes, bytes, at, end);
      if (held.length < frameHeaderBytes) return at;
    }
    const length = lengthOf(held.bytes, 0);
    if (held.bytes[3] === frameTypes.data) {
      this.#held = undefined;
      this.#beginData(held.bytes, 0);
      return at;
    }
    const whole = frameHeaderBytes + length;
    at = takeInto(held, whole, bytes, at, end);
    if (held.length < whole) return at;
    this.#held = undefined;
    const frame = held.bytes;
    this.#sink.onFrame(frame[3]!, frame[4]!, streamIdOf(frame, 0), frame, frameHeaderBytes, whole);
    return at;
  }

  /** `bytes` holds the whole header at `at`. */
  #beginData(bytes: HostBytes, at: number): number {
    this.#length = lengthOf(bytes, at);
    this.#flagBits = bytes[at + 4]!;
    this.#streamId = streamIdOf(bytes, at);
    if ((this.#flagBits & flags.padded) !== 0) {
      if (this.#length === 0)
        throw new ConnectionError(errorCodes.frameSizeError, 'DATA without its pad length');
      this.#isPadLengthDue = true;
    } else {
      this.#startData(bytes, 0, this.#length);
    }
    return at + frameHeaderBytes;
  }

  #readPadLength(bytes: HostBytes, at: number): number {
    const padding = bytes[at]!;
    this.#isPadLengthDue = false;
    if (padding >= this.#length)
      throw new ConnectionError(errorCodes.protocolError, 'more padding than payload');
    this.#startData(bytes, padding, this.#length - 1 - padding);
    return at + 1;
  }

  #startData(bytes: HostBytes, padding: number, dataBytes: number): void {
    this.#paddingLeft = padding;
    this.#dataLeft = dataBytes;
    this.#sink.onDataFrame(this.#flagBits, this.#streamId, this.#length, this.#length - dataBytes);
    if (dataBytes > 0) return;
    this.#sink.onDataPiece(bytes, 0, 0, true);
    if (padding === 0) this.#dataLeft = -1;
  }

  #readData(bytes: HostBytes, start: number, end: number): number {
    let at = start;
    if (this.#dataLeft > 0) {
      at = Math.min(start + this.#dataLeft, end);
      this.#dataLeft -= at - start;
      const isLast = this.#dataLeft === 0;
      // The state is whole before the owner is called: what it throws must not make these bytes come again.
      if (isLast && this.#paddingLeft === 0) this.#dataLeft = -1;
      this.#sink.onDataPiece(bytes, start, at, isLast);
      return at;
    }
    at = Math.min(start + this.#paddingLeft, end);
    this.#paddingLeft -= at - start;
    if (this.#paddingLeft === 0) this.#dataLeft = -1;
    return at;
  }
}

/** The payload's length, checked before anything is kept of it. */
function lengthOf(bytes: Uint8Array, at: number): number {
  const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
  if (length > frameBytesDefault)
    throw new ConnectionError(errorCodes.frameSizeError, 'a frame above the limit');
  return length;
}

function streamIdOf(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 5]! & 0x7f) << 24) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!;
}

/** Fills `held` up to `length` bytes; answers the offset behind what it took. */
function takeInto(held: ByteSink, length: number, bytes: HostBytes, at: number, end: number): number {
  const next = Math.min(at + length - held.length, end);
  held.append(bytes.subarray(at, next));
  return next;
}
