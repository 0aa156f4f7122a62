/**
 * The supervisor: the main thread. It owns shared memory and the committed version of the configuration, keeps
 * the workers in step with it, and ends the process in order. No byte of a client passes through it.
 *
 * A change is prepared in every worker, then stored, then published; see `change`.
 */
import { randomBytes } from 'node:crypto';
import { ListenerSlots } from '../core/listener-slots.ts';
import { RateTable } from '../core/rate-table.ts';
import { SharedCounters } from '../core/shared-counters.ts';
import { listenerSlotsMax, processSlot, SharedGauges } from '../core/shared-gauges.ts';
import { ControlError } from '../admin/control.ts';
import type { EgressMaterials } from '../egress/materials.ts';
import type { OwnAddresses } from '../egress/network-guard.ts';
import { openGeoip } from '../firewall/geoip.ts';
import { applyChanges, type Change, type FirewallRule } from '../model/change.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import type { LogLevel, ProcessSettings, TrafficSettings } from '../model/settings.ts';
import { buildSnapshot, type Snapshot } from '../model/snapshot.ts';
import type { ConnectionSummary } from '../telemetry/connection-log.ts';
import type { LogWriter } from '../telemetry/log-writer.ts';
import type { Logger } from '../telemetry/logger.ts';
import { SharedMetrics } from '../telemetry/metrics.ts';
import { AddressError, connectionLimit, reserveAddress } from './addresses.ts';
import { openDatabase, toRows } from './change-rows.ts';
import { readEgressFiles } from './egress-files.ts';
import { Fleet } from './fleet.ts';
import { EnvironmentError, LedgerAheadError, type ChangePlan, type Ledger } from './ledger.ts';
import type { Binding, WorkerStart } from './messages.ts';
import { RequestRateTables, type RateBuffers } from './request-rates.ts';
import type { StoredChange, StoredTraffic } from '../store/store.ts';
import { storedDiff, TrafficState } from './traffic-state.ts';

export interface SupervisorOptions {
  readonly process: ProcessSettings;
  readonly traffic: TrafficSettings;
  /** The version that `traffic` is. */
  readonly version: number;
  /** Of the program. */
  readonly programVersion: string;
  /** Null without a database. */
  readonly ledger: Ledger | null;
  readonly logger: Logger;
  readonly logWriter: LogWriter;
  /** What a predecessor left, by listener. */
  readonly inherited?: ReadonlyMap<string, InheritedListener>;
}

/** Listening sockets that another process left us, and the port they are bound to. */
export interface InheritedListener {
  readonly port: number;
  readonly fds: readonly number[];
}

export interface BoundListener {
  readonly name: string;
  readonly host: string;
  /** The port that was bound, also when 0 was asked for. */
  readonly port: number;
  /** Of the shared gauges and counters. */
  readonly slot: number;
}

export interface ChangeResult {
  readonly version: number;
  readonly disconnected: number;
}

const noSlotMessage =
  `there are ${listenerSlotsMax} listeners, which is the most; ` +
  'a removed one counts until its last connection has ended';

