/** `portcullis policies`: what l7 routes refuse. */

import type { Command } from 'commander';
import { policyTypes } from '../model/settings.ts';
import { choice, declare, declareGroup } from './command.ts';
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

const hostnameArgument = ['<hostname>', 'of the route'] as const;

export function policyCommands(root: Command, shell: Shell): void {
  const group = declareGroup(root, 'policies', 'What l7 routes refuse.');

  const list = declare(group, {
    name: 'list',
    arguments: [['[hostname]', 'of this route only']],
    summary: 'List the policies of every route, or of one, in the order they are judged.',
    examples: ['portcullis policies list app.example.com -c portcullis.toml'],
  })
    .option('--listener <listener>', 'on this listener only')
    .option('--json', 'an array of policies, each with its listener and hostname');
  addServerOptions(list).action(
    withServer<ListFlags, [string | undefined]>(shell, async (client, { listener, json }, hostname) => {
      const routes = await listRoutes(client, listener);
      const policies = routes
        .filter(({ route }) => hostname === undefined || route.hostname === hostname.toLowerCase())
        .flatMap(({ listenerAddr, route }) =>
          route.l7Policies.map(({ type, value }) => ({
            listenerAddr,
            hostname: route.hostname,
            type,
            value,
          })),
        );
      if (json === true) return shell.json(policies);
      shell.table(columns, policies.map(Object.values<string>), 'no policies');
    }),
  );

  const add = declare(group, {
    name: 'add',
    arguments: [hostnameArgument],
    summary: 'Refuse requests of a route: by user agent, or for want of a header.',
    examples: [
      'portcullis policies add app.example.com --listener :443 --type block_user_agent --value curl -c portcullis.toml',
    ],
  }).option('--json', 'the answer of AddL7Policy');
  addServerOptions(policyOptions(add)).action(
    withServer<PolicyFlags, [string]>(shell, async (client, flags, hostname) => {
      const { listener: listenerAddr, type, value } = flags;
      const { version } = await client.addL7Policy({ listenerAddr, hostname, policy: { type, value } });
      shell.changed(flags, version, `${hostname} on ${listenerAddr}: added ${type} ${JSON.stringify(value)}`);
      const { routes } = await client.listRoutes({ listenerAddr });
      const isUnused = routes.some(
        (route) => route.hostname === hostname.toLowerCase() && route.mode === 'l4',
      );
      if (isUnused) shell.warning(`${hostname} has mode l4: its policies have no effect until it is l7`);
    }),
  );

  const remove = declare(group, {
    name: 'remove',
    arguments: [hostnameArgument],
    summary: 'Remove a policy of a route.',
    examples: [
      'portcullis policies remove app.example.com --listener :443 --type block_user_agent --value curl -c portcullis.toml',
    ],
  }).option('--json', 'the answer of RemoveL7Policy');
  addServerOptions(policyOptions(remove)).action(
    withServer<PolicyFlags, [string]>(shell, async (client, flags, hostname) => {
      const { listener: listenerAddr, type, value } = flags;
      const { version } = await client.removeL7Policy({ listenerAddr, hostname, policy: { type, value } });
      shell.changed(
        flags,
        version,
        `${hostname} on ${listenerAddr}: removed ${type} ${JSON.stringify(value)}`,
      );
    }),
  );
}

function policyOptions(command: Command): Command {
  return command
    .requiredOption('--listener <listener>', 'the listener of the route')
    .addOption(choice('--type <type>', 'what it judges by', policyTypes).makeOptionMandatory())
    .requiredOption('--value <text>', 'part of a user agent, or the name of a header');
}

const columns = [
  { title: 'LISTENER' },
  { title: 'HOSTNAME' },
  { title: 'TYPE' },
  { title: 'VALUE' },
] as const;
