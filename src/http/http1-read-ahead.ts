/**
 * What a client sent before its turn: requests behind the one in progress, and what a stream has no credit for. A
 * copy, because it outlives the read. Full after `pipelinedMax` heads or `bytesMax` bytes, whichever comes first;
 * the channel is paused then, so that never more is held than that and one read.
 */
import type { HostBytes } from '../core/bytes.ts';
import { allocate } from './http1-limits.ts';

export class ReadAhead {
  readonly #pipelinedMax: number;
  readonly #bytesMax: number;
  #buffer: HostBytes | undefined = undefined;
  #length = 0;
  /** Ends of heads among them. A body may hold what looks like one: that only fills the buffer sooner. */
  #headCount = 0;

  constructor(pipelinedMax: number, bytesMax: number) {
    this.#pipelinedMax = pipelinedMax;
    this.#bytesMax = bytesMax;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  get isFull(): boolean {
    return this.#length >= this.#bytesMax || this.#headCount >= this.#pipelinedMax;
  }

  /** Keeps `bytes` from `start` on. */
  append(bytes: HostBytes, start: number): void {
    const before = this.#length;
    this.#length += bytes.length - start;
    const buffer = this.#room(before);
    buffer.set(bytes.subarray(start), before);
    this.#headCount += countHeads(buffer.latin1Slice(Math.max(0, before - end.length + 1), this.#length));
  }

  /** Everything, and forgets it. */
  take(): HostBytes | undefined {
    const bytes = this.#buffer?.subarray(0, this.#length);
    this.clear();
    return bytes;
  }

  clear(): void {
    this.#buffer = undefined;
    this.#length = 0;
    this.#headCount = 0;
  }

  /** Doubles, so that a client who sends byte by byte is not copied anew each time. */
  #room(usedBytes: number): HostBytes {
    const old = this.#buffer;
    if (old !== undefined && old.length >= this.#length) return old;
    const grown = allocate(old === undefined ? this.#length : 2 * this.#length);
    if (old !== undefined) grown.set(old.subarray(0, usedBytes));
    this.#buffer = grown;
    return grown;
  }
}

const end = '\r\n\r\n';

function countHeads(text: string): number {
  let count = 0;
  for (let at = text.indexOf(end); at !== -1; at = text.indexOf(end, at + end.length)) count++;
  return count;
}
