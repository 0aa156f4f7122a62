/**
 * A worker's data plane: its listeners, its gate, and how both take the next version of the configuration.
 *
 * A listener that a version adds is bound before the version is stored (`prepare`), so that a change which can
 * not be served is never acknowledged. What clients send there meanwhile is held, unread, until `publish`.
 */
import { fstatSync } from 'node:fs';
import { assert } from '../core/errors.ts';
import { cidrContains, parseCidr, type IpAddress } from '../core/ip.ts';
import { RateTable } from '../core/rate-table.ts';
import { SharedCounters } from '../core/shared-counters.ts';
import { SharedGauges } from '../core/shared-gauges.ts';
import type { EgressMaterials } from '../egress/materials.ts';
import { Firewall, type FirewallRefusal } from '../firewall/firewall.ts';
import { Gate } from '../gate/gate.ts';
import { Ingress } from '../ingress/ingress.ts';
import { applyChanges, type FirewallRule } from '../model/change.ts';
import { firewallRuleId } from '../model/rule-id.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { LogLevel, ServerSettings } from '../model/settings.ts';
import { buildSnapshot } from '../model/snapshot.ts';
import type { Acceptor, Channel, Transport } from '../net/channel.ts';
import { Network } from '../net/network.ts';
import { Resolver } from '../net/resolver.ts';
import { BatchingLogOutput } from '../telemetry/batching-log-output.ts';
import { AccessFilter } from '../telemetry/access-filter.ts';
import { ConnectionLog } from '../telemetry/connection-log.ts';
import { createLogger, type AdjustableLogger } from '../telemetry/logger.ts';
import { SharedMetrics } from '../telemetry/metrics.ts';
import { RequestLog } from '../telemetry/request-log.ts';
import { ConnectionMetrics, EgressMetrics, HttpMetrics } from '../telemetry/traffic-metrics.ts';
import { WorkerVitals } from '../telemetry/worker-vitals.ts';
import { EgressPlane } from './egress-plane.ts';
import { EndedConnections } from './ended-connections.ts';
import { HttpPlane } from './http-plane.ts';
import { KindHandler } from './kind-handler.ts';
import type { Binding, FromWorker, ListeningSocket, Publication, WorkerStart } from './messages.ts';

/** How long a listener that is closed waits for the kernel's accept queue to run empty: under a flood it never does. */
const acceptMsMax = 1_000;
/** Channels held on one listener between prepare and publish; more are reset. */
const heldMax = 4_096;

/** A bound address: one socket, or those that a predecessor left. */
interface Door {
  readonly slot: number;
  readonly acceptors: readonly Acceptor[];
  accepted: number;
  /** What arrived before the version that knows the listener; null once it is published. */
  held: Channel[] | null;
}

export class DataPlane {
  readonly #worker: number;
  readonly #send: (message: FromWorker) => void;
  readonly #output: BatchingLogOutput;
  readonly #connectionLog: ConnectionLog;
  readonly #logger: AdjustableLogger;
  readonly #metrics: SharedMetrics;
  readonly #vitals: WorkerVitals;
  readonly #gate: Gate;
  readonly #http: HttpPlane;
  readonly #egress: EgressPlane;
  readonly #network: Network;
  readonly #doors = new Map<string, Door>();
  #rates: RateTable | null;

