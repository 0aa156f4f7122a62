/**
 * Finds the end of a head or a trailer section, in whatever pieces it comes. Nearly every head is whole in one read:
 * it is decoded in place and never kept. What is incomplete is kept as bytes, never more than the limit.
 */

import type { HostBytes } from '../../core/bytes.ts';
import { carriageReturn, lineFeed } from './characters.ts';
import type { Section } from './field-block.ts';
import { malformed, type Allocate, type Side } from './limits.ts';

const empty = '\r\n\r\n';
const noBytes = new Uint8Array(0);

/** Heads are shorter than this as a rule; decoding more at first would decode the body behind them. */
const probeBytes = 2048;

export class HeadCollector implements Section {
  /** After `collect` answered true: text that begins with the section. */
  text = '';
  /** The same as bytes, which begin at `offset`: those of the call, or the ones that were kept. */
  bytes: Uint8Array = noBytes;
  offset = 0;
  /** Where in `text` the section ends, its empty line included. */
  end = 0;
  /** How many bytes of the last call belong to the section. */
  taken = 0;
  readonly #bytesMax: number;
  readonly #side: Side;
  readonly #allocate: Allocate;
  #kept: HostBytes | undefined = undefined;
  #keptLength = 0;
  /** True after the limit was passed without an end. */
  isOversized = false;

  constructor(bytesMax: number, side: Side, allocate: Allocate) {
    this.#bytesMax = bytesMax;
    this.#side = side;
    this.#allocate = allocate;
  }

  get keptLength(): number {
    return this.#keptLength;
  }

  /**
   * True once the section is complete. False while it is not: every byte was taken then, or `isOversized` is set
   * and `text` holds the beginning. Throws ProtocolError at a line that ends in a bare LF.
   */
  collect(bytes: HostBytes, start: number): boolean {
    if (this.#keptLength === 0) {
      const limit = Math.min(bytes.length, start + this.#bytesMax);
      if (this.#find(bytes, start, Math.min(limit, start + probeBytes))) return true;
      if (limit > start + probeBytes && this.#find(bytes, start, limit)) return true;
    }
    return this.#keep(bytes, start);
  }

  /** Forgets the section that was complete. */
  clear(): void {
    this.text = '';
    this.bytes = noBytes;
    this.#kept = undefined;
    this.#keptLength = 0;
  }

  /** A bare LF goes before every other fault, because it is found before the head is complete. */
  refuseBareLineFeed(): void {
    for (let at = this.text.indexOf('\n'); at !== -1 && at < this.end; at = this.text.indexOf('\n', at + 1)) {
      if (at === 0 || this.text.charCodeAt(at - 1) !== carriageReturn) throw bareLineFeed(this.#side);
    }
  }

  #find(bytes: HostBytes, start: number, limit: number): boolean {
    const text = bytes.latin1Slice(start, limit);
    const found = text.indexOf(empty);
    if (found === -1) return false;
    this.text = text;
    this.bytes = bytes;
    this.offset = start;
    this.end = found + empty.length;
    this.taken = this.end;
    return true;
  }

  #keep(bytes: HostBytes, start: number): boolean {
    const before = this.#keptLength;
    const length = Math.min(bytes.length - start, this.#bytesMax - before);
    const kept = this.#room(before + length);
    kept.set(bytes.subarray(start, start + length), before);
    this.#keptLength = before + length;
    for (let at = before; at < this.#keptLength; at++) {
      if (kept[at] !== lineFeed) continue;
      if (at === 0 || kept[at - 1] !== carriageReturn) throw bareLineFeed(this.#side);
      if (at < 3 || kept[at - 2] !== lineFeed) continue;
      this.end = at + 1;
      this.taken = this.end - before;
      this.text = kept.latin1Slice(0, this.end);
      this.bytes = kept;
      this.offset = 0;
      return true;
    }
    this.taken = length;
    if (this.#keptLength === this.#bytesMax) {
      this.isOversized = true;
      this.text = kept.latin1Slice(0, this.#keptLength);
    }
    return false;
  }

  #room(byteCount: number): HostBytes {
    const old = this.#kept;
    if (old !== undefined && old.length >= byteCount) return old;
    const size = Math.min(this.#bytesMax, Math.max(byteCount, 2 * (old?.length ?? probeBytes / 4)));
    const grown = this.#allocate(size);
    if (old !== undefined) grown.set(old.subarray(0, this.#keptLength), 0);
    this.#kept = grown;
    return grown;
  }
}

function bareLineFeed(side: Side): Error {
  return malformed(side, 'a line that ends in a bare LF');
}
