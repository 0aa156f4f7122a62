/** What stands behind the gate: ingress or egress, by the kind of the listener. */
import type { ClientHello } from '../codec/client-hello.ts';
import type { HostBytes } from '../core/bytes.ts';
import { refusal, type Connection } from '../gate/connection.ts';
import type { Gate, GateHandler } from '../gate/gate.ts';
import type { Ingress } from '../ingress/ingress.ts';
import { deafSink } from '../net/channel.ts';
import type { EgressPlane } from './egress-plane.ts';

export class KindHandler implements GateHandler {
  readonly #ingress: Ingress;
  readonly #egress: EgressPlane;
  #gate: Gate | null = null;

  constructor(ingress: Ingress, egress: EgressPlane) {
    this.#ingress = ingress;
    this.#egress = egress;
  }

  /** Once the gate exists: they know each other. */
  set gate(gate: Gate) {
    this.#gate = gate;
    this.#ingress.gate = gate;
    this.#egress.gate = gate;
  }

  serveTls(connection: Connection, hello: ClientHello, opening: HostBytes): void {
    this.#handlerOf(connection)?.serveTls(connection, hello, opening);
  }

  servePlain(connection: Connection, opening: HostBytes): void {
    this.#handlerOf(connection)?.servePlain(connection, opening);
  }

  #handlerOf(connection: Connection): GateHandler | null {
    if (connection.listener.settings.kind === 'ingress') return this.#ingress;
    const { handler } = this.#egress;
    if (handler === null) {
      // The settings went while the listener is on its way out.
      connection.channel.sink = deafSink;
      connection.channel.reset();
      this.#gate!.end(connection, refusal('draining', null));
      return null;
    }
    this.#egress.opened();
    connection.onEnded = () => this.#egress.closed();
    return handler;
  }
}
