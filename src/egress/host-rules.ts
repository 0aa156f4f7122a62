/**
 * Rules by host, in file order: exact names and wildcards by hash, expressions by a linear automaton, and what was
 * found for a host remembered for a while. Ten thousand entries cost a decision no more than ten.
 */
import { assert } from '../core/errors.ts';
import { LinearRegex } from '../core/linear-regex.ts';
import {
  compileHostRegex,
  parseTargetPattern,
  PatternFault,
  simplerPatterns,
  type TargetPattern,
} from '../model/target-pattern.ts';

/** Hosts whose matches are remembered: twice as many at most. */
const hostsRememberedMax = 4096;

export class HostRules<T extends {}> {
  readonly size: number;
  readonly #exact = new Map<string, Entry<T>[]>();
  /** By what follows `*.`. */
  readonly #wildcards = new Map<string, Entry<T>[]>();
  readonly #regexes: { readonly regex: LinearRegex; readonly entry: Entry<T> }[] = [];
  readonly #memory = new GenerationCache<readonly T[]>(hostsRememberedMax);

  /** Patterns are canonical. */
  constructor(rules: Iterable<readonly [pattern: string, value: T]>) {
    let index = 0;
    for (const [pattern, value] of rules) {
      const parsed = parseTargetPattern(pattern);
      assert(!(parsed instanceof PatternFault), 'a pattern of the settings does not parse');
      this.#add(parsed, { index: index++, value });
    }
    this.size = index;
  }

  /** What holds for a canonical host, in file order. */
  matching(host: string): readonly T[] {
    if (this.size === 0) return none;
    let matches = this.#memory.get(host);
    if (matches === undefined) this.#memory.set(host, (matches = this.#find(host)));
    return matches;
  }

  #add(pattern: TargetPattern, entry: Entry<T>): void {
    if (pattern.kind === 'exact') return append(this.#exact, pattern.host, entry);
    if (pattern.kind === 'wildcard') return append(this.#wildcards, pattern.name, entry);
    const simpler = simplerPatterns(pattern.source);
    if (simpler !== undefined) {
      for (const each of simpler) this.#add(each, entry);
      return;
    }
    const regex = compileHostRegex(pattern.source);
    assert(regex instanceof LinearRegex, 'an expression of the settings does not compile');
    this.#regexes.push({ regex, entry });
  }

  #find(host: string): readonly T[] {
    const found = [...(this.#exact.get(host) ?? [])];
    // An address has no wildcard above it.
    for (let at = host.indexOf('.'); at >= 0; at = host.indexOf('.', at + 1)) {
      const entries = this.#wildcards.get(host.slice(at + 1));
      if (entries !== undefined) found.push(...entries);
    }
    for (const { regex, entry } of this.#regexes) if (regex.test(host)) found.push(entry);
    if (found.length === 0) return none;
    return found.sort((a, b) => a.index - b.index).map(({ value }) => value);
  }
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
