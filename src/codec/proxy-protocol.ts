/**
 * PROXY protocol, versions 1 and 2, read and written. Sans-I/O. "The PROXY protocol", HAProxy's proxy-protocol.txt,
 * §2.1 (text), §2.2 (binary).
 *
 * The header comes before everything else on a connection and says whom the connection is for. This file collects
 * it, exactly up to its end; `proxy-protocol-v1.ts` and `proxy-protocol-v2.ts` know the two forms. There is no "if
 * present": a listener either demands the header or never reads it, since a client could otherwise forge one.
 */

import type { HostBytes } from '../core/bytes.ts';
import { assert, ProtocolError } from '../core/errors.ts';
import { codecCodes } from './codes.ts';
import { lineLengthV1, lineV1BytesMax, parseLineV1, prefixV1 } from './proxy-protocol-v1.ts';
import { headerLengthV2, headerV2BytesMax, parseHeaderV2, prefixV2 } from './proxy-protocol-v2.ts';

export { encodeProxyV1 } from './proxy-protocol-v1.ts';
export { encodeProxyV2, encodeProxyV2Local } from './proxy-protocol-v2.ts';

export interface ProxyAddress {
  /** Canonical text: dotted decimal, or RFC 5952. IPv4-mapped IPv6 is IPv4. */
  readonly address: string;
  readonly port: number;
}

export interface ProxyTlv {
  readonly type: number;
  readonly value: Uint8Array;
}

export interface ProxyHeader {
  readonly version: 1 | 2;
  /** `local`: the proxy speaks for itself, a health check say. */
  readonly command: 'local' | 'proxy';
  /** Undefined when the header does not tell (local, UNKNOWN, Unix socket): the socket's own peer is the client. */
  readonly source: ProxyAddress | undefined;
  readonly destination: ProxyAddress | undefined;
  /** In the order of the header, none interpreted but the checksum. Copies: they outlive the chunk. */
  readonly tlvs: readonly ProxyTlv[];
}

export interface ProxyHeaderRead {
  readonly header: ProxyHeader;
  /** How many bytes of the chunk just received belong to the header; the rest is the client's. */
  readonly consumed: number;
}

/** Default limit on a header of version 2, TLVs included. */
const headerBytesMax = 4 * 1024;

export class ProxyHeaderReader {
  readonly #bytesMax: number;
  /** Length of the whole header, once the bytes tell. */
  #length: number | undefined = undefined;
  /** Bytes of an incomplete header, and nothing that follows it: never more than the limit. */
  #kept: Uint8Array | undefined = undefined;
  #keptLength = 0;
  #finished = false;

  /** `bytesMax` limits a whole header of version 2, 16 + 65535 at most; version 1 has 107 bytes by specification. */
  constructor(bytesMax: number = headerBytesMax) {
    assert(bytesMax <= headerV2BytesMax, 'no header of version 2 is longer than 16 + 65535 bytes');
    this.#bytesMax = bytesMax;
  }

  /**
   * Answers the header once it is complete, undefined while it is not. Throws ProtocolError `proxy-header-missing`,
   * `-malformed`, `-oversized` or `-checksum`. Finished after either: not to be called again.
   */
  receive(bytes: HostBytes): ProxyHeaderRead | undefined {
    assert(!this.#finished, 'a ProxyHeaderReader reads one header');
    this.#finished = true;
    const read = this.#kept === undefined ? this.#readFirst(bytes) : this.#readOn(bytes);
    this.#finished = read !== undefined;
    return read;
  }

  /** Senders write the header at once, so it is nearly always whole in the first chunk and parsed in place. */
  #readFirst(bytes: HostBytes): ProxyHeaderRead | undefined {
    const length = headerLength(bytes, this.#bytesMax);
    if (length !== undefined && length <= bytes.length) {
      return { header: parse(bytes.subarray(0, length)), consumed: length };
    }
    return this.#readOn(bytes);
  }

  /** A byte at a time while the length is unknown: the 107 bytes of a line or the 16 of a fixed part at most. */
  #readOn(bytes: HostBytes): ProxyHeaderRead | undefined {
    for (let at = 0; at < bytes.length;) {
      const wanted = this.#length === undefined ? 1 : this.#length - this.#keptLength;
      const chunk = bytes.subarray(at, at + wanted);
      at += chunk.length;
      const kept = this.#keep(chunk);
      this.#length ??= headerLength(kept, this.#bytesMax);
      if (this.#length === kept.length) return { header: parse(kept), consumed: at };
    }
    return undefined;
  }

  /** Everything kept so far. Memory grows once, to the header's own length after that was held against the limit. */
  #keep(bytes: Uint8Array): Uint8Array {
    this.#kept ??= new Uint8Array(lineV1BytesMax);
    const length = this.#keptLength + bytes.length;
    if (length > this.#kept.length) {
      const grown = new Uint8Array(this.#length ?? length);
      grown.set(this.#kept.subarray(0, this.#keptLength));
      this.#kept = grown;
    }
    this.#kept.set(bytes, this.#keptLength);
    this.#keptLength = length;
    return this.#kept.subarray(0, length);
  }
}

/** Length of the header that `bytes` begin, undefined while they are too few to tell. */
function headerLength(bytes: Uint8Array, bytesMax: number): number | undefined {
  if (bytes.length === 0) return undefined;
  if (startsLike(bytes, prefixV2)) return headerLengthV2(bytes, bytesMax);
  if (startsLike(bytes, prefixV1)) return lineLengthV1(bytes);
  throw new ProtocolError(codecCodes.proxyHeaderMissing, 'the first bytes are no PROXY header');
}

/** True while every byte that is there agrees with `prefix`. */
function startsLike(bytes: Uint8Array, prefix: Uint8Array): boolean {
  const length = Math.min(bytes.length, prefix.length);
  for (let at = 0; at < length; at++) {
    if (bytes[at] !== prefix[at]) return false;
  }
  return true;
}

/** `bytes` are exactly one header, whose prefix has been seen. */
function parse(bytes: Uint8Array): ProxyHeader {
  return bytes[0] === prefixV1[0] ? parseLineV1(bytes) : parseHeaderV2(bytes);
}
