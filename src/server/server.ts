/**
 * The whole program while it serves: database, data plane and admin API, wired together and ended in order.
 *
 * With a database, that owns the traffic settings once it is seeded and the file only seeds it. Without one, file
 * and environment own everything and `reload` applies them.
 */
import { AdminServer } from '../admin/server.ts';
import type { LogLevel, Settings, TrafficSettings } from '../model/settings.ts';
import { StoreError, type StoredTraffic } from '../store/store.ts';
import type { LogWriter } from '../telemetry/log-writer.ts';
import type { AdjustableLogger, Logger } from '../telemetry/logger.ts';
import { ServerControl } from './control.ts';
import { describeChanges } from './change-lines.ts';
import { Doors, type DoorName } from './doors.ts';
import type { Inheritance } from './inheritance.ts';
import { ServerOperations } from './operations.ts';
import { StoreLedger } from './store-ledger.ts';
import { EnvironmentError } from './ledger.ts';
import { Supervisor, type BoundListener } from './supervisor.ts';
import { storedDiff, TrafficState } from './traffic-state.ts';
import { Upgrade } from './upgrade.ts';

/** Of a difference between file and database, this many lines are told; the rest is a count. */
const differencesShownMax = 10;
/** Calls of the admin API that are under way when the server ends get this long. */
const adminGraceMs = 1_000;

export interface ServerOptions {
  readonly settings: Settings;
  readonly programVersion: string;
  readonly logger: AdjustableLogger;
  readonly logWriter: LogWriter;
  /** What a predecessor left; absent: nobody. */
  readonly inheritance?: Inheritance | null;
  /** What an upgrade starts, with its arguments; absent: upgrades are refused. */
  readonly successor?: { readonly command: string; readonly args: readonly string[] };
  /** An operator asked for the end of the process, or a successor has taken over. */
  readonly onEndAsked?: (cause: 'drain' | 'upgrade') => void;
}

export class Server {
  readonly #options: ServerOptions;
  readonly #logger: Logger;
  readonly #supervisor: Supervisor;
  readonly #ledger: StoreLedger | null;
  readonly #control: ServerControl;
  readonly #operations: ServerOperations;
  readonly #upgrade: Upgrade;
  #admin: AdminServer | null = null;
  #doors: Doors | null = null;

  /** Resolves when every listener accepts. Throws EnvironmentError. */
  static async start(options: ServerOptions): Promise<Server> {
    const { settings, logger, logWriter, programVersion, inheritance } = options;
    const { database } = settings.process;
    const ledger = database.path === null ? null : await openLedger(database.path);
    try {
      const stored = await loadTraffic(settings.traffic, ledger, logger);
      const supervisor = await Supervisor.start({
        process: settings.process,
        ...stored,
        ledger,
        logger,
        logWriter,
        programVersion,
        ...(inheritance == null ? {} : { inherited: inheritance.listeners }),
      });
      const server = new Server(options, supervisor, ledger);
      await server.#openToOperators();
      return server;
    } catch (error) {
      await ledger?.close();
      throw error;
    }
  }

