/** Places and processes of the store's tests. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export type Program = ChildProcessByStdio<Writable, Readable, null>;

/** A directory that is gone when the test is over. */
export function scratchDirectory(test: { after(done: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-store-'));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** The arguments of node that run a program of this directory. */
export function programArguments(name: string, ...args: string[]): string[] {
  const file = fileURLToPath(new URL(name, import.meta.url));
  return ['--disable-warning=ExperimentalWarning', file, ...args];
}

export function startProgram(name: string, ...args: string[]): Program {
  const stdio: ['pipe', 'pipe', 'inherit'] = ['pipe', 'pipe', 'inherit'];
  return spawn(process.execPath, programArguments(name, ...args), { stdio });
}
