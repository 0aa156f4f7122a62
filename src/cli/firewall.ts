/** `portcullis firewall`: who may connect. */

import type { Command } from 'commander';
import { parseIp } from '../core/ip.ts';
import type { FirewallRuleType, GetFirewallRulesResponse } from './client.ts';
import { choice, declare, declareGroup } from './command.ts';
import { counted } from './display.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { wholeNumber } from './numbers.ts';
import { addServerOptions, withServer } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface Flags extends ServerFlags {
  readonly json?: true;
  readonly type?: keyof typeof ruleTypes;
  readonly disconnect?: true;
  readonly window?: string;
}

/** The numbers of FirewallRuleType. */
const ruleTypes = { ip: 1, cidr: 2, country: 3 } as const;

const valueArgument = [
  '<value>',
  'an address, a network such as 198.51.100.0/24, or a country such as KP',
] as const;

export function firewallCommands(root: Command, shell: Shell): void {
  const group = declareGroup(
    root,
    'firewall',
    'Who may connect: blocked addresses, networks and countries, rate limit.',
  );
  declareList(group, shell);
  declareAdd(group, shell);
  declareRemove(group, shell);
  declareRateLimit(group, shell);
  declareReloadGeoip(group, shell);
}

function declareList(group: Command, shell: Shell): void {
  const list = declare(group, {
    name: 'list',
    summary: 'List what is blocked, what the rate limit exempts, and the limit.',
    examples: ['portcullis firewall list -c portcullis.toml'],
  }).option('--json', 'the answer of GetFirewallRules');
  addServerOptions(list).action(
    withServer<Flags>(shell, async (client, { json }) => {
      const answer = await client.getFirewallRules({});
      if (json !== true) return printFirewall(shell, answer);
      const [{ apiJson }, { GetFirewallRulesResponseSchema }] = await Promise.all([
        import('./api-json.ts'),
        import('../admin/gen/portcullis/v1/admin_pb.ts'),
      ]);
      shell.json(apiJson(GetFirewallRulesResponseSchema, answer));
    }),
  );
}

function declareAdd(group: Command, shell: Shell): void {
  const add = declare(group, {
    name: 'add',
    arguments: [valueArgument],
    summary: 'Refuse connections from an address, a network or a country.',
    examples: ['portcullis firewall add 203.0.113.0/24 --disconnect -c portcullis.toml'],
  })
    .option('--disconnect', 'also end the open connections that it matches')
    .option('--json', 'the answer of AddFirewallRule');
  addServerOptions(typeOption(add)).action(
    withServer<Flags, [string]>(shell, async (client, flags, value) => {
      const rule = { type: typeOf(value, flags), value };
      const { version, disconnected } = await client.addFirewallRule({
        rule,
        disconnect: flags.disconnect === true,
      });
      const ended = flags.disconnect === true ? `, ended ${counted(disconnected, 'connection')}` : '';
      shell.changed(flags, version, `blocked ${value}${ended}`, { disconnected: String(disconnected) });
    }),
  );
}

function declareRemove(group: Command, shell: Shell): void {
  const remove = declare(group, {
    name: 'remove',
    arguments: [valueArgument],
    summary: 'Remove a rule: accept from there again.',
    examples: ['portcullis firewall remove 203.0.113.0/24 -c portcullis.toml'],
  }).option('--json', 'the answer of RemoveFirewallRule');
  addServerOptions(typeOption(remove)).action(
    withServer<Flags, [string]>(shell, async (client, flags, value) => {
      const { version } = await client.removeFirewallRule({ rule: { type: typeOf(value, flags), value } });
      shell.changed(flags, version, `${value} is no longer blocked`);
    }),
  );
}

function declareRateLimit(group: Command, shell: Shell): void {
  const rateLimit = declare(group, {
    name: 'rate-limit',
    arguments: [['<connections>', 'that one source may open in each window; 0 is no limit', wholeNumber]],
    summary: 'Limit the connections that one source may open.',
    examples: ['portcullis firewall rate-limit 6000 --window 1m -c portcullis.toml'],
  })
    .option('--window <duration>', 'from 1s to 1d; 1m unless told otherwise')
    .option('--json', 'the answer of SetRateLimit');
  addServerOptions(rateLimit).action(
    withServer<Flags, [number]>(shell, async (client, flags, connections) => {
      const { window = '' } = flags;
      const { version } = await client.setRateLimit({ rateLimit: { connections, window } });
      const limit =
        connections === 0
          ? 'no rate limit'
          : `at most ${counted(connections, 'connection')} in ${window || '1m'}`;
      shell.changed(flags, version, limit);
    }),
  );
}

function declareReloadGeoip(group: Command, shell: Shell): void {
  const reload = declare(group, {
    name: 'reload-geoip',
    summary: 'Read the GeoIP database file again, as SIGHUP does.',
    examples: ['portcullis firewall reload-geoip -c portcullis.toml'],
  }).option('--json', 'the answer of ReloadGeoIP');
  addServerOptions(reload).action(
    withServer<Flags>(shell, async (client, { json }) => {
      await client.reloadGeoIP({});
      if (json === true) shell.json({});
      else shell.line('reloaded the GeoIP database');
    }),
  );
}

function typeOption(command: Command): Command {
  const types = Object.keys(ruleTypes);
  return command.addOption(
    choice('--type <type>', 'what the value is; told by its form when left out', types),
  );
}

function typeOf(value: string, { type }: Flags): FirewallRuleType {
  if (type !== undefined) return ruleTypes[type];
  if (value.includes('/')) return ruleTypes.cidr;
  if (parseIp(value) !== undefined) return ruleTypes.ip;
  if (/^[a-z]{2}$/i.test(value)) return ruleTypes.country;
  const message = `${value} is no address, no network such as 198.51.100.0/24 and no country such as KP`;
  throw new CommandFailure(exitCodes.usage, message);
}

function printFirewall(shell: Shell, { rules, allowed, geoipDb, rateLimit }: GetFirewallRulesResponse): void {
  const rows = [
    ...rules.map(({ type, value }) => [typeName(type), value, 'blocked']),
    ...allowed.map((value) => ['cidr', value, 'exempt from the rate limit']),
  ];
  shell.table([{ title: 'TYPE' }, { title: 'VALUE' }, { title: 'EFFECT' }], rows, 'no firewall rules');
  const limit =
    rateLimit === undefined || rateLimit.connections === 0
      ? 'none'
      : `${counted(rateLimit.connections, 'connection')} in ${rateLimit.window} from one source`;
  shell.lines(['', `rate limit: ${limit}`, `GeoIP database: ${geoipDb || 'none'}`]);
}

function typeName(type: FirewallRuleType): string {
  return Object.entries(ruleTypes).find(([, number]) => number === type)?.[0] ?? String(type);
}
