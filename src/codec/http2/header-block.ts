/**
 * One header block, from its HEADERS and the CONTINUATIONs that follow: RFC 9113 §6.2, §6.10. A view where it
 * came in one frame. Its size and its frames are bounded before anything is decoded.
 */
import type { HostBytes } from '../../core/bytes.ts';
import { ByteSink, type Allocate } from '../byte-sink.ts';
import type { AbuseCounters } from './abuse.ts';
import { AbuseError, ConnectionError } from './errors.ts';
import { errorCodes, flags, streamIdMax } from './protocol.ts';

/** A frame that carries fewer bytes than this is no honest way to cut a block. */
const usefulFrameBytes = 256;
/** CONTINUATIONs of a block that may be shorter. */
const shortFramesMax = 16;

export class HeaderBlock {
  /** The stream of a block that is not complete; 0: none. */
  streamId = 0;
  isEndStream = false;
  beganMs = 0;
  /** The stream is said to depend on itself. */
  isSelfDependent = false;
  bytes!: HostBytes;
  start = 0;
  end = 0;

  readonly #bytesMax: number;
  readonly #abuse: AbuseCounters;
  readonly #allocate: Allocate;
  #held: ByteSink | undefined;
  #shortFrames = 0;

  constructor(bytesMax: number, abuse: AbuseCounters, allocate: Allocate) {
    this.#bytesMax = bytesMax;
    this.#abuse = abuse;
    this.#allocate = allocate;
  }

  get heldBytes(): number {
    return this.#held?.length ?? 0;
  }

  /** The payload of HEADERS. True when the block is complete. */
  begin(
    flagBits: number,
    streamId: number,
    bytes: HostBytes,
    from: number,
    to: number,
    nowMs: number,
  ): boolean {
    let start = from;
    let end = to;
    if ((flagBits & flags.padded) !== 0) {
      if (start >= end)
        throw new ConnectionError(errorCodes.frameSizeError, 'HEADERS without its pad length');
      end -= bytes[start++]!;
    }
    this.isSelfDependent = false;
    if ((flagBits & flags.priority) !== 0) {
      if (end - start < 5 && to - start < 5)
        throw new ConnectionError(errorCodes.frameSizeError, 'HEADERS without its priority');
      const parent =
        (bytes[start]! << 24) | (bytes[start + 1]! << 16) | (bytes[start + 2]! << 8) | bytes[start + 3]!;
      this.isSelfDependent = (parent & streamIdMax) === streamId;
      start += 5;
    }
    if (end < start) throw new ConnectionError(errorCodes.protocolError, 'more padding than payload');
    this.streamId = streamId;
    this.beganMs = nowMs;
    this.isEndStream = (flagBits & flags.endStream) !== 0;
    this.#shortFrames = 0;
    if (start === end) this.#abuse.spend('empty-frames', nowMs);
    if ((flagBits & flags.endHeaders) !== 0) {
      this.#view(bytes, start, end);
      return true;
    }
    this.#held = new ByteSink(this.#allocate);
    this.#held.append(bytes.subarray(start, end));
    return false;
  }

  /** The payload of CONTINUATION. True when the block is complete. */
  append(flagBits: number, bytes: HostBytes, start: number, end: number, nowMs: number): boolean {
    const held = this.#held!;
    if (start === end) this.#abuse.spend('empty-frames', nowMs);
    const isLast = (flagBits & flags.endHeaders) !== 0;
    if (!isLast && end - start < usefulFrameBytes && ++this.#shortFrames > shortFramesMax)
      throw new AbuseError('continuation-flood');
    // The list that a block names is never shorter than its strings, but for their Huffman code of rare bytes.
    if (held.length + end - start > this.#bytesMax) throw new AbuseError('continuation-flood');
    held.append(bytes.subarray(start, end));
    if (isLast) this.#view(held.bytes, 0, held.length);
    return isLast;
  }

  /** Lets go of the memory. */
  release(): void {
    this.#held = undefined;
  }

  #view(bytes: HostBytes, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }
}
