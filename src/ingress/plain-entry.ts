/**
 * A plain connection before its version of HTTP is known: the preface of HTTP/2 may come in pieces, of which the
 * first could begin a method of HTTP/1. Four bytes tell (codec/http-preface.ts).
 */
import { httpVersionOf } from '../codec/http-preface.ts';
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import { refusal, type Connection, type ConnectionOwner } from '../gate/connection.ts';
import type { Gate } from '../gate/gate.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import { HttpConnection } from './http-connection.ts';
import type { HttpServices } from './services.ts';

export class PlainEntry extends TimerEntry implements ChannelSink, ConnectionOwner {
  readonly #gate: Gate;
  readonly #services: HttpServices;
  readonly #connection: Connection;
  #opening: HostBytes;

  /** `opening` is a view: it is copied only when it does not tell the version. */
  constructor(gate: Gate, services: HttpServices, connection: Connection, opening: HostBytes) {
    super();
    this.#gate = gate;
    this.#services = services;
    this.#connection = connection;
    this.#opening = opening;
  }

  start(): void {
    if (this.#decide()) return;
    const { network, http } = this.#gate.context;
    this.#opening = Buffer.from(this.#opening) as unknown as HostBytes;
    this.#connection.owner = this;
    this.#connection.channel.sink = this;
    network.timers.arm(this, network.nowMs + http.headTimeoutMs);
  }

  onData(_channel: Channel, bytes: HostBytes): void {
    this.#opening = Buffer.concat([this.#opening, bytes]) as unknown as HostBytes;
    if (this.#decide()) this.#gate.context.network.timers.disarm(this);
  }

  onEnd(): void {
    this.#refuse('hello-incomplete', 'end of stream');
  }

  onDrain(): void {}

  onError(_channel: Channel, code: string): void {
    this.#refuse('hello-incomplete', code);
  }

  onFault(_channel: Channel, error: unknown): void {
    this.#gate.fail(this.#connection, error);
  }

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    this.#refuse(reason === 'drained' ? 'draining' : reason, detail, ruleId);
  }

  override expire(): void {
    this.#refuse('request-timeout');
  }

  #decide(): boolean {
    const version = httpVersionOf(this.#opening);
    if (version === undefined) return false;
    const protocol = version === 'http2' ? 'h2' : 'http/1.1';
    new HttpConnection(this.#gate, this.#services, this.#connection, null).start(
      this.#connection.channel,
      protocol,
      this.#opening,
    );
    return true;
  }

  #refuse(reason: Reason, detail?: string, ruleId: string | null = null): void {
    const { channel } = this.#connection;
    this.#gate.context.network.timers.disarm(this);
    channel.sink = deafSink;
    channel.reset();
    this.#gate.end(this.#connection, refusal(reason, ruleId, detail));
  }
}
