/**
 * Rules by host, in file order: exact names and wildcards by one look-up, expressions by a linear automaton, and what
 * those found for a host remembered for a while. Ten thousand entries cost a decision no more than ten. Measured by
 * bench/micro/egress.ts.
 */
import { randomBytes } from 'node:crypto';
import { assert } from '../core/errors.ts';
import { LinearRegex } from '../core/linear-regex.ts';
import {
  compileHostRegex,
  parseTargetPattern,
  PatternFault,
  simplerPatterns,
  type TargetPattern,
} from '../model/target-pattern.ts';
import { HostTable } from '../model/host-table.ts';

/** Hosts whose matches are remembered: twice as many at most. */
const hostsRememberedMax = 4096;

export class HostRules<T extends {}> {
  readonly size: number;
  readonly #names: HostTable<Names<T>>;
  readonly #regexes: { readonly regex: LinearRegex; readonly entry: Entry<T> }[] = [];
  readonly #memory = new GenerationCache<readonly T[]>(hostsRememberedMax);

  /** Patterns are canonical. */
  constructor(rules: Iterable<readonly [pattern: string, value: T]>) {
    const entries = new Map<string, Entry<T>[]>();
    let index = 0;
    for (const [pattern, value] of rules) {
      const parsed = parseTargetPattern(pattern);
      assert(!(parsed instanceof PatternFault), 'a pattern of the settings does not parse');
      this.#add(entries, parsed, { index: index++, value });
    }
    this.size = index;
    // Unknown to those who ask for hosts: none of them can prepare names that share a hash.
    this.#names = HostTable.from(randomBytes(4).readInt32LE(), chained(entries));
  }

  /** What holds for a canonical host, in file order. */
  matching(host: string): readonly T[] {
    if (this.#regexes.length === 0) return inOrder(this.#names.get(host));
    let matches = this.#memory.get(host);
    if (matches === undefined) this.#memory.set(host, (matches = this.#find(host)));
    return matches;
  }

  #add(entries: Map<string, Entry<T>[]>, pattern: TargetPattern, entry: Entry<T>): void {
    if (pattern.kind === 'exact') return append(entries, pattern.host, entry);
    if (pattern.kind === 'wildcard') return append(entries, `*.${pattern.name}`, entry);
    const simpler = simplerPatterns(pattern.source);
    if (simpler !== undefined) {
      for (const each of simpler) this.#add(entries, each, entry);
      return;
    }
    const regex = compileHostRegex(pattern.source);
    assert(regex instanceof LinearRegex, 'an expression of the settings does not compile');
    this.#regexes.push({ regex, entry });
  }

  #find(host: string): readonly T[] {
    const found: Entry<T>[] = [];
    for (let names = this.#names.get(host); names !== undefined; names = names.wider)
      found.push(...names.entries);
    for (const { regex, entry } of this.#regexes) if (regex.test(host)) found.push(entry);
    return valuesOf(found);
  }
}

/** The rules of one name or wildcard. */
interface Names<T> {
  readonly entries: readonly Entry<T>[];
  readonly values: readonly T[];
  /** Of the longest wildcard above: it holds for whatever this one holds for. */
  wider: Names<T> | undefined;
}

/** By pattern. A table finds the narrowest that holds for a host, and that one leads to the others. */
function chained<T extends {}>(entries: ReadonlyMap<string, Entry<T>[]>): Map<string, Names<T>> {
  const all = new Map<string, Names<T>>();
  for (const [pattern, own] of entries) {
    all.set(pattern, { entries: own, values: valuesOf(own), wider: undefined });
  }
  for (const [pattern, names] of all) {
    const from = pattern.startsWith('*.') ? 2 : 0;
    for (let at = pattern.indexOf('.', from); at >= 0; at = pattern.indexOf('.', at + 1)) {
      names.wider = all.get(`*${pattern.slice(at)}`);
      if (names.wider !== undefined) break;
    }
  }
  return all;
}

function inOrder<T>(names: Names<T> | undefined): readonly T[] {
  if (names === undefined) return none;
  if (names.wider === undefined) return names.values;
  const found = [...names.entries];
  for (let each: Names<T> | undefined = names.wider; each !== undefined; each = each.wider)
    found.push(...each.entries);
  return valuesOf(found);
}

/** Sorts what it is given. An expression of several simple patterns may stand there more than once. */
function valuesOf<T>(entries: Entry<T>[]): readonly T[] {
  return entries.sort((a, b) => a.index - b.index).map(({ value }) => value);
}

/** A cache of two generations: what nobody asked for since the last turn is forgotten. Bounded, without bookkeeping. */
export class GenerationCache<V extends {}> {
  readonly #max: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  /** At most twice `max` entries are kept. */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: V): void {
    if (this.#young.size >= this.#max) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}

interface Entry<T> {
  readonly index: number;
  readonly value: T;
}

const none: readonly never[] = [];

function append<T>(map: Map<string, Entry<T>[]>, key: string, entry: Entry<T>): void {
  const entries = map.get(key);
  if (entries === undefined) map.set(key, [entry]);
  else entries.push(entry);
}
