/**
 * The body of a message, as the head said it is framed (RFC 9112 §6, §7): by a length, in chunks, to the end of the
 * connection. Hands out views of what it was given and keeps nothing but a trailer section without its end.
 *
 * Chunk extensions mean nothing to a proxy and are dropped, within two bounds: of one chunk, and of a whole body
 * whose extensions outgrow its data.
 */

import type { HostBytes } from '../../core/bytes.ts';
import { assert } from '../../core/errors.ts';
import type { FieldList } from '../http-message.ts';
import { carriageReturn, hexValues, lineFeed, semicolon, space, tab, valueKinds } from './characters.ts';
import { parseFieldBlock } from './field-block.ts';
import { HeadCollector } from './head-collector.ts';
import {
  ambiguous,
  chunkExcessBytesMax,
  chunkSizeDigitsMax,
  malformed,
  oversized,
  type Allocate,
  type Http1Limits,
  type Side,
} from './limits.ts';

/** Takes a body. Exactly one of `isEnd`, `onTrailers` and `onBodyEnd` ends it. */
export interface BodyEvents {
  /** A view of what was received: used up before this returns. */
  onBody(bytes: HostBytes, isEnd: boolean): void;
  onTrailers(fields: FieldList): void;
  onBodyEnd(): void;
}

/**
 * Where the decoder stands. From `size` to `trailers` is a chunked body, in the order of the wire:
 * size, blank before an extension, extension, LF of that line, data, CR and LF behind the data, then the first byte
 * of the trailer section, the LF of an empty one, and a section with fields.
 */
const states = {
  done: 0,
  length: 1,
  untilClose: 2,
  size: 3,
  blank: 4,
  extension: 5,
  sizeLf: 6,
  data: 7,
  dataCr: 8,
  dataLf: 9,
  trailerStart: 10,
  trailerLf: 11,
  trailers: 12,
} as const;
type State = (typeof states)[keyof typeof states];

export class BodyDecoder {
  readonly #limits: Http1Limits;
  readonly #side: Side;
  readonly #trailers: HeadCollector;
  #state: State = states.done;
  /** Of the body, or of the chunk. */
  #remaining = 0;
  #sizeDigits = 0;
  #extensionBytes = 0;
  #excessBytes = 0;
  #isStopped = false;

  constructor(limits: Http1Limits, side: Side, allocate: Allocate) {
    this.#limits = limits;
    this.#side = side;
    this.#trailers = new HeadCollector(limits.trailerBytesMax, side, allocate);
  }

  get isDone(): boolean {
    return this.#state === states.done;
  }

  /** What is kept of an incomplete trailer section. */
  get keptLength(): number {
    return this.#trailers.keptLength;
  }

