/** Which filter of src/filters serves which setting of a route. */
import { assert } from '../core/errors.ts';
import { RateTable } from '../core/rate-table.ts';
import { headerRules } from '../filters/header-rules/header-rules.ts';
import { policyFilter } from '../filters/policies.ts';
import type { FilterSource } from '../ingress/route-filters.ts';
import type { Network } from '../net/network.ts';
import type { RateBuffers } from './request-rates.ts';

export class RouteFilterSource implements FilterSource {
  readonly #worker: number;
  readonly #network: Network;
  readonly #rates = new Map<string, RateTable>();

  constructor(worker: number, network: Network, rates: RateBuffers) {
    this.#worker = worker;
    this.#network = network;
    this.addRates(rates);
  }

  /** Tables of the version that comes. Those of policies that are gone stay until the worker ends: they are small views. */
  addRates(rates: RateBuffers): void {
    for (const [ruleId, buffer] of rates) this.#rates.set(ruleId, new RateTable(buffer, this.#worker));
  }

  policies: FilterSource['policies'] = (route) =>
    route.policies.map(({ ruleId, rule }) =>
      policyFilter(ruleId, rule, {
        ratesOf: (id) => this.#ratesOf(id),
        nowMs: () => this.#network.nowMs,
      }),
    );

  headerRules: FilterSource['headerRules'] = ({ ruleId, requestHeaders, responseHeaders }) =>
    headerRules({ ruleId, request: requestHeaders, response: responseHeaders });

  #ratesOf(ruleId: string): RateTable {
    const table = this.#rates.get(ruleId);
    assert(table !== undefined, 'a rate limit was published without its table');
    return table;
  }
}
