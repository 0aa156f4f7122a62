/**
 * Host patterns to values, immutable: an edit answers a new table that shares all but a path with the old one.
 *
 * The exact name beats the longest wildcard, which beats shorter ones; `*.example.com` matches any depth below
 * `example.com`, never itself. Names and patterns are normalised by core's hostname.ts. One pass from the right
 * end of a name hashes each of its suffixes, so a look-up costs its characters and a probe for each label,
 * whatever the number of patterns. Measured by bench/micro/tables.ts.
 */

import { hostnameCharactersMax } from '../core/hostname.ts';
import {
  buildTrie,
  emptyTrie,
  findEntry,
  trieEntries,
  TrieEntry,
  type TrieNode,
  withEntry,
  withoutEntry,
} from './hash-trie.ts';

export interface HostMatch<V> {
  /** As people write it: `app.example.com` or `*.example.com`. */
  readonly pattern: string;
  readonly value: V;
}

export class HostTable<V extends {}> implements Iterable<HostMatch<V>> {
  readonly size: number;
  /** A secret of the process: with it unknown, nobody can prepare names that share a hash. */
  private readonly seed: number;
  private readonly exact: TrieNode<V>;
  /** Keyed by what follows `*.`. */
  private readonly wildcards: TrieNode<V>;

  private constructor(seed: number, size: number, exact: TrieNode<V>, wildcards: TrieNode<V>) {
    this.seed = seed;
    this.size = size;
    this.exact = exact;
    this.wildcards = wildcards;
  }

  static empty<V extends {}>(seed: number): HostTable<V> {
    return new HostTable<V>(seed | 0, 0, emptyTrie, emptyTrie);
  }

  /** Of entries with the same pattern the last one stays. */
  static from<V extends {}>(seed: number, entries: Iterable<readonly [string, V]>): HostTable<V> {
    const unique = new Map(entries);
    const exact: TrieEntry<V>[] = [];
    const wildcards: TrieEntry<V>[] = [];
    for (const [pattern, value] of unique) {
      const key = keyOf(pattern);
      const entry = new TrieEntry(hashHostname(seed, key), key, value, undefined);
      (key === pattern ? exact : wildcards).push(entry);
    }
    return new HostTable(seed | 0, unique.size, buildTrie(exact), orEmpty(buildTrie(wildcards)));
  }

  /** The value that decides for a normalised name. Runs once for each connection and allocates nothing. */
  get(hostname: string): V | undefined {
    const length = hostname.length;
    if (length > hostnameCharactersMax) return undefined;
    let hash = this.seed;
    let labels = 0;
    for (let at = length - 1; at >= 0; at--) {
      const code = hostname.charCodeAt(at);
      if (code === dot) {
        suffixHashes[labels] = hash;
        suffixStarts[labels++] = at + 1;
      }
      hash = hashStep(hash, code);
    }
    const exact = findEntry(this.exact, finishHash(hash), hostname, 0);
    if (exact !== undefined) return exact.value;
    if (this.wildcards === emptyTrie) return undefined;
    while (labels > 0) {
      labels--;
      const start = suffixStarts[labels]!;
      const entry = findEntry(this.wildcards, finishHash(suffixHashes[labels]!), hostname, start);
      if (entry !== undefined) return entry.value;
    }
    return undefined;
  }

  /** Every pattern that matches a normalised name; the first one is the one `get` decides by. */
  matches(hostname: string): HostMatch<V>[] {
    const matches: HostMatch<V>[] = [];
    const exact = this.getPattern(hostname);
    if (exact !== undefined) matches.push({ pattern: hostname, value: exact });
    for (let at = hostname.indexOf('.'); at >= 0; at = hostname.indexOf('.', at + 1)) {
      const pattern = `*${hostname.slice(at)}`;
      const value = this.getPattern(pattern);
      if (value !== undefined) matches.push({ pattern, value });
    }
    return matches;
  }

  /** The value stored under exactly this pattern. */
  getPattern(pattern: string): V | undefined {
    const key = keyOf(pattern);
    const trie = key === pattern ? this.exact : this.wildcards;
    return findEntry(trie, hashHostname(this.seed, key), key, 0)?.value;
  }

  with(pattern: string, value: V): HostTable<V> {
    const key = keyOf(pattern);
    const hash = hashHostname(this.seed, key);
    const trie = key === pattern ? this.exact : this.wildcards;
    const size = findEntry(trie, hash, key, 0) === undefined ? this.size + 1 : this.size;
    return this.replacing(key === pattern, withEntry(trie, hash, key, value), size);
  }

  /** The table itself when the pattern is not in it. */
  without(pattern: string): HostTable<V> {
    const key = keyOf(pattern);
    const trie = key === pattern ? this.exact : this.wildcards;
    const rest = withoutEntry(trie, hashHostname(this.seed, key), key);
    return rest === trie ? this : this.replacing(key === pattern, rest, this.size - 1);
  }

  /** Every pattern with its value, in no useful order. */
  *[Symbol.iterator](): Generator<HostMatch<V>> {
    for (const { key, value } of trieEntries(this.exact)) yield { pattern: key, value };
    for (const { key, value } of trieEntries(this.wildcards)) yield { pattern: `*.${key}`, value };
  }

  private replacing(isExact: boolean, trie: TrieNode<V>, size: number): HostTable<V> {
    return isExact
      ? new HostTable(this.seed, size, trie, this.wildcards)
      : new HostTable(this.seed, size, this.exact, orEmpty(trie));
  }
}

/** The hash under which a table with this seed keeps a name. Exported for the test of collisions. */
export function hashHostname(seed: number, name: string): number {
  let hash = seed | 0;
  for (let at = name.length - 1; at >= 0; at--) hash = hashStep(hash, name.charCodeAt(at));
  return finishHash(hash);
}

const dot = 0x2e;

/** Scratch of `get`: 253 characters hold at most 126 dots. */
const suffixHashes = new Int32Array(128);
const suffixStarts = new Int32Array(128);

/** One identity for "no wildcards", by which `get` knows that it need not look. */
function orEmpty<V>(trie: TrieNode<V>): TrieNode<V> {
  return trie.entryMap === 0 && trie.childMap === 0 ? emptyTrie : trie;
}

function keyOf(pattern: string): string {
  return pattern.startsWith('*.') ? pattern.slice(2) : pattern;
}

function hashStep(hash: number, code: number): number {
  const mixed = Math.imul(hash ^ code, 0x5bd1e995);
  return mixed ^ (mixed >>> 15);
}

/** The finaliser of MurmurHash3: the trie reads the hash five bits at a time, so every bit must count. */
function finishHash(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
