/**
 * Networks to values by longest prefix, immutable: an edit answers a new table that shares all but a path with
 * the old one. Measured by bench/micro/tables.ts.
 *
 * A trie over the bits of the address, five at a time, in 128-bit coordinates (IPv4 begins at bit 96). A node
 * keeps the networks that end within its five bits, and for each of the 32 continuations at most one thing: a
 * lone network (a leaf), or a node. Runs of bits without a choice are skipped. Each node but the two roots holds
 * two things or more, so the shape depends on the content alone, and a look-up costs its depth: at most 7 nodes
 * for IPv4 and 26 for IPv6, a handful in practice, whatever the number of networks.
 */

import { type Cidr, IpAddress, type IpWords, maskIp } from '../core/ip.ts';
import { inserted, rank, removed, replaced } from './sparse-array.ts';

export interface CidrMatch<V> {
  readonly cidr: Cidr;
  readonly value: V;
}

export class CidrTable<V extends {}> implements Iterable<CidrMatch<V>> {
  readonly size: number;
  /** Apart, so that ::/0 does not take IPv4 as well. */
  private readonly rootV4: CidrNode<V>;
  private readonly rootV6: CidrNode<V>;

  private constructor(size: number, rootV4: CidrNode<V>, rootV6: CidrNode<V>) {
    this.size = size;
    this.rootV4 = rootV4;
    this.rootV6 = rootV6;
  }

  static empty<V extends {}>(): CidrTable<V> {
    return new CidrTable<V>(0, emptyRootV4, emptyRootV6);
  }

  /** Of entries with the same network the last one stays. */
  static from<V extends {}>(entries: Iterable<readonly [Cidr, V]>): CidrTable<V> {
    const v4: CidrEntry<V>[] = [];
    const v6: CidrEntry<V>[] = [];
    for (const [cidr, value] of entries) {
      (cidr.address.family === 4 ? v4 : v6).push(new CidrEntry(cidr, value));
    }
    const rootV4 = build(emptyRootV4, v4Depth, v4);
    const rootV6 = build(emptyRootV6, 0, v6);
    return new CidrTable(countOf(rootV4) + countOf(rootV6), rootV4, rootV6);
  }

  /** The value of the longest network that holds `ip`. Runs for each connection and allocates nothing. */
  lookup(ip: IpAddress): V | undefined {
    let node = ip.family === 4 ? this.rootV4 : this.rootV6;
    let best: CidrEntry<V> | undefined;
    for (;;) {
      const chunk = chunkAt(ip, node.depth);
      const hits = node.endMap & coveringEnds[chunk]!;
      if (hits !== 0) best = node.ends[rank(node.endMap, highestBit(hits))]!;
      const bit = 1 << chunk;
      if ((node.leafMap & bit) !== 0) {
        const leaf = node.leaves[rank(node.leafMap, bit)]!;
        return samePrefix(leaf, ip, leaf.bits) ? leaf.value : best?.value;
      }
      if ((node.childMap & bit) === 0) return best?.value;
      const child = node.children[rank(node.childMap, bit)]!;
      if (child.depth !== node.depth + stride && !samePrefix(child, ip, child.depth)) return best?.value;
      node = child;
    }
  }

  /** Every network that holds `ip`, the longest first; the first one is the one `lookup` decides by. */
  matches(ip: IpAddress): CidrMatch<V>[] {
    const found: CidrMatch<V>[] = [];
    let node: CidrNode<V> | undefined = ip.family === 4 ? this.rootV4 : this.rootV6;
    while (node !== undefined && samePrefix(node, ip, node.depth)) {
      const chunk = chunkAt(ip, node.depth);
      for (const end of node.ends) if (samePrefix(end, ip, end.bits)) found.push(matchOf(end));
      const leaf = leafAt(node, 1 << chunk);
      if (leaf !== undefined && samePrefix(leaf, ip, leaf.bits)) found.push(matchOf(leaf));
      node = childAt(node, 1 << chunk);
    }
    return found.reverse();
  }

  /** The value stored under exactly this network. */
  get(cidr: Cidr): V | undefined {
    return find(this.rootOf(cidr), new CidrEntry(cidr, undefined))?.value;
  }

  with(cidr: Cidr, value: V): CidrTable<V> {
    const entry = new CidrEntry(cidr, value);
    const root = this.rootOf(cidr);
    const size = find(root, entry) === undefined ? this.size + 1 : this.size;
    return this.replacing(cidr, insert(root, entry), size);
  }

