/**
 * Egress: what stands behind the gate on a listener of kind `egress`.
 *
 * The first bytes tell the protocol: SOCKS5 (0x05), TLS where the listener has a certificate (0x16), HTTP/2 by its
 * preface, else HTTP/1. Everything a connection needs later it takes from the runtime of that moment, which a reload
 * replaces as a whole.
 */
import type { ClientHello } from '../codec/client-hello.ts';
import { httpVersionOf } from '../codec/http-preface.ts';
import { socks5Version } from '../codec/socks5.ts';
import type { HostBytes } from '../core/bytes.ts';
import { assert } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import { refusal, type Connection, type ConnectionOwner } from '../gate/connection.ts';
import type { Gate, GateHandler } from '../gate/gate.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import type { TlsAttempt, TlsFacts, TlsIdentity, TlsObserver } from '../net/tls.ts';
import type { EgressHost } from './http-face.ts';
import { ProxyConnection } from './proxy-connection.ts';
import type { EgressRuntime } from './runtime.ts';
import type { EgressServices } from './services.ts';
import { SocksSession } from './socks-session.ts';

export class Egress implements GateHandler, EgressHost {
  readonly services: EgressServices;
  /** The listener's own certificate by its name; null where it has none. */
  readonly #identityOf: (listener: string) => TlsIdentity | null;
  #gate: Gate | null = null;
  #runtime: EgressRuntime;

  constructor(
    services: EgressServices,
    runtime: EgressRuntime,
    identityOf: (listener: string) => TlsIdentity | null = () => null,
  ) {
    this.services = services;
    this.#runtime = runtime;
    this.#identityOf = identityOf;
  }

  /** Once the gate exists: the two know each other. */
  set gate(gate: Gate) {
    this.#gate = gate;
  }

  get gate(): Gate {
    assert(this.#gate !== null, 'egress serves behind a gate');
    return this.#gate;
  }

  get runtime(): EgressRuntime {
    return this.#runtime;
  }

  /** What requests from now on are judged by; tunnels and requests in flight keep what they began with. */
  adopt(runtime: EgressRuntime): void {
    this.#runtime = runtime;
  }

  serveTls(connection: Connection, _hello: ClientHello, opening: HostBytes): void {
    const identity = this.#identityOf(connection.listener.settings.name);
    if (identity !== null) return new TlsEntry(this, connection).start(identity, opening);
    connection.channel.sink = deafSink;
    connection.channel.reset();
    this.gate.end(connection, refusal('tls-unavailable', null));
  }

  servePlain(connection: Connection, opening: HostBytes): void {
    new Entry(this, connection, connection.channel, null).start(opening);
  }
}

/** TLS on the listener itself: a proxy that is spoken to by https. */
class TlsEntry implements TlsObserver, ConnectionOwner {
  readonly #host: Egress;
  readonly #connection: Connection;
  #attempt: TlsAttempt | null = null;

  constructor(host: Egress, connection: Connection) {
    this.#host = host;
    this.#connection = connection;
    connection.owner = this;
  }

  start(identity: TlsIdentity, opening: HostBytes): void {
    const { network, http } = this.#host.gate.context;
    const deadlineMs = network.nowMs + http.tlsHandshakeTimeoutMs;
    const { channel } = this.#connection;
    this.#attempt = this.#host.services.terminator.accept(channel, opening, identity, deadlineMs, this);
  }

  onSecure(channel: Channel, facts: TlsFacts): void {
    this.#attempt = null;
    if (facts.alpn === 'h2') {
      return new ProxyConnection(this.#host, this.#connection, channel, facts).start('h2', null);
    }
    new Entry(this.#host, this.#connection, channel, facts).wait();
  }

  onTlsFailed(reason: Reason, detail: string): void {
    this.#host.gate.end(this.#connection, refusal(reason, null, detail));
  }

  onTlsFault(error: unknown): void {
    this.#host.gate.fail(this.#connection, error);
  }

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    this.#attempt?.cancel();
    const { channel } = this.#connection;
    channel.sink = deafSink;
    channel.reset();
    this.#host.gate.end(
      this.#connection,
      refusal(reason === 'drained' ? 'draining' : reason, ruleId, detail),
    );
  }
}

/** A connection whose protocol is not known yet: four bytes tell, within the time of a head. */
class Entry extends TimerEntry implements ChannelSink, ConnectionOwner {
  readonly #host: Egress;
  readonly #connection: Connection;
  readonly #channel: Channel;
  readonly #tls: TlsFacts | null;
  #kept: HostBytes | null = null;

  constructor(host: Egress, connection: Connection, channel: Channel, tls: TlsFacts | null) {
    super();
    this.#host = host;
    this.#connection = connection;
    this.#channel = channel;
    this.#tls = tls;
  }

  start(opening: HostBytes): void {
    if (this.#decide(opening)) return;
    this.#kept = Buffer.from(opening) as unknown as HostBytes;
    this.wait();
  }

  wait(): void {
    const { network, http } = this.#host.gate.context;
    this.#connection.owner = this;
    this.#channel.sink = this;
    network.timers.arm(this, network.refresh() + http.headTimeoutMs);
    this.#channel.resume();
  }

  onData(_channel: Channel, bytes: HostBytes): void {
    const all = this.#kept === null ? bytes : (Buffer.concat([this.#kept, bytes]) as unknown as HostBytes);
    if (this.#decide(all)) this.#host.gate.context.network.timers.disarm(this);
    else this.#kept = Buffer.from(all) as unknown as HostBytes;
  }

  onEnd(): void {
    this.#refuse('hello-incomplete', 'end of stream');
  }

  onDrain(): void {}

  onError(_channel: Channel, code: string): void {
    this.#refuse('hello-incomplete', code);
  }

  onFault(_channel: Channel, error: unknown): void {
    this.#host.gate.fail(this.#connection, error);
  }

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    this.#refuse(reason === 'drained' ? 'draining' : reason, detail, ruleId);
  }

  override expire(): void {
    this.#refuse('request-timeout');
  }

  #decide(bytes: HostBytes): boolean {
    const tls = this.#tls;
    if (bytes[0] === socks5Version) {
      const subject = tls?.clientSubject ?? null;
      new SocksSession(this.#host, this.#connection, this.#channel, subject).start(bytes);
      return true;
    }
    const version = httpVersionOf(bytes);
    if (version === undefined) return false;
    const connection = new ProxyConnection(this.#host, this.#connection, this.#channel, tls);
    connection.start(version === 'http2' ? 'h2' : 'http1', bytes);
    return true;
  }

  #refuse(reason: Reason, detail?: string, ruleId: string | null = null): void {
    this.#host.gate.context.network.timers.disarm(this);
    this.#channel.sink = deafSink;
    this.#channel.reset();
    this.#host.gate.end(this.#connection, refusal(reason, ruleId, detail));
  }
}
