/** Ingress: what stands behind the gate on a listener of kind `ingress`. */
import type { ClientHello } from '../codec/client-hello.ts';
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import { refusal, type Connection } from '../gate/connection.ts';
import type { Gate, GateHandler } from '../gate/gate.ts';
import type { RouteGroup } from '../model/route-group.ts';
import { deafSink } from '../net/channel.ts';
import { L4Session } from './l4-session.ts';
import { PlainEntry } from './plain-entry.ts';
import { chooseRoute } from './router.ts';
import type { HttpServices } from './services.ts';
import { TlsEntry } from './tls-entry.ts';

/** By ALPN, in our order. */
const protocols = ['h2', 'http/1.1'];

export class Ingress implements GateHandler {
  readonly #services: HttpServices;
  /** Set once the gate exists: the two know each other. */
  gate: Gate | null = null;

  constructor(services: HttpServices) {
    this.#services = services;
  }

  serveTls(connection: Connection, _hello: ClientHello, opening: HostBytes): void {
    const gate = this.gate!;
    const { listener, serverName } = connection;
    const group = serverName === null ? undefined : listener.routes.get(serverName);
    if (group !== undefined && group.mode === 'l7') return this.#terminate(connection, group, opening);
    const route = chooseRoute(listener, serverName);
    if (typeof route === 'string') return refuse(gate, connection, route);
    new L4Session(gate, connection, route, opening).start();
  }

  servePlain(connection: Connection, opening: HostBytes): void {
    new PlainEntry(this.gate!, this.#services, connection, opening).start();
  }

  #terminate(connection: Connection, { tls, routes }: RouteGroup, opening: HostBytes): void {
    const gate = this.gate!;
    if (tls === null) return refuse(gate, connection, 'tls-unavailable', routes[0].ruleId);
    const identity = this.#services.certificates.identity(tls, protocols);
    if (typeof identity === 'string') {
      return refuse(gate, connection, 'tls-unavailable', routes[0].ruleId, identity);
    }
    new TlsEntry(gate, this.#services, connection, tls).start(identity, opening);
  }
}

function refuse(
  gate: Gate,
  connection: Connection,
  reason: Reason,
  ruleId: string | null = null,
  detail?: string,
): void {
  connection.channel.sink = deafSink;
  connection.channel.reset();
  gate.end(connection, refusal(reason, ruleId, detail));
}