  /** The table itself when the network is not in it. */
  without(cidr: Cidr): CidrTable<V> {
    const root = this.rootOf(cidr);
    const rest = remove(root, new CidrEntry(cidr, undefined));
    return rest === root ? this : this.replacing(cidr, rest, this.size - 1);
  }

  /** Every network with its value, IPv4 first, otherwise in no useful order. */
  *[Symbol.iterator](): Generator<CidrMatch<V>> {
    yield* nodeMatches(this.rootV4);
    yield* nodeMatches(this.rootV6);
  }

  private rootOf(cidr: Cidr): CidrNode<V> {
    return cidr.address.family === 4 ? this.rootV4 : this.rootV6;
  }

  private replacing(cidr: Cidr, root: CidrNode<V>, size: number): CidrTable<V> {
    return cidr.address.family === 4
      ? new CidrTable(size, root, this.rootV6)
      : new CidrTable(size, this.rootV4, root);
  }
}

class CidrEntry<V> implements IpWords {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  /** Prefix length in 128-bit coordinates: an IPv4 /8 is 104. */
  readonly bits: number;
  readonly value: V;

  constructor(cidr: Cidr, value: V) {
    const { address, prefixLength } = cidr;
    this.w0 = address.w0;
    this.w1 = address.w1;
    this.w2 = address.w2;
    this.w3 = address.w3;
    this.bits = address.family === 4 ? v4Depth + prefixLength : prefixLength;
    this.value = value;
  }
}

class CidrNode<V> implements IpWords {
  /** The first `depth` bits of every network below, zeros behind them. */
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  /** Where this node's five bits begin. */
  readonly depth: number;
  /** Networks of `depth` to `depth + 4` bits, by endIndex. */
  readonly endMap: number;
  readonly ends: readonly CidrEntry<V>[];
  /** By the five bits: a network alone on its continuation. */
  readonly leafMap: number;
  readonly leaves: readonly CidrEntry<V>[];
  /** By the five bits: two networks or more. Shares no bit with leafMap. */
  readonly childMap: number;
  readonly children: readonly CidrNode<V>[];

  constructor(
    words: IpWords,
    depth: number,
    endMap: number,
    ends: readonly CidrEntry<V>[],
    leafMap: number,
    leaves: readonly CidrEntry<V>[],
    childMap: number,
    children: readonly CidrNode<V>[],
  ) {
    this.w0 = words.w0;
    this.w1 = words.w1;
    this.w2 = words.w2;
    this.w3 = words.w3;
    this.depth = depth;
    this.endMap = endMap;
    this.ends = ends;
    this.leafMap = leafMap;
    this.leaves = leaves;
    this.childMap = childMap;
    this.children = children;
  }
}

const stride = 5;
/** Up to here 32-slot scratch arrays cost more than inserting one by one. Measured by bench/micro/tables.ts. */
const fewEntries = 6;
const v4Depth = 96;

const emptyRootV4 = emptyNode<never>(new IpAddress(0, 0, 0xffff, 0), v4Depth);
const emptyRootV6 = emptyNode<never>(new IpAddress(0, 0, 0, 0), 0);

/** For each five bits, the ends that cover them: one for each of the lengths 0 to 4. */
const coveringEnds = Int32Array.from({ length: 32 }, (_, chunk) => {
  let ends = 0;
  for (let index = (32 | chunk) >> 1; index > 0; index >>= 1) ends |= 1 << index;
  return ends;
});

function emptyNode<V>(words: IpWords, depth: number): CidrNode<V> {
  return new CidrNode<V>(maskIp(words, depth), depth, 0, [], 0, [], 0, []);
}

/** An end of `n` bits `b` has index `1b` in binary, 1 to 31: the longer of two ends has the higher index. */
function endIndex(entry: CidrEntry<unknown>, depth: number): number {
  return (32 | chunkAt(entry, depth)) >> (stride - (entry.bits - depth));
}

function highestBit(word: number): number {
  return 1 << (31 - Math.clz32(word));
}

/** Five bits from `depth` on; zeros behind the last. */
function chunkAt(words: IpWords, depth: number): number {
  const offset = depth & 31;
  const index = depth >> 5;
  const word = index === 3 ? words.w3 : index === 0 ? words.w0 : index === 1 ? words.w1 : words.w2;
  if (offset <= 27) return (word >>> (27 - offset)) & 31;
  const next = index === 3 ? 0 : index === 0 ? words.w1 : index === 1 ? words.w2 : words.w3;
  return ((word << (offset - 27)) | (next >>> (59 - offset))) & 31;
}

