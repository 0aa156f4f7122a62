/**
 * DER (X.690), as much as certificates and keystores need: written from parts, read into a tree of views. What is
 * BER and not DER (indefinite lengths, lengths that are longer than they need be) is refused.
 */

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The bytes are not what was expected of them. */
export class DerError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DerError';
  }
}

export interface DerNode {
  readonly tag: number;
  /** Without tag and length. */
  readonly content: Buffer;
  /** With them. */
  readonly whole: Buffer;
}

// --- writing ---

export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest & 0xff);
  return Buffer.concat([Buffer.of(tag, 0x80 | octets.length, ...octets), content]);
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(tags.sequence, ...parts);
}

export function set(...parts: readonly Uint8Array[]): Buffer {
  return der(tags.set, ...parts);
}

/** `[number] EXPLICIT`, or a constructed `[number] IMPLICIT`. */
export function tagged(number: number, ...parts: readonly Uint8Array[]): Buffer {
  return der(0xa0 | number, ...parts);
}

/** A primitive `[number] IMPLICIT`. */
export function implicit(number: number, content: Uint8Array): Buffer {
  return der(0x80 | number, content);
}

export function integer(value: number): Buffer {
  const octets: number[] = [];
  let rest = value;
  do {
    octets.unshift(rest & 0xff);
    rest = Math.floor(rest / 256);
  } while (rest > 0);
  if (octets[0]! >= 0x80) octets.unshift(0);
  return der(tags.integer, Buffer.from(octets));
}

/** A positive number from its bytes, most significant first. */
export function bigInteger(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const magnitude = bytes.subarray(start);
  return der(tags.integer, magnitude[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), magnitude]) : magnitude);
}

export function oid(text: string): Buffer {
  const [first, second, ...rest] = text.split('.').map(Number);
  const octets: number[] = [];
  for (const arc of [first! * 40 + second!, ...rest]) {
    const groups = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left & 0x7f) | 0x80);
    octets.push(...groups);
  }
  return der(tags.oid, Buffer.from(octets));
}

export function octetString(...parts: readonly Uint8Array[]): Buffer {
  return der(tags.octetString, ...parts);
}

/** Whole bytes. */
export function bitString(bytes: Uint8Array): Buffer {
  return der(tags.bitString, Buffer.of(0), bytes);
}

export function boolean(value: boolean): Buffer {
  return der(tags.boolean, Buffer.of(value ? 0xff : 0));
}

export function nothing(): Buffer {
  return der(tags.null, Buffer.alloc(0));
}

export function utf8String(text: string): Buffer {
  return der(tags.utf8String, Buffer.from(text, 'utf8'));
}

/** UTCTime up to 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5). Whole seconds. */
export function time(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return date.getUTCFullYear() < 2050
    ? der(tags.utcTime, Buffer.from(digits.slice(2), 'latin1'))
    : der(tags.generalizedTime, Buffer.from(digits, 'latin1'));
}

// --- reading ---

/** The one value that `bytes` hold, and nothing behind it. */
export function readDer(bytes: Uint8Array): DerNode {
  const nodes = readAll(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  if (nodes.length !== 1) throw new DerError('more or less than one value');
  return nodes[0]!;
}

/** The parts of a constructed value. */
export function children({ tag, content }: DerNode): DerNode[] {
  if ((tag & 0x20) === 0) throw new DerError('a value that has no parts');
  return readAll(content);
}

/** A part that must be there, with that tag. */
export function expect(node: DerNode | undefined, tag: number): DerNode {
  if (node === undefined || node.tag !== tag) throw new DerError(`not the value with tag ${tag}`);
  return node;
}

export function oidText(node: DerNode | undefined): string {
  const { content } = expect(node, tags.oid);
  const arcs: number[] = [];
  let arc = 0;
  for (const octet of content) {
    arc = arc * 128 + (octet & 0x7f);
    if (octet >= 0x80) continue;
    arcs.push(arc);
    arc = 0;
  }
  const [first = 0, ...rest] = arcs;
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - root * 40, ...rest].join('.');
}

export function smallInteger(node: DerNode | undefined): number {
  const { content } = expect(node, tags.integer);
  if (content.length === 0 || content.length > 4 || content[0]! >= 0x80)
    throw new DerError('a number out of range');
  return content.readUIntBE(0, content.length);
}

function readAll(bytes: Buffer): DerNode[] {
  const nodes: DerNode[] = [];
  for (let at = 0; at < bytes.length;) {
    const node = readAt(bytes, at);
    nodes.push(node);
    at += node.whole.length;
  }
  return nodes;
}

function readAt(bytes: Buffer, at: number): DerNode {
  const tag = bytes[at]!;
  const first = bytes[at + 1];
  if ((tag & 0x1f) === 0x1f || first === undefined)
    throw new DerError('a tag that is not read, or no length');
  if (first === 0x80) throw new DerError('an indefinite length, which is BER and not DER');
  const lengthOctets = first < 0x80 ? 0 : first & 0x7f;
  if (lengthOctets > 4 || at + 2 + lengthOctets > bytes.length)
    throw new DerError('a length that is too long');
  const length = lengthOctets === 0 ? first : bytes.readUIntBE(at + 2, lengthOctets);
  if (lengthOctets > 0 && length < 0x80) throw new DerError('a length that is longer than it need be');
  const start = at + 2 + lengthOctets;
  if (start + length > bytes.length) throw new DerError('a value that is cut off');
  return { tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) };
}
