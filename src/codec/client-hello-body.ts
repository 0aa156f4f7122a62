/**
 * Reads the body of a ClientHello that has arrived whole. RFC 8446 §4.1.2.
 *
 * Every length is held against its container before it is followed, and every container must come out even: a hello
 * that two readers could understand differently is refused, because the backend behind us reads it again. Where this
 * reader looks into an extension it judges it fully; what it does not use (cipher suites, key shares) it only
 * measures.
 */

import { ProtocolError } from '../core/errors.ts';
import { normaliseHostname } from '../core/hostname.ts';
import { parseIp } from '../core/ip.ts';
import type { ClientHello } from './client-hello.ts';
import { codecCodes } from './codes.ts';
import { latin1Text } from './latin1.ts';

const extensionType = {
  serverName: 0,
  alpn: 16,
  supportedVersions: 43,
  encryptedClientHello: 0xfe0d,
} as const;

/** A bit for each extension that is read, to refuse the second of a kind (RFC 8446 §4.2). */
const seenBit = { serverName: 1, alpn: 2, supportedVersions: 4, encryptedClientHello: 8 } as const;

const nameTypeHost = 0;
const echType = { outer: 0, inner: 1 } as const;
const versionAndRandomBytes = 34;
const sessionIdBytesMax = 32;
const noProtocols: readonly string[] = Object.freeze([]);

/** `bytes` from `start` to `end` are the body, without the handshake header. Nothing beyond `end` is read. */
export function readHelloBody(bytes: Uint8Array, start: number, end: number): ClientHello {
  const at = skipToExtensions(bytes, start, end);
  const legacyVersion = uint16(bytes, start);
  // Before TLS 1.3 a hello may end without the extensions block.
  if (at === end) {
    return {
      serverName: undefined,
      alpn: noProtocols,
      encryptedClientHello: false,
      versionMax: legacyVersion,
    };
  }
  if (end - at < 2 || at + 2 + uint16(bytes, at) !== end)
    throw malformed('the extensions do not fill the hello');
  return readExtensions(bytes, at + 2, end, legacyVersion);
}

/** Steps over legacy_version, random, legacy_session_id, cipher_suites and legacy_compression_methods. */
function skipToExtensions(bytes: Uint8Array, start: number, end: number): number {
  let at = start + versionAndRandomBytes;
  if (at >= end) throw malformed('the hello ends before its session id');
  const sessionIdLength = bytes[at]!;
  if (sessionIdLength > sessionIdBytesMax) throw malformed('the session id is over 32 bytes');
  at += 1 + sessionIdLength;
  if (at + 2 > end) throw malformed('the hello ends before its cipher suites');
  const suitesLength = uint16(bytes, at);
  if (suitesLength === 0 || suitesLength % 2 !== 0)
    throw malformed('the cipher suites have an impossible length');
  at += 2 + suitesLength;
  if (at >= end) throw malformed('the hello ends before its compression methods');
  const compressionLength = bytes[at]!;
  if (compressionLength === 0) throw malformed('the compression methods are empty');
  at += 1 + compressionLength;
  if (at > end) throw malformed('the hello ends inside its compression methods');
  return at;
}

function readExtensions(bytes: Uint8Array, start: number, end: number, legacyVersion: number): ClientHello {
  let serverName: string | undefined = undefined;
  let alpn = noProtocols;
  let encryptedClientHello = false;
  let versionMax = legacyVersion;
  let seen = 0;
  for (let at = start; at < end;) {
    if (at + 4 > end) throw malformed('an extension is cut short');
    const type = uint16(bytes, at);
    const data = at + 4;
    at = data + uint16(bytes, at + 2);
    if (at > end) throw malformed('an extension passes the end of the hello');
    switch (type) {
      case extensionType.serverName:
        seen = markSeen(seen, seenBit.serverName);
        serverName = readServerName(bytes, data, at);
        break;
      case extensionType.alpn:
        seen = markSeen(seen, seenBit.alpn);
        alpn = readAlpn(bytes, data, at);
        break;
      case extensionType.supportedVersions:
        seen = markSeen(seen, seenBit.supportedVersions);
        versionMax = readVersionMax(bytes, data, at) || legacyVersion;
        break;
      case extensionType.encryptedClientHello:
        seen = markSeen(seen, seenBit.encryptedClientHello);
        encryptedClientHello = readIsEchOuter(bytes, data, at);
        break;
      default: // Not ours to judge, GREASE among them.
    }
  }
  return { serverName, alpn, encryptedClientHello, versionMax };
}