  constructor(start: WorkerStart, transport: Transport, send: (message: FromWorker) => void) {
    this.#worker = start.worker;
    this.#send = send;
    this.#metrics = new SharedMetrics(start.metrics, start.worker);
    this.#vitals = new WorkerVitals(this.#metrics, start.worker);
    const dropped = this.#metrics.counters('portcullis_log_lines_dropped_total').at();
    this.#output = new BatchingLogOutput(start.logPort, { onDropped: (count) => dropped.add(count) });
    const accessFilter = new AccessFilter(start.accessLog);
    this.#connectionLog = new ConnectionLog(this.#output, start.logLevel, undefined, accessFilter);
    this.#logger = createLogger({
      level: start.logLevel,
      output: this.#output,
      bindings: { worker: start.worker },
    });
    this.#rates = start.rateTable === null ? null : new RateTable(start.rateTable, start.worker);
    this.#network = new Network(transport, new Resolver());
    const snapshot = buildSnapshot(start.version, start.traffic, {
      hashSeed: start.hashSeed,
      geoip: start.geoip,
    });
    const connectionMetrics = new ConnectionMetrics(this.#metrics);
    const spans = this.#metrics.counters('portcullis_spans_dropped_total').at();
    const requestLog = new RequestLog(this.#output, start.logLevel, undefined, accessFilter);
    this.#http = new HttpPlane({
      worker: start.worker,
      requestRates: start.requestRates,
      network: this.#network,
      server: start.server,
      http: start.http,
      ticketSecret: start.ticketSecret,
      pseudonym: start.pseudonym,
      log: requestLog,
      logger: this.#logger,
      tracing: start.tracing,
      programVersion: start.programVersion,
      onSpansDropped: (count) => spans.add(count),
      metrics: new HttpMetrics(this.#metrics),
      connectionMetrics,
    });
    this.#egress = new EgressPlane({
      network: this.#network,
      http: this.#http,
      log: requestLog,
      logger: this.#logger,
      metrics: new EgressMetrics(this.#metrics),
    });
    this.#egress.adopt(snapshot.egress, start.egressMaterials);
    const handler = new KindHandler(new Ingress(this.#http), this.#egress);
    this.#gate = new Gate(
      {
        network: this.#network,
        gauges: new SharedGauges(start.gauges, start.worker),
        counters: new SharedCounters(start.counters, start.worker),
        metrics: connectionMetrics,
        log: this.#connectionLog,
        logger: this.#logger,
        server: start.server,
        http: start.http,
        connectionsMax: start.connectionsMax,
        idPrefix: start.idPrefix,
        slotOf: (listener) => this.#doors.get(listener)!.slot,
      },
      handler,
      snapshot,
      new Firewall(snapshot.firewall, this.#rates),
    );
    handler.gate = this.#gate;
    this.watch(start.isWatched);
  }

  /** Binds and serves at once. Rejects when an address can not be bound. */
  async listen(bindings: readonly Binding[]): Promise<void> {
    await this.#bindAll(bindings);
    for (const { listener } of bindings) this.#open(listener);
  }

  /** Binds what the next version adds. Answers why it could not; nothing new is bound then. */
  async prepare(bindings: readonly Binding[]): Promise<string | null> {
    try {
      await this.#bindAll(bindings);
      return null;
    } catch (error) {
      this.discard();
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Unbinds what was prepared and will not be published. */
  discard(): void {
    for (const [listener, door] of this.#doors) {
      if (door.held === null) continue;
      for (const channel of door.held) channel.reset();
      closeAll(door);
      this.#doors.delete(listener);
    }
  }

  /** Those that a successor of this process can accept on. */
  sockets(): ListeningSocket[] {
    return [...this.#doors].flatMap(([listener, { acceptors }]) =>
      acceptors.filter(({ fd }) => fd >= 0).map(({ fd }) => ({ listener, fd, inode: fstatSync(fd).ino })),
    );
  }

  /** Serves by the next version. Answers how many connections its new rule ended. */
  async publish({
    version,
    changes,
    added,
    rateTable,
    requestRates,
    egressMaterials,
    disconnect,
  }: Publication): Promise<number> {
    // A replaced worker may start from a version whose publication is still on its way.
    if (version <= this.#gate.snapshot.version) return 0;
    // It may also have started after `prepare` was sent, from the version before. That it can not bind ends it:
    // what replaces it tries again.
    await this.#bindAll(added.filter(({ listener }) => !this.#doors.has(listener)));
    if (rateTable !== undefined) {
      this.#rates = rateTable === null ? null : new RateTable(rateTable, this.#worker);
    }
    const { snapshot, firewall } = this.#gate;
    this.#http.addRates(requestRates);
    const next = applyChanges(snapshot, version, changes);
    if (egressMaterials !== undefined) this.#egress.adopt(next.egress, egressMaterials);
    this.#gate.adopt(next, new Firewall(next.firewall, this.#rates, firewall));
    const closing: Promise<void>[] = [];
    for (const [listener, door] of this.#doors) {
      if (!next.listeners.has(listener))
        closing.push(this.#close(listener, door).then(() => this.#gate.drain(listener)));
      else if (door.held !== null) this.#open(listener);
    }
    await Promise.all(closing);
    return disconnect === null ? 0 : this.#gate.abortRefused(judgeBy(disconnect, this.#gate.firewall));
  }

  /** Files that egress uses were read again. */
  adoptEgress(materials: EgressMaterials): void {
    this.#egress.adopt(this.#gate.snapshot.egress, materials);
    this.#egress.reopenLogs();
  }

  adoptGeoip(database: SharedArrayBuffer): void {
    const { snapshot, firewall } = this.#gate;
    const next = { ...snapshot, firewall: { ...snapshot.firewall, geoip: database } };
    this.#gate.adopt(next, new Firewall(next.firewall, this.#rates, firewall));
  }

  adoptSettings(server: ServerSettings, http: HttpSettings): void {
    this.#gate.context.server = server;
    this.#gate.context.http = http;
    this.#http.adopt(server, http);
  }

  setLogLevel(level: LogLevel): void {
    this.#logger.level = level;
    this.#connectionLog.setLevel(level);
    this.#http.setLogLevel(level);
  }

  watch(isOn: boolean): void {
    if (!isOn) {
      this.#gate.onEnd = null;
      return;
    }
    const ended = new EndedConnections((summaries, missed) =>
      this.#send({ kind: 'ended', summaries, missed }),
    );
    this.#gate.onEnd = (summary) => ended.add(summary);
  }

  /** Stops accepting. Resolves when the last connection has ended and everything was logged. */
  async drain(): Promise<void> {
    await Promise.all([...this.#doors].map(([listener, door]) => this.#close(listener, door)));
    this.#gate.drain(null);
    if (this.#gate.live > 0) await new Promise<void>((resolve) => (this.#gate.onIdle = resolve));
    this.#gate.onIdle = null;
    await this.#http.close();
    this.#egress.close();
    this.#vitals.stop();
    this.#output.flush();
    this.#network.close();
  }

  abort(): void {
    this.#gate.abortAll('drained');
  }

  async #bindAll(bindings: readonly Binding[]): Promise<void> {
    for (const binding of bindings) {
      const acceptors = await this.#bind(binding);
      this.#doors.set(binding.listener, { slot: binding.slot, acceptors, accepted: 0, held: [] });
    }
  }

  async #bind({ listener, host, port, inherited }: Binding): Promise<Acceptor[]> {
    const { transport } = this.#network;
    const onAccept = (channel: Channel): void => this.#accept(listener, channel);
    if (inherited.length === 0) return [await transport.listen(host, port, onAccept)];
    return Promise.all(inherited.map((fd) => transport.adopt(fd, onAccept)));
  }

  #accept(listener: string, channel: Channel): void {
    const door = this.#doors.get(listener);
    if (door === undefined) return channel.reset();
    door.accepted++;
    if (door.held === null) this.#gate.accept(listener, channel);
    else if (door.held.length < heldMax) door.held.push(channel);
    else channel.reset();
  }

  #open(listener: string): void {
    const door = this.#doors.get(listener);
    assert(door !== undefined, 'opened a listener that is not bound');
    const held = door.held ?? [];
    door.held = null;
    for (const channel of held) this.#gate.accept(listener, channel);
  }

  /**
   * What the kernel has accepted for us is a connection to the client already: closing the socket would reset
   * it. So the queue is emptied first: it is empty once a whole turn of the loop has accepted nothing.
   */
  async #close(listener: string, door: Door): Promise<void> {
    let before = -1;
    const endMs = performance.now() + acceptMsMax;
    while (before !== door.accepted && performance.now() < endMs) {
      before = door.accepted;
      await loopTurn();
    }
    closeAll(door);
    // The same address may have been added again meanwhile.
    if (this.#doors.get(listener) === door) this.#doors.delete(listener);
  }
}

/** Refuses exactly the addresses that one rule names, whatever other rules say. */
function judgeBy(
  { type, value }: FirewallRule,
  firewall: Firewall,
): (ip: IpAddress) => FirewallRefusal | null {
  const refusal: FirewallRefusal = { reason: `blocked-${type}`, ruleId: firewallRuleId(type, value) };
  if (type === 'country') return (ip) => (firewall.country(ip) === value ? refusal : null);
  const parsed = parseCidr(value);
  assert(parsed !== undefined, 'a firewall rule of the settings is not canonical');
  return (ip) => (cidrContains(parsed.cidr, ip) ? refusal : null);
}

function closeAll({ acceptors }: Door): void {
  for (const acceptor of acceptors) acceptor.close();
}

function loopTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
