/** `portcullis serve`: runs until it is told to end. Owns the process: its name, its signals, its exit code. */
import { fstatSync } from 'node:fs';
import type { Environment } from '../config/environment.ts';
import { loadSettings } from '../config/load.ts';
import type { Settings } from '../model/settings.ts';
import { Server } from '../server/server.ts';
import { EnvironmentError } from '../server/supervisor.ts';
import { chooseFormat, isJournalStream } from '../telemetry/log-format.ts';
import { LogWriter } from '../telemetry/log-writer.ts';
import { createLogger, type Logger } from '../telemetry/logger.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { printProblems } from './validate.ts';
import { version } from './version.ts';

const stdoutDescriptor = 1;

export interface ServeOptions {
  readonly config: string;
  readonly env: Environment;
}

export async function serveCommand({ config, env }: ServeOptions): Promise<ExitCode> {
  process.title = 'portcullis';
  const { settings, problems } = loadSettings(config, env);
  printProblems(problems, process.stderr, env);
  if (settings === undefined) return exitCodes.configuration;

  const logWriter = new LogWriter(stdoutDescriptor, {
    format: chooseFormat(settings.process.log, process.stdout.isTTY),
    journald: isJournalStream(env['JOURNAL_STREAM'], fstatSync(stdoutDescriptor)),
    colour: process.stdout.isTTY && (env['NO_COLOR'] ?? '') === '',
  });
  const logger = createLogger({ level: settings.process.log.level, output: logWriter });
  try {
    return await serve(settings, logger, logWriter, { config, env });
  } finally {
    logWriter.close();
  }
}

async function serve(
  settings: Settings,
  logger: Logger,
  logWriter: LogWriter,
  options: ServeOptions,
): Promise<ExitCode> {
  // Before anything is started: whoever started us may end us at any moment, and is owed a drain.
  const signals = new Signals(logger, logWriter);
  let server: Server;
  try {
    server = await Server.start({ settings, programVersion: version(), logger, logWriter });
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    logger.error('could not start', { reason: error.message });
    return exitCodes.failed;
  }
  signals.onHangup = () => reload(server, logger, options);
  for (const { name, host, port } of server.listeners) {
    logger.info('listening', { listener: name, host, port });
  }
  if (server.adminAddress !== null) logger.info('admin API listening', { address: server.adminAddress });
  logger.info('ready', {
    version: version(),
    workers: settings.process.server.workers,
    sockets: server.supervisor.sockets,
    pid: process.pid,
  });
  await signals.ending;
  await server.drain();
  return exitCodes.ok;
}

/** The first SIGTERM or SIGINT drains, a second ends at once; SIGHUP reads again what comes from files. */
class Signals {
  /** Resolves with the first signal that ends; rejects when `onHangup` does. */
  readonly ending: Promise<void>;
  onHangup: () => Promise<void> = () => Promise.resolve();

  constructor(logger: Logger, logWriter: LogWriter) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ending = promise;
    let isEnding = false;
    const end = (signal: NodeJS.Signals): void => {
      if (isEnding) {
        logger.warn('ending at once', { signal });
        logWriter.close();
        process.exit(exitCodes.failed);
      }
      isEnding = true;
      logger.info('received signal', { signal });
      resolve();
    };
    process.on('SIGTERM', end);
    process.on('SIGINT', end);
    process.on('SIGHUP', () => {
      logger.info('received SIGHUP, reloading GeoIP database');
      if (!isEnding) this.onHangup().catch(reject);
    });
  }
}

/** A file with errors changes nothing but is no reason to leave the GeoIP database old. */
async function reload(server: Server, logger: Logger, { config, env }: ServeOptions): Promise<void> {
  const { settings, problems } = loadSettings(config, env);
  for (const { severity, message } of problems) {
    logger[severity === 'error' ? 'error' : 'warn']('configuration file', { problem: message });
  }
  if (settings !== undefined) return server.reload(settings);
  logger.error('configuration file not applied, the old one stays', { file: config });
  return server.reloadGeoip();
}
