/**
 * A handshake under way, in either role: its deadline, its end, and the one call its observer gets. What is asked
 * of the other side's certificate is the business of the two classes that extend it.
 */
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import type { Channel } from './channel.ts';
import { HandleChannel } from './fast-transport.ts';
import type { Network } from './network.ts';
import type { EngineListener, EngineRole, TlsEngine } from './tls-engine.ts';
import { TlsHandleChannel } from './tls-handle-channel.ts';
import { TlsSocketChannel } from './tls-socket-channel.ts';
import type { TlsAttempt, TlsFacts, TlsObserver } from './tls.ts';

/** Why a handshake that came through is refused all the same. */
export interface Refusal {
  readonly reason: Reason;
  readonly detail: string;
}

export abstract class Handshake extends TimerEntry implements TlsAttempt, EngineListener {
  readonly #network: Network;
  readonly #observer: TlsObserver;
  /** What to close when it ends early: the channel beneath, or the engine that took it over. */
  #channel: Channel;
  #isSettled = false;

  constructor(network: Network, channel: Channel, deadlineMs: number, observer: TlsObserver) {
    super();
    this.#network = network;
    this.#channel = channel;
    this.#observer = observer;
    network.timers.arm(this, deadlineMs);
  }

  cancel(): void {
    if (this.settle()) this.#channel.reset();
  }

  override expire(): void {
    this.fail(this.timeoutReason, 'ETIMEDOUT');
  }

  /** Puts an engine on the channel. */
  protected run(role: EngineRole, opening?: Uint8Array): void {
    if (this.#isSettled) return;
    const channel = this.#channel;
    if (channel.isClosed) {
      this.failSoon(this.failureReason, 'ECONNRESET');
      return;
    }
    try {
      const engine = isFast(channel)
        ? new TlsHandleChannel(channel, role, this)
        : new TlsSocketChannel(channel, role, this);
      this.engine = engine;
      this.#channel = engine;
      engine.start(opening);
    } catch (error) {
      setImmediate(() => this.fault(error));
    }
  }

  protected engine: TlsEngine | undefined;
  protected abstract readonly failureReason: Reason;
  protected abstract readonly timeoutReason: Reason;
  /** Looks at the certificate of the other side. */
  protected abstract inspect(engine: TlsEngine): Refusal | null;
  /** The verified name of the client. */
  protected clientSubject(): string | null {
    return null;
  }

  onHandshakeDone(): void {
    try {
      const engine = this.engine!;
      const refusal = this.inspect(engine);
      if (refusal !== null) {
        this.fail(refusal.reason, refusal.detail);
        return;
      }
      const facts: TlsFacts = {
        alpn: engine.alpn(),
        version: engine.version(),
        cipher: engine.cipher(),
        isResumed: engine.isResumed(),
        clientSubject: this.clientSubject(),
      };
      if (this.settle()) this.#observer.onSecure(engine, facts);
    } catch (error) {
      this.fault(error);
    }
  }

  onHandshakeFailed(code: string): void {
    this.fail(this.reasonOf(code), code);
  }

  onSession(_session: Buffer): void {}

  protected reasonOf(_code: string): Reason {
    return this.failureReason;
  }

  /** Not from inside the call of whoever began the handshake: they may not have the attempt in hand yet. */
  failSoon(reason: Reason, detail: string): void {
    setImmediate(() => this.fail(reason, detail));
  }

  protected fail(reason: Reason, detail: string): void {
    if (!this.settle()) return;
    this.#channel.close();
    try {
      this.#observer.onTlsFailed(reason, detail);
    } catch (error) {
      this.#observer.onTlsFault(error);
    }
  }

  /** A fault of ours, or of the observer. */
  protected fault(error: unknown): void {
    this.settle();
    this.#channel.reset();
    this.#observer.onTlsFault(error);
  }

  /** True once. */
  protected settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    this.#network.timers.disarm(this);
    return true;
  }
}

/** Whether the handle of the channel itself can run TLS. */
export function isFast(channel: Channel): channel is HandleChannel {
  return (
    channel instanceof HandleChannel &&
    channel.transport.native.wrapTls !== undefined &&
    !channel.isBacklogged
  );
}

/** OpenSSL's or Node's name of what it threw; never its message, which may carry a path. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'ERR_SSL';
}
