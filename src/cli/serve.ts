/** `portcullis serve`: runs until it is told to end. Owns the process: its name, its signals, its exit code. */
import { fstatSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from '../config/environment.ts';
import { loadSettings } from '../config/load.ts';
import type { ProcessSettings, Settings } from '../model/settings.ts';
import { doorNames } from '../server/doors.ts';
import { inspectEgress } from '../server/egress-inspection.ts';
import { Inheritance } from '../server/inheritance.ts';
import { Server } from '../server/server.ts';
import { ServiceManager } from '../server/service-manager.ts';
import { EnvironmentError } from '../server/ledger.ts';
import { chooseFormat, isJournalStream } from '../telemetry/log-format.ts';
import { LogWriter } from '../telemetry/log-writer.ts';
import { createLogger, type AdjustableLogger, type Logger } from '../telemetry/logger.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { printProblems } from './validate.ts';
import { version } from './version.ts';

const stdoutDescriptor = 1;
/** The launcher of this package: what an upgrade starts, whichever version stands there by then. */
const programFile = join(import.meta.dirname, '../../bin/portcullis');

export interface ServeOptions {
  readonly config: string;
  readonly env: Environment;
}

interface Run extends ServeOptions {
  readonly inheritance: Inheritance | null;
}

export async function serveCommand({ config, env }: ServeOptions): Promise<ExitCode> {
  process.title = 'portcullis';
  const inheritance = Inheritance.take(process.env);
  const { settings, problems } = loadSettings(config, env, { inspectEgress: inspectEgress(env) });
  printProblems(problems, process.stderr, env);
  if (settings === undefined) return exitCodes.configuration;

  let logWriter: LogWriter;
  try {
    logWriter = openLog(settings.process, env);
  } catch (error) {
    process.stderr.write(`log.file: ${(error as Error).message}\n`);
    return exitCodes.failed;
  }
  const logger = createLogger({ level: settings.process.log.level, output: logWriter });
  try {
    return await serve(settings, logger, logWriter, { config, env, inheritance });
  } finally {
    logWriter.close();
  }
}

/** Standard output, or the file of the configuration. Throws when that can not be opened. */
function openLog({ log, operate }: ProcessSettings, env: Environment): LogWriter {
  const { logFile } = operate;
  const isTty = logFile === null && process.stdout.isTTY;
  return new LogWriter(logFile ?? stdoutDescriptor, {
    format: chooseFormat(log, isTty),
    journald: logFile === null && isJournalStream(env['JOURNAL_STREAM'], fstatSync(stdoutDescriptor)),
    colour: isTty && (env['NO_COLOR'] ?? '') === '',
  });
}

async function serve(
  settings: Settings,
  logger: AdjustableLogger,
  logWriter: LogWriter,
  options: Run,
): Promise<ExitCode> {
  // Before anything is started: whoever started us may end us at any moment, and is owed a drain.
  const signals = new Signals(logger, logWriter);
  const manager = new ServiceManager(options.env, logger);
  const { inheritance } = options;
  let server: Server;
  try {
    server = await Server.start({
      settings,
      programVersion: version(),
      logger,
      logWriter,
      inheritance,
      successor: { command: programFile, args: process.argv.slice(2) },
      onEndAsked: (cause) => signals.end(cause),
    });
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    logger.error('could not start', { reason: error.message });
    return exitCodes.failed;
  }
  const isAlive = (): boolean => server.supervisor.fleet.serving > 0;
  signals.onHangup = async () => {
    await manager.reloading();
    await reload(server, logger, options);
    await manager.ready(isAlive);
  };
  for (const { name, host, port } of server.listeners) {
    logger.info('listening', { listener: name, host, port });
  }
  if (server.adminAddress !== null) logger.info('admin API listening', { address: server.adminAddress });
  for (const name of doorNames) {
    const address = server.doorAddress(name);
    if (address !== null) logger.info(`${name} HTTP listening`, { address });
  }
  logger.info('ready', {
    version: version(),
    workers: settings.process.server.workers,
    sockets: server.supervisor.sockets,
    pid: process.pid,
  });
  await manager.ready(isAlive);
  inheritance?.ready();
  if ((await signals.ending) === 'upgrade') {
    // Another process is the service now, and load balancers see no difference.
    manager.release();
  } else {
    await manager.stopping();
    await server.leave();
  }
  await server.drain();
  return exitCodes.ok;
}

type EndCause = 'signal' | 'drain' | 'upgrade';

/**
 * The first SIGTERM or SIGINT drains, a second ends at once; SIGHUP reads again what comes from files, SIGUSR2 opens
 * the log again. SIGUSR1 would open Node's inspector to whoever may send it, so it does nothing.
 */
class Signals {
  /** Resolves with why the process is to end; rejects when `onHangup` does. */
  readonly ending: Promise<EndCause>;
  onHangup: () => Promise<void> = () => Promise.resolve();
  readonly #resolve: (cause: EndCause) => void;
  #isEnding = false;

  constructor(logger: Logger, logWriter: LogWriter) {
    const { promise, resolve, reject } = Promise.withResolvers<EndCause>();
    this.ending = promise;
    this.#resolve = resolve;
    let wasSignalled = false;
    const end = (signal: NodeJS.Signals): void => {
      if (wasSignalled) {
        logger.warn('ending at once', { signal });
        logWriter.close();
        process.exit(exitCodes.failed);
      }
      wasSignalled = true;
      logger.info('received signal', { signal });
      this.end('signal');
    };
    process.on('SIGTERM', end);
    process.on('SIGINT', end);
    process.on('SIGHUP', () => {
      logger.info('received SIGHUP, reloading GeoIP database');
      if (!this.#isEnding) this.onHangup().catch(reject);
    });
    // The launcher's --disable-sigusr1 keeps it away; this is for whoever starts us without the launcher.
    process.on('SIGUSR1', () => {});
    process.on('SIGUSR2', () => reopenLog(logger, logWriter));
  }

  end(cause: EndCause): void {
    this.#isEnding = true;
    this.#resolve(cause);
  }
}

function reopenLog(logger: Logger, logWriter: LogWriter): void {
  try {
    logWriter.reopen();
    logger.info('received SIGUSR2, log opened again');
  } catch (error) {
    logger.error('log not opened again, the old one stays', { reason: (error as Error).message });
  }
}

/** A file with errors changes nothing but is no reason to leave the GeoIP database old. */
async function reload(server: Server, logger: Logger, { config, env }: ServeOptions): Promise<void> {
  const { settings, problems } = loadSettings(config, env, { inspectEgress: inspectEgress(env) });
  for (const { severity, message, variable, line, path } of problems) {
    const place = { ...(variable === null ? { line } : { variable }), path };
    logger[severity === 'error' ? 'error' : 'warn']('configuration file', { ...place, problem: message });
  }
  if (settings !== undefined) return server.reload(settings);
  server.countRefusedReload();
  logger.error('configuration file not applied, the old one stays', { file: config });
  return server.reloadGeoip();
}
