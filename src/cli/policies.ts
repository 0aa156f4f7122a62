/** `portcullis policies`: what l7 routes refuse. */

import type { Command } from 'commander';
import { policyTypes } from '../model/settings.ts';
import { choice, declare, declareGroup } from './command.ts';
import { isRoute, parseRouteName, routeArgument } from './route-name.ts';
import { listRoutes } from './routes.ts';
import { addServerOptions, withServer } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface ListFlags extends ServerFlags {
  readonly json?: true;
  readonly listener?: string;
}

interface PolicyFlags extends ServerFlags {
  readonly json?: true;
  readonly listener: string;
  readonly type: string;
  readonly value: string;
}

export function policyCommands(root: Command, shell: Shell): void {
  const group = declareGroup(root, 'policies', 'What l7 routes refuse.');

  const list = declare(group, {
    name: 'list',
    arguments: [['[route]', 'of this route only: its hostname, with its path if it has one']],
    summary: 'List the policies of every route, or of one, in the order they are judged.',
    examples: ['portcullis policies list app.example.com -c portcullis.toml'],
  })
    .option('--listener <listener>', 'on this listener only')
    .option('--json', 'an array of policies, each with its listener, hostname and path');
  addServerOptions(list).action(
    withServer<ListFlags, [string | undefined]>(shell, async (client, { listener, json }, name) => {
      const routes = await listRoutes(client, listener);
      const policies = routes
        .filter(({ route }) => name === undefined || isRoute(route, parseRouteName(name)))
        .flatMap(({ listenerAddr, route }) =>
          route.l7Policies.map(({ type, value }) => ({
            listenerAddr,
            hostname: route.hostname,
            pathPrefix: route.pathPrefix,
            type,
            value,
          })),
        );
      if (json === true) return shell.json(policies);
      const rows = policies.map(({ listenerAddr, hostname, pathPrefix, type, value }) => {
        return [listenerAddr, hostname + pathPrefix, type, value];
      });
      shell.table(columns, rows, 'no policies');
    }),
  );

  const add = declare(group, {
    name: 'add',
    arguments: [routeArgument],
    summary: 'Refuse requests of a route: by user agent, header, method, size or rate.',
    examples: [
      'portcullis policies add app.example.com --listener :443 --type block_user_agent --value curl -c portcullis.toml',
      'portcullis policies add app.example.com --listener :443 --type rate_limit --value 100/1m -c portcullis.toml',
    ],
  }).option('--json', 'the answer of AddL7Policy');
  addServerOptions(policyOptions(add)).action(
    withServer<PolicyFlags, [string]>(shell, async (client, flags, name) => {
      const { listener: listenerAddr, type, value } = flags;
      const named = parseRouteName(name);
      const { version } = await client.addL7Policy({ listenerAddr, ...named, policy: { type, value } });
      shell.changed(flags, version, `${name} on ${listenerAddr}: added ${type} ${JSON.stringify(value)}`);
      const { routes } = await client.listRoutes({ listenerAddr });
      const isUnused = routes.some((route) => isRoute(route, named) && route.mode === 'l4');
      if (isUnused) shell.warning(`${name} has mode l4: its policies have no effect until it is l7`);
    }),
  );

  const remove = declare(group, {
    name: 'remove',
    arguments: [routeArgument],
    summary: 'Remove a policy of a route.',
    examples: [
      'portcullis policies remove app.example.com --listener :443 --type block_user_agent --value curl -c portcullis.toml',
    ],
  }).option('--json', 'the answer of RemoveL7Policy');
  addServerOptions(policyOptions(remove)).action(
    withServer<PolicyFlags, [string]>(shell, async (client, flags, name) => {
      const { listener: listenerAddr, type, value } = flags;
      const named = parseRouteName(name);
      const { version } = await client.removeL7Policy({ listenerAddr, ...named, policy: { type, value } });
      shell.changed(flags, version, `${name} on ${listenerAddr}: removed ${type} ${JSON.stringify(value)}`);
    }),
  );
}

function policyOptions(command: Command): Command {
  return command
    .requiredOption('--listener <listener>', 'the listener of the route')
    .addOption(choice('--type <type>', 'what it judges by', policyTypes).makeOptionMandatory())
    .requiredOption('--value <text>', 'such as BadBot, x-api-key, GET,HEAD, 10MiB or 100/1m');
}

const columns = [{ title: 'LISTENER' }, { title: 'ROUTE' }, { title: 'TYPE' }, { title: 'VALUE' }] as const;
