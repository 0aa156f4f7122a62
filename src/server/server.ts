/**
 * The whole program while it serves: database, data plane and admin API, wired together and ended in order.
 *
 * With a database, that owns the traffic settings once it is seeded and the file only seeds it. Without one, file
 * and environment own everything and `reload` applies them.
 */
import { AdminServer } from '../admin/server.ts';
import type { AdminSettings, Settings, TrafficSettings } from '../model/settings.ts';
import { StoreError, type StoredTraffic } from '../store/store.ts';
import type { LogWriter } from '../telemetry/log-writer.ts';
import type { Logger } from '../telemetry/logger.ts';
import { ServerControl } from './control.ts';
import { describeChanges } from './change-lines.ts';
import { StoreLedger } from './store-ledger.ts';
import { EnvironmentError, Supervisor, type BoundListener } from './supervisor.ts';
import { storedDiff, TrafficState } from './traffic-state.ts';

/** Of a difference between file and database, this many lines are told; the rest is a count. */
const differencesShownMax = 10;
/** Calls of the admin API that are under way when the server ends get this long. */
const adminGraceMs = 1_000;

export interface ServerOptions {
  readonly settings: Settings;
  readonly programVersion: string;
  readonly logger: Logger;
  readonly logWriter: LogWriter;
}

export class Server {
  readonly #logger: Logger;
  readonly #supervisor: Supervisor;
  readonly #ledger: StoreLedger | null;
  readonly #admin: AdminServer | null;

  /** Resolves when every listener accepts. Throws EnvironmentError. */
  static async start(options: ServerOptions): Promise<Server> {
    const { settings, logger, logWriter, programVersion } = options;
    const { database, admin } = settings.process;
    const ledger = database.path === null ? null : await openLedger(database.path);
    try {
      const stored = await loadTraffic(settings.traffic, ledger, logger);
      const supervisor = await Supervisor.start({
        process: settings.process,
        ...stored,
        ledger,
        logger,
        logWriter,
      });
      const control = new ServerControl({ supervisor, keeper: ledger, programVersion, logger });
      const adminServer = await startAdmin(admin, control, supervisor, logger);
      return new Server(logger, supervisor, ledger, adminServer);
    } catch (error) {
      await ledger?.close();
      throw error;
    }
  }

  private constructor(
    logger: Logger,
    supervisor: Supervisor,
    ledger: StoreLedger | null,
    admin: AdminServer | null,
  ) {
    this.#logger = logger;
    this.#supervisor = supervisor;
    this.#ledger = ledger;
    this.#admin = admin;
  }

  get listeners(): readonly BoundListener[] {
    return this.#supervisor.listeners;
  }

  /** Where the admin API answers, `127.0.0.1:9443`; null: nowhere. */
  get adminAddress(): string | null {
    return this.#admin?.address ?? null;
  }

  get supervisor(): Supervisor {
    return this.#supervisor;
  }

  /** Takes what was read again from file and environment, each section by its owner, and the GeoIP database. */
  async reload(settings: Settings): Promise<void> {
    this.#supervisor.adoptProcessSettings(settings.process);
    if (this.#ledger === null) await this.#applyFile(settings.traffic);
    await this.#supervisor.reloadGeoip();
  }

  /** Reads the GeoIP database again, and nothing else. */
  async reloadGeoip(): Promise<void> {
    await this.#supervisor.reloadGeoip();
  }

  /** Stops accepting, lets connections finish, then ends everything in order. */
  async drain(): Promise<void> {
    // The admin API answers while connections finish: an operator may want to see what is left.
    await this.#supervisor.drain();
    await this.#admin?.close(adminGraceMs);
    await this.#ledger?.close();
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

async function startAdmin(
  settings: AdminSettings,
  control: ServerControl,
  supervisor: Supervisor,
  logger: Logger,
): Promise<AdminServer | null> {
  if (settings.address === null) return null;
  try {
    return await AdminServer.start(settings, control, logger);
  } catch (error) {
    await supervisor.drain();
    throw new EnvironmentError(`admin: ${(error as Error).message}`, { cause: error });
  }
}

function summary(lines: readonly string[]): { differences: number; first: readonly string[] } {
  return { differences: lines.length, first: lines.slice(0, differencesShownMax) };
}
