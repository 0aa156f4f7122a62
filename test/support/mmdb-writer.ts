/**
 * Writes small MaxMind databases, so that tests choose which network lies in which country.
 * MaxMind DB file format 2.0: search tree, 16 zero bytes, data section, marker, metadata.
 */
import { type Cidr, parseCidr } from '../../src/core/ip.ts';

/** What a record may hold here: the format's map, array, utf8_string, boolean and uint32. */
export type MmdbValue =
  string | number | boolean | readonly MmdbValue[] | { readonly [key: string]: MmdbValue };

export interface MmdbOptions {
  /** CIDR and record; a longer prefix written later wins over the shorter one around it. */
  readonly networks: Iterable<readonly [string, MmdbValue]>;
  readonly ipVersion?: 4 | 6;
  readonly recordSize?: 24 | 28 | 32;
  readonly databaseType?: string;
}

/** A child of a node: another node, an offset in the data section, or nothing. */
type Child = Node | { readonly dataOffset: number } | null;
interface Node {
  readonly children: [Child, Child];
}

/** A record as country databases have them. */
export function countryRecord(isoCode: string): MmdbValue {
  return { country: { iso_code: isoCode, names: { en: `Land of ${isoCode}` } } };
}

export function writeMmdb(options: MmdbOptions): Buffer {
  const { networks, ipVersion = 6, recordSize = 28, databaseType = 'Test-Country' } = options;
  const data = new DataSection();
  const root: Node = { children: [null, null] };
  for (const [text, value] of networks) {
    insert(root, bitsOf(parseCidr(text)!.cidr, ipVersion), data.add(value));
  }
  const nodes = numberNodes(root);
  const metadata = encode({
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1_700_000_000,
    database_type: databaseType,
    description: { en: 'Test database' },
    ip_version: ipVersion,
    languages: ['en'],
    node_count: nodes.size,
    record_size: recordSize,
  });
  const tree = [...nodes.keys()].map((node) => encodeNode(node, nodes, recordSize));
  const marker = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');
  return Buffer.concat([...tree, Buffer.alloc(16), data.bytes(), marker, metadata]);
}

class DataSection {
  readonly #chunks: Buffer[] = [];
  readonly #offsets = new Map<string, number>();
  #length = 0;

  /** The offset of the record; equal records are written once. */
  add(value: MmdbValue): number {
    const key = JSON.stringify(value);
    const known = this.#offsets.get(key);
    if (known !== undefined) return known;
    const offset = this.#length;
    const chunk = encode(value);
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    this.#offsets.set(key, offset);
    return offset;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

/** The path to a network; IPv4 lies in ::/96 of an IPv6 tree. */
function bitsOf(cidr: Cidr, ipVersion: 4 | 6): number[] {
  const { address, prefixLength } = cidr;
  const isV4 = address.family === 4;
  const words = isV4 ? [0, 0, 0, address.w3] : [address.w0, address.w1, address.w2, address.w3];
  const bits = words.flatMap((word) => Array.from({ length: 32 }, (_, bit) => (word >>> (31 - bit)) & 1));
  const start = ipVersion === 4 ? 96 : 0;
  return bits.slice(start, isV4 ? 96 + prefixLength : prefixLength);
}

function insert(root: Node, bits: readonly number[], dataOffset: number): void {
  let node = root;
  for (const bit of bits.slice(0, -1)) {
    const child = node.children[bit]!;
    if (child !== null && 'children' in child) {
      node = child;
      continue;
    }
    // What held for the whole half goes on holding for what the new network leaves of it.
    const split: Node = { children: [child, child] };
    node.children[bit] = split;
    node = split;
  }
  node.children[bits.at(-1)!] = { dataOffset };
}

function numberNodes(root: Node): Map<Node, number> {
  const numbers = new Map([[root, 0]]);
  for (const node of numbers.keys()) {
    for (const child of node.children) {
      if (child !== null && 'children' in child) numbers.set(child, numbers.size);
    }
  }
  return numbers;
}

function encodeNode(node: Node, numbers: Map<Node, number>, recordSize: 24 | 28 | 32): Buffer {
  const [left, right] = node.children.map((child) => recordOf(child, numbers)) as [number, number];
  const bytes = Buffer.alloc(recordSize / 4);
  if (recordSize === 32) {
    bytes.writeUInt32BE(left, 0);
    bytes.writeUInt32BE(right, 4);
    return bytes;
  }
  bytes.writeUIntBE(left & 0xffffff, 0, 3);
  bytes.writeUIntBE(right & 0xffffff, recordSize / 8 === 3 ? 3 : 4, 3);
  if (recordSize === 28) bytes[3] = ((left >>> 24) << 4) | (right >>> 24);
  return bytes;
}

function recordOf(child: Child, numbers: Map<Node, number>): number {
  if (child === null) return numbers.size;
  return 'children' in child ? numbers.get(child)! : numbers.size + 16 + child.dataOffset;
}

function encode(value: MmdbValue): Buffer {
  if (typeof value === 'string') return withControl(2, Buffer.byteLength(value), Buffer.from(value));
  if (typeof value === 'boolean') return withControl(14, value ? 1 : 0, Buffer.alloc(0));
  if (typeof value === 'number') return withControl(6, 4, uint32(value));
  if (Array.isArray(value)) return withControl(11, value.length, Buffer.concat(value.map(encode)));
  const entries = Object.entries(value);
  return withControl(7, entries.length, Buffer.concat(entries.flatMap(([k, v]) => [encode(k), encode(v)])));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Types above 7 are written in a second byte; sizes from 29 on in one byte more. */
function withControl(type: number, size: number, payload: Buffer): Buffer {
  const high = type <= 7 ? type << 5 : 0;
  const control = [high | Math.min(size, 29)];
  if (type > 7) control.push(type - 7);
  if (size >= 29) control.push(size - 29);
  return Buffer.concat([Buffer.from(control), payload]);
}
