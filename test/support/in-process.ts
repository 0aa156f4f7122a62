/** The server inside the test's own process, so that a test may kill or silence one of its workers. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';
import { loadSettings } from '../../src/config/load.ts';
import { Server } from '../../src/server/server.ts';
import type { ConnectionSummary } from '../../src/telemetry/connection-log.ts';
import { LogWriter } from '../../src/telemetry/log-writer.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { connectAdmin, type AdminClient, type Home } from './admin.ts';
import type { LogLine } from './portcullis.ts';

export class InProcess implements AsyncDisposable {
  readonly server: Server;
  readonly admin: AdminClient;
  /** How connections ended, since the start. */
  readonly ended: ConnectionSummary[] = [];
  readonly #logFile: string;
  readonly #close: () => void;

  static async start(home: Home, traffic: string): Promise<InProcess> {
    const file = join(home.path, 'portcullis.toml');
    writeFileSync(file, home.config(traffic));
    const { settings, problems } = loadSettings(file, { PORTCULLIS_SERVER_WORKERS: '2' });
    assert.ok(settings !== undefined, JSON.stringify(problems));
    const logFile = join(home.path, 'log');
    const descriptor = openSync(logFile, 'a');
    const logWriter = new LogWriter(descriptor, { format: 'json', journald: false });
    const logger = createLogger({ level: 'info', output: logWriter });
    const server = await Server.start({ settings, programVersion: '0.0.0', logger, logWriter });
    return new InProcess(server, home.socket, logFile, () => {
      logWriter.close();
      closeSync(descriptor);
    });
  }

  private constructor(server: Server, socket: string, logFile: string, closeLog: () => void) {
    this.server = server;
    this.#logFile = logFile;
    const { admin, close } = connectAdmin(socket);
    this.admin = admin;
    this.#close = () => {
      close();
      closeLog();
    };
    server.supervisor.watch((summaries) => this.ended.push(...summaries));
  }

  get port(): number {
    return this.server.listeners[0]!.port;
  }

  get log(): LogLine[] {
    const lines = readFileSync(this.#logFile, 'utf8').trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line) as LogLine);
  }

  /** Kills a worker as a fault would. */
  crash(worker: number): Promise<void> {
    return this.server.supervisor.fleet.workers[worker]!.crash();
  }

  /** Resolves when every worker serves. */
  async whole(): Promise<void> {
    const { fleet } = this.server.supervisor;
    const deadlineMs = performance.now() + 30_000;
    while (fleet.serving < fleet.workers.length) {
      assert.ok(performance.now() < deadlineMs, 'a dead worker was not replaced');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.drain();
    this.#close();
  }
}

/** Makes a worker of this process stand still for so long, as a loop without an end would. */
export async function silence(worker: number, forMs: number): Promise<void> {
  await evaluateIn(`portcullis-${worker}`, `for (const end = Date.now() + ${forMs}; Date.now() < end;);`);
  // It stands still from the moment it takes the message up.
  await new Promise((resolve) => setTimeout(resolve, 100));
}

/** Ends the thread of the database as a fault would. */
export function crashStore(): Promise<void> {
  return evaluateIn('portcullis-store', 'setTimeout(() => process.exit(1), 120)');
}

/** Has a thread of this process run a script, without waiting for its end. */
async function evaluateIn(thread: string, expression: string): Promise<void> {
  const session = new Session();
  session.connect();
  const message = JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } });
  await new Promise<void>((resolve, reject) => {
    session.on('NodeWorker.attachedToWorker', ({ params }) => {
      if (!params.workerInfo.title.includes(thread)) return;
      session.post('NodeWorker.sendMessageToWorker', { sessionId: params.sessionId, message }, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  });
  // The message is taken up in its own time; a session that is gone would take it back.
  setTimeout(() => session.disconnect(), 100);
}
