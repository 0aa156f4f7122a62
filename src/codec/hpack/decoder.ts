/**
 * HPACK decoder: RFC 7541 §3, §6. Any block of bytes gives fields or a ProtocolError; what it keeps is bounded by
 * the table it allows and the limits it is given.
 *
 * A block that passes the limits of its list is still read to its end, because the table depends on it: its
 * fields are counted and not kept, so that one byte that names a long field costs no memory (an "HPACK bomb").
 * Names and values that HTTP forbids break a message and not the compression: they are told as flags.
 */
import type { HostBytes } from '../../core/bytes.ts';
import { ProtocolError } from '../../core/errors.ts';
import type { Allocate } from '../byte-sink.ts';
import { codecCodes } from '../codes.ts';
import type { FieldList } from '../http-message.ts';
import { isFieldName, isFieldValue } from './field-check.ts';
import { decodedBytesMax, decodeHuffman } from './huffman.ts';
import { staticCount, staticFields } from './static-table.ts';

/** What a field costs beside its characters, in the table (RFC 7541 §4.1) and in a list (RFC 9113 §6.5.2). */
export const fieldOverhead = 32;

/** The size of the table that both sides begin with. Ours stays there: more memory per connection buys little. */
export const tableBytesDefault = 4096;

/** No integer of HPACK means more here; it also keeps arithmetic within 31 bits. */
const integerMax = 0x0fffffff;

export interface DecoderLimits {
  /** The sum of names, values and 32 for each field. */
  readonly listBytesMax: number;
  readonly fieldCountMax: number;
}

/** Memory for one string at a time, shared by all decoders of a worker. */
export class DecoderScratch {
  bytes: HostBytes;
  readonly #allocate: Allocate;

  constructor(allocate: Allocate) {
    this.#allocate = allocate;
    this.bytes = allocate(4096);
  }

  ensure(byteCount: number): HostBytes {
    if (this.bytes.length < byteCount) this.bytes = this.#allocate(byteCount * 2);
    return this.bytes;
  }
}

export class HpackDecoder {
  /** Changes whenever the table does: while it stays, equal blocks decode to equal fields. */
  tableVersion = 0;
  /** About the block decoded last: its size as RFC 9113 §6.5.2 counts, kept or not. */
  listBytes = 0;
  fieldCount = 0;
  /** The list passed a limit: not all of it was kept. */
  isOversized = false;
  /** A name or a value holds what HTTP forbids. */
  isMalformed = false;

  readonly #limits: DecoderLimits;
  readonly #scratch: DecoderScratch;
  /** The dynamic table: a ring, the newest at `#inserted - 1`. */
  readonly #names: string[] = [];
  readonly #values: string[] = [];
  readonly #malformed: boolean[] = [];
  readonly #mask: number;
  readonly #tableBytesAllowed: number;
  #tableBytesMax: number;
  #tableBytes = 0;
  #inserted = 0;
  #count = 0;

  #bytes!: HostBytes;
  #at = 0;
  #end = 0;
  /** Of the string read last. */
  #isStringValid = true;

  constructor(limits: DecoderLimits, scratch: DecoderScratch, tableBytesMax = tableBytesDefault) {
    this.#limits = limits;
    this.#scratch = scratch;
    this.#tableBytesAllowed = tableBytesMax;
    this.#tableBytesMax = tableBytesMax;
    let slots = 1;
    while (slots * fieldOverhead < tableBytesMax) slots *= 2;
    this.#mask = slots - 1;
  }

  /** Bytes that the dynamic table holds, as RFC 7541 §4.1 counts. */
  get tableBytes(): number {
    return this.#tableBytes;
  }

  /** Decodes one whole block and appends its fields. Throws when the compression broke: the connection is lost. */
  decode(bytes: HostBytes, start: number, end: number, fields: FieldList): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.listBytes = 0;
    this.fieldCount = 0;
    this.isOversized = false;
    this.isMalformed = false;
    this.#tableSizes();
    while (this.#at < end) this.#field(bytes[this.#at]!, fields);
  }

  /** Size updates stand before the first field (§4.2); a later one is an error. */
  #tableSizes(): void {
    while (this.#at < this.#end && (this.#bytes[this.#at]! & 0xe0) === 0x20) {
      const size = this.#integer(0x1f);
      if (size > this.#tableBytesAllowed) throw broken('a table size update passes what was allowed');
      this.#tableBytesMax = size;
      this.tableVersion++;
      this.#evict(size);
    }
  }

