/** A connection of an l7 route while its TLS handshake is under way. */
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import { refusal, type Connection, type ConnectionOwner } from '../gate/connection.ts';
import type { Gate } from '../gate/gate.ts';
import type { RouteTlsSettings } from '../model/http-settings.ts';
import type { Channel } from '../net/channel.ts';
import type { TlsAttempt, TlsFacts, TlsIdentity, TlsObserver } from '../net/tls.ts';
import { HttpConnection } from './http-connection.ts';
import type { HttpServices } from './services.ts';

export class TlsEntry implements ConnectionOwner, TlsObserver {
  readonly #gate: Gate;
  readonly #services: HttpServices;
  readonly #connection: Connection;
  readonly #tls: RouteTlsSettings;
  #attempt: TlsAttempt | null = null;

  constructor(gate: Gate, services: HttpServices, connection: Connection, tls: RouteTlsSettings) {
    this.#gate = gate;
    this.#services = services;
    this.#connection = connection;
    this.#tls = tls;
    connection.owner = this;
  }

  /** `opening` begins with the ClientHello and is a view. */
  start(identity: TlsIdentity, opening: HostBytes): void {
    const { network, http } = this.#gate.context;
    const deadlineMs = this.#connection.startedMs + http.tlsHandshakeTimeoutMs;
    this.#attempt = this.#services.terminator.accept(
      this.#connection.channel,
      opening,
      identity,
      Math.max(deadlineMs, network.nowMs),
      this,
    );
  }

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    this.#attempt?.cancel();
    this.#connection.channel.reset();
    this.#gate.end(this.#connection, refusal(reason === 'drained' ? 'draining' : reason, ruleId, detail));
  }

  onSecure(channel: Channel, facts: TlsFacts): void {
    this.#services.onHandshake(facts.isResumed ? 'resumed' : 'full');
    new HttpConnection(this.#gate, this.#services, this.#connection, {
      tls: this.#tls,
    }).start(channel, facts.alpn ?? 'http/1.1', null);
  }

  onTlsFailed(reason: Reason, detail: string): void {
    this.#services.onHandshake(reason);
    this.#gate.end(this.#connection, refusal(reason, null, detail));
  }

  onTlsFault(error: unknown): void {
    this.#gate.fail(this.#connection, error);
  }
}
