/**
 * The end of a client's HTTP/1 connection, after the last response was given to it: closed when the kernel has
 * everything. Where the client may still be sending, its bytes are read and dropped for a moment first, because
 * closing then makes a reset of it, which destroys the response on its way.
 */
import type { HostBytes } from '../core/bytes.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import { discardBytesMax, lingerMs } from './http1-limits.ts';
import type { Http1Output } from './http1-output.ts';

export interface FarewellObserver {
  /** The channel is closed. Once. */
  onFarewell(): void;
}

export class Farewell extends TimerEntry implements ChannelSink {
  readonly #channel: Channel;
  readonly #output: Http1Output;
  readonly #network: Network;
  readonly #observer: FarewellObserver;
  #isLingering = false;
  #isInputEnded = false;
  #discardedBytes = 0;

  constructor(channel: Channel, output: Http1Output, network: Network, observer: FarewellObserver) {
    super();
    this.#channel = channel;
    this.#output = output;
    this.#network = network;
    this.#observer = observer;
  }

  /** `patienceMs` is what the client gets to take what is on its way. */
  start(isLingering: boolean, isInputEnded: boolean, patienceMs: number): void {
    this.#channel.sink = this;
    this.#isLingering = isLingering && !isInputEnded;
    this.#isInputEnded = isInputEnded;
    this.#output.flush();
    if (this.#isLingering) {
      this.#channel.halfClose();
      this.#channel.resume();
    }
    this.#arm(patienceMs);
    this.#settle();
  }

  /** Ends it now. */
  abort(): void {
    this.#close(true);
  }

  onData(_channel: Channel, bytes: HostBytes): void {
    this.#discardedBytes += bytes.length;
    if (this.#discardedBytes > discardBytesMax) this.#close(false);
  }

  onEnd(_channel: Channel): void {
    this.#isInputEnded = true;
    this.#settle();
  }

  onDrain(_channel: Channel): void {
    this.#settle();
  }

  onError(_channel: Channel, _code: string): void {
    this.#close(false);
  }

  onFault(_channel: Channel, _error: unknown): void {
    this.#close(true);
  }

  override expire(): void {
    this.#close(this.#output.isStuck);
  }

  #settle(): void {
    if (this.#output.isStuck) return;
    if (!this.#isLingering || this.#isInputEnded) this.#close(false);
    else this.#arm(lingerMs);
  }

  #arm(timeoutMs: number): void {
    this.#network.timers.arm(this, this.#network.nowMs + timeoutMs);
  }

  #close(isReset: boolean): void {
    this.#network.timers.disarm(this);
    this.#channel.sink = deafSink;
    if (isReset) this.#channel.reset();
    else this.#channel.close();
    this.#observer.onFarewell();
  }
}
