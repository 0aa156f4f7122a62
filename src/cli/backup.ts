/** `portcullis snapshot` and `portcullis restore`: a verified copy of the database, and the way back. */

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { declare } from './command.ts';
import { counted } from './display.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { addServerOptions, readSettings, serverOrDatabase } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface SnapshotFlags extends ServerFlags {
  readonly json?: true;
  readonly output?: string;
}

interface RestoreFlags {
  readonly json?: true;
  readonly config?: string;
  readonly database?: string;
}

/** A database of gigabytes is copied and checked page by page. */
const snapshotTimeoutMs = 660_000;

export function backupCommands(root: Command, shell: Shell): void {
  declareSnapshot(root, shell);
  declareRestore(root, shell);
}

function declareSnapshot(root: Command, shell: Shell): void {
  const snapshot = declare(root, {
    name: 'snapshot',
    summary: 'Write a verified backup of the database, while serving or not.',
    details: 'The server writes the file, on its own disk; while none runs, this command does.',
    examples: ['portcullis snapshot -o backup.db -c portcullis.toml'],
  })
    .option(
      '-o, --output <file>',
      'a file that does not exist; a timestamped name beside the database when left out',
    )
    .option('--json', 'the answer of Snapshot');
  addServerOptions(snapshot).action(async (flags: SnapshotFlags) => {
    const path = flags.output === undefined ? '' : resolve(flags.output);
    const made = await serverOrDatabase<{ readonly path: string; readonly bytes: number | bigint }>(
      shell,
      flags,
      (client) => client.snapshot({ path }, { timeoutMs: snapshotTimeoutMs }),
      async (database) => {
        const { defaultSnapshotName, snapshotOffline } = await import('../store/backup.ts');
        return snapshotOffline(database, path || defaultSnapshotName(database, new Date()));
      },
    );
    if (flags.json === true) shell.json({ path: made.path, bytes: String(made.bytes) });
    else shell.line(`wrote ${made.path}: ${counted(made.bytes, 'byte')}, verified`);
  });
}

function declareRestore(root: Command, shell: Shell): void {
  declare(root, {
    name: 'restore',
    arguments: [['<file>', 'a file that portcullis snapshot wrote']],
    summary: 'Put a backup in the place of the database. Refused while a server runs.',
    details:
      'The backup is verified, copied beside the database, and takes its place in one step; what the old database ' +
      'had in its -wal and -shm files goes with it.',
    examples: ['portcullis restore backup.db -c portcullis.toml'],
  })
    .option('-c, --config <file>', 'the configuration whose [database] path is restored')
    .option('--database <file>', 'the database to restore, instead of -c')
    .option('--json', 'path and size of the database')
    .action(async (file: string, flags: RestoreFlags) => {
      const database = await databaseOf(flags, shell);
      const { restoreDatabase } = await import('../store/backup.ts');
      const { path, bytes } = restoreDatabase(file, database);
      if (flags.json === true) return shell.json({ path, bytes: String(bytes) });
      shell.line(`restored ${path} from ${file}: ${counted(bytes, 'byte')}, verified; the server may start`);
    });
}

async function databaseOf({ config, database }: RestoreFlags, shell: Shell): Promise<string> {
  if (database !== undefined) return database;
  if (config === undefined) {
    throw new CommandFailure(exitCodes.usage, 'say which database: -c FILE, or --database FILE');
  }
  const { path } = (await readSettings(config, shell)).process.database;
  if (path !== null) return path;
  throw new CommandFailure(
    exitCodes.usage,
    `${config} has no [database] path, so there is nothing to restore`,
  );
}
