/**
 * The request head: its line, its target in four forms, and the field lines behind it (RFC 9112 §3).
 *
 * One host: the target's authority and Host name the same place or the request is refused, because what a rule
 * decides on must be what the backend sees.
 */

import { ProtocolError } from '../../core/errors.ts';
import { codecCodes } from '../codes.ts';
import type { RequestHead } from '../http-message.ts';
import { hasPort, isAuthority, isSameAuthority } from './authority.ts';
import { isMadeOf, isMadeOfBytes, targetKinds, tokenKinds } from './characters.ts';
import type { FieldBlock, Section } from './field-block.ts';
import { ambiguous, malformed } from './limits.ts';

export interface Http1Request {
  readonly head: RequestHead;
  readonly version: 'HTTP/1.0' | 'HTTP/1.1';
  readonly isChunked: boolean;
  /** 0 without a body; without meaning when `isChunked`. */
  readonly contentLength: number;
  /** True when the client's side allows another request on the connection. */
  readonly isKeepAlive: boolean;
  /** The client waits for 100 before it sends the body. */
  readonly expectsContinue: boolean;
  /** Null unless the request opens a WebSocket. */
  readonly webSocketKey: string | null;
}

/** The line is that of another protocol, or of a broken preface of HTTP/2: whoever sent it reads no HTTP/1. */
export class NotHttpError extends ProtocolError {
  constructor(message: string) {
    super(codecCodes.requestMalformed, message);
  }
}

/** What the first line says. */
export interface RequestLine {
  readonly method: string;
  readonly target: string;
  readonly version: 'HTTP/1.0' | 'HTTP/1.1';
}

/** Reads the line that ends at `end`, without its CRLF. Throws ProtocolError. */
export function parseRequestLine(section: Section, end: number, targetBytesMax: number): RequestLine {
  const { text, bytes, offset } = section;
  const methodEnd = text.indexOf(' ');
  if (methodEnd <= 0 || methodEnd > end || !isMadeOfBytes(tokenKinds, bytes, offset, offset + methodEnd)) {
    throw malformed('downstream', 'a method that is no token');
  }
  const targetEnd = end - ' HTTP/1.1'.length;
  // The version has a fixed length: what is wrong with the line is told by where the next space stands.
  const nextSpace = text.indexOf(' ', methodEnd + 1);
  if (nextSpace === -1 || nextSpace >= end) throw new NotHttpError('a request line without a version');
  if (nextSpace - methodEnd - 1 > targetBytesMax) throw targetOversized();
  const isTarget = isMadeOfBytes(targetKinds, bytes, offset + methodEnd + 1, offset + nextSpace);
  if (!isTarget || nextSpace === methodEnd + 1) {
    throw malformed('downstream', 'a target with a fragment, or a byte that no target may have');
  }
  const version = text.substring(nextSpace + 1, end);
  if (nextSpace !== targetEnd || (version !== 'HTTP/1.1' && version !== 'HTTP/1.0')) {
    throw versionFault(version);
  }
  return { method: text.substring(0, methodEnd), target: text.substring(methodEnd + 1, targetEnd), version };
}

/** Puts line and fields together. Throws ProtocolError. */
export function makeRequest(line: RequestLine, block: FieldBlock, scheme: string): Http1Request {
  const { method, target, version } = line;
  checkFraming(block, version);
  const head: RequestHead = {
    method,
    scheme,
    authority: block.host ?? '',
    path: target,
    protocol: null,
    fields: block.fields.slice(),
  };
  if (target.charCodeAt(0) !== slash || method === 'CONNECT') applyTarget(head, block.host);
  checkHost(block.host, version);
  const isUpgrade = block.upgrade !== null && block.isUpgrade && version === 'HTTP/1.1';
  if (isUpgrade) head.protocol = upgradeProtocol(block);
  if (head.protocol === 'websocket') checkWebSocket(head, block);
  if (method === 'CONNECT' && (block.isChunked || block.contentLength > 0)) {
    throw ambiguous('downstream', 'CONNECT together with a body');
  }
  return {
    head,
    version,
    isChunked: block.isChunked,
    contentLength: block.contentLength === -1 ? 0 : block.contentLength,
    isKeepAlive: version === 'HTTP/1.1' ? !block.isClose : block.isKeepAlive && !block.isClose,
    expectsContinue: block.expectsContinue && version === 'HTTP/1.1',
    webSocketKey: head.protocol === 'websocket' ? block.webSocketKey : null,
  };
}

