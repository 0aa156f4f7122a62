/** `portcullis config`: the traffic configuration as a whole, of the server, or of the database while none runs. */

import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { EgressSettings } from '../model/egress-settings.ts';
import type { TrafficSettings } from '../model/settings.ts';
import { declare, declareGroup } from './command.ts';
import { counted } from './display.ts';
import { exitCodes } from './exit-codes.ts';
import { wholeNumber } from './numbers.ts';
import { addAddressOptions, addServerOptions, readSettings, serverOrDatabase } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface ShowFlags extends ServerFlags {
  readonly json?: true;
  readonly output?: string;
}

interface FileFlags extends ServerFlags {
  readonly json?: true;
  readonly config: string;
  readonly exitCode?: true;
  readonly dryRun?: true;
  readonly ifVersion?: number;
}

/** Checking and storing a hundred thousand rows takes seconds. */
const applyTimeoutMs = 120_000;

export function configCommands(root: Command, shell: Shell): void {
  const group = declareGroup(
    root,
    'config',
    'The traffic configuration as a whole: listeners, routes, firewall.',
  );
  declareShow(group, shell);
  declareExport(group, shell);
  declareDiff(group, shell);
  declareApply(group, shell);
}

function declareShow(group: Command, shell: Shell): void {
  const show = declare(group, {
    name: 'show',
    summary: 'Show the present configuration and its version.',
    details: 'While no server runs, the database that -c names is read.',
    examples: ['portcullis config show -c portcullis.toml'],
  }).option('--json', 'the answer of GetConfig');
  addServerOptions(show).action(async (flags: ShowFlags) => {
    const { version, traffic } = await present(shell, flags);
    if (flags.json === true) return printJson(shell, version, traffic);
    const { formatTraffic } = await import('../config/format.ts');
    shell.lines([
      `# version ${version}: ${contents(traffic)}`,
      '',
      ...formatTraffic(traffic).trimEnd().split('\n'),
    ]);
  });
}

function declareExport(group: Command, shell: Shell): void {
  const command = declare(group, {
    name: 'export',
    summary: 'Write the present configuration as TOML: the part of a file that the database owns.',
    details: 'While no server runs, the database that -c names is read.',
    examples: ['portcullis config export -o traffic.toml -c portcullis.toml'],
  }).option('-o, --output <file>', 'to this file instead of standard output');
  addServerOptions(command).action(async (flags: ShowFlags) => {
    const { version, traffic } = await present(shell, flags);
    const { formatTraffic } = await import('../config/format.ts');
    const text = formatTraffic(traffic);
    if (flags.output === undefined) return void shell.stdout.write(text);
    writeFileSync(flags.output, text);
    shell.note(`wrote version ${version} to ${flags.output}: ${contents(traffic)}`);
  });
}

function declareDiff(group: Command, shell: Shell): void {
  const diff = declare(group, {
    name: 'diff',
    summary: 'Say how the database differs from a file: what config apply would change.',
    details: 'Asks the server; while none runs, the database that the file names is read.',
    examples: ['portcullis config diff -c portcullis.toml'],
  })
    .requiredOption('-c, --config <file>', 'the file to compare with')
    .option('--exit-code', `exit with ${exitCodes.different} when they differ`)
    .option('--json', 'the answer of ApplyConfig');
  addAddressOptions(diff).action(async (flags: FileFlags) => {
    const { version, changes, warnings } = await apply(shell, flags, true);
    if (flags.json === true) shell.json({ version, changes, warnings });
    else if (changes.length === 0) shell.line(`${flags.config} and the database agree (version ${version})`);
    else {
      shell.lines(changes);
      const changed = counted(changes.length, 'change');
      shell.line(`${changed} would make the database match ${flags.config} (version ${version})`);
    }
    if (flags.exitCode === true && changes.length > 0) shell.exitCode = exitCodes.different;
  });
}

