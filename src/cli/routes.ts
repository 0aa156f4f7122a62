/** `portcullis routes`: which backend serves which hostname. */

import type { Command } from 'commander';
import { AdminError } from './admin-error.ts';
import type { AdminClient, Route } from './client.ts';
import { declare, declareGroup } from './command.ts';
import { counted } from './display.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { givenFields, keptFields, routeOptions } from './route-flags.ts';
import type { RouteFieldFlags } from './route-flags.ts';
import { isRoute, parseRouteName, routeArgument } from './route-name.ts';
import { addServerOptions, withServer } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface ListFlags extends ServerFlags {
  readonly json?: true;
  readonly listener?: string;
}

interface RouteFlags extends ServerFlags, RouteFieldFlags {
  readonly json?: true;
  readonly listener: string;
}

export function routeCommands(root: Command, shell: Shell): void {
  const group = declareGroup(root, 'routes', 'Which backend serves which hostname.');
  declareList(group, shell);
  declareAdd(group, shell);
  declareUpdate(group, shell);
  declareRemove(group, shell);
}

function declareList(group: Command, shell: Shell): void {
  const list = declare(group, {
    name: 'list',
    summary: 'List the routes of every listener, or of one.',
    examples: ['portcullis routes list --listener :443 -c portcullis.toml'],
  })
    .option('--listener <listener>', 'of this listener only')
    .option('--json', 'an array of routes, each with its listener');
  addServerOptions(list).action(
    withServer<ListFlags>(shell, async (client, { listener, json }) => {
      const routes = await listRoutes(client, listener);
      if (json === true) return printJson(shell, routes);
      shell.table(columns, routes.map(row), 'no routes');
    }),
  );
}

function declareAdd(group: Command, shell: Shell): void {
  const add = declare(group, {
    name: 'add',
    arguments: [routeArgument],
    summary: 'Add a route. It serves the next connection.',
    examples: [
      'portcullis routes add api.example.com --listener :443 --backend 10.0.0.5:8443 -c portcullis.toml',
      'portcullis routes add web.example.com/api --listener :8080 --backend 10.0.0.5:8080 --mode l7 ' +
        '--backend-protocol http1 -c portcullis.toml',
    ],
  });
  routeOptions(add, false);
  addServerOptions(add.option('--json', 'the answer of AddRoute')).action(
    withServer<RouteFlags, [string]>(shell, async (client, flags, name) => {
      const { listener: listenerAddr } = flags;
      const route = { ...parseRouteName(name), ...givenFields(flags) };
      const { version } = await client.addRoute({ listenerAddr, route });
      shell.changed(flags, version, `added route ${name} on ${listenerAddr}`);
    }),
  );
}

function declareUpdate(group: Command, shell: Shell): void {
  const command = declare(group, {
    name: 'update',
    arguments: [routeArgument],
    summary: 'Change a route: what no flag names stays as it is. Open connections go on as they began.',
    details: 'How TLS is ended is changed for every route of the hostname.',
    examples: [
      'portcullis routes update api.example.com --listener :443 --backend 10.0.0.6:8443 -c portcullis.toml',
    ],
  });
  routeOptions(command, true);
  addServerOptions(command.option('--json', 'the answer of UpdateRoute')).action(
    withServer<RouteFlags, [string]>(shell, async (client, flags, name) => {
      const version = await update(client, flags, name);
      shell.changed(flags, version, `updated route ${name} on ${flags.listener}`);
    }),
  );
}

