/** The connections to one upstream identity, and who waits for one. See upstream-pool.ts. */
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import type { Channel } from '../net/channel.ts';
import { deafSink } from '../net/channel.ts';
import type { UpstreamTls } from '../net/tls.ts';
import type { SessionWaiter } from './exchange-context.ts';
import type { ClientSession, ClientSessionObserver } from './stream.ts';
import { UpstreamDial, type EntryVersion, type UpstreamDialOwner } from './upstream-dial.ts';
import { IdleItem } from './upstream-idle.ts';
import type { UpstreamPool } from './upstream-pool.ts';
import type { UpstreamTarget } from './upstream-target.ts';

/** One who waits, and since when. */
interface Place {
  readonly waiter: SessionWaiter;
  readonly sinceMs: number;
}

export class PoolEntry extends TimerEntry implements UpstreamDialOwner {
  readonly target: UpstreamTarget;
  readonly version: EntryVersion;
  readonly #pool: UpstreamPool;
  readonly #tls: UpstreamTls | null;
  readonly #connections = new Set<PooledConnection>();
  /** HTTP/1 connections without a request, the last used on top. */
  readonly #idle: PooledConnection[] = [];
  /** HTTP/2 sessions, idle ones among them. */
  readonly #sessions: PooledConnection[] = [];
  readonly #dials = new Set<UpstreamDial>();
  readonly #line: Place[] = [];
  /** What the last connection spoke: one that serves many is not opened once for each who waits. */
  #spoken: 'http1' | 'h2' | null;

  constructor(pool: UpstreamPool, target: UpstreamTarget, version: EntryVersion) {
    super();
    this.#pool = pool;
    this.target = target;
    this.version = version;
    this.#tls = tlsFor(target, version);
    this.#spoken = version === 'alpn' ? null : version;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get dialCount(): number {
    return this.#dials.size;
  }

  get waitingCount(): number {
    return this.#line.length;
  }

  acquire(waiter: SessionWaiter): ClientSession | null {
    if (!waiter.needsFresh) {
      const connection = this.#popIdle() ?? this.#leastLoaded();
      if (connection !== null) return connection.session;
    }
    this.#wait(waiter);
    return null;
  }

  cancel(waiter: SessionWaiter): void {
    const at = this.#line.findIndex((place) => place.waiter === waiter);
    if (at >= 0) this.#line.splice(at, 1);
  }

