/**
 * A connection in mode `l4`: dial, PROXY header if the route asks, replay the hello, relay.
 *
 * While the backend is dialled the client stays readable, so that one that leaves is noticed at once and the
 * two system calls of pausing are saved; what it sends meanwhile is kept, up to `earlyBytesMax`.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import type { Connection, ConnectionOwner } from '../gate/connection.ts';
import type { Gate } from '../gate/gate.ts';
import type { Route } from '../model/snapshot.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import { Dial, type DialObserver } from '../net/dial.ts';
import { Relay, type RelayObserver } from '../net/relay.ts';
import { proxyHeader } from './proxy-header.ts';

/** What a client may send before the backend is reached, after which it is paused. One read more may arrive. */
const earlyBytesMax = 64 * 1024;

export class L4Session implements ConnectionOwner, ChannelSink, DialObserver, RelayObserver {
  readonly #gate: Gate;
  readonly #connection: Connection;
  readonly #route: Route;
  /** Everything to send first; empty once it is sent. */
  #opening: HostBytes[] = [];
  #openingBytes = 0;
  #hasClientEnded = false;
  /** The rule that ended it, if one did. */
  #ruleId: string | null = null;
  #dial: Dial | null;
  #dialedMs = 0;
  #relay: Relay | null = null;

  constructor(gate: Gate, connection: Connection, route: Route, opening: HostBytes) {
    this.#gate = gate;
    this.#connection = connection;
    this.#route = route;
    this.#keep(opening);
    const { network, server } = gate.context;
    this.#dial = new Dial(network, route.backend, server.connectTimeoutMs, this);
    connection.owner = this;
    connection.channel.sink = this;
  }

  start(): void {
    this.#dialedMs = this.#gate.context.network.nowMs;
    this.#dial!.start();
  }

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    this.#ruleId = ruleId;
    if (this.#relay !== null) this.#relay.abort(reason, detail);
    else this.#fail(reason === 'drained' ? 'draining' : reason, detail);
  }

  // --- while the backend is dialled ---

  onData(channel: Channel, bytes: HostBytes): void {
    this.#keep(bytes);
    if (this.#openingBytes >= earlyBytesMax) channel.pause();
  }

  /** The client may half-close and still wait for the answer. */
  onEnd(): void {
    this.#hasClientEnded = true;
  }

  onDrain(): void {}

  onError(_channel: Channel, code: string): void {
    this.#fail('client-gone', code);
  }

  onFault(_channel: Channel, error: unknown): void {
    this.onDialFault(error);
  }

  onDialed(upstream: Channel): void {
    const { network, server, metrics } = this.#gate.context;
    const { channel } = this.#connection;
    metrics.dialed(this.#route.backendName, network.refresh() - this.#dialedMs);
    const preface = this.#route.sendProxyProtocol ? proxyHeader(this.#connection) : null;
    const opening = this.#opening.length === 1 ? this.#opening[0]! : concatenate(this.#opening);
    this.#dial = null;
    this.#opening = [];
    this.#relay = new Relay(network, channel, upstream, server.idleTimeoutMs, this);
    this.#relay.start(preface, opening, this.#hasClientEnded);
  }

  onDialFailed(reason: Reason, detail: string): void {
    this.#gate.context.metrics.dialFailed(this.#route.backendName, reason);
    this.#fail(reason, detail);
  }

  onDialFault(error: unknown): void {
    this.#gate.fail(this.#connection, error);
  }

  // --- afterwards ---

  onRelayEnd(reason: Reason, detail: string | undefined): void {
    this.#end(reason, detail);
  }

  onRelayFault(error: unknown): void {
    this.#gate.reportFault(error);
    if (!this.#connection.isEnded) this.#end('internal-error', undefined);
  }

  /** The bytes stand in memory that the next read overwrites. */
  #keep(bytes: HostBytes): void {
    this.#opening.push(Buffer.from(bytes) as unknown as HostBytes);
    this.#openingBytes += bytes.length;
  }

  /** No backend: the client sees a reset, not an end. */
  #fail(reason: Reason, detail: string | undefined): void {
    const { channel } = this.#connection;
    this.#dial?.cancel();
    channel.sink = deafSink;
    channel.reset();
    this.#end(reason, detail);
  }

  #end(reason: Reason, detail: string | undefined): void {
    this.#gate.end(this.#connection, {
      reason,
      ruleId: this.#ruleId,
      routeId: this.#route.ruleId,
      backendName: this.#route.backendName,
      bytesIn: this.#relay?.bytesIn ?? 0,
      bytesOut: this.#relay?.bytesOut ?? 0,
      detail,
    });
  }
}

function concatenate(parts: readonly HostBytes[]): HostBytes {
  return Buffer.concat(parts) as unknown as HostBytes;
}
