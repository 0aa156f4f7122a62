/** The streams of a connection that are open, and what is left of those that were: RFC 9113 §5.1.1. */
import { streamIdMax } from './protocol.ts';
import type { Http2Stream } from './stream.ts';

/** Streams we reset whose late frames are forgiven; older ones have arrived long since. */
const resetsKept = 256;

export class StreamTable<S extends Http2Stream> {
  readonly #isServer: boolean;
  readonly #open = new Map<number, S>();
  readonly #resets = new Set<number>();
  /** The highest stream the peer opened: what GOAWAY names. */
  lastPeerId = 0;
  #nextId = 1;
  #ignoredId = 0;

  constructor(isServer: boolean) {
    this.#isServer = isServer;
  }

  get count(): number {
    return this.#open.size;
  }

  /** True while there are identifiers left for streams of ours. */
  get hasIds(): boolean {
    return this.#nextId <= streamIdMax;
  }

  get(streamId: number): S | undefined {
    return this.#open.get(streamId);
  }

  all(): IterableIterator<S> {
    return this.#open.values();
  }

  add(stream: S): void {
    this.#open.set(stream.id, stream);
  }

  remove(stream: S): void {
    this.#open.delete(stream.id);
  }

  /** The next stream of ours. */
  takeId(): number {
    const streamId = this.#nextId;
    this.#nextId += 2;
    return streamId;
  }

  /** Never used, by either side. Only clients open streams: an even one is always idle. */
  isIdle(streamId: number): boolean {
    if ((streamId & 1) === 0) return true;
    return this.#isServer ? streamId > Math.max(this.lastPeerId, this.#ignoredId) : streamId >= this.#nextId;
  }

  noteReset(streamId: number): void {
    this.#resets.add(streamId);
    if (this.#resets.size <= resetsKept) return;
    for (const oldest of this.#resets) {
      this.#resets.delete(oldest);
      return;
    }
  }

  /** Came after our last GOAWAY: its frames are dropped, as those of a stream we reset. */
  noteIgnored(streamId: number): void {
    this.#ignoredId = Math.max(this.#ignoredId, streamId);
    this.noteReset(streamId);
  }

  /** We reset it a short while ago: the peer may not have known yet. */
  wasReset(streamId: number): boolean {
    return this.#resets.has(streamId);
  }
}
