/**
 * Bytes as every folder sees them.
 *
 * `core` and `codec` compile without Node's types, which proves that they do no I/O. They still want the
 * latin1 methods of Node's `Buffer`, because those turn a header into a string without a loop in
 * JavaScript; this interface names just those. `net` supplies real Buffers.
 */
export interface HostBytes extends Uint8Array {
  /** The bytes from `start` (inclusive) to `end` (exclusive), one character for each byte. */
  latin1Slice(start?: number, end?: number): string;
  /** Writes one byte for each character of `text` at `offset`; answers how many were written. */
  latin1Write(text: string, offset?: number, length?: number): number;
  /** A view of the same memory, never a copy. */
  subarray(start?: number, end?: number): HostBytes;
}