  startLength(byteCount: number): void {
    assert(this.#state === states.done && byteCount > 0, 'one body after another, none of them empty');
    this.#remaining = byteCount;
    this.#state = states.length;
  }

  startChunked(): void {
    assert(this.#state === states.done, 'one body after another');
    this.#excessBytes = 0;
    this.#startSize();
  }

  startUntilClose(): void {
    assert(this.#state === states.done, 'one body after another');
    this.#state = states.untilClose;
  }

  /** Has `receive` return after the call of the sink that it is in. */
  stop(): void {
    this.#isStopped = true;
  }

  /** The connection ended. True when that is where the body ends, too. */
  finish(): boolean {
    if (this.#state !== states.untilClose) return this.#state === states.done;
    this.#state = states.done;
    return true;
  }

  /** Reads on from `at`; answers where it stopped: behind the body, at `stop`, or at the end of `bytes`. Throws ProtocolError. */
  receive(bytes: HostBytes, at: number, sink: BodyEvents): number {
    this.#isStopped = false;
    while (at < bytes.length && this.#state !== states.done && !this.#isStopped) {
      at = this.#step(bytes, at, sink);
    }
    return at;
  }

  #step(bytes: HostBytes, at: number, sink: BodyEvents): number {
    switch (this.#state) {
      case states.length:
        return this.#takeData(bytes, at, sink, true);
      case states.untilClose:
        sink.onBody(at === 0 ? bytes : bytes.subarray(at), false);
        return bytes.length;
      case states.data:
        return this.#takeData(bytes, at, sink, false);
      case states.trailers:
        return this.#takeTrailers(bytes, at, sink);
      default:
        return this.#takeLines(bytes, at, sink);
    }
  }

  #takeData(bytes: HostBytes, at: number, sink: BodyEvents, isWhole: boolean): number {
    const length = Math.min(this.#remaining, bytes.length - at);
    this.#remaining -= length;
    const isLast = this.#remaining === 0;
    if (isLast) this.#state = isWhole ? states.done : states.dataCr;
    const view = length === bytes.length ? bytes : bytes.subarray(at, at + length);
    sink.onBody(view, isLast && isWhole);
    return at + length;
  }

  /** The lines between the data, byte by byte: they are short. */
  #takeLines(bytes: HostBytes, start: number, sink: BodyEvents): number {
    for (let at = start; at < bytes.length; at++) {
      const byte = bytes[at]!;
      switch (this.#state) {
        case states.size:
          this.#takeSize(byte);
          break;
        case states.blank:
        case states.extension:
          this.#takeExtension(byte);
          break;
        case states.sizeLf:
          this.#expect(byte, lineFeed);
          this.#endSize();
          break;
        case states.dataCr:
          this.#expect(byte, carriageReturn);
          this.#state = states.dataLf;
          break;
        case states.dataLf:
          this.#expect(byte, lineFeed);
          this.#startSize();
          break;
        case states.trailerStart:
          this.#state = byte === carriageReturn ? states.trailerLf : states.trailers;
          break;
        case states.trailerLf:
          this.#expect(byte, lineFeed);
          this.#state = states.done;
          sink.onBodyEnd();
          return at + 1;
        default:
          return at;
      }
      const state = this.#state as State;
      // The first byte of a section with fields belongs to the section.
      if (state === states.trailers) return at;
      if (state === states.data) return at + 1;
    }
    return bytes.length;
  }

  #startSize(): void {
    this.#state = states.size;
    this.#remaining = 0;
    this.#sizeDigits = 0;
    this.#extensionBytes = 0;
  }

  #takeSize(byte: number): void {
    const digit = hexValues[byte]!;
    if (digit !== 255) {
      if (++this.#sizeDigits > chunkSizeDigitsMax)
        throw malformed(this.#side, 'a chunk size of too many digits');
      this.#remaining = this.#remaining * 16 + digit;
      if (!Number.isSafeInteger(this.#remaining)) throw malformed(this.#side, 'a chunk size past 2^53');
      return;
    }
    if (this.#sizeDigits === 0) throw malformed(this.#side, 'a chunk without a size');
    if (byte === carriageReturn) this.#state = states.sizeLf;
    else if (byte === semicolon) this.#state = states.extension;
    else if (byte === space || byte === tab) this.#state = states.blank;
    else throw malformed(this.#side, 'a chunk size that is no hexadecimal number');
  }

  #takeExtension(byte: number): void {
    if (++this.#extensionBytes > this.#limits.chunkExtensionBytesMax) {
      throw malformed(this.#side, 'chunk extensions longer than chunkExtensionBytesMax');
    }
    if (this.#state === states.extension) {
      if (byte === carriageReturn) this.#state = states.sizeLf;
      else if (valueKinds[byte] !== 1)
        throw malformed(this.#side, 'a control character in a chunk extension');
    } else if (byte === semicolon) {
      this.#state = states.extension;
    } else if (byte !== space && byte !== tab) {
      throw malformed(this.#side, 'a chunk size that is no hexadecimal number');
    }
  }

  #endSize(): void {
    this.#excessBytes = Math.max(0, this.#excessBytes + this.#extensionBytes - this.#remaining);
    if (this.#excessBytes > chunkExcessBytesMax) {
      throw malformed(this.#side, 'chunk extensions that outgrow the data');
    }
    this.#state = this.#remaining === 0 ? states.trailerStart : states.data;
  }

  #expect(byte: number, wanted: number): void {
    if (byte !== wanted) throw malformed(this.#side, 'a chunk that does not end in CRLF');
  }

  #takeTrailers(bytes: HostBytes, at: number, sink: BodyEvents): number {
    const section = this.#trailers;
    if (!section.collect(bytes, at)) {
      if (section.isOversized) throw oversized(this.#side, 'trailers longer than trailerBytesMax');
      return bytes.length;
    }
    const fields = this.#parseTrailers(section);
    section.clear();
    this.#state = states.done;
    sink.onTrailers(fields);
    return at + section.taken;
  }

  #parseTrailers(section: HeadCollector): FieldList {
    try {
      const block = parseFieldBlock(section, 0, section.end - 2, this.#limits.headerCountMax, this.#side);
      if (block.host !== undefined || block.contentLength !== -1 || block.isChunked) {
        throw ambiguous(this.#side, 'a trailer that says how the message is framed, or for whom');
      }
      return block.fields;
    } catch (error) {
      section.refuseBareLineFeed();
      throw error;
    }
  }
}
