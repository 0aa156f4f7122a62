/** All workers together: started, told, and drained as one. */
import type { Logger } from '../telemetry/logger.ts';
import type { Binding, FromWorker, ListeningSocket, Publication, ToWorker } from './messages.ts';
import { WorkerSlot, type StartMaker, type WorkerSlotOptions } from './worker-slot.ts';

/** A worker that does not answer for this long is replaced, and starts from the committed version. */
export const silenceMaxMs = 5_000;
/** A worker that was told to end and does not is ended by force after this long. */
const abortGraceMs = 2_000;

export interface FleetOptions extends WorkerSlotOptions {
  readonly workers: number;
  /** What a worker starts with, asked each time one does: always the committed version. */
  readonly makeStart: StartMaker;
  /** A thread has ended; what it held in shared memory goes back before another takes its number. */
  readonly onDeath: (worker: number) => void;
}

export class Fleet {
  readonly #logger: Logger;
  readonly #slots: readonly WorkerSlot[];

  constructor(options: FleetOptions) {
    this.#logger = options.logger;
    this.#slots = Array.from(
      { length: options.workers },
      (_, index) => new WorkerSlot(index, options.makeStart, options, () => options.onDeath(index)),
    );
  }

  get workers(): readonly WorkerSlot[] {
    return this.#slots;
  }

  get serving(): number {
    return this.#slots.filter(({ state }) => state === 'serving').length;
  }

  /** Resolves when every worker accepts. Rejects, with none left, when one can not start. */
  async start(): Promise<void> {
    try {
      await Promise.all(this.#slots.map((slot) => slot.start()));
    } catch (error) {
      await Promise.all(this.#slots.map((slot) => slot.end()));
      throw error;
    }
  }

  /** Binds in every worker. Answers why one could not, with nothing left bound. */
  async prepare(bindings: readonly Binding[]): Promise<string | null> {
    if (bindings.length === 0) return null;
    const replies = await this.#ask({ kind: 'prepare', bindings }, 'prepared');
    const problem = replies.find((reply) => reply.problem !== null)?.problem ?? null;
    if (problem !== null) this.send({ kind: 'discard' });
    return problem;
  }

  /** Resolves when every worker serves the version. Answers how many connections a new rule ended. */
  async publish(publication: Publication): Promise<number> {
    const replies = await this.#ask({ kind: 'publish', publication }, 'published');
    return replies.reduce((sum, { disconnected }) => sum + disconnected, 0);
  }

  /** The listening sockets of every worker that answers, one list for each. */
  async sockets(): Promise<readonly (readonly ListeningSocket[])[]> {
    const replies = await this.#ask({ kind: 'sockets' }, 'sockets');
    return replies.map(({ sockets }) => sockets);
  }

  send(message: ToWorker): void {
    for (const slot of this.#slots) slot.send(message);
  }

  /** Lets connections finish for `timeoutMs`, then ends them. Resolves when every thread has ended. */
  async drain(timeoutMs: number, onTimeout: () => void): Promise<void> {
    const ended = Promise.all(this.#slots.map((slot) => slot.drain()));
    const abort = setTimeout(() => {
      onTimeout();
      this.send({ kind: 'abort' });
    }, timeoutMs);
    const force = setTimeout(() => {
      for (const slot of this.#slots) void slot.end();
    }, timeoutMs + abortGraceMs);
    await ended;
    clearTimeout(abort);
    clearTimeout(force);
  }

  /** The replies of the workers that live. One that stays silent is replaced: it serves the old version no longer. */
  async #ask<K extends FromWorker['kind']>(
    message: ToWorker,
    reply: K,
  ): Promise<Extract<FromWorker, { kind: K }>[]> {
    const replies = await Promise.all(
      this.#slots.map(async (slot) => {
        const answer = await slot.ask(message, reply, silenceMaxMs);
        if (answer !== 'silent') return answer;
        this.#logger.error('worker silent, replacing it', { worker: slot.index, waited_ms: silenceMaxMs });
        await slot.crash();
        return null;
      }),
    );
    return replies.filter((answer) => answer !== null);
  }
}
