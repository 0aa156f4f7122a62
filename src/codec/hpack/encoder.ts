/**
 * HPACK encoder: RFC 7541 §6. Uses the dynamic table; what goes into it is the policy's and the credit's matter
 * (indexing-policy.ts).
 *
 * A string that enters the table is written once and gets the Huffman code where that is shorter. One that does
 * not is written with every message, as it is: two passes over its characters would save a quarter of them.
 */
import type { HostBytes } from '../../core/bytes.ts';
import type { ByteSink } from '../byte-sink.ts';
import { fieldOverhead, tableBytesDefault } from './decoder.ts';
import { encodeHuffman, huffmanBytes } from './huffman.ts';
import { defaultPolicy, indexingOf, type Indexing, type IndexingPolicy } from './indexing-policy.ts';
import { staticCount, staticIndices } from './static-table.ts';

/** Insertions a name has before its values must prove that they come again. */
const creditStart = 3;
const creditMax = 8;
/** Names that are remembered; one more and all are forgotten, which costs a few literals. */
const namesMax = 256;
/** Values of one name that are looked through. */
const valuesMax = 8;

/** What the encoder knows of a name. */
interface NameEntry {
  /** An index in the static table, or 0. */
  readonly staticIndex: number;
  readonly staticValues: ReadonlyMap<string, number>;
  /** Entries of the dynamic table, the newest last. */
  values: TableEntry[];
  lastValue: string;
  credit: number;
}

interface TableEntry {
  readonly name: NameEntry;
  readonly value: string;
  readonly size: number;
  /** Counts insertions: the table's index follows from how many came after. */
  readonly sequence: number;
}

const noValues: ReadonlyMap<string, number> = new Map();

export class HpackEncoder {
  /** Changes whenever the table does: while it stays, equal fields encode to equal blocks. */
  tableVersion = 0;

  readonly #policy: IndexingPolicy;
  readonly #names = new Map<string, NameEntry>();
  /** Oldest first, from `#oldest`. */
  #entries: TableEntry[] = [];
  #oldest = 0;
  #inserted = 0;
  #tableBytes = 0;
  #tableBytesMax = tableBytesDefault;
  /** Sizes to announce before the next block: the smallest since the last one, and the current; -1: none. */
  #smallestToTell = -1;

  constructor(policy: IndexingPolicy = defaultPolicy) {
    this.#policy = policy;
  }

  get tableBytes(): number {
    return this.#tableBytes;
  }

