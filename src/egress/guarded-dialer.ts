/** Dials straight to a target: only literals that the guard has judged, one after the other. */
import type { Reason } from '../core/reason.ts';
import type { DialOutcome, Dialer } from '../http/upstream-target.ts';
import type { Channel } from '../net/channel.ts';
import { Dial, type DialObserver } from '../net/dial.ts';
import type { Network } from '../net/network.ts';
import type { NetworkGuard } from './network-guard.ts';
import { resolveJudged, type Destination, type JudgedObserver } from './resolve-target.ts';

export class GuardedDialer implements Dialer {
  readonly #network: Network;
  readonly #guard: NetworkGuard;
  readonly #destination: Destination;

  constructor(network: Network, guard: NetworkGuard, destination: Destination) {
    this.#network = network;
    this.#guard = guard;
    this.#destination = destination;
  }

  dial(timeoutMs: number, observer: DialOutcome): { cancel(): void } {
    const dial = new GuardedDial(this.#network, this.#guard, this.#destination, timeoutMs, observer);
    dial.start();
    return dial;
  }
}

class GuardedDial implements JudgedObserver, DialObserver {
  readonly #network: Network;
  readonly #guard: NetworkGuard;
  readonly #destination: Destination;
  readonly #endMs: number;
  readonly #observer: DialOutcome;
  #addresses: readonly string[] = [];
  #tried = 0;
  #attempt: Dial | null = null;
  #isCancelled = false;

  constructor(
    network: Network,
    guard: NetworkGuard,
    destination: Destination,
    timeoutMs: number,
    observer: DialOutcome,
  ) {
    this.#network = network;
    this.#guard = guard;
    this.#destination = destination;
    this.#endMs = network.refresh() + timeoutMs;
    this.#observer = observer;
  }

  /** The observer is never called before this returns. */
  start(): void {
    setImmediate(() => {
      if (this.#isCancelled) return;
      const leftMs = this.#endMs - this.#network.refresh();
      resolveJudged(this.#network, this.#guard, this.#destination, leftMs, this);
    });
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#attempt?.cancel();
  }

  onJudged(addresses: readonly string[]): void {
    if (this.#isCancelled) return;
    this.#addresses = addresses;
    this.#tryNext();
  }

  onUnresolved(reason: Reason, detail: string): void {
    this.#fail(reason, detail);
  }

  onDialed(channel: Channel): void {
    this.#observer.onDialed(channel);
  }

  onDialFailed(reason: Reason, detail: string): void {
    if (this.#tried < this.#addresses.length) this.#tryNext();
    else this.#fail(reason, detail);
  }

  onDialFault(error: unknown): void {
    this.#observer.onDialFault(error);
  }

  /** Each address gets an equal part of the time that is left. */
  #tryNext(): void {
    const leftMs = this.#endMs - this.#network.refresh();
    const shareMs = Math.max(1, leftMs / (this.#addresses.length - this.#tried));
    const host = this.#addresses[this.#tried++]!;
    const address = { kind: 'tcp', host, port: this.#destination.port } as const;
    this.#attempt = new Dial(this.#network, address, shareMs, this);
    this.#attempt.start();
  }

  #fail(reason: Reason, detail: string): void {
    if (this.#isCancelled) return;
    this.#isCancelled = true;
    try {
      this.#observer.onDialFailed(reason, detail);
    } catch (error) {
      this.#observer.onDialFault(error);
    }
  }
}
