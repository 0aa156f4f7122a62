/**
 * The near end of a store thread: turns calls into requests and answers into promises.
 *
 * Every promise settles. A thread that died, or that has not answered for `stallMs`, rejects all of them; what it was
 * doing then may or may not have been kept.
 */
import { Worker } from 'node:worker_threads';
import { StoreError } from './errors.ts';
import { type CallKind, type Calls, monotonicMs, type Reply, type Request } from './messages.ts';

export interface ThreadLimits {
  /** Requests that wait or are worked on. */
  readonly requestsMax: number;
  /** How long a request may wait for its turn; then it is refused as `busy`. */
  readonly queueTimeoutMs: number;
  /** How long any answer may take; then the thread is given up. */
  readonly stallMs: number;
}

interface Waiting {
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: StoreError) => void;
  readonly watchdog: NodeJS.Timeout;
}

export class ThreadClient {
  readonly #limits: ThreadLimits;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended = Promise.withResolvers<void>();
  #nextId = 1;
  #failure: StoreError | null = null;

  constructor(name: string, limits: ThreadLimits) {
    this.#limits = limits;
    this.#worker = new Worker(threadFile(), { name, execArgv: ['--disable-warning=ExperimentalWarning'] });
    this.#worker.on('message', (reply: Reply) => this.#onReply(reply));
    this.#worker.on('error', (error) => {
      const reason = error instanceof Error ? error.message : String(error);
      this.#failure ??= new StoreError('crashed', `the thread of the database died: ${reason}`, error);
    });
    this.#worker.on('exit', () => this.#onExit());
  }

  /** Resolves when the thread has ended and has let go of its files, or was given up. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  call<Kind extends CallKind>(kind: Kind, input: Calls[Kind]['in']): Promise<Calls[Kind]['out']> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) throw this.#failure;
      // Closing is always possible.
      if (this.#waiting.size >= this.#limits.requestsMax && kind !== 'close') {
        throw new StoreError('busy', `${this.#waiting.size} requests wait for the database; try again`);
      }
      const id = this.#nextId++;
      const startByMs = kind === 'close' ? Infinity : monotonicMs() + this.#limits.queueTimeoutMs;
      this.#worker.postMessage({ id, kind, input, startByMs } as Request);
      const watchdog = setTimeout(() => this.#onStall(), this.#limits.stallMs);
      this.#waiting.set(id, { resolve: resolve as (output: unknown) => void, reject, watchdog });
    });
  }

  /** Ends the thread whatever it does; resolves as `ended` does. */
  terminate(): Promise<void> {
    // It never rejects; a thread inside a system call ends once that returns.
    void this.#worker.terminate();
    return this.#ended.promise;
  }

  #onReply(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id);
    if (waiting === undefined) return;
    this.#waiting.delete(reply.id);
    clearTimeout(waiting.watchdog);
    if (reply.kind === 'done') waiting.resolve(reply.output);
    else waiting.reject(new StoreError(reply.code, reply.message));
  }

  #onStall(): void {
    const seconds = this.#limits.stallMs / 1000;
    this.#fail(new StoreError('stalled', `the database has not answered for ${seconds} s: check the disk`));
    void this.terminate();
    // What hangs in the disk is not waited for.
    this.#ended.resolve();
  }

  #onExit(): void {
    this.#fail(new StoreError('crashed', 'the thread of the database died'));
    this.#ended.resolve();
  }

  #fail(failure: StoreError): void {
    this.#failure ??= failure;
    for (const { reject, watchdog } of this.#waiting.values()) {
      clearTimeout(watchdog);
      reject(this.#failure);
    }
    this.#waiting.clear();
  }
}

/** The thread's entry beside this file: TypeScript in a checkout, JavaScript in the published package. */
function threadFile(): URL {
  return new URL(
    import.meta.url.endsWith('.ts') ? './store-thread.ts' : './store-thread.js',
    import.meta.url,
  );
}
