/** The place of one worker: the thread that fills it now, and its replacement when that one dies. */
import { MessageChannel, Worker } from 'node:worker_threads';
import type { Logger } from '../telemetry/logger.ts';
import type { LogWriter } from '../telemetry/log-writer.ts';
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts';

/** The wait before a replacement doubles from the first to the second of these. */
const backoffMinMs = 100;
const backoffMaxMs = 10_000;
/** A worker that lived this long starts the back-off anew. */
const stableMs = 30_000;

type State = 'starting' | 'serving' | 'waiting' | 'draining' | 'ended';

export type StartMaker = (worker: number, generation: number) => Omit<WorkerStart, 'logPort'>;

export interface WorkerSlotOptions {
  readonly logger: Logger;
  readonly logWriter: LogWriter;
  /** What workers tell unasked. */
  readonly onEnded: (message: Extract<FromWorker, { kind: 'ended' }>) => void;
}

/** A reply that somebody waits for. */
interface Wait {
  readonly kind: FromWorker['kind'];
  readonly settle: (reply: FromWorker | null) => void;
}

export class WorkerSlot {
  readonly index: number;
  readonly #makeStart: StartMaker;
  readonly #options: WorkerSlotOptions;
  readonly #onDeath: () => void;
  readonly #ended = Promise.withResolvers<void>();
  readonly #waits = new Set<Wait>();
  #worker: Worker | null = null;
  #state: State = 'starting';
  #transport: 'fast' | 'public' = 'public';
  #generation = 0;
  #backoffMs = backoffMinMs;
  #startedMs = 0;
  #restart: NodeJS.Timeout | undefined;

  /** `onDeath` is called once a thread has really ended, before another takes its number. */
  constructor(index: number, makeStart: StartMaker, options: WorkerSlotOptions, onDeath: () => void) {
    this.index = index;
    this.#makeStart = makeStart;
    this.#options = options;
    this.#onDeath = onDeath;
  }

  get state(): State {
    return this.#state;
  }

  get transport(): 'fast' | 'public' {
    return this.#transport;
  }

  /** How many threads have filled this place before the present one. */
  get generation(): number {
    return this.#generation;
  }

  /** Resolves when the first thread accepts; rejects when it can not start. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#launch(resolve, reject));
  }

  send(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }

  /**
   * Sends, and waits for the reply of that kind. Null: there is no thread, or it died; its replacement starts
   * from the committed version and need not be asked. `silent`: it lives and does not answer.
   */
  ask<K extends FromWorker['kind']>(
    message: ToWorker,
    kind: K,
    timeoutMs: number,
  ): Promise<Extract<FromWorker, { kind: K }> | null | 'silent'> {
    if (this.#worker === null) return Promise.resolve(null);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waits.delete(wait);
        resolve('silent');
      }, timeoutMs);
      const wait: Wait = {
        kind,
        settle: (reply) => {
          clearTimeout(timer);
          resolve(reply as Extract<FromWorker, { kind: K }> | null);
        },
      };
      this.#waits.add(wait);
      this.send(message);
    });
  }

  /** Resolves when the thread has ended. */
  drain(): Promise<void> {
    clearTimeout(this.#restart);
    if (this.#worker === null) this.#finish();
    else if (this.#state !== 'ended') {
      this.#state = 'draining';
      this.send({ kind: 'drain' });
    }
    return this.#ended.promise;
  }

  /** Ends the thread at once. A test of crashes calls `crash` instead. */
  async end(): Promise<void> {
    clearTimeout(this.#restart);
    const worker = this.#worker;
    this.#state = 'ended';
    if (worker !== null) await worker.terminate();
    this.#finish();
  }

  /** Kills the thread as a fault would, connections and all; it is replaced like any that dies. */
  async crash(): Promise<void> {
    await this.#worker?.terminate();
  }

  #launch(onReady: () => void, onFailed: (error: Error) => void): void {
    const { logWriter } = this.#options;
    const { port1, port2 } = new MessageChannel();
    logWriter.attach(port1);
    this.#startedMs = performance.now();
    const worker = new Worker(workerFile(), {
      name: `portcullis-${this.index}`,
      workerData: { ...this.#makeStart(this.index, this.#generation), logPort: port2 },
      transferList: [port2],
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    this.#worker = worker;
    worker.on('message', (message: FromWorker) => this.#onMessage(message, onReady, onFailed));
    worker.on('error', (error) => {
      this.#options.logger.error('worker failed', { worker: this.index, err: error });
      onFailed(error instanceof Error ? error : new Error(String(error)));
    });
    worker.on('exit', (code) => this.#onExit(code));
  }

  #onMessage(message: FromWorker, onReady: () => void, onFailed: (error: Error) => void): void {
    switch (message.kind) {
      case 'ready':
        this.#transport = message.transport;
        if (this.#state === 'starting' || this.#state === 'waiting') this.#state = 'serving';
        if (message.note !== null) {
          this.#options.logger.warn('using public sockets', { worker: this.index, reason: message.note });
        }
        onReady();
        break;
      case 'failed':
        onFailed(new Error(message.message));
        break;
      case 'drained':
        this.#state = 'ended';
        break;
      case 'ended':
        this.#options.onEnded(message);
        break;
      default:
        this.#settle(message.kind, message);
    }
  }

  /** Messages stay in order, so a reply belongs to whoever has waited longest for its kind. */
  #settle(kind: FromWorker['kind'], reply: FromWorker): void {
    for (const wait of this.#waits) {
      if (wait.kind !== kind) continue;
      this.#waits.delete(wait);
      return wait.settle(reply);
    }
  }

  #onExit(code: number): void {
    this.#worker = null;
    for (const wait of this.#waits) wait.settle(null);
    this.#waits.clear();
    this.#onDeath();
    if (this.#state === 'serving' || this.#state === 'waiting') this.#replace(code);
    else this.#finish();
  }

  #replace(code: number): void {
    if (performance.now() - this.#startedMs > stableMs) this.#backoffMs = backoffMinMs;
    this.#state = 'waiting';
    this.#options.logger.error('worker died, starting another', {
      worker: this.index,
      code,
      wait_ms: this.#backoffMs,
    });
    this.#restart = setTimeout(() => {
      this.#generation++;
      this.#launch(
        () => this.#options.logger.info('worker replaced', { worker: this.index }),
        (error) =>
          this.#options.logger.error('worker could not start', { worker: this.index, reason: error.message }),
      );
    }, this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, backoffMaxMs);
  }

  #finish(): void {
    this.#state = 'ended';
    this.#ended.resolve();
  }
}

/** The worker's entry beside this file: TypeScript in a checkout, JavaScript in the published package. */
function workerFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);
}