function markSeen(seen: number, bit: number): number {
  if ((seen & bit) !== 0) throw malformed('an extension comes twice');
  return seen | bit;
}

/**
 * ServerNameList with exactly one entry, a host_name. RFC 6066 §3 leaves room for other name types, but gives them no
 * format to skip them by; OpenSSL refuses them as well.
 */
function readServerName(bytes: Uint8Array, start: number, end: number): string {
  if (end - start < 5 || start + 2 + uint16(bytes, start) !== end)
    throw malformed('server_name has a wrong length');
  if (bytes[start + 2] !== nameTypeHost) throw malformed('server_name is of an unknown type');
  const name = start + 5;
  if (name + uint16(bytes, start + 3) !== end) throw malformed('server_name does not hold exactly one name');
  // 253 characters and a trailing dot; checked before the text is made.
  if (end - name > 254) throw malformed('server_name is over 253 characters');
  const text = latin1Text(bytes, name, end);
  const host = normaliseHostname(text);
  if (host !== undefined) return host;
  if (parseIp(text) !== undefined) return text.toLowerCase();
  throw malformed('server_name is no host name');
}

/** ProtocolNameList. RFC 7301 §3.1: empty strings MUST NOT be included. */
function readAlpn(bytes: Uint8Array, start: number, end: number): readonly string[] {
  if (end - start < 4 || start + 2 + uint16(bytes, start) !== end) throw malformed('alpn has a wrong length');
  const protocols: string[] = [];
  for (let at = start + 2; at < end;) {
    const name = at + 1;
    at = name + bytes[at]!;
    if (at === name) throw malformed('an alpn protocol is empty');
    if (at > end) throw malformed('an alpn protocol passes the end of its list');
    const isGreasePair = at - name === 2 && isGrease(uint16(bytes, name));
    if (!isGreasePair) protocols.push(protocolName(bytes, name, at));
  }
  return protocols;
}

/** The two names nearly every client sends cost no string of their own. */
function protocolName(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start;
  if (length === 2 && bytes[start] === 0x68 && bytes[start + 1] === 0x32) return 'h2';
  return length === 8 && isHttp11(bytes, start) ? 'http/1.1' : latin1Text(bytes, start, end);
}

/** 'http' and '/1.1', compared as two words. */
function isHttp11(bytes: Uint8Array, at: number): boolean {
  return (
    ((uint16(bytes, at) << 16) | uint16(bytes, at + 2)) === 0x68747470 &&
    ((uint16(bytes, at + 4) << 16) | uint16(bytes, at + 6)) === 0x2f312e31
  );
}

/** RFC 8446 §4.2.1. Drafts (0x7fxx) and GREASE are no versions that compare; 0 when nothing else is offered. */
function readVersionMax(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start - 1;
  if (length < 2 || length % 2 !== 0 || bytes[start] !== length) {
    throw malformed('supported_versions has a wrong length');
  }
  let max = 0;
  for (let at = start + 1; at < end; at += 2) {
    if (bytes[at] === 3) max = Math.max(max, uint16(bytes, at));
  }
  return max;
}

/** RFC 9849 §5: the outer form carries suite, config id, key and payload; the inner form is empty. */
function readIsEchOuter(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end) throw malformed('encrypted_client_hello is empty');
  if (bytes[start] === echType.inner && end - start === 1) return false;
  if (bytes[start] !== echType.outer) throw malformed('encrypted_client_hello is of an unknown form');
  const encLengthAt = start + 6;
  if (encLengthAt + 2 > end) throw malformed('encrypted_client_hello is cut short');
  const payloadLengthAt = encLengthAt + 2 + uint16(bytes, encLengthAt);
  if (payloadLengthAt + 2 > end) throw malformed('encrypted_client_hello is cut short');
  const payloadLength = uint16(bytes, payloadLengthAt);
  if (payloadLength === 0 || payloadLengthAt + 2 + payloadLength !== end) {
    throw malformed('encrypted_client_hello has a wrong payload length');
  }
  return true;
}

/** RFC 8701 §2: 0x0a0a, 0x1a1a, … 0xfafa. */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function malformed(message: string): ProtocolError {
  return new ProtocolError(codecCodes.helloMalformed, message);
}