  drain(): void {
    for (const connection of [...this.#connections]) {
      this.#unidle(connection);
      connection.session.drain();
    }
  }

  close(reason: Reason): void {
    for (const dial of this.#dials) dial.cancel();
    this.#dials.clear();
    for (const { waiter } of this.#line.splice(0)) waiter.onNoSession(reason, undefined);
    for (const connection of [...this.#connections]) {
      this.#unidle(connection);
      connection.session.abort(reason);
    }
    this.#forgetIfEmpty();
  }

  // --- UpstreamDialOwner ---

  onOpened(dial: UpstreamDial, channel: Channel, version: 'http1' | 'h2', durationMs: number): void {
    this.#dials.delete(dial);
    this.#spoken = version;
    const connection = new PooledConnection(this);
    try {
      const { sessions } = this.#pool.context;
      connection.session =
        version === 'h2' ? sessions.http2(channel, connection) : sessions.http1(channel, connection);
    } catch (error) {
      channel.sink = deafSink;
      channel.reset();
      this.#pool.context.onFault(error);
      return this.#failLine('internal-error', undefined);
    }
    this.#connections.add(connection);
    this.#pool.context.onConnections?.(this.target, 1);
    if (version === 'h2') this.#sessions.push(connection);
    this.#serveLine(connection, durationMs, true);
    this.#settle(connection);
    this.#dialMore();
  }

  /** A shared dial fails everybody it was for, one of its own the first in line. */
  onOpenFailed(dial: UpstreamDial, reason: Reason, detail: string | undefined): void {
    this.#dials.delete(dial);
    this.#failLine(reason, detail);
    this.#dialMore();
    this.#forgetIfEmpty();
  }

  // --- connections ---

  onAvailability(connection: PooledConnection): void {
    if (!this.#connections.has(connection)) return;
    if (connection.session.isAvailable) this.#serveLine(connection, 0, false);
    this.#settle(connection);
  }

  onClosed(connection: PooledConnection): void {
    if (!this.#connections.delete(connection)) return;
    this.#pool.context.onConnections?.(this.target, -1);
    this.#unidle(connection);
    const at = this.#sessions.indexOf(connection);
    if (at >= 0) this.#sessions.splice(at, 1);
    this.#dialMore();
    this.#forgetIfEmpty();
  }

  onIdleEnd(connection: PooledConnection): void {
    this.#unidle(connection);
    connection.session.drain();
  }

  onFault(error: unknown): void {
    this.#pool.context.onFault(error);
  }

  // --- the line ---

  override expire(nowMs: number): void {
    const patienceMs = this.#patienceMs();
    const reason = this.#dials.size > 0 ? 'dial-timeout' : 'upstream-limit';
    while (this.#line.length > 0 && this.#line[0]!.sinceMs + patienceMs <= nowMs) {
      this.#line.shift()!.waiter.onNoSession(reason, undefined);
    }
    if (this.#line.length > 0) this.#armLine();
    this.#forgetIfEmpty();
  }

  #wait(waiter: SessionWaiter): void {
    const { http, network } = this.#pool.context;
    if (this.#line.length >= http.upstreamWaitingMax) {
      return waiter.onNoSession('upstream-limit', 'the queue is full');
    }
    this.#line.push({ waiter, sinceMs: network.refresh() });
    if (this.next === null) this.#armLine();
    if (waiter.needsFresh && this.#isFull()) this.#idle[0]?.end();
    this.#dialMore();
  }

  #armLine(): void {
    this.#pool.context.network.timers.arm(this, this.#line[0]!.sinceMs + this.#patienceMs());
  }

  /** As long as a connection may take to open. */
  #patienceMs(): number {
    const { connectTimeoutMs, http } = this.#pool.context;
    return connectTimeoutMs + (this.#tls === null ? 0 : http.tlsHandshakeTimeoutMs);
  }

  #isFull(): boolean {
    return this.#connections.size + this.#dials.size >= this.#pool.context.http.upstreamConnectionsMax;
  }

  /** Opens as many connections as those in line need: one each, or one for all where it may serve many. */
  #dialMore(): void {
    while (this.#line.length > 0 && !this.#isFull()) {
      const needed = this.#spoken === 'http1' ? this.#line.length : 1;
      if (this.#dials.size >= needed) return;
      const dial = new UpstreamDial(this.#pool.context, this.target, this.version, this.#tls, this);
      this.#dials.add(dial);
      dial.start();
    }
  }

  #serveLine(connection: PooledConnection, connectMs: number, isFresh: boolean): void {
    const { session } = connection;
    const { network } = this.#pool.context;
    for (let at = 0; at < this.#line.length && session.isAvailable;) {
      const { waiter, sinceMs } = this.#line[at]!;
      if (waiter.needsFresh && !isFresh) {
        at++;
        continue;
      }
      this.#line.splice(at, 1);
      this.#unidle(connection);
      waiter.onSession(session, Math.min(connectMs, network.nowMs - sinceMs));
    }
  }

  /** Fails so many that each who is left has a dial under way that may be for it. */
  #failLine(reason: Reason, detail: string | undefined): void {
    const leftMax = this.#spoken === 'http1' ? this.#dials.size : 0;
    for (let count = this.#line.length - leftMax; count > 0; count--) {
      this.#line.shift()?.waiter.onNoSession(reason, detail);
    }
  }

  // --- where a connection stands ---

  #popIdle(): PooledConnection | null {
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined) return null;
      this.#pool.idle.remove(connection);
      if (connection.session.isAvailable) return connection;
    }
  }

  #leastLoaded(): PooledConnection | null {
    let best: PooledConnection | null = null;
    for (let at = 0; at < this.#sessions.length; at++) {
      const connection = this.#sessions[at]!;
      const { session } = connection;
      if (!session.isAvailable) continue;
      if (best === null || session.streamCount < best.session.streamCount) best = connection;
    }
    if (best !== null && best.isIdle) this.#pool.idle.remove(best);
    return best;
  }

  /** Puts a connection where its state says: among the idle, or not. */
  #settle(connection: PooledConnection): void {
    const { session } = connection;
    if (!this.#connections.has(connection)) return;
    const isIdle = session.isAvailable && session.streamCount === 0;
    if (!isIdle) return this.#unidle(connection);
    if (connection.isIdle) return;
    if (this.#pool.isDraining) return session.drain();
    if (session.version !== 'HTTP/2') this.#idle.push(connection);
    this.#pool.idle.add(connection, this.#pool.context.network.nowMs);
  }

  #unidle(connection: PooledConnection): void {
    if (!connection.isIdle) return;
    this.#pool.idle.remove(connection);
    const at = this.#idle.lastIndexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  #forgetIfEmpty(): void {
    if (this.#connections.size > 0 || this.#dials.size > 0 || this.#line.length > 0) return;
    this.#pool.context.network.timers.disarm(this);
    this.#pool.forget(this);
  }
}

/** One connection of an entry. */
export class PooledConnection extends IdleItem implements ClientSessionObserver {
  session!: ClientSession;
  readonly #entry: PoolEntry;

  constructor(entry: PoolEntry) {
    super();
    this.#entry = entry;
  }

  onAvailability(): void {
    this.#entry.onAvailability(this);
  }

  onClosed(): void {
    this.#entry.onClosed(this);
  }

  onFault(error: unknown): void {
    this.#entry.onFault(error);
  }

  override onIdleEnd(): void {
    this.#entry.onIdleEnd(this);
  }

  /** Makes room for another. */
  end(): void {
    this.#entry.onIdleEnd(this);
  }
}

/** A tunnel that goes by HTTP/1 although the target might choose HTTP/2 must not offer it. */
function tlsFor(target: UpstreamTarget, version: EntryVersion): UpstreamTls | null {
  const { tls } = target;
  if (tls === null || version !== 'http1' || !tls.alpn.includes('h2')) return tls;
  return { ...tls, alpn: ['http/1.1'] };
}