function samePrefix(a: IpWords, b: IpWords, bits: number): boolean {
  return commonBits(a, b) >= bits;
}

function commonBits(a: IpWords, b: IpWords): number {
  if (a.w0 !== b.w0) return Math.clz32(a.w0 ^ b.w0);
  if (a.w1 !== b.w1) return 32 + Math.clz32(a.w1 ^ b.w1);
  if (a.w2 !== b.w2) return 64 + Math.clz32(a.w2 ^ b.w2);
  return 96 + Math.clz32(a.w3 ^ b.w3);
}

/** The depth of the node where two things part that agree on `bits` bits: a whole number of strides from the root. */
function partingDepth(bits: number, depth: number): number {
  return bits - ((bits - depth) % stride);
}

function endAt<V>(node: CidrNode<V>, bit: number): CidrEntry<V> | undefined {
  return (node.endMap & bit) === 0 ? undefined : node.ends[rank(node.endMap, bit)];
}

function leafAt<V>(node: CidrNode<V>, bit: number): CidrEntry<V> | undefined {
  return (node.leafMap & bit) === 0 ? undefined : node.leaves[rank(node.leafMap, bit)];
}

function childAt<V>(node: CidrNode<V>, bit: number): CidrNode<V> | undefined {
  return (node.childMap & bit) === 0 ? undefined : node.children[rank(node.childMap, bit)];
}

function find<V>(root: CidrNode<V>, sought: CidrEntry<unknown>): CidrEntry<V> | undefined {
  let node: CidrNode<V> | undefined = root;
  while (node !== undefined && node.depth <= sought.bits) {
    if (sought.bits < node.depth + stride) {
      const end = endAt(node, 1 << endIndex(sought, node.depth));
      return end !== undefined && isSame(end, sought) ? end : undefined;
    }
    const bit: number = 1 << chunkAt(sought, node.depth);
    const leaf = leafAt(node, bit);
    if (leaf !== undefined) return isSame(leaf, sought) ? leaf : undefined;
    node = childAt(node, bit);
  }
  return undefined;
}

function isSame(a: CidrEntry<unknown>, b: CidrEntry<unknown>): boolean {
  return a.bits === b.bits && commonBits(a, b) === 128;
}

/** The node at `depth` over all entries, without the garbage of inserting them one by one. */
function build<V>(words: IpWords, depth: number, entries: readonly CidrEntry<V>[]): CidrNode<V> {
  if (entries.length <= fewEntries) return entries.reduce(insert, emptyNode<V>(words, depth));
  const ends: (CidrEntry<V> | undefined)[] = [];
  const slots: (CidrEntry<V>[] | undefined)[] = [];
  for (const entry of entries) {
    if (entry.bits < depth + stride) {
      ends[endIndex(entry, depth)] = entry;
      continue;
    }
    const chunk = chunkAt(entry, depth);
    const slot = slots[chunk];
    if (slot === undefined) slots[chunk] = [entry];
    else slot.push(entry);
  }
  const below = slots.map((slot) => slot && buildSlot(slot, depth));
  const leaves = below.map((thing) => (thing instanceof CidrEntry ? thing : undefined));
  const children = below.map((thing) => (thing instanceof CidrNode ? thing : undefined));
  return new CidrNode(maskIp(words, depth), depth, ...packed(ends), ...packed(leaves), ...packed(children));
}

/** What stands on one continuation of a node at `depth`: a network that is alone there, or a node. */
function buildSlot<V>(slot: readonly CidrEntry<V>[], depth: number): CidrEntry<V> | CidrNode<V> {
  const first = slot[0]!;
  let shared = first.bits;
  for (const entry of slot) shared = Math.min(shared, commonBits(first, entry), entry.bits);
  // One network, perhaps several times: the last one stays.
  if (slot.every((entry) => isSame(entry, first))) return slot.at(-1)!;
  return build(first, partingDepth(shared, depth), slot);
}

/** At most 32 slots as a bitmap and a dense array. `slice` gives back the room that `push` took in advance. */
function packed<T>(slots: readonly (T | undefined)[]): [number, readonly T[]] {
  let map = 0;
  const items: T[] = [];
  for (let index = 0; index < slots.length; index++) {
    const item = slots[index];
    if (item === undefined) continue;
    map |= 1 << index;
    items.push(item);
  }
  return [map, items.slice()];
}

