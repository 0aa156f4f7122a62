/**
 * The deadlines of a client's HTTP/1 connection, one at a time: which it is depends on whose turn it is. While the
 * backend is waited for none runs: that one is the exchange's. Beside it, the deadline of a client that takes nothing
 * of what was sent to it.
 */
import { TimerEntry } from '../core/timer-wheel.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { Network } from '../net/network.ts';
import { drainNoticeMs, drainPatience } from './http1-limits.ts';
import { BodyPace } from './http1-pace.ts';
import { StallWatch, type StallObserver } from './http1-stall-watch.ts';

/** `first`: the first request; `request`: the next one; `last`: one on its way; then its head, its body, or a tunnel. */
export type Wait = 'first' | 'request' | 'last' | 'head' | 'body' | 'tunnel';

export interface DeadlineObserver extends StallObserver {
  onDeadline(wait: Wait): void;
  /** A body came too slowly, or not at all. */
  onSlowBody(detail: string): void;
}

export class Http1Deadlines extends TimerEntry {
  /** While it is true the client is not read, so that it can not be slow. A channel begins paused. */
  isPaused = true;
  readonly #network: Network;
  readonly #settings: HttpSettings;
  readonly #observer: DeadlineObserver;
  readonly #pace: BodyPace;
  #wait: Wait | 'none' = 'none';
  /** Made when the client first has no room. */
  #stallWatch: StallWatch | undefined = undefined;

  constructor(network: Network, settings: HttpSettings, observer: DeadlineObserver) {
    super();
    this.#network = network;
    this.#settings = settings;
    this.#observer = observer;
    this.#pace = new BodyPace(settings.bodyRateMin);
  }

  /** Starts this deadline, unless it is the one that runs. */
  watch(wait: Wait): void {
    if (this.#wait === wait) return;
    this.#wait = wait;
    if (wait === 'body') this.#pace.start(this.#network.nowMs);
    this.#arm(this.#timeoutMs(wait));
  }

  /** None runs. */
  rest(): void {
    this.#wait = 'none';
    this.#network.timers.disarm(this);
  }

  addBody(byteCount: number): void {
    this.#pace.add(byteCount);
  }

  /** A byte went through the tunnel. */
  touchTunnel(): void {
    if (this.#wait === 'tunnel') this.deadlineMs = this.#network.nowMs + this.#settings.tunnelIdleTimeoutMs;
  }

  /** The client has no room for more. */
  watchDrain(): void {
    this.#stallWatch ??= new StallWatch(this.#observer);
    this.#network.timers.arm(this.#stallWatch, this.#network.nowMs + this.patienceMs);
  }

  /** It took everything. */
  drained(): void {
    if (this.#stallWatch !== undefined) this.#network.timers.disarm(this.#stallWatch);
  }

  /** How long a client may take nothing. */
  get patienceMs(): number {
    return drainPatience * this.#settings.bodyIdleTimeoutMs;
  }

  close(): void {
    this.rest();
    this.drained();
  }

  override expire(nowMs: number): void {
    const wait = this.#wait;
    this.#wait = 'none';
    if (wait === 'body') this.#checkPace(nowMs);
    else if (wait !== 'none') this.#observer.onDeadline(wait);
  }

  #checkPace(nowMs: number): void {
    if (this.isPaused) return this.watch('body');
    const fault = this.#pace.check(nowMs);
    if (fault === undefined) this.watch('body');
    else this.#observer.onSlowBody(fault);
  }

  #timeoutMs(wait: Wait): number {
    const settings = this.#settings;
    // Who opens a connection and sends nothing gets the time of a head, not that of an idle client.
    if (wait === 'first' || wait === 'head') return settings.headTimeoutMs;
    if (wait === 'request') return settings.keepAliveTimeoutMs;
    if (wait === 'last') return drainNoticeMs;
    return wait === 'body' ? settings.bodyIdleTimeoutMs : settings.tunnelIdleTimeoutMs;
  }

  #arm(timeoutMs: number): void {
    this.#network.timers.arm(this, this.#network.nowMs + timeoutMs);
  }
}