/** The head passed `headBytesMax`; `text` is its beginning. The target is told from the rest, because 414 says more than 431. */
export function isTargetTheFault(text: string, targetBytesMax: number): boolean {
  const methodEnd = text.indexOf(' ');
  if (methodEnd === -1) return false;
  const rest = /[ \r\n]/.exec(text.slice(methodEnd + 1));
  return (rest?.index ?? text.length - methodEnd - 1) > targetBytesMax;
}

export function targetOversized(): ProtocolError {
  return new ProtocolError(codecCodes.targetOversized, 'the target is longer than targetBytesMax');
}

const slash = 0x2f;

function checkFraming(block: FieldBlock, version: string): void {
  if (!block.isChunked) return;
  if (block.contentLength !== -1) {
    throw ambiguous('downstream', 'Transfer-Encoding together with Content-Length');
  }
  if (version === 'HTTP/1.0') throw ambiguous('downstream', 'Transfer-Encoding in an HTTP/1.0 request');
}

function checkHost(host: string | undefined, version: string): void {
  if (host === undefined) {
    if (version === 'HTTP/1.1') throw malformed('downstream', 'no Host in an HTTP/1.1 request');
  } else if (!isAuthority(host)) {
    throw ambiguous('downstream', 'a Host that is no host and port');
  }
}

function applyTarget(head: RequestHead, host: string | undefined): void {
  const target = head.path;
  if (head.method === 'CONNECT') {
    if (!isAuthority(target) || !hasPort(target)) {
      throw malformed('downstream', 'CONNECT to what is no host and port');
    }
    // Old clients leave the port out of the Host of a CONNECT.
    if (host !== undefined && !isSameHost(host, target)) throw hostDiffers();
    head.authority = target;
    head.path = '';
  } else if (target === '*') {
    if (head.method !== 'OPTIONS')
      throw malformed('downstream', 'a target of * for another method than OPTIONS');
  } else {
    applyAbsolute(head, target, host);
  }
}

function applyAbsolute(head: RequestHead, target: string, host: string | undefined): void {
  const match = /^(https?):\/\/([^/?]*)(.*)$/i.exec(target);
  if (match === null) throw malformed('downstream', 'a target in no form that is served');
  const [, scheme, authority, rest] = match as unknown as [string, string, string, string];
  if (!isAuthority(authority)) throw ambiguous('downstream', 'a target whose authority is no host and port');
  head.scheme = scheme.toLowerCase();
  head.authority = authority;
  if (host !== undefined && !isSameAuthority(host, authority, head.scheme)) throw hostDiffers();
  if (rest === '' && head.method === 'OPTIONS') head.path = '*';
  else head.path = rest.startsWith('/') ? rest : `/${rest}`;
}

function isSameHost(host: string, target: string): boolean {
  const left = host.toLowerCase();
  const right = target.toLowerCase();
  return left === right || left === right.slice(0, right.lastIndexOf(':'));
}

/**
 * One protocol name, in the model's words. A list is a choice the server may decline, and h2c is one we decline:
 * the backend behind must not be talked into another protocol than the one its requests are judged by.
 */
function upgradeProtocol(block: FieldBlock): string | null {
  const name = block.upgrade!;
  if (name === 'h2c' || name.startsWith('h2c,') || !isMadeOf(protocolKinds, name) || name === '') return null;
  if (block.isChunked || block.contentLength > 0) {
    throw ambiguous('downstream', 'Upgrade together with a body');
  }
  return name;
}

/** A token, or two with a slash between: `websocket`, `spdy/3.1`. */
const protocolKinds = tokenKinds.slice();
protocolKinds[slash] = 1;

function checkWebSocket(head: RequestHead, block: FieldBlock): void {
  if (head.method !== 'GET' || block.webSocketKey === null || !isWebSocketKey(block.webSocketKey)) {
    throw malformed('downstream', 'a WebSocket handshake without a key, or not by GET');
  }
}

/** Sixteen bytes in base64 (RFC 6455 §4.1). */
function isWebSocketKey(key: string): boolean {
  return /^[A-Za-z0-9+/]{22}==$/.test(key);
}

function hostDiffers(): ProtocolError {
  return ambiguous('downstream', 'a Host that differs from the target');
}

function versionFault(version: string): ProtocolError {
  if (/^HTTP\/[0-9](?:\.[0-9])?$/.test(version)) {
    return new ProtocolError(codecCodes.versionRefused, 'a version of HTTP that is not served');
  }
  return new NotHttpError('a request line that does not end in a version of HTTP');
}
