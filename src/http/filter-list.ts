/**
 * The filters of an exchange, and which phases any of them has: worked out once for a list, not for each request.
 * A list of filters that keep no state of one exchange may serve every request of its route.
 */
import type { Filter, FilterFactory } from './filter.ts';

export class FilterList {
  readonly filters: readonly Filter[];
  readonly hasRequestHead: boolean;
  readonly hasRequestData: boolean;
  readonly hasRequestTrailers: boolean;
  readonly hasResponseHead: boolean;
  readonly hasResponseData: boolean;
  readonly hasResponseTrailers: boolean;
  readonly hasEnd: boolean;

  constructor(filters: readonly Filter[]) {
    this.filters = filters;
    this.hasRequestHead = filters.some((filter) => filter.onRequestHead !== undefined);
    this.hasRequestData = filters.some((filter) => filter.onRequestData !== undefined);
    this.hasRequestTrailers = filters.some((filter) => filter.onRequestTrailers !== undefined);
    this.hasResponseHead = filters.some((filter) => filter.onResponseHead !== undefined);
    this.hasResponseData = filters.some((filter) => filter.onResponseData !== undefined);
    this.hasResponseTrailers = filters.some((filter) => filter.onResponseTrailers !== undefined);
    this.hasEnd = filters.some((filter) => filter.onEnd !== undefined);
  }
}

export const noFilters: FilterList = new FilterList([]);

/** Always the same filter. */
export function sharedFilter(filter: Filter): FilterFactory {
  return { isShared: true, create: () => filter };
}

/** What a route's filters are made by. Where all of them are shared, so is the list. */
export class FilterPlan {
  readonly #factories: readonly FilterFactory[];
  readonly #shared: FilterList | null;

  constructor(factories: readonly FilterFactory[]) {
    this.#factories = factories;
    this.#shared = factories.every((factory) => factory.isShared) ? this.#make() : null;
  }

  /** The filters of one exchange. */
  list(): FilterList {
    return this.#shared ?? this.#make();
  }

  #make(): FilterList {
    return new FilterList(this.#factories.map((factory) => factory.create()));
  }
}
