/**
 * Memory that output is written to. Codecs allocate none of the host's bytes themselves: the one function that
 * does is given to them.
 */
import type { HostBytes } from '../core/bytes.ts';

export type Allocate = (byteCount: number) => HostBytes;

/** Grows by doubling. Who writes asks for room first; who reads bounds what is asked for. */
export class ByteSink {
  bytes: HostBytes;
  length = 0;
  readonly #allocate: Allocate;

  constructor(allocate: Allocate, bytes: HostBytes = allocate(4096)) {
    this.#allocate = allocate;
    this.bytes = bytes;
  }

  /** Makes room for `byteCount` more bytes. */
  ensure(byteCount: number): void {
    const needed = this.length + byteCount;
    if (needed <= this.bytes.length) return;
    const grown = this.#allocate(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  append(bytes: Uint8Array): void {
    this.ensure(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Gives the written memory away; what is written next goes to memory of its own. */
  give(): HostBytes {
    const given = this.bytes.subarray(0, this.length);
    this.bytes = this.#allocate(4096);
    this.length = 0;
    return given;
  }
}

/** A copy; the host's own `slice` may be a view, as Node's is. */
export function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start);
  copy.set(bytes.subarray(start, end));
  return copy;
}
