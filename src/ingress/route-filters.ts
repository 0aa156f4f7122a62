/** The filters of a route: its policies, what the backend is told of the client, and the route's header rules. */
import type { Filter, FilterContext, FilterFactory, FilterVerdict } from '../http/filter.ts';
import { FilterList } from '../http/filter-list.ts';
import type { RequestHead } from '../http/message.ts';
import type { Route } from '../model/snapshot.ts';

/** Builds what stands in src/filters for one route. */
export interface FilterSource {
  policies(route: Route): readonly FilterFactory[];
  /** Null where there is nothing to do. */
  headerRules(route: Route): FilterFactory | null;
}

interface RouteFactories {
  readonly policies: readonly FilterFactory[];
  readonly headerRules: FilterFactory | null;
}

/** A `host` among the route's header rules: the backend is asked for that one, whatever the client named. */
class AuthorityFilter implements Filter {
  readonly ruleId: string;
  readonly #authority: string;

  constructor(ruleId: string, authority: string) {
    this.ruleId = ruleId;
    this.#authority = authority;
  }

  onRequestHead(_context: FilterContext, head: RequestHead): FilterVerdict {
    head.authority = this.#authority;
    return 'continue';
  }
}

export class RouteFilters {
  readonly #source: FilterSource;
  readonly #factories = new WeakMap<Route, RouteFactories>();

  constructor(source: FilterSource) {
    this.#source = source;
  }

  /**
   * Makes the filters of one request on `route`, for one downstream connection. Policies judge what the client
   * sent, so they come first; header rules have the last word.
   */
  of(route: Route, forwarding: Filter): () => FilterList {
    const { policies, headerRules } = this.#factoriesOf(route);
    const { authority } = route;
    const create = (): FilterList => {
      const filters = policies.map((policy) => policy.create());
      filters.push(forwarding);
      if (headerRules !== null) filters.push(headerRules.create());
      if (authority !== null) filters.push(new AuthorityFilter(route.ruleId, authority));
      return new FilterList(filters);
    };
    if (!policies.every(({ isShared }) => isShared) || headerRules?.isShared === false) return create;
    const list = create();
    return () => list;
  }

  #factoriesOf(route: Route): RouteFactories {
    let factories = this.#factories.get(route);
    if (factories === undefined) {
      factories = { policies: this.#source.policies(route), headerRules: this.#source.headerRules(route) };
      this.#factories.set(route, factories);
    }
    return factories;
  }
}
