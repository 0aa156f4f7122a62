/**
 * What a service manager is told, by `systemd-notify` (sd_notify(3)): Node.js has no datagram sockets of the Unix kind.
 * The unit says `NotifyAccess=all`, because the words come from a child. Without NOTIFY_SOCKET nothing is run at all,
 * and where the command is missing the server serves all the same.
 */
import { execFile } from 'node:child_process';
import type { Environment } from '../config/environment.ts';
import type { Logger } from '../telemetry/logger.ts';

/** A notification that takes longer is given up: the manager is gone, or the machine is past caring. */
const notifyMsMax = 5_000;

export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number;
  readonly #logger: Logger;
  #watchdog: NodeJS.Timeout | undefined;
  #hasComplained = false;
  /** One after the other: READY must not overtake what was said before. */
  #queue: Promise<void> = Promise.resolve();

  constructor(env: Environment, logger: Logger) {
    this.#socket = env['NOTIFY_SOCKET'];
    this.#watchdogMs = watchdogInterval(env);
    this.#logger = logger;
  }

  /** It serves; `process` is the one to watch from now on, which an upgrade changes. Starts the watchdog's signs of life. */
  ready(isAlive: () => boolean): Promise<void> {
    if (this.#socket !== undefined && this.#watchdogMs > 0) {
      this.#watchdog ??= setInterval(() => {
        if (isAlive()) void this.#tell(['WATCHDOG=1']);
      }, this.#watchdogMs);
      this.#watchdog.unref();
    }
    return this.#tell(['READY=1', `MAINPID=${process.pid}`, 'STATUS=serving']);
  }

  /** It reads its configuration again, until the next `ready`. */
  reloading(): Promise<void> {
    return this.#tell(['RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`]);
  }

  /** It ends. */
  stopping(): Promise<void> {
    this.release();
    return this.#tell(['STOPPING=1', 'STATUS=draining']);
  }

  /** Another process is the service now: nothing more is said. */
  release(): void {
    clearInterval(this.#watchdog);
    this.#watchdog = undefined;
  }

  #tell(states: readonly string[]): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return Promise.resolve();
    const told = this.#queue.then(() => this.#run(socket, states));
    this.#queue = told;
    return told;
  }

  /** Never rejects. */
  #run(socket: string, states: readonly string[]): Promise<void> {
    return new Promise((resolve) => {
      const options = {
        env: { PATH: process.env['PATH'] ?? '', NOTIFY_SOCKET: socket },
        timeout: notifyMsMax,
      };
      execFile('systemd-notify', states, options, (error) => {
        if (error !== null) this.#complain(error);
        resolve();
      });
    });
  }

  #complain(error: Error): void {
    if (this.#hasComplained) return;
    this.#hasComplained = true;
    this.#logger.warn('the service manager could not be told', { reason: error.message });
  }
}

/** Twice as often as it is expected. Zero: it is not, or of another process. */
function watchdogInterval(env: Environment): number {
  const microseconds = Number(env['WATCHDOG_USEC'] ?? 0);
  return Number.isFinite(microseconds) && microseconds > 0 ? Math.max(1, microseconds / 2_000) : 0;
}
