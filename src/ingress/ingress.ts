/** Ingress: what stands behind the gate on a listener of kind `ingress`. */
import type { ClientHello } from '../codec/client-hello.ts';
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import { refusal, type Connection } from '../gate/connection.ts';
import type { Gate, GateHandler } from '../gate/gate.ts';
import { deafSink } from '../net/channel.ts';
import { L4Session } from './l4-session.ts';
import { chooseRoute } from './router.ts';

export class Ingress implements GateHandler {
  /** Set once the gate exists: the two know each other. */
  gate: Gate | null = null;

  serve(connection: Connection, _hello: ClientHello, opening: HostBytes): void {
    const gate = this.gate!;
    const route = chooseRoute(connection.listener, connection.serverName);
    if (typeof route === 'string') return refuse(gate, connection, route);
    if (route.mode === 'l7') return refuse(gate, connection, 'mode-unavailable', route.ruleId);
    new L4Session(gate, connection, route, opening).start();
  }
}

function refuse(gate: Gate, connection: Connection, reason: Reason, ruleId: string | null = null): void {
  connection.channel.sink = deafSink;
  connection.channel.reset();
  gate.end(connection, refusal(reason, ruleId));
}
