/** `portcullis routes`: which backend serves which hostname. */

import type { Command } from 'commander';
import type { AdminClient, Route } from './client.ts';
import { choice, collect, declare, declareGroup } from './command.ts';
import { counted } from './display.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { addServerOptions, withServer } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface ListFlags extends ServerFlags {
  readonly json?: true;
  readonly listener?: string;
}

interface RouteFlags extends ServerFlags {
  readonly json?: true;
  readonly listener: string;
  readonly backend?: string;
  readonly mode?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly backendTls?: boolean;
  readonly sendProxyProtocol?: boolean;
  /** False: remove them all. */
  readonly policy?: readonly string[] | false;
}

type RouteFields = Partial<Omit<Route, '$typeName' | '$unknown'>>;

const hostnameArgument = ['<hostname>', 'app.example.com, or *.example.com for every name below'] as const;

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
    arguments: [hostnameArgument],
    summary: 'Add a route. It serves the next connection.',
    examples: [
      'portcullis routes add api.example.com --listener :443 --backend 10.0.0.5:8443 -c portcullis.toml',
    ],
  });
  routeOptions(add, false);
  addServerOptions(add.option('--json', 'the answer of AddRoute')).action(
    withServer<RouteFlags, [string]>(shell, async (client, flags, hostname) => {
      const { listener: listenerAddr } = flags;
      const { version } = await client.addRoute({ listenerAddr, route: { hostname, ...given(flags) } });
      shell.changed(flags, version, `added route ${hostname} on ${listenerAddr}`);
    }),
  );
}

function declareUpdate(group: Command, shell: Shell): void {
  const update = declare(group, {
    name: 'update',
    arguments: [hostnameArgument],
    summary: 'Change a route: what no flag names stays as it is. Open connections go on as they began.',
    examples: [
      'portcullis routes update api.example.com --listener :443 --backend 10.0.0.6:8443 -c portcullis.toml',
    ],
  });
  routeOptions(update, true);
  addServerOptions(update.option('--json', 'the answer of UpdateRoute')).action(
    withServer<RouteFlags, [string]>(shell, async (client, flags, hostname) => {
      const { listener: listenerAddr } = flags;
      const { routes } = await client.listRoutes({ listenerAddr });
      const present = routes.find((route) => route.hostname === hostname.toLowerCase());
      if (present === undefined) {
        const message = `listener ${listenerAddr} has no route for ${hostname}; see portcullis routes list`;
        throw new CommandFailure(exitCodes.notFound, message);
      }
      const route = { ...kept(present, flags.mode), ...given(flags) };
      const { version } = await client.updateRoute({ listenerAddr, route, replaceL7Policies: true });
      shell.changed(flags, version, `updated route ${hostname} on ${listenerAddr}`);
    }),
  );
}

function declareRemove(group: Command, shell: Shell): void {
  const remove = declare(group, {
    name: 'remove',
    arguments: [hostnameArgument],
    summary: 'Remove a route and its policies. Open connections go on.',
    examples: ['portcullis routes remove api.example.com --listener :443 -c portcullis.toml'],
  })
    .requiredOption('--listener <listener>', 'the listener it is on')
    .option('--json', 'the answer of RemoveRoute');
  addServerOptions(remove).action(
    withServer<RouteFlags, [string]>(shell, async (client, flags, hostname) => {
      const { version } = await client.removeRoute({ listenerAddr: flags.listener, hostname });
      shell.changed(flags, version, `removed route ${hostname} of ${flags.listener}`);
    }),
  );
}

function routeOptions(command: Command, isUpdate: boolean): void {
  const backend = ['--backend <address>', 'host:port, [v6]:port or unix:/path'] as const;
  command.requiredOption('--listener <listener>', 'the listener it is on');
  if (isUpdate) command.option(...backend);
  else command.requiredOption(...backend);
  command
    .addOption(choice('--mode <mode>', 'l4 relays TLS, which is the default; l7 ends it', ['l4', 'l7']))
    .option('--tls-cert <file>', 'of an l7 route: the PEM chain it presents, on the server’s disk')
    .option('--tls-key <reference>', 'of an l7 route: where its key stands, a path or env:NAME')
    .option('--backend-tls', 'of an l7 route: speak TLS to the backend')
    .option('--send-proxy-protocol', 'tell the backend who the client is, by PROXY protocol v2')
    .option('--policy <type=value>', 'a policy of the route; may be repeated', collect);
  if (!isUpdate) return;
  command
    .option('--no-backend-tls', 'speak plain text to the backend')
    .option('--no-send-proxy-protocol', 'begin without a PROXY header')
    .option('--no-policy', 'remove every policy');
}

/** The fields that flags name. */
function given(flags: RouteFlags): RouteFields {
  const { backend, mode, tlsCert, tlsKey, backendTls, sendProxyProtocol, policy } = flags;
  const l7Policies = policy === false ? [] : policy?.map(parsePolicy);
  const all = { backend, mode, tlsCert, tlsKey, backendTls, sendProxyProtocol, l7Policies };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as RouteFields;
}

/** A route that becomes l4 has no use for its TLS settings, and the server would refuse them. */
function kept(route: Route, mode: string | undefined): RouteFields {
  const { $typeName: _, $unknown: __, ...fields } = route;
  return mode === 'l4' ? { ...fields, tlsCert: '', tlsKey: '', backendTls: false } : fields;
}

function parsePolicy(text: string): { type: string; value: string } {
  const at = text.indexOf('=');
  if (at > 0) return { type: text.slice(0, at), value: text.slice(at + 1) };
  throw new CommandFailure(exitCodes.usage, `expected --policy TYPE=VALUE, found ${text}`);
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
  { title: 'HOSTNAME' },
  { title: 'MODE' },
  { title: 'BACKEND' },
  { title: 'OPTIONS', isOptional: true },
] as const;

function row({ listenerAddr, route }: ListedRoute): string[] {
  const { hostname, mode, backend, backendTls, sendProxyProtocol, tlsCert, l7Policies } = route;
  const options = [
    ...(sendProxyProtocol ? ['send-proxy-protocol'] : []),
    ...(backendTls ? ['backend-tls'] : []),
    ...(tlsCert === '' ? [] : [`cert ${tlsCert}`]),
    ...(l7Policies.length === 0 ? [] : [counted(l7Policies.length, 'policy', 'policies')]),
  ];
  return [listenerAddr, hostname, mode, backend, options.join(', ')];
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