/** Reads, changes and writes, from the beginning when somebody else changed the configuration in between. */
async function update(client: AdminClient, flags: RouteFlags, name: string): Promise<bigint> {
  const { listener: listenerAddr } = flags;
  const named = parseRouteName(name);
  for (let triesLeft = updateTriesMax; ; triesLeft--) {
    const { routes, version: ifVersion } = await client.listRoutes({ listenerAddr });
    const present = routes.find((route) => isRoute(route, named));
    if (present === undefined) {
      const message = `listener ${listenerAddr} has no route for ${name}; see portcullis routes list`;
      throw new CommandFailure(exitCodes.notFound, message);
    }
    const route = { ...keptFields(present, flags.mode), ...givenFields(flags, present) };
    try {
      return (await client.updateRoute({ listenerAddr, route, replaceL7Policies: true, ifVersion })).version;
    } catch (error) {
      if (triesLeft === 0 || !(error instanceof AdminError) || error.code !== 'aborted') throw error;
    }
  }
}

const updateTriesMax = 8;

function declareRemove(group: Command, shell: Shell): void {
  const remove = declare(group, {
    name: 'remove',
    arguments: [routeArgument],
    summary: 'Remove a route and its policies. Open connections go on.',
    examples: ['portcullis routes remove api.example.com --listener :443 -c portcullis.toml'],
  })
    .requiredOption('--listener <listener>', 'the listener it is on')
    .option('--json', 'the answer of RemoveRoute');
  addServerOptions(remove).action(
    withServer<RouteFlags, [string]>(shell, async (client, flags, name) => {
      const { listener: listenerAddr } = flags;
      const { version } = await client.removeRoute({ listenerAddr, ...parseRouteName(name) });
      shell.changed(flags, version, `removed route ${name} of ${listenerAddr}`);
    }),
  );
}

export interface ListedRoute {
  readonly listenerAddr: string;
  readonly route: Route;
}

/** Of one listener, or of all. */
export async function listRoutes(client: AdminClient, listener: string | undefined): Promise<ListedRoute[]> {
  if (listener !== undefined) {
    const { listenerAddr, routes } = await client.listRoutes({ listenerAddr: listener });
    return routes.map((route) => ({ listenerAddr, route }));
  }
  const { config } = await client.getConfig({});
  return (config?.listeners ?? []).flatMap(({ addr, routes }) =>
    routes.map((route) => ({ listenerAddr: addr, route })),
  );
}

const columns = [
  { title: 'LISTENER' },
  { title: 'ROUTE' },
  { title: 'MODE' },
  { title: 'BACKEND' },
  { title: 'OPTIONS', isOptional: true },
] as const;

function row({ listenerAddr, route }: ListedRoute): string[] {
  const { hostname, pathPrefix, mode, backend, l7Policies, clientAuth, requestHeaders, responseHeaders } =
    route;
  const rules = headerCount(requestHeaders) + headerCount(responseHeaders);
  const options = [
    ...(route.sendProxyProtocol ? ['send-proxy-protocol'] : []),
    ...(mode === 'l7' ? [`${route.backendTls ? 'tls, ' : ''}${route.backendProtocol}`] : []),
    ...(route.backendInsecure ? ['backend-insecure'] : []),
    ...(route.tlsCert === '' ? [] : [`cert ${route.tlsCert}`]),
    ...(clientAuth === '' || clientAuth === 'none' ? [] : [`client-auth ${clientAuth}`]),
    ...(rules === 0 ? [] : [counted(rules, 'header rule', 'header rules')]),
    ...(l7Policies.length === 0 ? [] : [counted(l7Policies.length, 'policy', 'policies')]),
  ];
  return [listenerAddr, hostname + pathPrefix, mode, backend, options.join(', ')];
}

function headerCount(rules: Route['requestHeaders']): number {
  return rules === undefined ? 0 : rules.remove.length + rules.set.length + rules.add.length;
}

async function printJson(shell: Shell, routes: readonly ListedRoute[]): Promise<void> {
  const [{ apiJson }, { RouteSchema }] = await Promise.all([
    import('./api-json.ts'),
    import('../admin/gen/portcullis/v1/admin_pb.ts'),
  ]);
  shell.json(
    routes.map(({ listenerAddr, route }) => {
      return { listenerAddr, ...(apiJson(RouteSchema, route) as Record<string, unknown>) };
    }),
  );
}
