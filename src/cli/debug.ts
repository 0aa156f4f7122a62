/** `portcullis debug bundle`: everything that somebody who was not there needs to find out what happened. */

import { createWriteStream, rmSync, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Command } from 'commander';
import type { AdminClient } from './client.ts';
import { declare, declareGroup } from './command.ts';
import type { BundleSource } from './debug-bundle.ts';
import { counted } from './display.ts';
import type { Problem } from '../config/problem.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { addServerOptions, clientOptions } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';
import type { TarEntry } from './tar.ts';

interface Flags extends ServerFlags {
  readonly output?: string;
  readonly withDatabase?: true;
  readonly json?: true;
}

export function debugCommands(root: Command, shell: Shell): void {
  const group = declareGroup(root, 'debug', 'What helps to find out what happened.');
  const bundle = declare(group, {
    name: 'bundle',
    summary: 'Write what somebody else needs to find out what happened: one .tar.gz, without secrets.',
    details:
      'The end of the log, the state of the server, its configuration, metrics, changes and events, and facts of the ' +
      'machine. Values of headers, queries of paths, keys and passwords are left out; addresses and host names are ' +
      'not. What could not be had, because no server runs for one, is said in the bundle and here.',
    examples: ['portcullis debug bundle -o debug.tar.gz -c portcullis.toml'],
  })
    .option(
      '-o, --output <file>',
      'a file that does not exist; a timestamped name in this directory when left out',
    )
    .option('--with-database', 'also a copy of the database, in which the values of headers stand')
    .option('--json', 'file, size, and what is missing');
  addServerOptions(bundle).action((flags: Flags) => writeBundle(shell, flags));
}

async function writeBundle(shell: Shell, flags: Flags): Promise<void> {
  const now = new Date();
  const stem = `portcullis-debug-${now.toISOString().replaceAll(/[-:]|\.\d+/g, '')}`;
  const path = flags.output ?? `${stem}.tar.gz`;
  refuseExisting(path);
  const { gatherBundle } = await import('./debug-bundle.ts');
  const { settings, problems } = await configurationOf(flags, shell);
  using client = await clientOf(shell, flags, settings !== null);
  const { env } = shell;
  const withDatabase = flags.withDatabase === true;
  using bundle = await gatherBundle({ settings, problems, client, env, withDatabase });
  const entries = bundle.entries.map(({ name, content }) => ({ name: `${stem}/${name}`, content }));
  await writeArchive(path, entries, now);
  const { missing } = bundle;
  const { size } = statSync(path);
  if (flags.json === true) return shell.json({ path, bytes: String(size), missing });
  for (const { name, reason } of missing) shell.note(`without ${name}: ${reason}`);
  shell.line(`wrote ${path}: ${counted(entries.length, 'file')}, ${counted(size, 'byte')}`);
}

/** Whole or not at all, and for its owner only from its first moment. */
async function writeArchive(path: string, entries: readonly TarEntry[], now: Date): Promise<void> {
  const { tarArchive } = await import('./tar.ts');
  const file = createWriteStream(path, { flags: 'wx', mode: 0o600 });
  try {
    await pipeline(Readable.from(tarArchive(entries, now), { objectMode: false }), createGzip(), file);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') rmSync(path, { force: true });
    throw new CommandFailure(exitCodes.failed, `${path} can not be written (${code})`, { cause: error });
  }
}

function refuseExisting(path: string): void {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return;
  throw new CommandFailure(exitCodes.failed, `${path} is there already; -o names another file`);
}

/** An invalid file is part of the story: where its problems are, without what stands there. */
async function configurationOf(
  { config }: Flags,
  shell: Shell,
): Promise<Pick<BundleSource, 'settings' | 'problems'>> {
  if (config === undefined) return { settings: null, problems: [] };
  const { loadSettings } = await import('../config/load.ts');
  const { settings = null, problems } = loadSettings(config, shell.env);
  return { settings, problems: problems.map(placeOf) };
}

function placeOf({ severity, code, file, variable, line, column, path }: Problem): object {
  return { severity, code, file, variable, line, column, path };
}

async function clientOf(shell: Shell, flags: Flags, isReadable: boolean): Promise<AdminClient | null> {
  const where = isReadable || flags.addr !== undefined ? flags : withoutConfig(flags);
  const options = await clientOptions(shell, where);
  if (options === null) return null;
  const { connectClient } = await import('./client.ts');
  return connectClient(options);
}

function withoutConfig({ config: _invalid, ...flags }: Flags): Flags {
  return flags;
}
