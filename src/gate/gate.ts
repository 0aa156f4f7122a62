/**
 * The gate: from accept to the first bytes, the same for every kind of listener.
 *
 *   accept → connection limits → PROXY header? → firewall (socket peer and real client) → first bytes
 *
 * It owns the account of every connection: places in the gauges, counters, the log line, and the list by which
 * a drain ends what is left.
 */
import { assert } from '../core/errors.ts';
import { formatIp, type IpAddress } from '../core/ip.ts';
import { reasons, type Reason } from '../core/reason.ts';
import { counterColumns, type SharedCounters } from '../core/shared-counters.ts';
import { processSlot, type SharedGauges } from '../core/shared-gauges.ts';
import type { Firewall, FirewallRefusal } from '../firewall/firewall.ts';
import type { ClientHello } from '../codec/client-hello.ts';
import type { HostBytes } from '../core/bytes.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { ServerSettings } from '../model/settings.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { deafSink, type Channel } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import type { ConnectionLog, ConnectionSummary } from '../telemetry/connection-log.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ConnectionMetrics } from '../telemetry/traffic-metrics.ts';
import { Admission } from './admission.ts';
import { Connection, refusal, type ConnectionEnd } from './connection.ts';

/** What stands behind the gate. It takes the channel over, and reports the end with `gate.end`. */
export interface GateHandler {
  /** A ClientHello. `opening` is a view that the next read overwrites: every byte read so far, to be replayed. */
  serveTls(connection: Connection, hello: ClientHello, opening: HostBytes): void;
  /** Something else, on a listener that takes it: at least one byte. `opening` is such a view too. */
  servePlain(connection: Connection, opening: HostBytes): void;
}

export interface GateContext {
  readonly network: Network;
  readonly gauges: SharedGauges;
  readonly counters: SharedCounters;
  readonly metrics: ConnectionMetrics;
  readonly log: ConnectionLog;
  readonly logger: Logger;
  /** Replaced as a whole when the process settings are read again. */
  server: ServerSettings;
  http: HttpSettings;
  /** Connections in all, over all workers. */
  readonly connectionsMax: number;
  /** Begins each connection's id, so that ids of several workers and starts differ. */
  readonly idPrefix: string;
  /** The listener's slot in the shared gauges and counters. */
  slotOf(listenerName: string): number;
}

export class Gate {
  readonly context: GateContext;
  readonly handler: GateHandler;
  #snapshot: Snapshot;
  #firewall: Firewall;
  /** Told how each connection ended; null while nobody watches. */
  onEnd: ((summary: ConnectionSummary) => void) | null = null;
  /** Told when the last connection has ended. */
  onIdle: (() => void) | null = null;
  #sequence = 0;
  #live = 0;
  #isDraining = false;
  #first: Connection | null = null;

