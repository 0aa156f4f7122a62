/** Every fuzz target by name, with its corpus: the folder `corpus/NAME`, one input to a file. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { target as clientHello } from './client-hello.ts';
import { target as http1 } from './http1.ts';
import { target as hpack } from './hpack.ts';
import { target as http2 } from './http2.ts';
import { mutant, Random } from './mutation.ts';
import { target as proxyProtocol } from './proxy-protocol.ts';
import { target as socks5 } from './socks5.ts';

export type Target = (bytes: Uint8Array) => void;

export const targets: Readonly<Record<string, Target>> = {
  'client-hello': clientHello,
  http1,
  'proxy-protocol': proxyProtocol,
  socks5,
  hpack,
  http2,
};

export interface CorpusEntry {
  readonly file: string;
  readonly bytes: Uint8Array;
}

export interface Crash {
  readonly bytes: Uint8Array;
  readonly error: unknown;
}

export function readCorpus(name: string): CorpusEntry[] {
  const folder = corpusFolder(name);
  return readdirSync(folder)
    .toSorted()
    .map((file) => ({ file, bytes: new Uint8Array(readFileSync(join(folder, file))) }));
}

/** Named by its content: the same crash found twice is one file. */
export function saveCrash(name: string, bytes: Uint8Array): string {
  const file = join(
    corpusFolder(name),
    `crash-${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`,
  );
  mkdirSync(corpusFolder(name), { recursive: true });
  writeFileSync(file, bytes);
  return file;
}

/** Runs mutants of the corpus until one fails, or for as long as `goOn` says; answers the failure and the count. */
export function fuzz(
  name: string,
  seed: number,
  goOn: (runs: number) => boolean,
): { crash?: Crash; runs: number } {
  const target = targets[name]!;
  const corpus = readCorpus(name).map((entry) => entry.bytes);
  const random = new Random(seed);
  let runs = 0;
  for (; goOn(runs); runs++) {
    const bytes = mutant(corpus, random);
    try {
      target(bytes);
    } catch (error) {
      return { crash: { bytes, error }, runs };
    }
  }
  return { runs };
}

function corpusFolder(name: string): string {
  return join(import.meta.dirname, 'corpus', name);
}
