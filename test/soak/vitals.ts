/** What the program under test holds on to, and the comparison of two looks at it: nothing may have grown. */
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Portcullis } from '../support/portcullis.ts';
import type { Order, ThreadVitals } from './probe.ts';

/** One look. Flat, so that looks are compared number by number: `portcullis-0 Exchange`. */
export type Vitals = ReadonlyMap<string, number>;

export interface Growth {
  readonly what: string;
  readonly before: number;
  readonly after: number;
}

const MiB = 1024 * 1024;
/** How much a number may differ once everything is over. Collections and caches make memory breathe; counts do not. */
const allowances: readonly (readonly [what: RegExp, growth: (before: number) => number])[] = [
  [/resident bytes$/, (before) => 96 * MiB + before / 4],
  [/heap bytes$/, (before) => 8 * MiB + before / 4],
  [/external bytes$/, (before) => 16 * MiB + before / 4],
  // Whoever handled the last connection may remember it until the next.
  [/^portcullis-\d+ [A-Z]/, () => 3],
];
const lookTimeoutMs = 60_000;

export class Probe implements Disposable {
  readonly #portcullis: Portcullis;
  readonly #socket: Socket;
  readonly #threads: readonly string[];
  #onVitals: (vitals: ThreadVitals) => void = () => undefined;

  static async open(portcullis: Portcullis, path: string, workers: number): Promise<Probe> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new Probe(
      portcullis,
      socket,
      Array.from({ length: workers }, (_, i) => `portcullis-${i}`),
    );
  }

  private constructor(portcullis: Portcullis, socket: Socket, threads: readonly string[]) {
    this.#portcullis = portcullis;
    this.#socket = socket;
    this.#threads = threads;
    createInterface(socket).on('line', (line) => this.#onVitals(JSON.parse(line) as ThreadVitals));
  }

  order(order: Order): void {
    this.#socket.write(`${JSON.stringify(order)}\n`);
  }

  /** Collects in every thread that carries traffic, then looks. */
  async look(): Promise<Vitals> {
    const seen = new Map<string, ThreadVitals>();
    const all = new Promise<void>((resolve) => {
      this.#onVitals = (vitals) => {
        seen.set(vitals.thread, vitals);
        if (this.#threads.every((thread) => seen.has(thread))) resolve();
      };
    });
    this.order({ kind: 'vitals' });
    await Promise.race([
      all,
      delay(lookTimeoutMs, undefined, { ref: false }).then(() =>
        Promise.reject(new Error(`only ${[...seen.keys()].join()} answered the probe`)),
      ),
    ]);
    const { pid } = this.#portcullis;
    const numbers = new Map([
      ['descriptors', readdirSync(`/proc/${pid}/fd`).length],
      ['threads', readdirSync(`/proc/${pid}/task`).length],
      ['resident bytes', this.#portcullis.residentBytes()],
    ]);
    for (const thread of this.#threads) {
      const { timers, heapBytes, externalBytes, objects } = seen.get(thread)!;
      numbers.set(`${thread} timers`, timers).set(`${thread} heap bytes`, heapBytes);
      numbers.set(`${thread} external bytes`, externalBytes);
      for (const [name, count] of Object.entries(objects)) numbers.set(`${thread} ${name}`, count);
    }
    return numbers;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** What is larger than before by more than is allowed; no connection may be left at all. */
export function growthsOf(before: Vitals, after: Vitals): Growth[] {
  return [...after]
    .map(([what, value]): Growth => ({
      what,
      before: isConnections(what) ? 0 : (before.get(what) ?? 0),
      after: value,
    }))
    .filter(({ what, before: was, after: is }) => {
      const allowance = allowances.find(([pattern]) => pattern.test(what));
      return is > was + (allowance?.[1](was) ?? 0);
    });
}

function isConnections(what: string): boolean {
  return /\bconnections\b/.test(what);
}
