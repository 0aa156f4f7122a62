/** Files that settings name: whether they can be read, and small ones whole. */

import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { systemMessage } from './problem.ts';

/** Why the file at `path` cannot be read; undefined when it can. */
export function readFault(path: string): string | undefined {
  try {
    accessSync(path, constants.R_OK);
    return statSync(path).isFile() ? undefined : 'not a regular file';
  } catch (error) {
    return systemMessage(error);
  }
}

export class Unreadable {
  /** Completes `"path": …`. */
  readonly fault: string;

  constructor(fault: string) {
    this.fault = fault;
  }
}

/** What the file at `path` holds, at most `bytesMax`. */
export function readSmallFile(path: string, bytesMax: number): string | Unreadable {
  const fault = readFault(path);
  if (fault !== undefined) return new Unreadable(fault);
  try {
    if (statSync(path).size > bytesMax) return new Unreadable(`larger than ${bytesMax} bytes`);
    return readFileSync(path, 'latin1');
  } catch (error) {
    return new Unreadable(systemMessage(error));
  }
}
