/**
 * A persistent map from strings to values: a hash array mapped trie, five bits of the hash for each level.
 *
 * An edit copies the path from the root to the entry and shares all else, so the version before stays whole. The
 * shape depends on the content alone, never on the order of edits: an entry stands in the highest node where its
 * hash is alone, and keys of one and the same hash form a chain in order of key. The caller computes the hash,
 * because it can do so for many suffixes of a text in one pass.
 */

import { inserted, rank, removed, replaced } from './sparse-array.ts';

export class TrieEntry<V> {
  readonly hash: number;
  readonly key: string;
  readonly value: V;
  /** The next entry of the same 32-bit hash. */
  readonly next: TrieEntry<V> | undefined;

  constructor(hash: number, key: string, value: V, next: TrieEntry<V> | undefined) {
    this.hash = hash;
    this.key = key;
    this.value = value;
    this.next = next;
  }
}

export class TrieNode<V> {
  readonly entryMap: number;
  readonly childMap: number;
  readonly entries: readonly TrieEntry<V>[];
  readonly children: readonly TrieNode<V>[];

  constructor(
    entryMap: number,
    childMap: number,
    entries: readonly TrieEntry<V>[],
    children: readonly TrieNode<V>[],
  ) {
    this.entryMap = entryMap;
    this.childMap = childMap;
    this.entries = entries;
    this.children = children;
  }
}

export const emptyTrie: TrieNode<never> = new TrieNode<never>(0, 0, [], []);

/** The entry whose key is `text` from `start` on; `hash` is that key's. Allocates nothing. */
export function findEntry<V>(
  root: TrieNode<V>,
  hash: number,
  text: string,
  start: number,
): TrieEntry<V> | undefined {
  let node = root;
  for (let shift = 0; ; shift += bitsPerLevel) {
    const bit = slotBit(hash, shift);
    if ((node.entryMap & bit) !== 0) {
      let entry: TrieEntry<V> | undefined = node.entries[rank(node.entryMap, bit)]!;
      if (entry.hash !== hash) return undefined;
      while (entry !== undefined && !isTail(text, start, entry.key)) entry = entry.next;
      return entry;
    }
    if ((node.childMap & bit) === 0) return undefined;
    node = node.children[rank(node.childMap, bit)]!;
  }
}

/** The trie of many entries at once, without the garbage of inserting them one by one. */
export function buildTrie<V>(entries: readonly TrieEntry<V>[]): TrieNode<V> {
  return build(entries, 0);
}

/** The trie with `key` set to `value`. */
export function withEntry<V>(root: TrieNode<V>, hash: number, key: string, value: V): TrieNode<V> {
  return insert(root, 0, new TrieEntry(hash, key, value, undefined));
}

/** The trie without `key`; `root` itself when it is not there. */
export function withoutEntry<V>(root: TrieNode<V>, hash: number, key: string): TrieNode<V> {
  return remove(root, 0, hash, key);
}

/** Every entry, in an order that depends on the hash. */
export function* trieEntries<V>(node: TrieNode<V>): Generator<TrieEntry<V>> {
  for (const first of node.entries) {
    for (let entry: TrieEntry<V> | undefined = first; entry !== undefined; entry = entry.next) yield entry;
  }
  for (const child of node.children) yield* trieEntries(child);
}

/** 32 bits of hash end at the seventh level; two hashes that differ part at or above it. */
const bitsPerLevel = 5;
/** Up to here a scratch array of 32 slots costs more than inserting one by one. Measured by bench/micro/tables.ts. */
const fewEntries = 6;

function slotBit(hash: number, shift: number): number {
  return 1 << ((hash >>> shift) & 31);
}

