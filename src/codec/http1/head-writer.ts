/**
 * Writes heads and the framing of bodies. What leaves is strictly conforming, whatever came in: Host first, exactly
 * one way of framing, `connection` of our own (RFC 9112 §3, §4, §6, §9.6).
 */

import type { FieldList, RequestHead, ResponseHead } from '../http-message.ts';
import { hasPort, isAuthority } from './authority.ts';
import { isMadeOf, isToken, targetKinds, tokenKinds } from './characters.ts';
import { FieldWriter, unfit } from './field-writer.ts';
import { phrases } from './phrases.ts';

/** How the body behind a head is sent. `close` ends with the connection; `tunnel` is no HTTP. */
export type Framing = 'none' | 'length' | 'chunked' | 'close' | 'tunnel';

/** What a response answers. */
export interface ResponseContext {
  readonly method: string;
  readonly isFirstVersion: boolean;
  /** The protocol of an upgrade; null without one. */
  readonly protocol: string | null;
  readonly webSocketAccept: string | null;
  readonly isKeepAlive: boolean;
}

/** Of one connection: it keeps what its heads have in common. */
export class HeadWriter {
  /** After a head was written: how its body is to be sent, and how long it must be when by `length`. */
  framing: Framing = 'none';
  contentLength = 0;
  readonly #fields = new FieldWriter();

  /** With `isEnd` there is no body. Throws ProtocolError of source `internal` at what must not leave. */
  request(head: RequestHead, isEnd: boolean, webSocketKey: string | null): string {
    checkRequest(head);
    const isConnect = head.method === 'CONNECT';
    const lines = this.#fields.write(head.fields);
    let text = `${head.method} ${isConnect ? head.authority : head.path} HTTP/1.1\r\nhost: ${head.authority}\r\n${lines}`;
    if (head.protocol !== null) {
      this.framing = 'tunnel';
      return text + upgradeLines(head, webSocketKey);
    }
    if (this.#fields.hasTe) text += 'connection: te\r\n';
    if (isConnect) this.framing = 'tunnel';
    else text += isEnd ? this.#emptyRequest(head.method) : this.#framed();
    return `${text}\r\n`;
  }

  /** With `isEnd` there is no body. Throws ProtocolError of source `internal` at what must not leave. */
  response(head: ResponseHead, isEnd: boolean, context: ResponseContext): string {
    const { status } = head;
    const lines = this.#fields.write(head.fields);
    if (context.protocol !== null && status === 200) return this.#switch(lines, context);
    if (context.method === 'CONNECT' && status >= 200 && status < 300) {
      this.framing = 'tunnel';
      return `${statusLine(status)}${lines}\r\n`;
    }
    // Without a length an HTTP/1.0 client finds the end of the body by the end of the connection.
    const isBodiless = status < 200 || status === 204 || status === 304 || context.method === 'HEAD' || isEnd;
    const isDelimited = isBodiless || !context.isFirstVersion || this.#fields.contentLength !== -1;
    const text = `${statusLine(status)}${lines}${connectionLine(context, isDelimited)}`;
    if (status < 200 || status === 204) return this.#bare(text);
    if (context.method === 'HEAD' || status === 304) {
      const length = this.#fields.contentLength;
      return this.#bare(length === -1 ? text : `${text}content-length: ${length}\r\n`);
    }
    if (isEnd) return `${text}${this.#emptyResponse()}\r\n`;
    if (!isDelimited) {
      this.framing = 'close';
      return `${text}\r\n`;
    }
    return `${text}${this.#framed()}\r\n`;
  }

  /** 100 and 102–199. */
  informational(head: ResponseHead): string {
    return `${statusLine(head.status)}${this.#fields.write(head.fields)}\r\n`;
  }

  /** The end of a chunked body, with its trailers. */
  trailers(fields: FieldList): string {
    return `0\r\n${this.#fields.write(fields)}\r\n`;
  }

  #framed(): string {
    const length = this.#fields.contentLength;
    if (length === -1) {
      this.framing = 'chunked';
      return 'transfer-encoding: chunked\r\n';
    }
    this.framing = 'length';
    this.contentLength = length;
    return `content-length: ${length}\r\n`;
  }

  /** A method that usually has a body says that there is none (RFC 9110 §8.6). */
  #emptyRequest(method: string): string {
    const length = this.#fields.contentLength;
    if (length > 0) throw unfit('a content-length without its body');
    this.framing = 'none';
    const isUsual = method !== 'GET' && method !== 'HEAD' && method !== 'DELETE' && method !== 'OPTIONS';
    return length === 0 || isUsual ? 'content-length: 0\r\n' : '';
  }

  #emptyResponse(): string {
    if (this.#fields.contentLength > 0) throw unfit('a content-length without its body');
    this.framing = 'none';
    return 'content-length: 0\r\n';
  }

  #bare(text: string): string {
    this.framing = 'none';
    return `${text}\r\n`;
  }

  #switch(lines: string, context: ResponseContext): string {
    this.framing = 'tunnel';
    const accept = context.webSocketAccept;
    const proof = accept === null ? '' : `sec-websocket-accept: ${accept}\r\n`;
    return `${statusLine(101)}connection: upgrade\r\nupgrade: ${context.protocol!}\r\n${proof}${lines}\r\n`;
  }
}

/** What stands before the data of a chunk; `\r\n` stands behind it. */
export function chunkPrefix(byteCount: number): string {
  return `${byteCount.toString(16)}\r\n`;
}

function checkRequest(head: RequestHead): void {
  if (!isToken(head.method)) throw unfit('a method that is no token');
  if (head.authority !== '' && !isAuthority(head.authority))
    throw unfit('an authority that is no host and port');
  if (head.method === 'CONNECT') {
    if (!hasPort(head.authority)) throw unfit('CONNECT without a port');
  } else if (head.path.charCodeAt(0) !== slash && (head.path !== '*' || head.method !== 'OPTIONS')) {
    throw unfit('a path in no form that HTTP/1 has');
  }
  if (!isMadeOf(targetKinds, head.path)) throw unfit('a byte that no path may have');
}

function upgradeLines(head: RequestHead, webSocketKey: string | null): string {
  if (!isMadeOf(protocolKinds, head.protocol!) || head.protocol === '') {
    throw unfit('a protocol that is no token');
  }
  const lines = `connection: upgrade\r\nupgrade: ${head.protocol!}\r\n`;
  if (head.protocol !== 'websocket') return `${lines}\r\n`;
  if (webSocketKey === null) throw unfit('a WebSocket handshake without a key');
  const version = head.fields.includes('sec-websocket-version') ? '' : 'sec-websocket-version: 13\r\n';
  return `${lines}${version}sec-websocket-key: ${webSocketKey}\r\n\r\n`;
}

function connectionLine(context: ResponseContext, isDelimited: boolean): string {
  if (!context.isKeepAlive || !isDelimited) return 'connection: close\r\n';
  return context.isFirstVersion ? 'connection: keep-alive\r\n' : '';
}

const statusLines: string[] = [];

function statusLine(status: number): string {
  return (statusLines[status] ??= makeStatusLine(status));
}

function makeStatusLine(status: number): string {
  if (!Number.isInteger(status) || status < 100 || status > 999)
    throw unfit('a status of other than three digits');
  return `HTTP/1.1 ${status} ${phrases[status] ?? ''}\r\n`;
}

const slash = 0x2f;

/** `websocket`, `spdy/3.1`. */
const protocolKinds = tokenKinds.slice();
protocolKinds[slash] = 1;