function countOf(node: CidrNode<unknown>): number {
  let count = node.ends.length + node.leaves.length;
  for (const child of node.children) count += countOf(child);
  return count;
}

/** The entry lies below the node: it agrees with the node's first `depth` bits and has at least as many. */
function insert<V>(node: CidrNode<V>, entry: CidrEntry<V>): CidrNode<V> {
  if (entry.bits < node.depth + stride) return setEnd(node, 1 << endIndex(entry, node.depth), entry);
  const bit = 1 << chunkAt(entry, node.depth);
  const leaf = leafAt(node, bit);
  if (leaf !== undefined) {
    if (isSame(leaf, entry)) return setLeaf(node, bit, entry);
    const depth = partingDepth(Math.min(commonBits(leaf, entry), leaf.bits, entry.bits), node.depth);
    const both = insert(insert(emptyNode<V>(entry, depth), leaf), entry);
    return setChild(setLeaf(node, bit, undefined), bit, both);
  }
  const child = childAt(node, bit);
  if (child === undefined) return setLeaf(node, bit, entry);
  const shared = Math.min(commonBits(child, entry), entry.bits);
  if (shared >= child.depth) return setChild(node, bit, insert(child, entry));
  const depth = partingDepth(shared, node.depth);
  const above = setChild(emptyNode<V>(entry, depth), 1 << chunkAt(child, depth), child);
  return setChild(node, bit, insert(above, entry));
}

function remove<V>(node: CidrNode<V>, sought: CidrEntry<unknown>): CidrNode<V> {
  if (find(node, sought) === undefined) return node;
  if (sought.bits < node.depth + stride) return setEnd(node, 1 << endIndex(sought, node.depth), undefined);
  const bit = 1 << chunkAt(sought, node.depth);
  const child = childAt(node, bit);
  if (child === undefined) return setLeaf(node, bit, undefined);
  const rest = remove(child, sought);
  if (rest.ends.length + rest.leaves.length + rest.children.length > 1) return setChild(node, bit, rest);
  // One thing is left below: it takes the place of its node.
  if (rest.children.length === 1) return setChild(node, bit, rest.children[0]!);
  return setLeaf(setChild(node, bit, undefined), bit, rest.ends[0] ?? rest.leaves[0]!);
}

function setEnd<V>(node: CidrNode<V>, bit: number, entry: CidrEntry<V> | undefined): CidrNode<V> {
  const map = entry === undefined ? node.endMap & ~bit : node.endMap | bit;
  const ends = setSlot(node.ends, node.endMap, bit, entry);
  return new CidrNode(node, node.depth, map, ends, node.leafMap, node.leaves, node.childMap, node.children);
}

function setLeaf<V>(node: CidrNode<V>, bit: number, entry: CidrEntry<V> | undefined): CidrNode<V> {
  const map = entry === undefined ? node.leafMap & ~bit : node.leafMap | bit;
  const leaves = setSlot(node.leaves, node.leafMap, bit, entry);
  return new CidrNode(node, node.depth, node.endMap, node.ends, map, leaves, node.childMap, node.children);
}

function setChild<V>(node: CidrNode<V>, bit: number, child: CidrNode<V> | undefined): CidrNode<V> {
  const map = child === undefined ? node.childMap & ~bit : node.childMap | bit;
  const children = setSlot(node.children, node.childMap, bit, child);
  return new CidrNode(node, node.depth, node.endMap, node.ends, node.leafMap, node.leaves, map, children);
}

function setSlot<T>(items: readonly T[], map: number, bit: number, item: T | undefined): readonly T[] {
  const index = rank(map, bit);
  if (item === undefined) return removed(items, index);
  return (map & bit) === 0 ? inserted(items, index, item) : replaced(items, index, item);
}

function* nodeMatches<V>(node: CidrNode<V>): Generator<CidrMatch<V>> {
  for (const entry of node.ends) yield matchOf(entry);
  for (const entry of node.leaves) yield matchOf(entry);
  for (const child of node.children) yield* nodeMatches(child);
}

function matchOf<V>(entry: CidrEntry<V>): CidrMatch<V> {
  const address = new IpAddress(entry.w0, entry.w1, entry.w2, entry.w3);
  const prefixLength = address.family === 4 ? entry.bits - v4Depth : entry.bits;
  return { cidr: { address, prefixLength }, value: entry.value };
}