  /** What the other side's decoder allows (SETTINGS_HEADER_TABLE_SIZE). We never use more than the default. */
  setTableBytesMax(allowed: number): void {
    const size = Math.min(allowed, tableBytesDefault);
    if (size === this.#tableBytesMax) return;
    this.#smallestToTell = this.#smallestToTell < 0 ? size : Math.min(this.#smallestToTell, size);
    this.#tableBytesMax = size;
    this.tableVersion++;
    this.#evict(size);
  }

  /** True while the next block begins with a size update. */
  get isSizeDue(): boolean {
    return this.#smallestToTell >= 0;
  }

  /** To be called before the fields of a block. */
  begin(sink: ByteSink): void {
    if (this.#smallestToTell < 0) return;
    sink.ensure(16);
    // Both the smallest and the last, so that the decoder evicts what we evicted (§4.2).
    if (this.#smallestToTell < this.#tableBytesMax) writeInteger(sink, 0x20, 0x1f, this.#smallestToTell);
    writeInteger(sink, 0x20, 0x1f, this.#tableBytesMax);
    this.#smallestToTell = -1;
  }

  field(sink: ByteSink, name: string, value: string): void {
    const entry = this.#names.get(name) ?? this.#newName(name);
    // Room for three integers and both strings, in code no longer than they are.
    sink.ensure(name.length + value.length + 24);
    const { values } = entry;
    for (let at = values.length - 1; at >= 0; at--) {
      const found = values[at]!;
      if (found.value !== value) continue;
      if (entry.credit < creditMax) entry.credit++;
      writeInteger(sink, 0x80, 0x7f, staticCount + this.#inserted - found.sequence);
      return;
    }
    const index = entry.staticValues.get(value);
    if (index === undefined) this.#literal(sink, entry, name, value);
    else writeInteger(sink, 0x80, 0x7f, index);
  }

  #literal(sink: ByteSink, entry: NameEntry, name: string, value: string): void {
    const indexing = this.#choose(entry, name, value);
    const nameIndex = this.#nameIndex(entry);
    if (indexing === 'insert') writeInteger(sink, 0x40, 0x3f, nameIndex);
    else writeInteger(sink, indexing === 'never' ? 0x10 : 0, 0x0f, nameIndex);
    if (nameIndex === 0) writeString(sink, name, true);
    writeString(sink, value, indexing === 'insert');
    if (indexing === 'insert') this.#insert(entry, name, value);
  }

  #choose(entry: NameEntry, name: string, value: string): Indexing {
    const indexing = indexingOf(this.#policy, name, value);
    if (indexing !== 'insert') return indexing;
    const size = name.length + value.length + fieldOverhead;
    // One that takes more than half of the table would cost all others their place.
    if (size * 2 > this.#tableBytesMax || entry.values.length >= valuesMax) return 'literal';
    const isRepeated = entry.lastValue === value;
    entry.lastValue = value;
    if (isRepeated) return 'insert';
    // A query makes a path that hardly comes again.
    if (entry.credit === 0 || (name === ':path' && value.includes('?'))) return 'literal';
    entry.credit--;
    return 'insert';
  }

  #nameIndex(entry: NameEntry): number {
    if (entry.staticIndex !== 0) return entry.staticIndex;
    const newest = entry.values.at(-1);
    return newest === undefined ? 0 : staticCount + this.#inserted - newest.sequence;
  }

  #insert(name: NameEntry, text: string, value: string): void {
    const size = text.length + value.length + fieldOverhead;
    this.#evict(this.#tableBytesMax - size);
    const entry = { name, value, size, sequence: this.#inserted++ };
    this.#entries.push(entry);
    name.values.push(entry);
    this.#tableBytes += size;
    this.tableVersion++;
  }

  #evict(bytesMax: number): void {
    while (this.#tableBytes > bytesMax && this.#oldest < this.#entries.length) {
      const entry = this.#entries[this.#oldest++]!;
      this.#tableBytes -= entry.size;
      // The oldest of the table is the oldest of its name.
      entry.name.values.shift();
    }
    if (this.#oldest > 256) {
      this.#entries = this.#entries.slice(this.#oldest);
      this.#oldest = 0;
    }
  }

  #newName(name: string): NameEntry {
    if (this.#names.size >= namesMax) this.#forgetNames();
    const known = staticIndices.get(name);
    const entry: NameEntry = {
      staticIndex: known?.index ?? 0,
      staticValues: known?.values ?? noValues,
      values: [],
      lastValue: '',
      credit: creditStart,
    };
    this.#names.set(name, entry);
    return entry;
  }

  /** Names without an entry in the table; the others are bounded by it. */
  #forgetNames(): void {
    for (const [name, entry] of this.#names) if (entry.values.length === 0) this.#names.delete(name);
  }
}

/** RFC 7541 §5.1, with the bits above the prefix in `high`. */
export function writeInteger(sink: ByteSink, high: number, mask: number, value: number): void {
  const { bytes } = sink;
  if (value < mask) {
    bytes[sink.length++] = high | value;
    return;
  }
  bytes[sink.length++] = high | mask;
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) bytes[sink.length++] = (rest & 0x7f) | 0x80;
  bytes[sink.length++] = rest;
}

function writeString(sink: ByteSink, text: string, mayCode: boolean): void {
  const coded = mayCode ? huffmanBytes(text) : text.length;
  if (coded < text.length) {
    writeInteger(sink, 0x80, 0x7f, coded);
    sink.length = encodeHuffman(text, sink.bytes, sink.length);
    return;
  }
  writeInteger(sink, 0, 0x7f, text.length);
  sink.length += (sink.bytes satisfies HostBytes).latin1Write(text, sink.length);
}
