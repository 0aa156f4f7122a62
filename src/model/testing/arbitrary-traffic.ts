/** Routes of every sort for property tests. Routes of one hostname agree, as the configuration sees to it. */
import fc from 'fast-check';
import type { HeaderRules, RouteTlsSettings } from '../http-settings.ts';
import { routeKey } from '../rule-id.ts';
import { routeDefaults } from '../settings.ts';
import type { EndpointAddress, PolicySettings, RouteSettings } from '../settings.ts';

/** assert.deepEqual tells records without a prototype apart. */
export function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const headerName = fc.constantFrom('x-a', 'x-b', 'server', 'x-forwarded-prefix');
const headerValue = fc.constantFrom('', '1', 'a "quoted" value\t\\', 'max-age=31536000; preload');
const pairs = fc.uniqueArray(fc.tuple(headerName, headerValue), { selector: ([name]) => name, maxLength: 2 });

export const headerRules: fc.Arbitrary<HeaderRules> = record({
  remove: fc.uniqueArray(headerName, { maxLength: 2 }),
  set: pairs,
  add: pairs.map((fields) =>
    fields.flatMap(([name, value]): [string, string][] => [
      [name, value],
      [name, '2'],
    ]),
  ),
});

export const policy: fc.Arbitrary<PolicySettings> = fc.oneof(
  record({ type: fc.constant('block_user_agent' as const), value: fc.constantFrom('bot', 'Bot', 'a b/"c"') }),
  record({
    type: fc.constant('require_header' as const),
    value: fc.constantFrom('x-api-key', 'authorization'),
  }),
  record({ type: fc.constant('allow_methods' as const), value: fc.constantFrom('GET', 'GET,HEAD,POST') }),
  record({ type: fc.constant('max_body' as const), value: fc.constantFrom('0B', '10MiB', '1B') }),
  record({
    type: fc.constant('rate_limit' as const),
    value: fc.constantFrom('1/1s', '100/1m30s by x-api-key'),
  }),
);
export const policies = fc.uniqueArray(policy, {
  selector: ({ type, value }) => `${type} ${value}`,
  maxLength: 4,
});

export interface RouteParts {
  readonly hostname: fc.Arbitrary<string>;
  readonly backend: fc.Arbitrary<EndpointAddress>;
  readonly cert: string;
  readonly key: fc.Arbitrary<string>;
  readonly policies?: fc.Arbitrary<readonly PolicySettings[]>;
}

/** Of one hostname: a route of l4, or routes of l7 with paths of their own. */
function routesOfHostname(hostname: string, parts: RouteParts): fc.Arbitrary<RouteSettings[]> {
  const basics = {
    backend: parts.backend,
    sendProxyProtocol: fc.boolean(),
    policies: parts.policies ?? policies,
  };
  const l4 = record(basics).map((given): RouteSettings => ({ ...routeDefaults, hostname, ...given }));
  const l7 = record<Omit<RouteSettings, 'hostname' | 'mode' | 'tls'>>({
    ...basics,
    pathPrefix: fc.constantFrom('', '/api', '/api/v2', '/a%20b'),
    backendProtocol: fc.constantFrom('h2c', 'http1', 'auto'),
    backendTls: fc.option(
      record({
        ca: fc.constantFrom(null, parts.cert),
        serverName: fc.constantFrom(null, 'inner.example'),
        insecure: fc.boolean(),
      }),
    ),
    forwarded: fc.boolean(),
    requestHeaders: headerRules,
    responseHeaders: headerRules,
  });
  const tls: fc.Arbitrary<RouteTlsSettings> = record({
    cert: fc.constant(parts.cert),
    key: parts.key,
    client: fc.constantFrom(
      { clientCa: null, clientAuth: 'none' as const },
      { clientCa: parts.cert, clientAuth: 'none' as const },
      { clientCa: parts.cert, clientAuth: 'request' as const },
      { clientCa: parts.cert, clientAuth: 'require' as const },
    ),
    minVersion: fc.constantFrom('1.2' as const, '1.3' as const),
  }).map(({ client, ...rest }) => ({ ...rest, ...client }));
  const group = fc
    .tuple(tls, fc.uniqueArray(l7, { selector: ({ pathPrefix }) => pathPrefix, minLength: 1, maxLength: 3 }))
    .map(([shared, routes]) =>
      routes.map((route): RouteSettings => ({ ...route, hostname, mode: 'l7', tls: shared })),
    );
  return fc.oneof(
    l4.map((route) => [route]),
    group,
  );
}

/** In any order, each route's key once. */
export function routes(parts: RouteParts): fc.Arbitrary<RouteSettings[]> {
  return fc
    .uniqueArray(parts.hostname, { maxLength: 4 })
    .chain((names) => fc.tuple(...names.map((hostname) => routesOfHostname(hostname, parts))))
    .chain((groups) => fc.shuffledSubarray(groups.flat()))
    .filter((all) => new Set(all.map(routeKey)).size === all.length);
}

export function route(parts: RouteParts): fc.Arbitrary<RouteSettings> {
  return parts.hostname.chain((hostname) => routesOfHostname(hostname, parts)).map(([first]) => first!);
}
