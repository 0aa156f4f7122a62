/**
 * The relay: bytes between two channels until both directions have ended.
 *
 * Half-closes are passed on, each direction has back-pressure of its own, and what one direction may hold is
 * bounded by one read (`sharedBufferBytes`): a source is paused as soon as its target did not take everything.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import { deafSink, type Channel, type ChannelSink } from './channel.ts';
import type { Network } from './network.ts';

/** Learns how a relay ended; exactly one call comes. Both channels are closed by then. */
export interface RelayObserver {
  onRelayEnd(reason: Reason, detail: string | undefined): void;
  /** A fault of ours; both channels are closed. It may come after the end. */
  onRelayFault(error: unknown): void;
}

export class Relay extends TimerEntry implements ChannelSink {
  /** Bytes from the client to the backend. */
  bytesIn = 0;
  /** Bytes from the backend to the client. */
  bytesOut = 0;
  readonly #network: Network;
  readonly #downstream: Channel;
  readonly #upstream: Channel;
  readonly #idleTimeoutMs: number;
  readonly #observer: RelayObserver;
  #downstreamEnded = false;
  #upstreamEnded = false;
  #firstEnd: Reason = 'client-closed';
  #isOver = false;

  constructor(
    network: Network,
    downstream: Channel,
    upstream: Channel,
    idleTimeoutMs: number,
    observer: RelayObserver,
  ) {
    super();
    this.#network = network;
    this.#downstream = downstream;
    this.#upstream = upstream;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#observer = observer;
  }

  /**
   * Takes both channels over. `opening` is what was already read from the client and goes to the backend first;
   * `preface` is ours and goes before it, uncounted. With `isDownstreamEnded` the client has half-closed already.
   */
  start(preface: HostBytes | null, opening: HostBytes, isDownstreamEnded: boolean): void {
    this.#downstream.sink = this;
    this.#upstream.sink = this;
    this.#network.timers.arm(this, this.#network.nowMs + this.#idleTimeoutMs);
    this.bytesIn = opening.length;
    if (preface !== null) this.#upstream.write(preface);
    // A client that waits for the other side to speak first has said nothing yet.
    const isTaken = opening.length === 0 || this.#upstream.write(opening);
    this.#upstream.resume();
    if (isDownstreamEnded) this.onEnd(this.#downstream);
    else if (isTaken) this.#downstream.resume();
    else this.#downstream.pause();
  }

  /** Ends both sides at once, with resets. */
  abort(reason: Reason, detail?: string): void {
    this.#finish(reason, detail, true);
  }

  onData(channel: Channel, bytes: HostBytes): void {
    this.deadlineMs = this.#network.nowMs + this.#idleTimeoutMs;
    if (channel === this.#downstream) {
      this.bytesIn += bytes.length;
      if (!this.#upstream.write(bytes)) channel.pause();
    } else {
      this.bytesOut += bytes.length;
      if (!this.#downstream.write(bytes)) channel.pause();
    }
  }

  onDrain(channel: Channel): void {
    this.deadlineMs = this.#network.nowMs + this.#idleTimeoutMs;
    if (this.#downstreamEnded && this.#upstreamEnded) return this.#finishWhenWritten();
    if (channel === this.#downstream) {
      if (!this.#upstreamEnded) this.#upstream.resume();
    } else if (!this.#downstreamEnded) {
      this.#downstream.resume();
    }
  }

  onEnd(channel: Channel): void {
    const isDownstream = channel === this.#downstream;
    if (!this.#downstreamEnded && !this.#upstreamEnded) {
      this.#firstEnd = isDownstream ? 'client-closed' : 'backend-closed';
    }
    if (isDownstream) {
      this.#downstreamEnded = true;
      this.#upstream.halfClose();
    } else {
      this.#upstreamEnded = true;
      this.#downstream.halfClose();
    }
    if (this.#downstreamEnded && this.#upstreamEnded) this.#finishWhenWritten();
  }

  onError(channel: Channel, code: string): void {
    this.#finish(channel === this.#downstream ? 'client-reset' : 'backend-reset', code, true);
  }

  onFault(_channel: Channel, error: unknown): void {
    if (!this.#isOver) this.#release(true);
    this.#observer.onRelayFault(error);
  }

  /** No byte has moved either way for the idle timeout. */
  override expire(): void {
    this.#finish('idle-timeout', undefined, true);
  }

  /** Closing throws away what the kernel has not taken yet: the last drain comes first. */
  #finishWhenWritten(): void {
    if (this.#downstream.isBacklogged || this.#upstream.isBacklogged) return;
    this.#finish(this.#firstEnd, undefined, false);
  }

  #finish(reason: Reason, detail: string | undefined, isReset: boolean): void {
    if (this.#isOver) return;
    this.#release(isReset);
    this.#observer.onRelayEnd(reason, detail);
  }

  #release(isReset: boolean): void {
    this.#isOver = true;
    this.#network.timers.disarm(this);
    for (const channel of [this.#downstream, this.#upstream]) {
      channel.sink = deafSink;
      if (isReset) channel.reset();
      else channel.close();
    }
  }
}