function declareApply(group: Command, shell: Shell): void {
  const command = declare(group, {
    name: 'apply',
    summary: 'Make the database match a file, in one transaction.',
    details:
      'Asks the server, whose connections go on undisturbed; while none runs, the database that the file names is ' +
      'changed. Says what changes, and which routes shadow others.',
    examples: [
      'portcullis config apply --dry-run -c portcullis.toml',
      'portcullis config apply -c portcullis.toml',
    ],
  })
    .requiredOption('-c, --config <file>', 'the file to apply')
    .option('--dry-run', 'check it and say what would change, and change nothing')
    .option('--if-version <version>', 'only when this is the present version', wholeNumber)
    .option('--json', 'the answer of ApplyConfig');
  addAddressOptions(command).action(async (flags: FileFlags) => {
    const { version, changes, warnings } = await apply(shell, flags, flags.dryRun === true);
    if (flags.json === true) return shell.json({ version, changes, warnings });
    shell.lines(changes);
    for (const warning of warnings) shell.warning(warning);
    if (changes.length === 0) shell.line(`the database matches ${flags.config} (version ${version})`);
    else if (flags.dryRun === true)
      shell.line(`would make ${counted(changes.length, 'change')} to version ${version}`);
    else shell.line(`made ${counted(changes.length, 'change')} (version ${version})`);
  });
}

interface Applied {
  /** As text, like every 64-bit number of the API's JSON. */
  readonly version: string;
  readonly changes: readonly string[];
  readonly warnings: readonly string[];
}

async function apply(shell: Shell, flags: FileFlags, dryRun: boolean): Promise<Applied> {
  const { traffic } = await readSettings(flags.config, shell);
  const { ifVersion } = flags;
  return serverOrDatabase(
    shell,
    flags,
    async (client): Promise<Applied> => {
      const { configMessage } = await import('../admin/translate.ts');
      const condition = ifVersion === undefined ? {} : { ifVersion: BigInt(ifVersion) };
      const request = { config: configMessage(traffic), dryRun, ...condition };
      const { version, changes, warnings } = await client.applyConfig(request, { timeoutMs: applyTimeoutMs });
      return { version: String(version), changes, warnings };
    },
    async (database): Promise<Applied> => {
      const { applyOffline } = await import('./offline.ts');
      const applied = await applyOffline(database, traffic, { dryRun, ifVersion });
      return { ...applied, version: String(applied.version) };
    },
  );
}

interface Present {
  readonly version: number;
  readonly traffic: TrafficSettings;
}

async function present(shell: Shell, flags: ServerFlags): Promise<Present> {
  return serverOrDatabase(
    shell,
    flags,
    async (client): Promise<Present> => {
      const { trafficOf } = await import('./traffic-message.ts');
      const { version, config } = await client.getConfig({});
      return { version: Number(version), traffic: trafficOf(config!) };
    },
    async (database): Promise<Present> => (await import('./offline.ts')).loadOffline(database),
  );
}

/** One answer, whether a server gave it or the database. */
async function printJson(shell: Shell, version: number, traffic: TrafficSettings): Promise<void> {
  const [{ create }, { configMessage }, { apiJson }, { GetConfigResponseSchema }] = await Promise.all([
    import('@bufbuild/protobuf'),
    import('../admin/translate.ts'),
    import('./api-json.ts'),
    import('../admin/gen/portcullis/v1/admin_pb.ts'),
  ]);
  const message = create(GetConfigResponseSchema, {
    version: BigInt(version),
    config: configMessage(traffic),
  });
  shell.json(apiJson(GetConfigResponseSchema, message));
}

function contents({ listeners, firewall, egress }: TrafficSettings): string {
  const routes = listeners.reduce((sum, listener) => sum + listener.routes.length, 0);
  const rules = firewall.blockedIps.length + firewall.blockedCidrs.length + firewall.blockedCountries.length;
  return [
    counted(listeners.length, 'listener'),
    counted(routes, 'route'),
    counted(rules, 'firewall rule'),
    ...(egress === null ? [] : [counted(egressEntries(egress), 'egress entry', 'egress entries')]),
  ].join(', ');
}

function egressEntries({ whitelist, blacklist, passthrough, rewrites }: EgressSettings): number {
  return whitelist.length + blacklist.length + passthrough.length + rewrites.length;
}