  constructor(context: GateContext, handler: GateHandler, snapshot: Snapshot, firewall: Firewall) {
    this.context = context;
    this.handler = handler;
    this.#snapshot = snapshot;
    this.#firewall = firewall;
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  get firewall(): Firewall {
    return this.#firewall;
  }

  /** What connections from now on are judged by. */
  adopt(snapshot: Snapshot, firewall: Firewall): void {
    this.#snapshot = snapshot;
    this.#firewall = firewall;
  }

  /** How many connections this worker serves. */
  get live(): number {
    return this.#live;
  }

  /** Takes an accepted channel. Never throws: a fault of ours ends this one connection. */
  accept(listenerName: string, channel: Channel): void {
    try {
      this.#accept(listenerName, channel);
    } catch (error) {
      channel.reset();
      this.reportFault(error);
    }
  }

  /** Ends the account of a connection whose channels are closed. */
  end(connection: Connection, end: ConnectionEnd): void {
    const { gauges } = this.context;
    this.#unlink(connection);
    gauges.release(connection.slot);
    gauges.release(processSlot);
    this.#record(connection, end);
    connection.onEnded?.();
    if (this.#live === 0) this.onIdle?.();
  }

  /**
   * Asks every connection, or those of one listener, to finish what it has begun and take nothing new. Those
   * accepted later are asked as soon as they have an owner that can.
   */
  drain(listenerName: string | null): void {
    if (listenerName === null) this.#isDraining = true;
    for (let connection = this.#first; connection !== null;) {
      const next: Connection | null = connection.next;
      if (listenerName === null || connection.listener.settings.name === listenerName)
        connection.owner?.drain?.();
      connection = next;
    }
  }

  /** True once everything drains: a session that begins now serves what it was sent and closes. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Ends every connection that is left. */
  abortAll(reason: Reason): void {
    for (let connection = this.#first; connection !== null;) {
      const next: Connection | null = connection.next;
      connection.owner?.abort(reason, null);
      connection = next;
    }
  }

  /** Ends every connection from an address that `judge` refuses. Answers how many those were. */
  abortRefused(judge: (ip: IpAddress) => FirewallRefusal | null): number {
    let count = 0;
    for (let connection = this.#first; connection !== null;) {
      const next: Connection | null = connection.next;
      const { client, peer } = connection;
      const refused = judge(client) ?? (client === peer ? null : judge(peer));
      if (refused !== null) {
        connection.owner?.abort(refused.reason, refused.ruleId);
        count++;
      }
      connection = next;
    }
    return count;
  }

  /** A fault of ours while serving a connection: told with its stack, and the end of this one connection. */
  fail(connection: Connection, error: unknown): void {
    this.reportFault(error);
    if (connection.isEnded) return;
    try {
      connection.owner?.abort('internal-error', null);
    } catch (second) {
      this.reportFault(second);
    }
    // Whoever owns it did not manage even that.
    if (connection.isEnded) return;
    connection.channel.sink = deafSink;
    connection.channel.reset();
    this.end(connection, refusal('internal-error', null));
  }

  /** Our own fault, told with its stack. */
  reportFault(error: unknown): void {
    this.context.logger.error('a connection failed by a fault of portcullis', { err: error });
  }

  #accept(listenerName: string, channel: Channel): void {
    const { network, gauges, counters, connectionsMax } = this.context;
    const listener = this.#snapshot.listeners.get(listenerName);
    const endpoint = channel.peer();
    // Gone before we looked, or on a listener that was just removed: nothing to serve and nobody to tell.
    if (endpoint === undefined || listener === undefined) return channel.reset();
    const slot = this.context.slotOf(listenerName);
    const { ip, port } = endpoint;
    const connection = new Connection(
      ++this.#sequence,
      channel,
      listener,
      this.#firewall,
      slot,
      network.refresh(),
      ip,
      port,
    );
    counters.add(slot, counterColumns.accepted, 1);
    if (!gauges.tryAcquire(processSlot, connectionsMax)) {
      return this.#refuseAtDoor(connection, 'total-limit', null);
    }
    if (!gauges.tryAcquire(slot, listener.settings.maxConnections)) {
      gauges.release(processSlot);
      return this.#refuseAtDoor(connection, 'listener-limit', listener.limitRuleId);
    }
    this.#link(connection);
    this.#admit(connection);
  }

  #admit(connection: Connection): void {
    try {
      new Admission(this, connection).start();
    } catch (error) {
      this.fail(connection, error);
    }
  }

  /** At a limit the connection costs nothing more: closed right after accept, without a reset to fight over. */
  #refuseAtDoor(connection: Connection, reason: Reason, ruleId: string | null): void {
    connection.channel.close();
    this.#record(connection, refusal(reason, ruleId));
  }

  #record(connection: Connection, end: ConnectionEnd): void {
    const { counters, metrics, log, network, idPrefix } = this.context;
    const { slot } = connection;
    counters.add(slot, counterColumns.bytesIn, end.bytesIn);
    counters.add(slot, counterColumns.bytesOut, end.bytesOut);
    counters.countReason(slot, end.reason);
    const summary: ConnectionSummary = {
      id: `${idPrefix}${connection.sequence}`,
      client: formatEndpoint(connection.client, connection.clientPort),
      peer:
        connection.client === connection.peer
          ? undefined
          : formatEndpoint(connection.peer, connection.peerPort),
      listener: connection.listener.settings.name,
      sni: connection.serverName,
      route: end.routeId,
      backend: end.backendName,
      bytesIn: end.bytesIn,
      bytesOut: end.bytesOut,
      durationMs: network.refresh() - connection.startedMs,
      verdict: reasons[end.reason].outcome,
      reason: end.reason,
      rule: end.ruleId,
      detail: end.detail,
    };
    metrics.ended(summary.id as string, summary.durationMs, network.nowMs);
    log.write(summary);
    this.onEnd?.(summary);
  }

  #link(connection: Connection): void {
    connection.next = this.#first;
    if (this.#first !== null) this.#first.previous = connection;
    this.#first = connection;
    this.#live++;
  }

  #unlink(connection: Connection): void {
    assert(!connection.isEnded, 'a connection ended twice');
    connection.isEnded = true;
    if (connection.previous === null) this.#first = connection.next;
    else connection.previous.next = connection.next;
    if (connection.next !== null) connection.next.previous = connection.previous;
    connection.previous = null;
    connection.next = null;
    this.#live--;
  }
}

function formatEndpoint(ip: IpAddress, port: number): string {
  return ip.family === 4 ? `${formatIp(ip)}:${port}` : `[${formatIp(ip)}]:${port}`;
}
