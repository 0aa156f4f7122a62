/** `portcullis learn`: an allowlist from what egress let through, read from the log. */

import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../core/quantity.ts';
import { collect, declare } from './command.ts';
import { counted } from './display.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { LearnedHosts, suggestWildcards, withWildcards, type LearnedHost } from './learned-hosts.ts';
import { readSettings } from './server-address.ts';
import type { Shell } from './shell.ts';

interface Flags {
  readonly since?: number;
  readonly log?: readonly string[];
  readonly config?: string;
  readonly blocked?: true;
  readonly wildcards?: true;
  readonly yaml?: true;
}

const hostsMax = 100_000;
/** A longer line is none of ours: the log cuts what peers write. */
export const lineCharactersMax = 256 * 1024;

export function learnCommands(root: Command, shell: Shell): void {
  declare(root, {
    name: 'learn',
    summary: 'Print an allowlist of egress from what the log says was let through.',
    details:
      'Reads lines of the log in JSON: run with default_policy = "ALLOW" or mode = "report" for a while first. Hosts ' +
      'that were refused or do not exist are left out. Where hosts have three siblings a wildcard is suggested.',
    examples: [
      'portcullis learn --since 1h --log portcullis.log',
      'portcullis learn --log portcullis.log --wildcards --yaml',
    ],
  })
    .option('--since <duration>', 'only of this last while, such as 1h; everything when left out', readSince)
    .option('--log <file>', 'a log, - for standard input, .gz as well; may be repeated', collect)
    .option('-c, --config <file>', 'the log that [log] file of this configuration names')
    .option('--blocked', 'also hosts that were refused because no rule names them')
    .option('--wildcards', 'write the suggested wildcards in the place of the hosts below')
    .option('--yaml', 'in the YAML form with acl')
    .action((flags: Flags) => run(shell, flags));
}

function readSince(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('Expected a duration such as 90s, 1h or 7d.');
  return ms;
}

async function run(shell: Shell, flags: Flags): Promise<void> {
  const { since, blocked } = flags;
  const learned = new LearnedHosts({
    sinceMs: since === undefined ? -Infinity : Date.now() - since,
    includesBlocked: blocked === true,
    hostsMax,
  });
  const files = await logFiles(shell, flags);
  for (const file of files) await readLog(file, learned);
  if (learned.requestLines === 0) {
    const message = `no line about a request in JSON in ${files.join(', ')}; see [log] format and level`;
    throw new CommandFailure(exitCodes.failed, message);
  }
  if (learned.leftOut > 0)
    shell.warning(`${counted(learned.leftOut, 'request')} to still other hosts left out`);
  shell.lines(flags.yaml === true ? yamlLines(learned, flags) : tomlLines(learned, flags));
}

async function logFiles(shell: Shell, { log = [], config }: Flags): Promise<readonly string[]> {
  if (log.length > 0) return log;
  if (config === undefined)
    throw new CommandFailure(exitCodes.usage, 'expected --log FILE, or -c FILE with [log] file');
  const { process } = await readSettings(config, shell);
  const { logFile } = process.operate;
  if (logFile !== null) return [logFile];
  throw new CommandFailure(exitCodes.usage, `${config} has no [log] file: name the log with --log`);
}

async function readLog(file: string, learned: LearnedHosts): Promise<void> {
  const source = file === '-' ? process.stdin : createReadStream(file);
  const bytes = file.endsWith('.gz') ? unzipped(source) : source;
  try {
    for await (const line of linesOf(bytes)) learned.add(line);
  } catch (error) {
    const message = `${file} can not be read: ${(error as Error).message}`;
    throw new CommandFailure(exitCodes.failed, message, { cause: error });
  }
}

function unzipped(source: Readable): Readable {
  const gunzip = createGunzip();
  source.once('error', (error) => gunzip.destroy(error));
  return source.pipe(gunzip);
}

/** One by one, none longer than the limit: a longer one is passed over whole. */
export async function* linesOf(source: AsyncIterable<unknown>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  let isOversized = false;
  for await (const chunk of source) {
    const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      if (!isOversized && line.length <= lineCharactersMax) yield line;
      isOversized = false;
    }
    if (rest.length <= lineCharactersMax) continue;
    isOversized = true;
    rest = '';
  }
  if (!isOversized && rest !== '') yield rest;
}

function headLines(learned: LearnedHosts, hosts: readonly LearnedHost[]): string[] {
  return [
    `# ${counted(learned.requests, 'request')}, ${counted(hosts.length, 'host')}; how often stands behind each`,
  ];
}

/** What each list holds, and what might stand for some of it. */
function entriesOf(
  learned: LearnedHosts,
  list: 'whitelist' | 'passthrough',
  { wildcards }: Flags,
): { entries: readonly LearnedHost[]; suggestions: readonly string[] } {
  const seen = learned.hosts(list);
  if (wildcards === true) return { entries: withWildcards(seen), suggestions: [] };
  const suggestions = suggestWildcards(seen).map(
    ({ pattern, count }) => `# ${JSON.stringify(pattern)} would stand for ${count} of these`,
  );
  return { entries: seen, suggestions };
}

function tomlLines(learned: LearnedHosts, flags: Flags): string[] {
  const lists = (['whitelist', 'passthrough'] as const).flatMap((list) => {
    const { entries, suggestions } = entriesOf(learned, list, flags);
    if (entries.length === 0) return [];
    const rows = entries.map(({ host, count, ports }) => {
      const pattern = JSON.stringify(host);
      const entry = ports.length === 0 ? pattern : `{ pattern = ${pattern}, ports = [${ports.join(', ')}] }`;
      return `  ${entry}, # ${count}`;
    });
    return [...suggestions, `${list} = [`, ...rows, ']'];
  });
  const all = [...learned.hosts('whitelist'), ...learned.hosts('passthrough')];
  return [...headLines(learned, all), '[egress]', 'default_policy = "BLOCK"', ...lists];
}

/** This form has no ports of its own: what needs one is said. */
function yamlLines(learned: LearnedHosts, flags: Flags): string[] {
  const lists = (['whitelist', 'passthrough'] as const).flatMap((list) => {
    const { entries, suggestions } = entriesOf(learned, list, flags);
    if (entries.length === 0) return [];
    const rows = entries.map(({ host, count, ports }) => {
      const beyond = ports.length === 0 ? '' : `, also to port ${ports.join(' and ')}`;
      return `    - ${JSON.stringify(host)} # ${count}${beyond}`;
    });
    return [...suggestions.map((line) => `  ${line}`), `  ${list}:`, ...rows];
  });
  const all = [...learned.hosts('whitelist'), ...learned.hosts('passthrough')];
  const head = [...headLines(learned, all), 'proxy:', '  default_policy: "BLOCK"'];
  return lists.length === 0 ? head : [...head, 'acl:', ...lists];
}