  #field(first: number, fields: FieldList): void {
    if (first >= 0x80) {
      this.#indexed(this.#integer(0x7f), fields);
      return;
    }
    if ((first & 0xe0) === 0x20) throw broken('a table size update after a field');
    const isInserted = first >= 0x40;
    const index = this.#integer(isInserted ? 0x3f : 0x0f);
    let name: string;
    let isMalformed = false;
    if (index === 0) {
      name = this.#string(true);
      isMalformed = !this.#isStringValid;
    } else {
      name = this.#nameAt(index);
    }
    const value = this.#string(false);
    isMalformed ||= !this.#isStringValid || (index > staticCount && this.#malformed[this.#slot(index)]!);
    if (isInserted) this.#insert(name, value, isMalformed);
    this.#keep(name, value, isMalformed, fields);
  }

  #indexed(index: number, fields: FieldList): void {
    if (index === 0) throw broken('an index of zero');
    if (index <= staticCount) {
      const { name, value } = staticFields[index]!;
      this.#keep(name, value, false, fields);
      return;
    }
    const slot = this.#slot(index);
    this.#keep(this.#names[slot]!, this.#values[slot]!, this.#malformed[slot]!, fields);
  }

  #keep(name: string, value: string, isMalformed: boolean, fields: FieldList): void {
    this.listBytes += name.length + value.length + fieldOverhead;
    if (isMalformed) this.isMalformed = true;
    const limits = this.#limits;
    if (++this.fieldCount > limits.fieldCountMax || this.listBytes > limits.listBytesMax)
      this.isOversized = true;
    else fields.push(name, value);
  }

  #nameAt(index: number): string {
    return index <= staticCount ? staticFields[index]!.name : this.#names[this.#slot(index)]!;
  }

  #slot(index: number): number {
    const back = index - staticCount;
    if (back > this.#count) throw broken('an index behind the end of the table');
    return (this.#inserted - back) & this.#mask;
  }

  #insert(name: string, value: string, isMalformed: boolean): void {
    const size = name.length + value.length + fieldOverhead;
    this.tableVersion++;
    // A field larger than the table empties it and is no error (§4.4).
    this.#evict(this.#tableBytesMax - size);
    if (size > this.#tableBytesMax) return;
    const slot = this.#inserted++ & this.#mask;
    this.#names[slot] = name;
    this.#values[slot] = value;
    this.#malformed[slot] = isMalformed;
    this.#tableBytes += size;
    this.#count++;
  }

  /** Drops the oldest until at most `bytesMax` are left. */
  #evict(bytesMax: number): void {
    while (this.#count > 0 && this.#tableBytes > bytesMax) {
      const slot = (this.#inserted - this.#count) & this.#mask;
      this.#tableBytes -= this.#names[slot]!.length + this.#values[slot]!.length + fieldOverhead;
      this.#names[slot] = '';
      this.#values[slot] = '';
      this.#count--;
    }
  }

  #integer(mask: number): number {
    let value = this.#bytes[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      // Five bytes hold more than any size or index here; zeros that only lengthen are refused with them.
      if (this.#at >= this.#end || shift > 28) throw broken('an integer that does not end');
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (value > integerMax) throw broken('an integer that is too large');
      if (byte < 0x80) return value;
    }
  }

  #string(isName: boolean): string {
    if (this.#at >= this.#end) throw broken('a field that is cut off');
    const isHuffman = this.#bytes[this.#at]! >= 0x80;
    const length = this.#integer(0x7f);
    const start = this.#at;
    // The length is checked against what came before anything is made of it: a block is bounded, so is a string.
    if (length > this.#end - start) throw broken('a string that is cut off');
    this.#at = start + length;
    if (!isHuffman) return this.#text(this.#bytes, start, start + length, isName);
    const scratch = this.#scratch.ensure(decodedBytesMax(length));
    const written = decodeHuffman(this.#bytes, start, start + length, scratch);
    if (written < 0) throw broken('a string whose Huffman code is broken');
    return this.#text(scratch, 0, written, isName);
  }

  #text(bytes: HostBytes, start: number, end: number, isName: boolean): string {
    this.#isStringValid = isName ? isFieldName(bytes, start, end) : isFieldValue(bytes, start, end);
    return bytes.latin1Slice(start, end);
  }
}

function broken(what: string): ProtocolError {
  return new ProtocolError(codecCodes.http2ProtocolError, `HPACK: ${what}`);
}
