/**
 * A program that writes: opens the database it is given, seeds it, and commits one change after the other, telling
 * each version on its output as soon as it was acknowledged. Made to be killed, or to run out of disk.
 *
 *     writer.ts DATABASE [BALLAST]
 *
 * When a commit is refused it tells why and what is stored then, removes the file BALLAST, and tries once more.
 */
import { readdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { Store, type StoreErrorCode, StoreError } from '../store.ts';
import { seedTraffic, writerChanges } from './writer-changes.ts';

export type WriterLine =
  | { readonly kind: 'opened'; readonly version: number; readonly isReadOnly: boolean }
  | { readonly kind: 'committed'; readonly version: number }
  | {
      readonly kind: 'refused';
      readonly code: StoreErrorCode;
      /** Stored after the refusal. */
      readonly version: number;
      /** How a snapshot to the same directory is refused, and what is in there then. */
      readonly snapshot: StoreErrorCode | 'taken';
      readonly files: readonly string[];
    };

const [path, ballast] = process.argv.slice(2);
if (path === undefined) throw new Error('name the database');
const store = await Store.open(path);
let version = (await store.load())?.version ?? (await store.seed(seedTraffic, entryOf('Seed')));
tell({ kind: 'opened', version, isReadOnly: store.isReadOnly });
await commitUntilRefused(Infinity);
if (ballast !== undefined) {
  rmSync(ballast);
  await commitUntilRefused(1);
}
await store.close();

async function commitUntilRefused(commits: number): Promise<void> {
  try {
    for (let count = 0; count < commits; count++) {
      version = await store.commit(version, writerChanges(version + 1), entryOf('Write'));
      tell({ kind: 'committed', version });
    }
  } catch (error) {
    const stored = (await store.load())?.version ?? 0;
    const snapshot = await trySnapshot();
    tell({
      kind: 'refused',
      code: codeOf(error),
      version: stored,
      snapshot,
      files: readdirSync(dirname(path!)),
    });
  }
}

async function trySnapshot(): Promise<StoreErrorCode | 'taken'> {
  try {
    await store.snapshot(`${path}.snapshot`);
    return 'taken';
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): StoreErrorCode {
  if (error instanceof StoreError) return error.code;
  throw error;
}

function entryOf(action: string): { actor: string; action: string; changes: string[] } {
  return { actor: 'writer', action, changes: ['a line of the length that such lines have, old → new'] };
}

function tell(line: WriterLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
