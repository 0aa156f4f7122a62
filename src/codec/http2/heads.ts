/**
 * From decoded fields to heads: RFC 9113 §8. What a request or response may hold
 * is decided here, once for both roles; the verdicts say how a message fails, and never end the connection.
 */
import type { FieldList, RequestHead, ResponseHead } from '../http-message.ts';
import { isAuthority } from '../http1/authority.ts';
import { isMadeOf, targetKinds } from '../http1/characters.ts';

/** How a message fails, by the reason it is refused for. */
export type HeadFault = 'malformed' | 'ambiguous' | 'oversized' | 'target-oversized';

export interface DecodedRequest {
  readonly fault: HeadFault | null;
  readonly head: RequestHead;
  /** What `content-length` says, or -1. */
  readonly contentLength: number;
}

export interface DecodedResponse {
  readonly fault: HeadFault | null;
  readonly head: ResponseHead;
  readonly contentLength: number;
}

/** Belong to one connection, and to HTTP/1 (§8.2.2). */
const connectionNames: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

const colonCode = 0x3a;
const slashCode = 0x2f;

export function requestFrom(fields: FieldList, targetBytesMax: number): DecodedRequest {
  const reader = new RequestReader();
  const fault = reader.read(fields) ?? (reader.path.length > targetBytesMax ? 'target-oversized' : null);
  const { method, scheme, authority, path, protocol, contentLength } = reader;
  return {
    fault,
    head: { method: protocol === null ? method : 'GET', scheme, authority, path, protocol, fields },
    contentLength,
  };
}

class RequestReader {
  method = '';
  scheme = '';
  authority = '';
  path = '';
  protocol: string | null = null;
  contentLength = -1;
  #seen = 0;
  #host: string | undefined;

  /** Takes what it reads out of `fields`: pseudo-headers, host, and all crumbs of a cookie but the first. */
  read(fields: FieldList): HeadFault | null {
    let kept = 0;
    let cookieAt = -1;
    for (let at = 0; at < fields.length; at += 2) {
      const name = fields[at]!;
      const value = fields[at + 1]!;
      if (name.charCodeAt(0) === colonCode) {
        // Pseudo-headers come first (§8.3).
        if (kept > 0 || this.#host !== undefined || !this.#pseudo(name, value)) return 'malformed';
        continue;
      }
      const fault = this.#field(name, value);
      if (fault !== null) return fault;
      if (name === 'host' || name === 'http2-settings') continue;
      if (name === 'cookie') {
        // Crumbs make one field for everybody who is not HTTP/2 (§8.2.3).
        if (cookieAt >= 0) {
          fields[cookieAt] = `${fields[cookieAt]!}; ${value}`;
          continue;
        }
        cookieAt = kept + 1;
      }
      fields[kept] = name;
      fields[kept + 1] = value;
      kept += 2;
    }
    fields.length = kept;
    return this.#verdict();
  }

  #pseudo(name: string, value: string): boolean {
    switch (name) {
      case ':method':
        this.method = value;
        return this.#once(1) && isToken(value);
      case ':scheme':
        this.scheme = value;
        return this.#once(2) && (value === 'https' || value === 'http');
      case ':authority':
        this.authority = value;
        return this.#once(4);
      case ':path':
        this.path = value;
        return this.#once(8);
      case ':protocol':
        this.protocol = value.toLowerCase();
        // As over HTTP/1: nobody talks a backend into a protocol that its requests are not judged by.
        return this.#once(16) && isToken(value) && this.protocol !== 'h2c';
      default:
        return false;
    }
  }

  #once(bit: number): boolean {
    if ((this.#seen & bit) !== 0) return false;
    this.#seen |= bit;
    return true;
  }

  #field(name: string, value: string): HeadFault | null {
    switch (name) {
      case 'host':
        if (this.#host !== undefined) return 'ambiguous';
        this.#host = value;
        return null;
      case 'te':
        return value.toLowerCase() === 'trailers' ? null : 'malformed';
      case 'content-length':
        if (this.contentLength >= 0) return 'ambiguous';
        this.contentLength = lengthFrom(value);
        return this.contentLength < 0 ? 'malformed' : null;
      default:
        return connectionNames.has(name) ? 'malformed' : null;
    }
  }

  #verdict(): HeadFault | null {
    if (this.#host !== undefined) {
      // A proxy that believed one and an origin that believed the other would disagree on whose request this is.
      if ((this.#seen & 4) === 0) this.authority = this.#host;
      else if (this.authority.toLowerCase() !== this.#host.toLowerCase()) return 'ambiguous';
    }
    if (!isAuthority(this.authority)) return 'malformed';
    if (this.method === 'CONNECT' && this.protocol === null) {
      // Only the authority names the target of a plain CONNECT (§8.5).
      return (this.#seen & (2 | 8)) === 0 ? null : 'malformed';
    }
    if ((this.#seen & (1 | 2 | 8)) !== (1 | 2 | 8)) return 'malformed';
    if (this.protocol !== null && this.method !== 'CONNECT') return 'malformed';
    if (this.path === '*') return this.method === 'OPTIONS' ? null : 'malformed';
    return isOriginForm(this.path) ? null : 'malformed';
  }
}

export function responseFrom(fields: FieldList): DecodedResponse {
  let status = 0;
  let contentLength = -1;
  let kept = 0;
  let fault: HeadFault | null = null;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    const value = fields[at + 1]!;
    if (name.charCodeAt(0) === colonCode) {
      if (name !== ':status' || status !== 0 || kept > 0) fault = 'malformed';
      status = /^[1-9]\d\d$/.test(value) ? Number(value) : -1;
      continue;
    }
    if (connectionNames.has(name)) fault = 'malformed';
    if (name === 'content-length') {
      const length = lengthFrom(value);
      if (length < 0 || (contentLength >= 0 && contentLength !== length)) fault = 'malformed';
      // Equal ones become one, as RFC 9110 §8.6 allows.
      if (contentLength === length) continue;
      contentLength = length;
    }
    fields[kept] = name;
    fields[kept + 1] = value;
    kept += 2;
  }
  fields.length = kept;
  // HTTP/2 has no 101 (§8.6).
  if (status <= 0 || status === 101) fault = 'malformed';
  return { fault, head: { status, fields }, contentLength };
}

/** A trailer section has neither pseudo-headers nor what frames a message (§8.1). */
export function areTrailers(fields: FieldList): boolean {
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    if (name.charCodeAt(0) === colonCode || connectionNames.has(name)) return false;
    if (name === 'content-length' || name === 'host') return false;
  }
  return true;
}

/** -1 for what is no length. Fifteen digits are exact as a number, and more than any body has. */
function lengthFrom(value: string): number {
  return /^\d{1,15}$/.test(value) ? Number(value) : -1;
}

/** Begins with a slash, and holds what HTTP/1 can carry: a request is refused here rather than when it goes on. */
function isOriginForm(path: string): boolean {
  return path.charCodeAt(0) === slashCode && isMadeOf(targetKinds, path);
}

function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}
