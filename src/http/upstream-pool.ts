/**
 * Connections to upstreams, one pool per worker. Requests share a connection exactly when their targets' keys (and
 * owners) are equal.
 *
 * HTTP/1 connections wait idle on a stack, the last used on top: the rest grow old and go. HTTP/2 sessions take
 * the next request on the one with the fewest streams. What finds no room waits in line, at most as long as a
 * connection may take to open; a fresh connection serves the head of the line, a returned one whoever does not
 * insist on a fresh one.
 */
import type { Reason } from '../core/reason.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { Channel } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import type { TlsConnector } from '../net/tls.ts';
import type { SessionWaiter, UpstreamSource } from './exchange-context.ts';
import type { ClientSession, ClientSessionObserver } from './stream.ts';
import type { EntryVersion } from './upstream-dial.ts';
import { PoolEntry } from './upstream-entry.ts';
import { IdleList } from './upstream-idle.ts';
import type { UpstreamTarget } from './upstream-target.ts';

/** Idle connections of one worker over all upstreams; the one idle longest makes room. */
export const idleConnectionsMax = 4096;

/** Speaks HTTP on a channel that is ready for it. */
export interface SessionFactory {
  http1(channel: Channel, observer: ClientSessionObserver): ClientSession;
  http2(channel: Channel, observer: ClientSessionObserver): ClientSession;
}

export interface PoolContext {
  readonly network: Network;
  readonly tls: TlsConnector;
  readonly sessions: SessionFactory;
  /** Both replaced by `UpstreamPool.adopt`. */
  http: HttpSettings;
  connectTimeoutMs: number;
  /** An attempt to open a connection ended: `failure` is null when it succeeded. For metrics. */
  onDialEnded(target: UpstreamTarget, durationMs: number, failure: Reason | null): void;
  /** Connections that came, or went. For metrics. */
  onConnections?(target: UpstreamTarget, change: 1 | -1): void;
  onFault(error: unknown): void;
}

/** How many there are now. */
export interface PoolCounts {
  /** Open connections, idle ones among them. */
  readonly connections: number;
  readonly idle: number;
  readonly dialling: number;
  readonly waiting: number;
  /** Upstream identities with a connection, a dial or a waiter. */
  readonly identities: number;
}

export class UpstreamPool implements UpstreamSource {
  readonly context: PoolContext;
  readonly idle: IdleList;
  readonly #shared = new EntryTable();
  /** Entries that speak for one downstream connection, by that connection. */
  readonly #owned = new Map<object, EntryTable>();
  #isDraining = false;

  constructor(context: PoolContext) {
    this.context = context;
    this.idle = new IdleList(context.network.timers, idleConnectionsMax, context.http.upstreamIdleTimeoutMs);
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** What holds from now on, when the process settings were read again. */
  adopt(http: HttpSettings, connectTimeoutMs: number): void {
    this.context.http = http;
    this.context.connectTimeoutMs = connectTimeoutMs;
    this.idle.timeoutMs = http.upstreamIdleTimeoutMs;
  }

  acquire(target: UpstreamTarget, waiter: SessionWaiter): ClientSession | null {
    const version = versionFor(target, waiter);
    const table = this.#tableOf(target) ?? this.#addTable(target.owner!);
    let entry = table[version].get(target.key);
    if (entry === undefined) {
      entry = new PoolEntry(this, target, version);
      table[version].set(target.key, entry);
    }
    return entry.acquire(waiter);
  }

  cancel(target: UpstreamTarget, waiter: SessionWaiter): void {
    this.#tableOf(target)?.[versionFor(target, waiter)].get(target.key)?.cancel(waiter);
  }

  /** A downstream connection is gone: whatever was opened in its name ends, what is still served at once. */
  release(owner: object): void {
    const table = this.#owned.get(owner);
    if (table === undefined) return;
    for (const entry of table.all()) entry.close('client-gone');
    this.#owned.delete(owner);
  }

  /** Idle connections end now, busy ones with their last request. */
  drain(): void {
    this.#isDraining = true;
    for (const entry of this.#all()) entry.drain();
  }

  /** Ends every connection at once. */
  abort(reason: Reason): void {
    for (const entry of this.#all()) entry.close(reason);
  }

  counts(): PoolCounts {
    let connections = 0;
    let dialling = 0;
    let waiting = 0;
    const entries = this.#all();
    for (const entry of entries) {
      connections += entry.connectionCount;
      dialling += entry.dialCount;
      waiting += entry.waitingCount;
    }
    return { connections, dialling, waiting, idle: this.idle.count, identities: entries.length };
  }

  /** An entry without connection, dial or waiter is forgotten: nothing grows with the number of upstreams ever seen. */
  forget(entry: PoolEntry): void {
    const { target, version } = entry;
    const table = this.#tableOf(target);
    if (table?.[version].get(target.key) !== entry) return;
    table[version].delete(target.key);
    if (target.owner !== null && table.size === 0) this.#owned.delete(target.owner);
  }

  #tableOf(target: UpstreamTarget): EntryTable | undefined {
    return target.owner === null ? this.#shared : this.#owned.get(target.owner);
  }

  #addTable(owner: object): EntryTable {
    const table = new EntryTable();
    this.#owned.set(owner, table);
    return table;
  }

  #all(): PoolEntry[] {
    const entries = this.#shared.all();
    for (const table of this.#owned.values()) entries.push(...table.all());
    return entries;
  }
}

/** Entries by target key. What speaks differently is a different upstream; maps apart cost no joined key per request. */
class EntryTable {
  readonly http1 = new Map<string, PoolEntry>();
  readonly h2 = new Map<string, PoolEntry>();
  readonly alpn = new Map<string, PoolEntry>();

  get size(): number {
    return this.http1.size + this.h2.size + this.alpn.size;
  }

  all(): PoolEntry[] {
    return [...this.http1.values(), ...this.h2.values(), ...this.alpn.values()];
  }
}

/**
 * Where there is a choice a tunnel goes by HTTP/1, which every backend that has WebSocket speaks, while few have
 * extended CONNECT (RFC 8441).
 */
function versionFor(target: UpstreamTarget, waiter: SessionWaiter): EntryVersion {
  const { protocol } = target;
  if (protocol === 'http1' || protocol === 'h2') return protocol;
  if (waiter.isUpgrade) return 'http1';
  if (target.tls !== null) return 'alpn';
  return protocol === 'client' && waiter.downstreamVersion === 'HTTP/2' ? 'h2' : 'http1';
}
