/**
 * Dialling: from a backend's address to an open channel.
 *
 * A name's addresses are tried in turn. Each attempt gets an equal part of what is left of the timeout, so that
 * an address that swallows packets does not spend the time of the others.
 */
import { parseIp } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import type { EndpointAddress } from '../model/settings.ts';
import type { Channel, ConnectAttempt, ConnectObserver, ConnectTarget } from './channel.ts';
import type { Network } from './network.ts';
import type { ResolveResult } from './resolver.ts';

/** Learns how a dial ended; exactly one call comes, unless it was cancelled. */
export interface DialObserver {
  /** The channel is paused and has no sink yet. */
  onDialed(channel: Channel): void;
  /** `detail` is the system's error code or the number of addresses tried. */
  onDialFailed(reason: Reason, detail: string): void;
  /** A call of this observer threw. */
  onDialFault(error: unknown): void;
}

/** Addresses of one name that are tried; what DNS adds beyond is left out. */
const addressesMax = 16;

export class Dial extends TimerEntry implements ConnectObserver {
  readonly #network: Network;
  readonly #address: EndpointAddress;
  readonly #observer: DialObserver;
  readonly #endMs: number;
  #targets: readonly ConnectTarget[] = [];
  #tried = 0;
  #attempt: ConnectAttempt | undefined = undefined;
  #isSettled = false;

  constructor(network: Network, address: EndpointAddress, timeoutMs: number, observer: DialObserver) {
    super();
    this.#network = network;
    this.#address = address;
    this.#observer = observer;
    this.#endMs = network.refresh() + timeoutMs;
  }

  /** Begins. The observer may be called before this returns, when a name is known to have no address. */
  start(): void {
    const address = this.#address;
    if (address.kind === 'unix') return this.#tryAll([address]);
    const ip = parseIp(address.host);
    if (ip !== undefined) return this.#tryAll([{ kind: 'ip', ip, text: address.host, port: address.port }]);
    const { resolver, nowMs } = this.#network;
    const known = resolver.peek(address.host, nowMs);
    if (known !== undefined) return this.#tryAll(ipTargets(known, address.port));
    // The resolver keeps the time itself until an address is tried.
    resolver.resolve(address.host, nowMs, this.#endMs - nowMs, (result) =>
      this.#onResolved(result, address.port),
    );
  }

  /** Gives up; nothing is reported any more. */
  cancel(): void {
    this.#isSettled = true;
    this.#network.timers.disarm(this);
    this.#attempt?.cancel();
  }

  onConnected(channel: Channel): void {
    if (this.#isSettled) return channel.reset();
    this.#settle();
    try {
      this.#observer.onDialed(channel);
    } catch (error) {
      this.#observer.onDialFault(error);
    }
  }

  onConnectFailed(code: string): void {
    if (this.#isSettled) return;
    if (this.#tried < this.#targets.length) this.#tryNext();
    else this.#fail(reasonOf(code), code);
  }

  /** The attempt's part of the time is over. */
  override expire(): void {
    this.#attempt?.cancel();
    this.onConnectFailed('ETIMEDOUT');
  }

  #onResolved(resolution: ResolveResult, port: number): void {
    if (this.#isSettled) return;
    if (resolution.kind === 'failed') return this.#fail(resolution.reason, 'DNS');
    this.#network.refresh();
    this.#tryAll(ipTargets(resolution.addresses, port));
  }

  #tryAll(targets: readonly ConnectTarget[]): void {
    this.#targets = targets;
    this.#tryNext();
  }

  #tryNext(): void {
    const nowMs = this.#tried === 0 ? this.#network.nowMs : this.#network.refresh();
    const share = (this.#endMs - nowMs) / (this.#targets.length - this.#tried);
    const target = this.#targets[this.#tried++]!;
    this.#network.timers.arm(this, nowMs + share);
    this.#attempt = this.#network.transport.connect(target, this);
  }

  #fail(reason: Reason, detail: string): void {
    this.#settle();
    try {
      this.#observer.onDialFailed(reason, detail);
    } catch (error) {
      this.#observer.onDialFault(error);
    }
  }

  #settle(): void {
    this.#isSettled = true;
    this.#network.timers.disarm(this);
  }
}

function ipTargets(addresses: readonly string[], port: number): ConnectTarget[] {
  const targets: ConnectTarget[] = [];
  for (const text of addresses.slice(0, addressesMax)) {
    const ip = parseIp(text);
    if (ip !== undefined) targets.push({ kind: 'ip', ip, text, port });
  }
  return targets;
}

function reasonOf(code: string): Reason {
  return dialReasons.get(code) ?? 'dial-failed';
}

const dialReasons: ReadonlyMap<string, Reason> = new Map([
  ['ECONNREFUSED', 'dial-refused'],
  ['ETIMEDOUT', 'dial-timeout'],
  ['EHOSTUNREACH', 'dial-unreachable'],
  ['ENETUNREACH', 'dial-unreachable'],
  ['EHOSTDOWN', 'dial-unreachable'],
  ['ENETDOWN', 'dial-unreachable'],
]);
