/**
 * The reliability gate: real traffic of every kind through the real program while faults are injected, and an account
 * of it. The seed decides which faults there are, when, where and how long, and what clients send; the order in
 * which things meet is the machine's.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../fuzz/mutation.ts';
import { Churn } from './churn.ts';
import { inject, planFaults } from './faults.ts';
import { Failed, formatRows, Ledger, type Attempt } from './ledger.ts';
import { trafficKinds, type TrafficKind } from './traffic.ts';
import type { SoakClient } from './soak-client.ts';
import { growthsOf, type Growth, type Vitals } from './vitals.ts';
import type { World } from './world.ts';

export interface GateOptions {
  readonly seed: number;
  /** With faults. */
  readonly durationMs: number;
  readonly warmUpMs: number;
  readonly clientsPerKind: number;
  /** Mean pause of a client between two exchanges. */
  readonly pauseMs: number;
  /** A fault about this often. */
  readonly faultEveryMs: number;
}

export interface Verdict {
  readonly table: string;
  readonly faults: string;
  /** Each failure that nothing explains, with the server's lines of it. */
  readonly unexplained: readonly string[];
  readonly growths: readonly Growth[];
  /** Errors of the program's log, and faults that did not end as they must. */
  readonly complaints: readonly string[];
}

/** Longer than anything the program may take: a client that waits so long is forgotten. */
const patienceMs = 12_000;
const exchangesMax = 12;
/** One connection in so many ends without a word. */
const vanishEvery = 6;
/** What finished traffic leaves has gone by then: idle upstream connections, timers, sockets. */
const settleMs = 20_000;
const unexplainedShownMax = 20;

export class Gate {
  readonly #world: World;
  readonly #options: GateOptions;
  readonly #ledger = new Ledger((attempt) => this.#report(attempt));
  readonly #complaints: string[] = [];
  readonly #reports: Promise<string>[] = [];
  #clientCount = 0;
  #isStopping = false;

  constructor(world: World, options: GateOptions) {
    this.#world = world;
    this.#options = options;
  }

