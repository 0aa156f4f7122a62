/**
 * Upgrade without losing a connection: another process takes the listening sockets over while this one still accepts
 * on them, so there is no instant at which nobody does. See docs/decisions/0003-upgrade.md.
 *
 * The database has one owner. Changes are refused from the first step on; the lock is given up before the successor is
 * started and taken again when it fails.
 */
import { UpgradeError } from '../admin/operations.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { DoorName } from './doors.ts';
import type { StoreLedger } from './store-ledger.ts';
import { Successor } from './successor.ts';
import type { Supervisor } from './supervisor.ts';

/** Reading a quarter of a million routes and starting the workers takes seconds; a minute is a failure. */
const startMsMax = 60_000;

export interface UpgradeOptions {
  readonly supervisor: Supervisor;
  readonly ledger: StoreLedger | null;
  readonly successor: { readonly command: string; readonly args: readonly string[] } | null;
  readonly logger: Logger;
  readonly doors: () => ReadonlyMap<DoorName, number>;
  readonly closeAdmin: () => Promise<void>;
  readonly openAdmin: () => Promise<void>;
  /** The successor serves: this process may drain. */
  readonly onReady: () => void;
}

export class Upgrade {
  readonly #options: UpgradeOptions;
  #isUnderWay = false;

  constructor(options: UpgradeOptions) {
    this.#options = options;
  }

  /** Resolves with the successor's process id once it serves. Throws UpgradeError; then all is as it was. */
  async start(): Promise<number> {
    const { supervisor, successor: command, ledger, logger } = this.#options;
    if (command === null) throw new UpgradeError('this server was not started by `portcullis serve`');
    if (process.pid === 1) {
      throw new UpgradeError('a container ends with its first process: roll out a new one instead');
    }
    if (supervisor.isDraining) throw new UpgradeError('the server is shutting down');
    if (this.#isUnderWay) throw new UpgradeError('an upgrade is under way');
    this.#isUnderWay = true;
    logger.info('upgrade: handing over', { command: command.command });
    await supervisor.freeze();
    let successor: Successor | null = null;
    try {
      await ledger?.close();
      successor = new Successor({
        ...command,
        sockets: await supervisor.fleet.sockets(),
        ports: new Map(supervisor.listeners.map(({ name, port }) => [name, port])),
        doors: this.#options.doors(),
        startMsMax,
      });
      await successor.heard('serving');
    } catch (error) {
      await this.#takeBack(successor, error as Error);
      throw new UpgradeError(`the new process does not serve: ${(error as Error).message}`, { cause: error });
    }
    void this.#finish(successor);
    return successor.pid!;
  }

  /** The admin API changes hands last, after its own answer to whoever asked for the upgrade. */
  async #finish(successor: Successor): Promise<void> {
    const { logger, onReady, closeAdmin, openAdmin } = this.#options;
    try {
      await closeAdmin();
      successor.go();
      await successor.heard('ready');
    } catch (error) {
      await this.#takeBack(successor, error as Error);
      await openAdmin().catch((failure: Error) => {
        logger.error('admin API not opened again', { reason: failure.message });
      });
      return;
    }
    successor.release();
    logger.info('upgrade: the new process serves', { pid: successor.pid });
    onReady();
  }

  /** As before: this process serves, and takes changes again once it has the database. */
  async #takeBack(successor: Successor | null, error: Error): Promise<void> {
    const { supervisor, ledger, logger } = this.#options;
    logger.error('upgrade failed, the old process goes on', { reason: error.message });
    await successor?.kill();
    try {
      await ledger?.reopen();
      supervisor.thaw();
    } catch (failure) {
      // A newer version may have brought the database to a schema that this one does not know.
      logger.error('the database is not open again: changes are refused until a restart', {
        reason: (failure as Error).message,
      });
    }
    this.#isUnderWay = false;
  }
}
