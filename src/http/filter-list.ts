/**
 * The filters of an exchange, and which phases any of them has: worked out once for a list, not for each request.
 * A list of filters that keep no state of one exchange may serve every request of its route.
 */
import type { Filter } from './filter.ts';

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
