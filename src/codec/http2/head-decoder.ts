/** Header blocks to heads, with a memo for those that come again. RFC 9113 §4.3, §8. */
import type { HostBytes } from '../../core/bytes.ts';
import { HpackDecoder, type DecoderScratch } from '../hpack/decoder.ts';
import type { FieldList } from '../http-message.ts';
import { BlockMemo } from './block-memo.ts';
import {
  areTrailers,
  requestFrom,
  responseFrom,
  type DecodedRequest,
  type DecodedResponse,
  type HeadFault,
} from './heads.ts';

export interface HeadLimits {
  readonly headBytesMax: number;
  readonly headerCountMax: number;
  readonly targetBytesMax: number;
}

export interface DecodedTrailers {
  readonly fault: HeadFault | null;
  readonly fields: FieldList;
}

export class HeadDecoder {
  readonly #hpack: HpackDecoder;
  readonly #limits: HeadLimits;
  readonly #requests = new BlockMemo<DecodedRequest>();
  readonly #responses = new BlockMemo<DecodedResponse>();

  constructor(limits: HeadLimits, scratch: DecoderScratch) {
    this.#limits = limits;
    this.#hpack = new HpackDecoder(
      { listBytesMax: limits.headBytesMax, fieldCountMax: limits.headerCountMax },
      scratch,
    );
  }

  /** The list of the block decoded last passed a limit. */
  get isOversized(): boolean {
    return this.#hpack.isOversized;
  }

  request(bytes: HostBytes, start: number, end: number): DecodedRequest {
    const memo = this.#requests;
    if (end - start > BlockMemo.keyBytesMax || !memo.isTrying()) return this.#newRequest(bytes, start, end);
    const version = this.#hpack.tableVersion;
    const key = bytes.latin1Slice(start, end);
    const known = memo.find(key, version);
    if (known !== undefined) {
      const { method, scheme, authority, path, protocol, fields } = known.head;
      // A filter changes its list: each request has one of its own.
      const head = { method, scheme, authority, path, protocol, fields: fields.slice() };
      return { fault: null, head, contentLength: known.contentLength };
    }
    const decoded = this.#newRequest(bytes, start, end);
    if (this.#hpack.tableVersion === version && decoded.fault === null)
      memo.keep(key, { ...decoded, head: { ...decoded.head, fields: decoded.head.fields.slice() } });
    return decoded;
  }

  response(bytes: HostBytes, start: number, end: number): DecodedResponse {
    const memo = this.#responses;
    if (end - start > BlockMemo.keyBytesMax || !memo.isTrying()) return this.#newResponse(bytes, start, end);
    const version = this.#hpack.tableVersion;
    const key = bytes.latin1Slice(start, end);
    const known = memo.find(key, version);
    if (known !== undefined) {
      const { status, fields } = known.head;
      return { fault: null, head: { status, fields: fields.slice() }, contentLength: known.contentLength };
    }
    const decoded = this.#newResponse(bytes, start, end);
    if (this.#hpack.tableVersion === version && decoded.fault === null) {
      const { status, fields } = decoded.head;
      memo.keep(key, { ...decoded, head: { status, fields: fields.slice() } });
    }
    return decoded;
  }

  trailers(bytes: HostBytes, start: number, end: number): DecodedTrailers {
    const fields = this.#fields(bytes, start, end);
    return { fault: this.#fault() ?? (areTrailers(fields) ? null : 'malformed'), fields };
  }

  /** Keeps the table in step where nobody wants the fields. */
  skip(bytes: HostBytes, start: number, end: number): void {
    this.#fields(bytes, start, end);
  }

  #newRequest(bytes: HostBytes, start: number, end: number): DecodedRequest {
    const decoded = requestFrom(this.#fields(bytes, start, end), this.#limits.targetBytesMax);
    const fault = this.#fault();
    return fault === null ? decoded : { ...decoded, fault };
  }

  #newResponse(bytes: HostBytes, start: number, end: number): DecodedResponse {
    const decoded = responseFrom(this.#fields(bytes, start, end));
    const fault = this.#fault();
    return fault === null ? decoded : { ...decoded, fault };
  }

  #fields(bytes: HostBytes, start: number, end: number): FieldList {
    const fields: FieldList = [];
    this.#hpack.decode(bytes, start, end, fields);
    return fields;
  }

  #fault(): HeadFault | null {
    if (this.#hpack.isMalformed) return 'malformed';
    return this.#hpack.isOversized ? 'oversized' : null;
  }
}
