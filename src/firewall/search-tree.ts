/**
 * The search tree of a MaxMind database, walked by the words of an address without copying the file.
 * MaxMind DB file format 2.0, "Binary Search Tree Section".
 */
import { assert } from '../core/errors.ts';
import type { IpAddress } from '../core/ip.ts';

export interface TreeShape {
  readonly nodeCount: number;
  /** Bits of a record: 24, 28 or 32. */
  readonly recordSize: number;
  readonly ipVersion: number;
}

const v4Depth = 32;
const v6Depth = 128;

export class SearchTree {
  readonly nodeCount: number;
  readonly depth: number;
  readonly #bytes: Uint8Array;
  readonly #recordSize: number;
  readonly #nodeBytes: number;
  /** Where IPv4 begins: 96 zero bits down an IPv6 tree. */
  readonly #v4Start: number;

  constructor(bytes: Uint8Array, shape: TreeShape) {
    this.nodeCount = shape.nodeCount;
    this.depth = shape.ipVersion === 4 ? v4Depth : v6Depth;
    this.#bytes = bytes;
    this.#recordSize = shape.recordSize;
    this.#nodeBytes = shape.recordSize / 4;
    assert(this.nodeCount * this.#nodeBytes <= bytes.length, 'the tree is longer than its file');
    this.#v4Start = this.depth === v4Depth ? 0 : this.#descend(0, 0, v6Depth - v4Depth);
  }

  /** What an address leads to: more than `nodeCount` is data, anything else is nothing. */
  find(ip: IpAddress): number {
    if (ip.family === 4) return this.#descend(this.#v4Start, ip.w3, v4Depth);
    if (this.depth === v4Depth) return this.nodeCount;
    let record = this.#descend(0, ip.w0, 32);
    record = this.#descend(record, ip.w1, 32);
    record = this.#descend(record, ip.w2, 32);
    return this.#descend(record, ip.w3, 32);
  }

  /** A node's record for a 0 bit (`side` 0) or a 1 bit. */
  record(node: number, side: number): number {
    const bytes = this.#bytes;
    const at = node * this.#nodeBytes;
    if (this.#recordSize === 24) return threeBytes(bytes, at + side * 3);
    if (this.#recordSize === 32)
      return bytes[at + side * 4]! * 0x1000000 + threeBytes(bytes, at + side * 4 + 1);
    const shared = bytes[at + 3]!;
    return side === 0
      ? ((shared >>> 4) << 24) | threeBytes(bytes, at)
      : ((shared & 0x0f) << 24) | threeBytes(bytes, at + 4);
  }

  /** Follows `bits` bits (from the top; beyond 32 all are zero) until the tree ends. */
  #descend(start: number, word: number, bits: number): number {
    let record = start;
    for (let bit = 0; bit < bits && record < this.nodeCount; bit++) {
      record = this.record(record, bit < 32 ? (word >>> (31 - bit)) & 1 : 0);
    }
    return record;
  }
}

function threeBytes(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
}
