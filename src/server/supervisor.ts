/**
 * The supervisor: the main thread. It binds addresses first, owns shared memory, starts workers, replaces those
 * that die, and ends the process in order. No byte of a client passes through it.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { RateTable } from '../core/rate-table.ts';
import { ListenerSlots } from '../core/listener-slots.ts';
import { assert } from '../core/errors.ts';
import { SharedCounters } from '../core/shared-counters.ts';
import { processSlot, SharedGauges } from '../core/shared-gauges.ts';
import { openGeoip } from '../firewall/geoip.ts';
import type { ListenAddress, Settings } from '../model/settings.ts';
import { bindServerAlone } from '../net/listen.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { LogWriter } from '../telemetry/log-writer.ts';
import type { Binding, WorkerStart } from './messages.ts';
import { WorkerSlot } from './worker-slot.ts';

/** Descriptors that connections leave to everything else: the log, the store, the admin API. */
const descriptorsReserved = 256;
/** A worker that was told to end and does not is ended by force after this long. */
const abortGraceMs = 2_000;

export interface SupervisorOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly logWriter: LogWriter;
}

export interface BoundListener {
  readonly name: string;
  readonly host: string;
  /** The port that was bound, also when 0 was asked for. */
  readonly port: number;
}

/** An address could not be bound, or the environment lacks what the settings need. For the operator to mend. */
export class StartError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartError';
  }
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #gauges: SharedGauges;
  readonly #counters: SharedCounters;
  readonly #rateTable: RateTable | null;
  readonly #bindings: readonly Binding[];
  readonly #workers: WorkerSlot[] = [];
  #geoip: SharedArrayBuffer | null;
  #drained: Promise<void> | null = null;

  /** Resolves when every worker accepts on every listener. Throws StartError. */
  static async start(options: SupervisorOptions): Promise<Supervisor> {
    const { firewall } = options.settings.traffic;
    const geoip = firewall.geoipDatabase === null ? null : await openDatabase(firewall.geoipDatabase);
    const gauges = SharedGauges.create(options.settings.process.server.workers);
    const counters = SharedCounters.create(options.settings.process.server.workers);
    const bindings = await reserveAddresses(options.settings, new ListenerSlots(gauges, counters));
    const supervisor = new Supervisor(options, gauges, counters, bindings, geoip);
    await supervisor.#startWorkers();
    return supervisor;
  }

  private constructor(
    options: SupervisorOptions,
    gauges: SharedGauges,
    counters: SharedCounters,
    bindings: readonly Binding[],
    geoip: SharedArrayBuffer | null,
  ) {
    this.#options = options;
    this.#gauges = gauges;
    this.#counters = counters;
    this.#bindings = bindings;
    this.#geoip = geoip;
    const { rateLimit } = options.settings.traffic.firewall;
    const { workers } = options.settings.process.server;
    this.#rateTable =
      rateLimit === null ? null : RateTable.create({ ...rateLimit, workers, seed: randomSeed() });
  }

  get listeners(): readonly BoundListener[] {
    return this.#bindings.map(({ listener, host, port }) => ({ name: listener, host, port }));
  }

  get workers(): readonly WorkerSlot[] {
    return this.#workers;
  }

  /** The sockets the workers ended up with. */
  get sockets(): 'fast' | 'public' {
    return this.#workers.every(({ transport }) => transport === 'fast') ? 'fast' : 'public';
  }

  /** Connections open now, over all workers. */
  get activeConnections(): number {
    return this.#gauges.value(processSlot);
  }

  get counters(): SharedCounters {
    return this.#counters;
  }

  /** Stops accepting, lets connections finish for shutdown_timeout, then ends them. Resolves when all is over. */
  drain(): Promise<void> {
    return (this.#drained ??= this.#drain());
  }

  /** Reads the GeoIP database again. A bad file is logged and the old one stays. */
  async reloadGeoip(): Promise<void> {
    const path = this.#options.settings.traffic.firewall.geoipDatabase;
    if (path === null) return this.#options.logger.info('no GeoIP database is configured: nothing to reload');
    let database: SharedArrayBuffer;
    try {
      database = await openGeoip(path);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return this.#options.logger.error('GeoIP database not reloaded, the old one stays', { path, reason });
    }
    this.#geoip = database;
    for (const worker of this.#workers) worker.send({ kind: 'geoip', database });
    this.#options.logger.info('GeoIP database reloaded', { path });
  }

  async #startWorkers(): Promise<void> {
    const hashSeed = randomBytes(4).readUInt32LE();
    const idPrefix = `${Math.floor(Date.now() / 1000).toString(36)}-`;
    const connectionsMax = connectionLimit(this.#options.settings.process.server.maxConnections);
    const { process: processSettings, traffic } = this.#options.settings;
    for (let index = 0; index < processSettings.server.workers; index++) {
      const start = (generation: number): Omit<WorkerStart, 'logPort'> => ({
        worker: index,
        idPrefix: `${idPrefix}${index}${generation === 0 ? '' : `.${generation}`}-`,
        server: processSettings.server,
        connectionsMax,
        version: 1,
        traffic,
        hashSeed,
        bindings: this.#bindings,
        gauges: this.#gauges.buffer,
        counters: this.#counters.buffer,
        rateTable: this.#rateTable?.buffer ?? null,
        geoip: this.#geoip,
        logLevel: processSettings.log.level,
        isWatched: false,
      });
      this.#workers.push(new WorkerSlot(index, start, this.#options, () => this.#reclaim(index)));
    }
    try {
      await Promise.all(this.#workers.map((worker) => worker.start()));
    } catch (error) {
      await Promise.all(this.#workers.map((worker) => worker.end()));
      throw new StartError(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  /** What a dead worker held in shared memory goes back. */
  #reclaim(worker: number): void {
    this.#gauges.reclaim(worker);
    this.#rateTable?.releaseLocksOf(worker);
  }

  async #drain(): Promise<void> {
    const { logger, settings } = this.#options;
    const timeoutMs = settings.process.server.shutdownTimeoutMs;
    logger.info('draining', { connections: this.activeConnections, timeout_ms: timeoutMs });
    const ended = Promise.all(this.#workers.map((worker) => worker.drain()));
    const abort = setTimeout(() => {
      logger.warn('shutdown timeout: ending what is left', { connections: this.activeConnections });
      for (const worker of this.#workers) worker.send({ kind: 'abort' });
    }, timeoutMs);
    const force = setTimeout(() => {
      for (const worker of this.#workers) void worker.end();
    }, timeoutMs + abortGraceMs);
    await ended;
    clearTimeout(abort);
    clearTimeout(force);
    logger.info('drained');
  }
}

/** Binds each address alone for a moment: another instance on it is an error now, and port 0 gets its number. */
async function reserveAddresses(settings: Settings, slots: ListenerSlots): Promise<Binding[]> {
  const bindings: Binding[] = [];
  for (const { name, address } of settings.traffic.listeners) {
    const slot = slots.allocate();
    assert(slot !== null, 'the configuration allows no more listeners than there are slots');
    bindings.push({ listener: name, slot, host: address.host, port: await reserveAddress(name, address) });
  }
  return bindings;
}

async function reserveAddress(name: string, { host, port }: ListenAddress): Promise<number> {
  const server = createServer();
  try {
    return await bindServerAlone(server, host, port);
  } catch (error) {
    throw new StartError(`listener ${name}: ${bindProblem(error)}`, { cause: error });
  } finally {
    server.close();
  }
}

function bindProblem(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EADDRINUSE':
      return 'address already in use';
    case 'EACCES':
      return 'permission denied: ports below 1024 need root, CAP_NET_BIND_SERVICE or net.ipv4.ip_unprivileged_port_start';
    case 'EADDRNOTAVAIL':
      return 'this machine does not have that address';
    default:
      return message;
  }
}

async function openDatabase(path: string): Promise<SharedArrayBuffer> {
  try {
    return await openGeoip(path);
  } catch (error) {
    throw new StartError(`firewall.geoip_db: ${(error as Error).message}`, { cause: error });
  }
}

/** Each connection takes two descriptors, one for either side. */
function connectionLimit(configured: number): number {
  if (configured !== 0) return configured;
  const limit = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  const descriptors = limit === undefined || limit === 'unlimited' ? 1_048_576 : Number(limit);
  return Math.max(1, Math.floor((descriptors - descriptorsReserved) / 2));
}

function randomSeed(): readonly [number, number] {
  const bytes = randomBytes(8);
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
}