  private constructor(options: ServerOptions, supervisor: Supervisor, ledger: StoreLedger | null) {
    const { logger, logWriter, programVersion, successor, onEndAsked = () => {} } = options;
    this.#options = options;
    this.#logger = logger;
    this.#supervisor = supervisor;
    this.#ledger = ledger;
    this.#control = new ServerControl({ supervisor, keeper: ledger, programVersion, logger });
    this.#upgrade = new Upgrade({
      supervisor,
      ledger,
      successor: successor ?? null,
      logger,
      doors: () => this.#doors?.sockets() ?? new Map(),
      closeAdmin: () => this.#closeAdmin(),
      openAdmin: () => this.#openAdmin(),
      onReady: () => {
        // Whoever asks from now on is answered by the process that serves.
        void this.#doors?.close(adminGraceMs);
        onEndAsked('upgrade');
      },
    });
    this.#operations = new ServerOperations({
      supervisor,
      logger,
      logWriter,
      programVersion,
      onDrainAsked: () => onEndAsked('drain'),
      onUpgradeAsked: () => this.#upgrade.start(),
    });
  }

  get listeners(): readonly BoundListener[] {
    return this.#supervisor.listeners;
  }

  /** Where the admin API answers, `127.0.0.1:9443`; null: nowhere. */
  get adminAddress(): string | null {
    return this.#admin?.address ?? null;
  }

  /** Where the pages for operators are, and metrics; null: nowhere. */
  doorAddress(name: DoorName): string | null {
    return this.#doors?.address(name) ?? null;
  }

  get supervisor(): Supervisor {
    return this.#supervisor;
  }

  /** Takes what was read again from file and environment, each section by its owner, and the GeoIP database. */
  async reload(settings: Settings): Promise<void> {
    this.#supervisor.adoptProcessSettings(settings.process);
    this.#takeLogLevel(settings.process.log.level);
    this.#supervisor.metrics.counters('proxy_config_reloads_total').at().add(1);
    if (this.#ledger === null) await this.#applyFile(settings.traffic);
    this.#supervisor.reloadEgressFiles();
    await this.#supervisor.reloadGeoip();
  }

  /** Reads the GeoIP database again, and nothing else. */
  async reloadGeoip(): Promise<void> {
    await this.#supervisor.reloadGeoip();
  }

  /** A configuration that was refused whole: counted, and the old one stays. */
  countRefusedReload(): void {
    this.#supervisor.metrics.counters('proxy_config_load_errors_total').at().add(1);
  }

  /** Tells load balancers to look elsewhere, and resolves when they have had their time for it. */
  async leave(): Promise<void> {
    const { prestopGraceMs } = this.#supervisor.processSettings.operate;
    this.#operations.isLeaving = true;
    if (prestopGraceMs === 0) return;
    this.#logger.info('leaving: /readyz answers 503', { grace_ms: prestopGraceMs });
    await new Promise((resolve) => setTimeout(resolve, prestopGraceMs));
  }

  /** Stops accepting, lets connections finish, then ends everything in order. */
  async drain(): Promise<void> {
    this.#operations.isLeaving = true;
    // The admin API answers while connections finish: an operator may want to see what is left.
    await this.#supervisor.drain();
    await this.#closeAdmin();
    await this.#doors?.close(adminGraceMs);
    await this.#ledger?.close();
  }

  async #openToOperators(): Promise<void> {
    const { inheritance, settings } = this.#options;
    const { operate } = settings.process;
    try {
      if (inheritance != null) {
        inheritance.closeUnused(new Set(this.listeners.map(({ name }) => name)), (name) =>
          name === 'metrics' ? operate.metrics.address !== null : operate.adminHttp?.kind === 'tcp',
        );
        await inheritance.takeOver();
      }
      await this.#openAdmin();
      this.#doors = await Doors.open({
        settings: operate,
        operations: this.#operations,
        control: this.#control,
        logger: this.#logger,
        inherited: inheritance?.doors ?? new Map<DoorName, number>(),
      });
    } catch (error) {
      await this.#closeAdmin();
      await this.#supervisor.drain();
      throw error;
    }
  }

  async #openAdmin(): Promise<void> {
    const { admin } = this.#options.settings.process;
    if (admin.address === null) return;
    try {
      this.#admin = await AdminServer.start(admin, this.#control, this.#logger);
    } catch (error) {
      throw new EnvironmentError(`admin: ${(error as Error).message}`, { cause: error });
    }
  }

  async #closeAdmin(): Promise<void> {
    await this.#admin?.close(adminGraceMs);
    this.#admin = null;
  }

  #takeLogLevel(level: LogLevel): void {
    if (level !== this.#options.logger.level) this.#operations.setLogLevel(level);
  }

  async #applyFile(traffic: TrafficSettings): Promise<void> {
    const { state } = this.#supervisor;
    try {
      const { version } = await this.#supervisor.change(() => {
        const changes = storedDiff(state.settings, traffic);
        const lines = describeChanges(state, changes);
        this.#logger.info('configuration file read again', summary(lines));
        return { changes, entry: { actor: 'file', action: 'Reload', changes: lines }, disconnect: null };
      });
      this.#logger.info('configuration file applied', { version });
    } catch (error) {
      if (!(error instanceof EnvironmentError)) throw error;
      this.#logger.error('configuration file not applied, the old one stays', { reason: error.message });
    }
  }
}

async function openLedger(path: string): Promise<StoreLedger> {
  try {
    return await StoreLedger.open(path);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new EnvironmentError(`database: ${error.message}`, { cause: error });
  }
}

/** The database's settings, seeded from the file when it is empty. One line says how the two differ. */
async function loadTraffic(
  file: TrafficSettings,
  ledger: StoreLedger | null,
  logger: Logger,
): Promise<StoredTraffic> {
  if (ledger === null) return { version: 1, traffic: file };
  if (ledger.isReadOnly)
    logger.warn('the database can not be written: it is served, every change is refused');
  const entry = { actor: 'file', action: 'Seed', changes: ['seeded from the configuration file'] };
  const stored = await ledger.load(file, entry);
  if (stored.traffic === file) {
    logger.info('database seeded from the configuration file', { listeners: file.listeners.length });
    return stored;
  }
  const lines = describeChanges(new TrafficState(stored.traffic), storedDiff(stored.traffic, file));
  if (lines.length > 0) {
    logger.warn(
      'the configuration file differs from the database, which is served; see portcullis config diff',
      {
        ...summary(lines),
      },
    );
  }
  return stored;
}

function summary(lines: readonly string[]): { differences: number; first: readonly string[] } {
  return { differences: lines.length, first: lines.slice(0, differencesShownMax) };
}