/** Told of each ended connection while `watch` is on. */
export type EndedObserver = (summaries: readonly ConnectionSummary[], missed: number) => void;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #gauges: SharedGauges;
  readonly #counters: SharedCounters;
  readonly #metrics: SharedMetrics;
  readonly #slots: ListenerSlots;
  readonly #state: TrafficState;
  readonly #fleet: Fleet;
  readonly #bindings = new Map<string, Binding>();
  readonly #idPrefix = Math.floor(Date.now() / 1000).toString(36);
  readonly #startedMs = performance.now();
  #processSettings: ProcessSettings;
  readonly #hashSeed = randomBytes(4).readUInt32LE();
  readonly #ticketSecret = new Uint8Array(randomBytes(32));
  /** Empty once every worker has started: a listener that comes later is bound like any. */
  #inherited: ReadonlyMap<string, InheritedListener>;
  #isFrozen = false;
  readonly #pseudonym = `portcullis-${randomBytes(4).toString('hex')}`;
  #version: number;
  #geoip: SharedArrayBuffer | null;
  /** Built when first asked for: workers build theirs, and a start waits for nobody else. */
  #snapshot: Snapshot | null = null;
  #rateTable: RateTable | null = null;
  readonly #requestRates: RequestRateTables;
  #egressMaterials: EgressMaterials | null = null;
  #ended: EndedObserver | null = null;
  /** Changes go one by one: the tail of the queue. */
  #queue: Promise<unknown> = Promise.resolve();
  #drained: Promise<void> | null = null;

  /** Resolves when every worker accepts on every listener. Throws EnvironmentError. */
  static async start(options: SupervisorOptions): Promise<Supervisor> {
    const { geoipDatabase } = options.traffic.firewall;
    const geoip = geoipDatabase === null ? null : await openDatabase(geoipDatabase);
    const supervisor = new Supervisor(options, geoip);
    await supervisor.#start();
    return supervisor;
  }

  private constructor(options: SupervisorOptions, geoip: SharedArrayBuffer | null) {
    const { workers } = options.process.server;
    this.#options = options;
    this.#inherited = options.inherited ?? new Map();
    this.#processSettings = options.process;
    this.#gauges = SharedGauges.create(workers);
    this.#counters = SharedCounters.create(workers);
    this.#metrics = SharedMetrics.create(workers);
    this.#slots = new ListenerSlots(this.#gauges, this.#counters);
    this.#state = new TrafficState(options.traffic);
    this.#version = options.version;
    this.#geoip = geoip;
    this.#rateTable = this.#newRateTable();
    this.#requestRates = new RequestRateTables(this.#processSettings.server.workers);
    for (const { name, routes } of this.#state.settings.listeners) this.#requestRates.addFor(name, routes);
    this.#fleet = new Fleet({
      workers,
      logger: options.logger,
      logWriter: options.logWriter,
      makeStart: (worker, generation) => this.#workerStart(worker, generation),
      onDeath: (worker) => this.#reclaim(worker),
      onEnded: ({ summaries, missed }) => this.#ended?.(summaries, missed),
    });
  }

  get listeners(): readonly BoundListener[] {
    return [...this.#bindings.values()].map(({ listener, ...binding }) => ({ name: listener, ...binding }));
  }

  get fleet(): Fleet {
    return this.#fleet;
  }

  /** The sockets the workers ended up with. */
  get sockets(): 'fast' | 'public' {
    return this.#fleet.workers.every(({ transport }) => transport === 'fast') ? 'fast' : 'public';
  }

  get state(): TrafficState {
    return this.#state;
  }

  /** The committed version, as the workers serve it. */
  get snapshot(): Snapshot {
    return (this.#snapshot ??= buildSnapshot(this.#version, this.#state.settings, {
      hashSeed: this.#hashSeed,
      geoip: this.#geoip,
    }));
  }

  get version(): number {
    return this.#version;
  }

  get counters(): SharedCounters {
    return this.#counters;
  }

  get gauges(): SharedGauges {
    return this.#gauges;
  }

  get metrics(): SharedMetrics {
    return this.#metrics;
  }

  get processSettings(): ProcessSettings {
    return this.#processSettings;
  }

  /** Connections in all, at most. */
  get connectionsMax(): number {
    return connectionLimit(this.#processSettings.server.maxConnections);
  }

  get uptimeMs(): number {
    return performance.now() - this.#startedMs;
  }

  get isDraining(): boolean {
    return this.#drained !== null;
  }

  /** Connections open now, over all workers. */
  get activeConnections(): number {
    return this.#gauges.value(processSlot);
  }

  /**
   * Takes the next version: binds what it adds, stores it, publishes it, and resolves when every worker serves it.
   * `plan` is called when it is this change's turn, and answers the rows; what it throws changes nothing, like
   * everything that rejects here. `disconnect` ends open connections that the new rule matches.
   */
  change(plan: () => ChangePlan): Promise<ChangeResult> {
    const result = this.#queue.then(() => this.#change(plan()));
    this.#queue = result.then(
      () => this.#countChange('applied'),
      () => this.#countChange('refused'),
    );
    return result;
  }

  /** Refuses every change from now on, and resolves when those before have ended. */
  async freeze(): Promise<void> {
    this.#isFrozen = true;
    await this.#queue;
  }

  thaw(): void {
    this.#isFrozen = false;
  }

  /** Reads the GeoIP database again. A bad file is logged and the old one stays. Answers whether it was read. */
  reloadGeoip(): Promise<boolean> {
    // In turn with changes: one of them may name another file.
    const result = this.#queue.then(() => this.#reloadGeoip());
    this.#queue = result.catch(() => {});
    return result;
  }

  async #reloadGeoip(): Promise<boolean> {
    const { logger } = this.#options;
    const path = this.#state.geoipDatabase;
    if (path === null) {
      logger.info('no GeoIP database is configured: nothing to reload');
      return false;
    }
    let database: SharedArrayBuffer;
    try {
      database = await openGeoip(path);
    } catch (error) {
      logger.error('GeoIP database not reloaded, the old one stays', {
        path,
        reason: (error as Error).message,
      });
      return false;
    }
    this.#adoptGeoip(database);
    this.#fleet.send({ kind: 'geoip', database });
    logger.info('GeoIP database reloaded', { path });
    return true;
  }

  /** Takes timeouts that were read again. Workers, sockets and limits in all need a new process. */
  adoptProcessSettings(settings: ProcessSettings): void {
    this.#processSettings = {
      ...settings,
      server: { ...settings.server, workers: this.#fleet.workers.length },
    };
    const { server, http } = this.#processSettings;
    this.#fleet.send({ kind: 'settings', server, http });
  }

  /** Where this process can be reached, as egress guards it; null: there is no egress. */
  get ownAddresses(): OwnAddresses | null {
    return this.#egressMaterials?.own ?? null;
  }

  /** Reads again what egress needs of the world. A bad file leaves what was read before in service. */
  reloadEgressFiles(): void {
    const { egress } = this.#state.settings;
    if (egress === null) return;
    try {
      this.#egressMaterials = this.#readEgress(egress);
    } catch (error) {
      this.metrics.counters('proxy_config_load_errors_total').at().add(1);
      this.#options.logger.error('files of egress not reloaded, the old ones stay', {
        reason: (error as Error).message,
      });
      return;
    }
    this.#fleet.send({ kind: 'egress', materials: this.#egressMaterials! });
  }

  setLogLevel(level: LogLevel): void {
    const { log } = this.#processSettings;
    this.#processSettings = { ...this.#processSettings, log: { ...log, level } };
    this.#fleet.send({ kind: 'log-level', level });
  }

  /** Tells `observe` how connections end from now on; null stops it. */
  watch(observe: EndedObserver | null): void {
    if ((this.#ended === null) !== (observe === null)) {
      this.#fleet.send({ kind: 'watch', isOn: observe !== null });
    }
    this.#ended = observe;
  }

  /** Stops accepting, lets connections finish for shutdown_timeout, then ends them. Resolves when all is over. */
  drain(): Promise<void> {
    return (this.#drained ??= this.#drain());
  }

  async #start(): Promise<void> {
    const { listeners } = this.#state.settings;
    for (const { name, address } of listeners) {
      const binding = await this.#reserve(name, address);
      this.#bindings.set(name, binding);
    }
    this.#egressMaterials = this.#readEgress(this.#state.settings.egress);
    try {
      await this.#fleet.start();
    } catch (error) {
      throw new EnvironmentError((error as Error).message, { cause: error });
    }
    this.#inherited = new Map();
  }

  /** Undefined when the changes leave egress as it is. */
  #readNewEgress(changes: readonly StoredChange[]): EgressMaterials | null | undefined {
    const change = changes.findLast(({ kind }) => kind === 'egress-set');
    if (change?.kind !== 'egress-set') return undefined;
    try {
      return this.#readEgress(change.egress);
    } catch (error) {
      throw new ControlError('invalid-argument', (error as Error).message, 'egress', { cause: error });
    }
  }

  #readEgress(settings: EgressSettings | null): EgressMaterials | null {
    const ports = Array.from(this.#bindings.values(), ({ port }) => port);
    return readEgressFiles(settings, this.#processSettings, ports);
  }

  #adoptGeoip(database: SharedArrayBuffer | null): void {
    this.#geoip = database;
    if (this.#snapshot === null) return;
    this.#snapshot = { ...this.#snapshot, firewall: { ...this.#snapshot.firewall, geoip: database } };
  }

  async #change({ changes, entry, disconnect }: ChangePlan): Promise<ChangeResult> {
    if (this.isDraining) throw new EnvironmentError('the server is shutting down');
    if (this.#isFrozen) throw new ControlError('unavailable', 'an upgrade is under way; try again');
    if (changes.length === 0) return { version: this.#version, disconnected: 0 };
    const { ledger } = this.#options;
    try {
      return await this.#carryOut(changes, disconnect, (base) => {
        return ledger === null ? Promise.resolve(base + 1) : ledger.commit(base, changes, entry);
      });
    } catch (error) {
      if (error instanceof LedgerAheadError) await this.#catchUp(error.stored);
      throw error;
    }
  }

  /** Serves what the ledger turned out to hold. */
  async #catchUp({ version, traffic }: StoredTraffic): Promise<void> {
    const changes = storedDiff(this.#state.settings, traffic);
    this.#options.logger.warn('an earlier change had been kept after all: serving it', { version });
    await this.#carryOut(changes, null, () => Promise.resolve(version));
  }

  async #carryOut(
    changes: readonly StoredChange[],
    disconnect: FirewallRule | null,
    commit: (base: number) => Promise<number>,
  ): Promise<ChangeResult> {
    const rows = await toRows(changes);
    const materials = this.#readNewEgress(changes);
    const added = await this.#reserveAdded(changes);
    const problem = await this.#fleet.prepare(added);
    if (problem !== null) {
      for (const { slot } of added) this.#slots.retire(slot);
      throw new EnvironmentError(problem);
    }
    let version: number;
    try {
      version = await commit(this.#version);
    } catch (error) {
      this.#fleet.send({ kind: 'discard' });
      for (const { slot } of added) this.#slots.retire(slot);
      throw error;
    }
    if (materials !== undefined) this.#egressMaterials = materials;
    return { version, disconnected: await this.#publish(version, changes, rows, added, disconnect) };
  }

  /** From here on the change is durable: nothing may fail any more. */
  async #publish(
    version: number,
    changes: readonly StoredChange[],
    rows: readonly Change[],
    added: readonly Binding[],
    disconnect: FirewallRule | null,
  ): Promise<number> {
    this.#state.apply(changes);
    this.#version = version;
    if (this.#snapshot !== null) this.#snapshot = applyChanges(this.#snapshot, version, rows);
    for (const row of rows) if (row.kind === 'geoip-set') this.#geoip = row.database;
    const hasNewEgress = changes.some(({ kind }) => kind === 'egress-set');
    const hasNewRate = changes.some(({ kind }) => kind === 'rate-limit-set');
    if (hasNewRate) this.#rateTable = this.#newRateTable();
    for (const binding of added) this.#bindings.set(binding.listener, binding);
    const removed = [...this.#bindings.values()].filter(
      ({ listener }) => this.#state.listener(listener) === undefined,
    );
    for (const { listener } of removed) this.#bindings.delete(listener);
    const disconnected = await this.#fleet.publish({
      version,
      changes: rows,
      added,
      rateTable: hasNewRate ? (this.#rateTable?.buffer ?? null) : undefined,
      requestRates: this.#addRequestRates(changes),
      egressMaterials: hasNewEgress ? this.#egressMaterials : undefined,
      disconnect,
    });
    for (const { slot } of removed) this.#slots.retire(slot);
    return disconnected;
  }

  async #reserveAdded(changes: readonly StoredChange[]): Promise<Binding[]> {
    const added: Binding[] = [];
    try {
      for (const change of changes) {
        if (change.kind !== 'listener-put' || this.#bindings.has(change.listener.name)) continue;
        added.push(await this.#reserve(change.listener.name, change.listener.address));
      }
    } catch (error) {
      for (const { slot } of added) this.#slots.retire(slot);
      throw error;
    }
    return added;
  }

  async #reserve(name: string, address: { host: string; port: number }): Promise<Binding> {
    try {
      // What a predecessor left is taken already, by us.
      const port = this.#inherited.get(name)?.port ?? (await reserveAddress(name, address));
      const slot = this.#slots.allocate();
      // A removed listener keeps its slot while connections of it go on.
      if (slot === null) throw new EnvironmentError(noSlotMessage);
      return { listener: name, slot, host: address.host, port, inherited: [] };
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      throw new EnvironmentError(error.message, { cause: error });
    }
  }

  #workerStart(worker: number, generation: number): Omit<WorkerStart, 'logPort'> {
    const { server, http, log, operate } = this.#processSettings;
    return {
      worker,
      idPrefix: `${this.#idPrefix}-${worker}${generation === 0 ? '' : `.${generation}`}-`,
      server,
      http,
      ticketSecret: this.#ticketSecret,
      pseudonym: this.#pseudonym,
      connectionsMax: connectionLimit(server.maxConnections),
      version: this.#version,
      traffic: this.#state.settings,
      hashSeed: this.#hashSeed,
      bindings: [...this.#bindings.values()].map((binding) =>
        this.#withInherited(binding, worker, generation),
      ),
      gauges: this.#gauges.buffer,
      counters: this.#counters.buffer,
      metrics: this.#metrics.buffer,
      rateTable: this.#rateTable?.buffer ?? null,
      requestRates: this.#requestRates.buffers,
      egressMaterials: this.#egressMaterials,
      geoip: this.#geoip,
      logLevel: log.level,
      accessLog: operate.accessLog,
      tracing: operate.tracing,
      programVersion: this.#options.programVersion,
      isWatched: this.#ended !== null,
    };
  }

  /** Sockets are dealt out to the first workers; one that is replaced binds for itself, theirs ended with them. */
  #withInherited(binding: Binding, worker: number, generation: number): Binding {
    const fds = this.#inherited.get(binding.listener)?.fds;
    if (fds === undefined || generation > 0) return binding;
    const { length } = this.#fleet.workers;
    return { ...binding, inherited: fds.filter((_, index) => index % length === worker) };
  }

  #countChange(result: 'applied' | 'refused'): void {
    this.#metrics.counters('portcullis_config_changes_total').at(result).add(1);
  }

  /** Tables for the policies of routes that come; those of routes that went are forgotten. */
  #addRequestRates(changes: readonly StoredChange[]): RateBuffers {
    const added = new Map<string, SharedArrayBuffer>();
    let hasRoutes = false;
    for (const change of changes) {
      if (change.kind === 'route-remove' || change.kind === 'listener-remove') hasRoutes = true;
      if (change.kind !== 'route-put') continue;
      hasRoutes = true;
      const { listener, route } = change;
      for (const [id, buffer] of this.#requestRates.addFor(listener, [route])) added.set(id, buffer);
    }
    if (hasRoutes && this.#requestRates.count > 0) this.#requestRates.retain(this.#state.settings.listeners);
    return added;
  }

  #newRateTable(): RateTable | null {
    const { rateLimit } = this.#state;
    if (rateLimit === null) return null;
    const seed = randomBytes(8);
    return RateTable.create({
      ...rateLimit,
      workers: this.#processSettings.server.workers,
      seed: [seed.readUInt32LE(0), seed.readUInt32LE(4)],
    });
  }

  /** What a dead worker held in shared memory goes back. */
  #reclaim(worker: number): void {
    this.#gauges.reclaim(worker);
    this.#metrics.reclaim(worker);
    this.#rateTable?.releaseLocksOf(worker);
    this.#requestRates.releaseLocksOf(worker);
  }

  async #drain(): Promise<void> {
    const { logger } = this.#options;
    const timeoutMs = this.#processSettings.server.shutdownTimeoutMs;
    logger.info('draining', { connections: this.activeConnections, timeout_ms: timeoutMs });
    await this.#queue;
    await this.#fleet.drain(timeoutMs, () => {
      logger.warn('shutdown timeout: ending what is left', { connections: this.activeConnections });
    });
    logger.info('drained');
  }
}
