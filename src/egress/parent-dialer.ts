/**
 * Dials a target through a parent proxy. The name is resolved and judged here, and the parent is told the literal:
 * otherwise it would resolve the name again, perhaps to another address. `trustDns` leaves that to the parent.
 */
import type { HostBytes } from '../core/bytes.ts';
import { ProtocolError } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import type { DialOutcome, Dialer } from '../http/upstream-target.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import { Dial, type DialObserver } from '../net/dial.ts';
import type { Network } from '../net/network.ts';
import type { NetworkGuard } from './network-guard.ts';
import {
  ConnectHandshake,
  SocksHandshake,
  type ParentCredentials,
  type ParentHandshake,
  type ParentProgress,
} from './parent-handshake.ts';
import { resolveJudged, type Destination, type JudgedObserver } from './resolve-target.ts';

export interface ParentProxy {
  readonly kind: 'http' | 'socks5';
  /** Canonical, and the operator's own: the guard does not judge it. */
  readonly host: string;
  readonly port: number;
  readonly credentials: ParentCredentials | null;
  readonly trustDns: boolean;
}

export class ParentDialer implements Dialer {
  readonly #network: Network;
  readonly #guard: NetworkGuard;
  readonly #destination: Destination;
  readonly #parent: ParentProxy;

  constructor(network: Network, guard: NetworkGuard, destination: Destination, parent: ParentProxy) {
    this.#network = network;
    this.#guard = guard;
    this.#destination = destination;
    this.#parent = parent;
  }

  dial(timeoutMs: number, observer: DialOutcome): { cancel(): void } {
    const dial = new ParentDial(
      this.#network,
      this.#guard,
      this.#destination,
      this.#parent,
      timeoutMs,
      observer,
    );
    dial.start();
    return dial;
  }
}

class ParentDial extends TimerEntry implements JudgedObserver, DialObserver, ChannelSink {
  readonly #network: Network;
  readonly #guard: NetworkGuard;
  readonly #destination: Destination;
  readonly #parent: ParentProxy;
  readonly #endMs: number;
  readonly #observer: DialOutcome;
  #host = '';
  #attempt: Dial | null = null;
  #channel: Channel | null = null;
  #handshake: ParentHandshake | null = null;
  #isOver = false;

  constructor(
    network: Network,
    guard: NetworkGuard,
    destination: Destination,
    parent: ParentProxy,
    timeoutMs: number,
    observer: DialOutcome,
  ) {
    super();
    this.#network = network;
    this.#guard = guard;
    this.#destination = destination;
    this.#parent = parent;
    this.#endMs = network.refresh() + timeoutMs;
    this.#observer = observer;
  }

  /** The observer is never called before this returns. */
  start(): void {
    setImmediate(() => {
      if (this.#isOver) return;
      const leftMs = this.#endMs - this.#network.refresh();
      // A literal is judged whoever resolves names.
      const isTrusted = this.#parent.trustDns && !isLiteral(this.#destination.host);
      if (isTrusted) this.onJudged([this.#destination.host]);
      else resolveJudged(this.#network, this.#guard, this.#destination, leftMs, this);
    });
  }

  cancel(): void {
    if (this.#isOver) return;
    this.#release();
    this.#attempt?.cancel();
    this.#channel?.reset();
  }

  onJudged([host]: readonly string[]): void {
    if (this.#isOver) return;
    this.#host = host!;
    const leftMs = Math.max(1, this.#endMs - this.#network.refresh());
    const address = { kind: 'tcp', host: this.#parent.host, port: this.#parent.port } as const;
    this.#attempt = new Dial(this.#network, address, leftMs, this);
    this.#attempt.start();
  }

  onUnresolved(reason: Reason, detail: string): void {
    this.#fail(reason, detail);
  }

  onDialed(channel: Channel): void {
    const { kind, credentials } = this.#parent;
    const { port } = this.#destination;
    const Handshake = kind === 'http' ? ConnectHandshake : SocksHandshake;
    this.#channel = channel;
    this.#handshake = new Handshake(this.#host, port, credentials);
    channel.sink = this;
    this.#network.timers.arm(this, this.#endMs);
    channel.write(this.#handshake.opening() as HostBytes);
    channel.resume();
  }

  onDialFailed(reason: Reason, detail: string): void {
    this.#fail(reason, `parent: ${detail}`);
  }

  onDialFault(error: unknown): void {
    this.#release();
    this.#channel?.reset();
    this.#observer.onDialFault(error);
  }

  onData(channel: Channel, bytes: HostBytes): void {
    let progress: ParentProgress;
    try {
      progress = this.#handshake!.receive(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#fail('parent-failed', error.message);
    }
    if (progress.kind === 'refused') return this.#fail('parent-failed', progress.detail);
    if (progress.kind === 'more') {
      if (progress.send !== null) channel.write(Buffer.from(progress.send) as unknown as HostBytes);
      return;
    }
    // A target behind a tunnel speaks after us; bytes before that have no owner yet and would be lost.
    if (progress.consumed < bytes.length) return this.#fail('parent-failed', 'bytes behind the answer');
    this.#open(channel);
  }

  onEnd(): void {
    this.#fail('parent-failed', 'closed');
  }

  onError(_channel: Channel, code: string): void {
    this.#fail('parent-failed', code);
  }

  onDrain(): void {}

  onFault(_channel: Channel, error: unknown): void {
    this.onDialFault(error);
  }

  override expire(): void {
    this.#fail('dial-timeout', 'parent');
  }

  #open(channel: Channel): void {
    this.#release();
    channel.pause();
    channel.sink = deafSink;
    this.#observer.onDialed(channel);
  }

  #fail(reason: Reason, detail: string): void {
    if (this.#isOver) return;
    this.#release();
    if (this.#channel !== null) {
      this.#channel.sink = deafSink;
      this.#channel.reset();
    }
    try {
      this.#observer.onDialFailed(reason, detail);
    } catch (error) {
      this.#observer.onDialFault(error);
    }
  }

  #release(): void {
    this.#isOver = true;
    this.#network.timers.disarm(this);
  }
}

function isLiteral(host: string): boolean {
  return /^[\d.]+$/.test(host) || host.includes(':');
}
