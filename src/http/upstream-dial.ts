/**
 * Opens one upstream connection: dial, preface, TLS, session. Told to its owner once, unless it is cancelled.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import type { Channel } from '../net/channel.ts';
import type { TlsFacts, TlsObserver, UpstreamTls } from '../net/tls.ts';
import type { PoolContext } from './upstream-pool.ts';
import type { DialOutcome, UpstreamTarget } from './upstream-target.ts';

/** What is spoken: fixed, or what ALPN will say. */
export type EntryVersion = 'http1' | 'h2' | 'alpn';

export interface UpstreamDialOwner {
  onOpened(dial: UpstreamDial, channel: Channel, version: 'http1' | 'h2', durationMs: number): void;
  onOpenFailed(dial: UpstreamDial, reason: Reason, detail: string | undefined): void;
}

export class UpstreamDial implements DialOutcome, TlsObserver {
  readonly #context: PoolContext;
  readonly #target: UpstreamTarget;
  readonly #version: EntryVersion;
  readonly #tls: UpstreamTls | null;
  readonly #owner: UpstreamDialOwner;
  readonly #startMs: number;
  #attempt: { cancel(): void } | null = null;
  #isSettled = false;

  constructor(
    context: PoolContext,
    target: UpstreamTarget,
    version: EntryVersion,
    tls: UpstreamTls | null,
    owner: UpstreamDialOwner,
  ) {
    this.#context = context;
    this.#target = target;
    this.#version = version;
    this.#tls = tls;
    this.#owner = owner;
    this.#startMs = context.network.refresh();
  }

  /** Begins. The owner may be told before this returns. */
  start(): void {
    const attempt = this.#target.dialer.dial(this.#context.connectTimeoutMs, this);
    this.#attempt ??= attempt;
  }

  cancel(): void {
    this.#isSettled = true;
    this.#attempt?.cancel();
  }

  onDialed(channel: Channel): void {
    if (this.#isSettled) return channel.reset();
    const { preface } = this.#target;
    // A write takes the memory over, and the preface is sent on every connection.
    if (preface !== null) channel.write(Buffer.from(preface) as unknown as HostBytes);
    if (this.#tls === null) return this.#open(channel, this.#version === 'h2' ? 'h2' : 'http1');
    const { network, tls, http } = this.#context;
    const deadlineMs = network.refresh() + http.tlsHandshakeTimeoutMs;
    this.#attempt = tls.connect(channel, this.#tls, deadlineMs, this);
  }

  onDialFailed(reason: Reason, detail: string): void {
    this.#fail(reason, detail);
  }

  onDialFault(error: unknown): void {
    this.#onFault(error);
  }

  onSecure(channel: Channel, facts: TlsFacts): void {
    if (this.#isSettled) return channel.reset();
    const isHttp2 = facts.alpn === 'h2';
    if (this.#version !== 'alpn' && isHttp2 !== (this.#version === 'h2')) {
      channel.reset();
      return this.#fail('upstream-tls-failed', 'ALPN chose another protocol than the one configured');
    }
    this.#open(channel, isHttp2 ? 'h2' : 'http1');
  }

  onTlsFailed(reason: Reason, detail: string): void {
    this.#fail(reason.startsWith('tls-') ? 'upstream-tls-failed' : reason, detail);
  }

  onTlsFault(error: unknown): void {
    this.#onFault(error);
  }

  #onFault(error: unknown): void {
    this.#context.onFault(error);
    this.#fail('internal-error', undefined);
  }

  #open(channel: Channel, version: 'http1' | 'h2'): void {
    this.#isSettled = true;
    const durationMs = this.#context.network.refresh() - this.#startMs;
    this.#context.onDialEnded(this.#target, durationMs, null);
    this.#owner.onOpened(this, channel, version, durationMs);
  }

  #fail(reason: Reason, detail: string | undefined): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#context.onDialEnded(this.#target, this.#context.network.refresh() - this.#startMs, reason);
    this.#owner.onOpenFailed(this, reason, detail);
  }
}