function build<V>(all: readonly TrieEntry<V>[], shift: number): TrieNode<V> {
  if (all.length <= fewEntries) {
    return all.reduce((node, entry) => insert(node, shift, entry), emptyTrie as TrieNode<V>);
  }
  const slots: (TrieEntry<V>[] | undefined)[] = [];
  for (const entry of all) {
    const chunk = (entry.hash >>> shift) & 31;
    const slot = slots[chunk];
    if (slot === undefined) slots[chunk] = [entry];
    else slot.push(entry);
  }
  let entryMap = 0;
  let childMap = 0;
  const entries: TrieEntry<V>[] = [];
  const children: TrieNode<V>[] = [];
  for (let chunk = 0; chunk < slots.length; chunk++) {
    const slot = slots[chunk];
    if (slot === undefined) continue;
    const { hash } = slot[0]!;
    if (slot.every((entry) => entry.hash === hash)) {
      entryMap |= 1 << chunk;
      entries.push(slot.slice(1).reduce(insertIntoChain, slot[0]!));
    } else {
      childMap |= 1 << chunk;
      children.push(build(slot, shift + bitsPerLevel));
    }
  }
  // `push` takes room in advance; `slice` gives it back, a third of the table.
  return new TrieNode(entryMap, childMap, entries.slice(), children.slice());
}

function insert<V>(node: TrieNode<V>, shift: number, entry: TrieEntry<V>): TrieNode<V> {
  const bit = slotBit(entry.hash, shift);
  const { entryMap, childMap, entries, children } = node;
  if ((childMap & bit) !== 0) {
    const index = rank(childMap, bit);
    const child = insert(children[index]!, shift + bitsPerLevel, entry);
    return new TrieNode(entryMap, childMap, entries, replaced(children, index, child));
  }
  const index = rank(entryMap, bit);
  if ((entryMap & bit) === 0) {
    return new TrieNode(entryMap | bit, childMap, inserted(entries, index, entry), children);
  }
  const resident = entries[index]!;
  if (resident.hash === entry.hash) {
    const chain = insertIntoChain(resident, entry);
    return new TrieNode(entryMap, childMap, replaced(entries, index, chain), children);
  }
  // Two hashes share the slot: both go one level down.
  const child = insert(insert<V>(emptyTrie, shift + bitsPerLevel, resident), shift + bitsPerLevel, entry);
  return new TrieNode(
    entryMap ^ bit,
    childMap | bit,
    removed(entries, index),
    inserted(children, rank(childMap, bit), child),
  );
}

function remove<V>(node: TrieNode<V>, shift: number, hash: number, key: string): TrieNode<V> {
  const bit = slotBit(hash, shift);
  const { entryMap, childMap, entries, children } = node;
  if ((entryMap & bit) !== 0) {
    const index = rank(entryMap, bit);
    const resident = entries[index]!;
    const chain = resident.hash === hash ? removeFromChain(resident, key) : resident;
    if (chain === resident) return node;
    if (chain !== undefined) {
      return new TrieNode(entryMap, childMap, replaced(entries, index, chain), children);
    }
    return new TrieNode(entryMap ^ bit, childMap, removed(entries, index), children);
  }
  if ((childMap & bit) === 0) return node;
  const index = rank(childMap, bit);
  const before = children[index]!;
  const child = remove(before, shift + bitsPerLevel, hash, key);
  if (child === before) return node;
  if (child.children.length > 0 || child.entries.length > 1) {
    return new TrieNode(entryMap, childMap, entries, replaced(children, index, child));
  }
  // One hash is left below: it moves up here.
  return new TrieNode(
    entryMap | bit,
    childMap ^ bit,
    inserted(entries, rank(entryMap, bit), child.entries[0]!),
    removed(children, index),
  );
}

function insertIntoChain<V>(first: TrieEntry<V> | undefined, entry: TrieEntry<V>): TrieEntry<V> {
  if (first === undefined || entry.key < first.key) {
    return new TrieEntry(entry.hash, entry.key, entry.value, first);
  }
  if (entry.key === first.key) return new TrieEntry(entry.hash, entry.key, entry.value, first.next);
  return new TrieEntry(first.hash, first.key, first.value, insertIntoChain(first.next, entry));
}

function removeFromChain<V>(first: TrieEntry<V>, key: string): TrieEntry<V> | undefined {
  if (first.key === key) return first.next;
  if (first.next === undefined) return first;
  const next = removeFromChain(first.next, key);
  return next === first.next ? first : new TrieEntry(first.hash, first.key, first.value, next);
}

/** Compares in place: a slice for each suffix of each name looked up would be the table's only garbage. */
function isTail(text: string, start: number, key: string): boolean {
  if (start === 0) return text === key;
  const length = key.length;
  if (text.length - start !== length) return false;
  for (let at = 0; at < length; at++) {
    if (text.charCodeAt(start + at) !== key.charCodeAt(at)) return false;
  }
  return true;
}