  async run(): Promise<Verdict> {
    const { seed, durationMs, warmUpMs, faultEveryMs } = this.#options;
    const churn = new Churn(this.#world, this.#ledger, new Random(seed + 1));
    await this.#traffic(churn, delay(warmUpMs));
    const before = await this.#settled(null);
    const plan = planFaults(seed, durationMs, faultEveryMs);
    await this.#traffic(churn, this.#injectAll(plan, churn, durationMs));
    const after = await this.#settled(before);
    await churn.assertRestored();
    this.#world.watch.read();
    return {
      table: formatRows(this.#ledger.rows),
      faults: summary(plan.map(({ kind }) => kind.name)),
      unexplained: await Promise.all(this.#reports),
      growths: growthsOf(before, after),
      complaints: [...this.#complaints, ...this.#world.watch.complaints],
    };
  }

  /** Traffic of every kind until `until`, and to its end. */
  async #traffic(churn: Churn, until: Promise<unknown>): Promise<void> {
    this.#isStopping = false;
    const { clientsPerKind, pauseMs, seed } = this.#options;
    const clients = trafficKinds.flatMap((kind, index) =>
      Array.from({ length: clientsPerKind }, (_, i) => this.#serve(kind, new Random(seed + 100 * index + i))),
    );
    const operator = (async () => {
      while (!this.#isStopping) await churn.round(pauseMs);
    })();
    const stop = until.finally(() => (this.#isStopping = true));
    await Promise.all([...clients, operator, stop]);
  }

  async #injectAll(plan: ReturnType<typeof planFaults>, churn: Churn, durationMs: number): Promise<void> {
    const startMs = performance.now();
    const running = plan.map(async (fault) => {
      await delay(fault.atMs);
      try {
        await inject(fault, this.#world, churn, this.#ledger);
      } catch (error) {
        this.#complaints.push(`${fault.kind.name} on ${fault.target}: ${String(error)}`);
      }
    });
    await Promise.all(running);
    await delay(Math.max(0, startMs + durationMs - performance.now()));
  }

  /** One client after the other. */
  async #serve(kind: TrafficKind, random: Random): Promise<void> {
    while (!this.#isStopping) {
      const tag = `soak-${kind.name}-${this.#clientCount++}`;
      const client = new kind.client({ ...this.#world.door(kind), host: kind.host, tag, random });
      if (await this.#visit(kind, client, tag, random)) continue;
      client.vanish();
      await delay(this.#options.pauseMs);
    }
  }

  /** Answers whether the client left in order. */
  async #visit(kind: TrafficKind, client: SoakClient, tag: string, random: Random): Promise<boolean> {
    const attempt = (work: () => Promise<void>): Promise<boolean> => this.#attempt(kind, client, tag, work);
    if (!(await attempt(() => client.open()))) return false;
    const vanishesAt = random.below(vanishEvery) === 0 ? random.below(exchangesMax) : Infinity;
    const count = 1 + random.below(exchangesMax);
    for (let i = 0; i < count && !this.#isStopping; i++) {
      if (i === vanishesAt) {
        const left = client.exchange().catch(() => undefined);
        await Promise.race([left, delay(random.below(15))]);
        this.#ledger.vanish(kind.name);
        return false;
      }
      if (!(await attempt(() => client.exchange()))) return false;
      await delay(random.below(2 * this.#options.pauseMs));
    }
    return attempt(() => client.close());
  }

  async #attempt(
    { name, host, link }: TrafficKind,
    client: SoakClient,
    tag: string,
    work: () => Promise<void>,
  ): Promise<boolean> {
    const startMs = performance.now();
    const error = await withPatience(work());
    const endMs = performance.now();
    const failure = error === null ? null : error instanceof Failed ? error.failure : 'broken';
    const detail = error === null ? '' : error.message;
    const account = { kind: name, tag, address: client.address, needs: [`link ${link}`, `host ${host}`] };
    this.#ledger.record({ ...account, startMs, endMs, failure, detail });
    return error === null;
  }

  #report(attempt: Attempt): void {
    if (this.#reports.length >= unexplainedShownMax) return;
    const { kind, tag, address, failure, detail, startMs, endMs } = attempt;
    const around = this.#ledger.faults
      .filter((fault) => fault.startMs < endMs + 500 && startMs < fault.endMs + 2_000)
      .map(({ name, target, ...fault }) => {
        const endedMs =
          fault.endMs === Infinity ? 'still on' : `ended ${Math.round(endMs - fault.endMs)} ms before`;
        return `    ${name} on ${target}: began ${Math.round(endMs - fault.startMs)} ms before, ${endedMs}`;
      });
    const head = `${kind} ${tag} from ${address}: ${failure}, ${detail}, after ${Math.round(endMs - startMs)} ms`;
    this.#reports.push(
      this.#world.watch
        .linesOf(tag, address)
        .then((lines) => [head, ...around, ...lines.map((line) => `    ${line}`)].join('\n')),
    );
  }

  /** A look once every connection is gone and nothing is above `before`, or when it should have been long since. */
  async #settled(before: Vitals | null): Promise<Vitals> {
    const deadline = performance.now() + settleMs;
    for (;;) {
      const isLate = performance.now() > deadline;
      const isQuiet = [...(await this.#world.connections()).values()].every((count) => count === 0);
      if (isQuiet || isLate) {
        const now = await this.#world.look();
        if (isLate || before === null || growthsOf(before, now).length === 0) return now;
      }
      await delay(200);
    }
  }
}

/** The error that the work ended with, or null. */
async function withPatience(work: Promise<void>): Promise<Error | null> {
  const stop = new AbortController();
  const patience = delay(patienceMs, undefined, { signal: stop.signal }).then(
    () => new Failed('timeout', `nothing for ${patienceMs} ms`),
    () => null,
  );
  const settled = work.then(
    () => null,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  const result = await Promise.race([settled, patience]);
  stop.abort();
  return result;
}

function summary(names: readonly string[]): string {
  const counts = Map.groupBy(names, (name) => name);
  return Array.from(counts, ([name, all]) => `${name} ${all.length}`).join(', ');
}
