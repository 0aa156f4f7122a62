/**
 * The shared tables of `rate_limit` policies, one for each, so that a limit is exact over all workers. The
 * supervisor makes them, before the version that has the policy is published; workers view them.
 *
 * A table takes up to 32 MiB of address space and as much memory as its keys need.
 */
import { randomBytes } from 'node:crypto';
import { RateTable } from '../core/rate-table.ts';
import { parsePolicy } from '../model/policy-value.ts';
import { policyRuleId } from '../model/rule-id.ts';
import type { ListenerSettings, RouteSettings } from '../model/settings.ts';

/** By the policy's rule id, which holds its value: another limit is another table. */
export type RateBuffers = ReadonlyMap<string, SharedArrayBuffer>;

export class RequestRateTables {
  readonly #workers: number;
  #tables = new Map<string, RateTable>();

  constructor(workers: number) {
    this.#workers = workers;
  }

  get count(): number {
    return this.#tables.size;
  }

  get buffers(): RateBuffers {
    return new Map(Array.from(this.#tables, ([id, { buffer }]) => [id, buffer]));
  }

  /** What these routes need and there is not yet. */
  addFor(listener: string, routes: readonly RouteSettings[]): RateBuffers {
    const added = new Map<string, SharedArrayBuffer>();
    for (const route of routes) {
      for (const { type, value } of route.policies) {
        if (type !== 'rate_limit') continue;
        const id = policyRuleId(listener, route.hostname, route.pathPrefix, type, value);
        if (this.#tables.has(id)) continue;
        const table = this.#create(value);
        this.#tables.set(id, table);
        added.set(id, table.buffer);
      }
    }
    return added;
  }

  /** Forgets what no route needs any more. */
  retain(listeners: readonly ListenerSettings[]): void {
    const before = this.#tables;
    this.#tables = new Map();
    for (const { name, routes } of listeners) {
      for (const { hostname, pathPrefix, policies } of routes) {
        for (const { type, value } of policies) {
          const id = policyRuleId(name, hostname, pathPrefix, type, value);
          const table = before.get(id);
          if (table !== undefined) this.#tables.set(id, table);
        }
      }
    }
  }

  /** A worker died: what it held of the tables goes back. */
  releaseLocksOf(worker: number): void {
    for (const table of this.#tables.values()) table.releaseLocksOf(worker);
  }

  #create(value: string): RateTable {
    const policy = parsePolicy('rate_limit', value);
    if (policy.type !== 'rate_limit')
      throw new TypeError('a rate_limit policy that was checked does not parse');
    const seed = randomBytes(8);
    return RateTable.create({
      connections: policy.requests,
      windowMs: policy.windowMs,
      workers: this.#workers,
      seed: [seed.readUInt32LE(0), seed.readUInt32LE(4)],
    });
  }
}
