/**
 * Heads to header blocks, with a memo for those that come again: a short list of what was encoded last, compared
 * field by field. Strings that came out of a decoder's table are the same objects, which makes that quick.
 */
import { copyOf, type ByteSink } from '../byte-sink.ts';
import { HpackEncoder } from '../hpack/encoder.ts';
import { framingNames, type FieldList, type RequestHead, type ResponseHead } from '../http-message.ts';
import { MemoPatience } from './block-memo.ts';

/** Heads remembered, and the longest block that is. */
const slotsMax = 4;
const blockBytesMax = 1024;

interface Remembered {
  /** What is compared: pseudo-headers, then fields. */
  readonly key: readonly string[];
  readonly fields: FieldList;
  readonly block: Uint8Array;
  readonly contentLength: number;
}

export class HeadEncoder {
  /** What `content-length` of the head encoded last says, or -1. */
  contentLength = -1;
  readonly #hpack = new HpackEncoder();
  readonly #patience = new MemoPatience();
  #remembered: Remembered[] = [];
  #next = 0;
  #tableVersion = 0;
  readonly #responseKey = [''];
  readonly #requestKey = ['', '', '', '', ''];

  setTableBytesMax(allowed: number): void {
    this.#hpack.setTableBytesMax(allowed);
  }

  /** Appends the block of a request. */
  request(sink: ByteSink, head: RequestHead): void {
    const key = this.#requestKey;
    key[0] = head.method;
    key[1] = head.scheme;
    key[2] = head.authority;
    key[3] = head.path;
    key[4] = head.protocol ?? '';
    this.#encode(sink, key, head.fields);
  }

  response(sink: ByteSink, head: ResponseHead): void {
    const key = this.#responseKey;
    key[0] = head.status === 200 ? '200' : String(head.status);
    this.#encode(sink, key, head.fields);
  }

  trailers(sink: ByteSink, fields: FieldList): void {
    this.#hpack.begin(sink);
    this.#fields(sink, fields);
  }

  #encode(sink: ByteSink, key: readonly string[], fields: FieldList): void {
    if (!this.#patience.isTrying()) {
      this.#block(sink, key, fields);
      return;
    }
    if (this.#tableVersion !== this.#hpack.tableVersion) this.#forget();
    const known = this.#find(key, fields);
    if (known !== undefined) {
      this.#patience.hit();
      this.contentLength = known.contentLength;
      sink.append(known.block);
      return;
    }
    this.#patience.miss();
    const start = sink.length;
    const version = this.#tableVersion;
    const isPlain = !this.#hpack.isSizeDue;
    this.#block(sink, key, fields);
    if (isPlain && this.#hpack.tableVersion === version && sink.length - start <= blockBytesMax)
      this.#remember(key, fields, copyOf(sink.bytes, start, sink.length));
  }

  #find(key: readonly string[], fields: FieldList): Remembered | undefined {
    for (const known of this.#remembered)
      if (isSame(known.key, key) && isSame(known.fields, fields)) return known;
    return undefined;
  }

  #remember(key: readonly string[], fields: FieldList, block: Uint8Array): void {
    const entry = { key: key.slice(), fields: fields.slice(), block, contentLength: this.contentLength };
    this.#remembered[this.#next] = entry;
    this.#next = (this.#next + 1) % slotsMax;
  }

  #forget(): void {
    this.#remembered = [];
    this.#next = 0;
    this.#tableVersion = this.#hpack.tableVersion;
  }

  #block(sink: ByteSink, key: readonly string[], fields: FieldList): void {
    const hpack = this.#hpack;
    hpack.begin(sink);
    if (key.length === 1) hpack.field(sink, ':status', key[0]!);
    else this.#requestLine(sink, key);
    this.#fields(sink, fields);
  }

  #requestLine(sink: ByteSink, key: readonly string[]): void {
    const hpack = this.#hpack;
    const [method, scheme, authority, path, protocol] = key as [string, string, string, string, string];
    // An upgrade is an extended CONNECT (RFC 8441 §4); a plain CONNECT has neither scheme nor path.
    hpack.field(sink, ':method', protocol === '' ? method : 'CONNECT');
    const isPlainConnect = protocol === '' && method === 'CONNECT';
    if (!isPlainConnect) hpack.field(sink, ':scheme', scheme);
    hpack.field(sink, ':authority', authority);
    if (!isPlainConnect) hpack.field(sink, ':path', path);
    if (protocol !== '') hpack.field(sink, ':protocol', protocol);
  }

  #fields(sink: ByteSink, fields: FieldList): void {
    this.contentLength = -1;
    for (let at = 0; at < fields.length; at += 2) {
      const name = fields[at]!;
      const value = fields[at + 1]!;
      // What the model keeps out of heads must not come back through a filter's slip.
      if (framingNames.has(name) || (name === 'te' && value !== 'trailers')) continue;
      if (name === 'content-length') this.contentLength = Number(value);
      this.#hpack.field(sink, name, value);
    }
  }
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false;
  // From the end: what changes from message to message mostly stands there.
  for (let at = one.length - 1; at >= 0; at--) if (one[at] !== other[at]) return false;
  return true;
}
