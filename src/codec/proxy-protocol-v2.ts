/**
 * PROXY protocol version 2, binary: signature, version and command, family, length, addresses, TLVs.
 * proxy-protocol.txt §2.2; the checksum is §2.2.3.
 */

import { assert, ProtocolError } from '../core/errors.ts';
import { bytesToIp, formatIp, writeIp } from '../core/ip.ts';
import { codecCodes } from './codes.ts';
import { crc32c } from './crc32c.ts';
import { knownIp } from './proxy-protocol-v1.ts';
import type { ProxyAddress, ProxyHeader, ProxyTlv } from './proxy-protocol.ts';

export interface ProxyV2Options {
  /** Written in this order. A checksum (type 0x03) is not among them: `crc32c` writes it. */
  readonly tlvs?: readonly ProxyTlv[];
  /** Adds a checksum of the whole header as the last TLV. */
  readonly crc32c?: boolean;
}

/** CR LF CR LF NUL CR LF 'QUIT' LF: no line of any text protocol begins so. */
export const prefixV2: Uint8Array = new Uint8Array([13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]);
const fixedBytes = 16;
export const headerV2BytesMax = fixedBytes + 0xffff;

const versionAndCommand = { local: 0x20, proxy: 0x21 } as const;
const tlvHeaderBytes = 3;
const checksumType = 0x03;
const checksumBytes = 4;

/** By the upper half of the family byte: bytes of the address block, and of one IP address in it. */
const families = [
  { name: 'UNSPEC', blockBytes: 0, ipBytes: undefined },
  { name: 'INET', blockBytes: 12, ipBytes: 4 },
  { name: 'INET6', blockBytes: 36, ipBytes: 16 },
  { name: 'UNIX', blockBytes: 216, ipBytes: undefined },
] as const;
type Family = (typeof families)[number];

/** The lower half of the family byte. Only TCP names a client: a datagram's addresses are no connection's. */
const transport = { unspecified: 0, stream: 1, datagram: 2 } as const;

/** Length of the whole header, undefined while the length field is not there. */
export function headerLengthV2(bytes: Uint8Array, bytesMax: number): number | undefined {
  if (bytes.length <= prefixV2.length) return undefined;
  const command = bytes[prefixV2.length];
  if (command !== versionAndCommand.local && command !== versionAndCommand.proxy) {
    throw malformed('the version is not 2 or the command is unknown');
  }
  if (bytes.length < fixedBytes) return undefined;
  const length = fixedBytes + ((bytes[14]! << 8) | bytes[15]!);
  if (length <= bytesMax) return length;
  throw new ProtocolError(codecCodes.proxyHeaderOversized, `the header is over ${bytesMax} bytes`);
}

/** `bytes` are one header, its length and command seen. */
export function parseHeaderV2(bytes: Uint8Array): ProxyHeader {
  // With LOCAL the receiver MUST discard everything behind the fixed part, the family included.
  if (bytes[prefixV2.length] === versionAndCommand.local) return header('local', undefined, undefined, []);
  const family = families[bytes[13]! >> 4];
  const transportCode = bytes[13]! & 0x0f;
  if (family === undefined || transportCode > transport.datagram)
    throw malformed('the address family is unknown');
  const tlvsAt = fixedBytes + family.blockBytes;
  if (tlvsAt > bytes.length) throw malformed('the address block is cut short');
  const tlvs = parseTlvs(bytes, tlvsAt);
  if (family.ipBytes === undefined || transportCode !== transport.stream) {
    return header('proxy', undefined, undefined, tlvs);
  }
  return header('proxy', addressAt(bytes, 0, family.ipBytes), addressAt(bytes, 1, family.ipBytes), tlvs);
}

/** The header for a connection over TCP. Without an address it says UNSPEC; an IPv4 end beside an IPv6 one is mapped. */
export function encodeProxyV2(
  source: ProxyAddress | undefined,
  destination: ProxyAddress | undefined,
  options: ProxyV2Options = {},
): Uint8Array {
  const known = source !== undefined && destination !== undefined;
  const family = known ? familyOf(source, destination) : families[0];
  const tlvs = options.tlvs ?? [];
  const checksumAt = fixedBytes + family.blockBytes + tlvsLength(tlvs);
  const length = checksumAt + (options.crc32c ? tlvHeaderBytes + checksumBytes : 0);
  assert(length <= headerV2BytesMax, 'a PROXY header holds at most 65535 bytes behind its fixed part');
  const bytes = fixedPart(length, versionAndCommand.proxy, family);
  if (known && family.ipBytes !== undefined) {
    writeAddress(bytes, 0, family.ipBytes, source);
    writeAddress(bytes, 1, family.ipBytes, destination);
  }
  writeTlvs(bytes, fixedBytes + family.blockBytes, tlvs);
  if (options.crc32c) writeChecksum(bytes, checksumAt);
  return bytes;
}

/** The header for a connection of the proxy's own, such as a health check. */
export function encodeProxyV2Local(): Uint8Array {
  return fixedPart(fixedBytes, versionAndCommand.local, families[0]);
}

function fixedPart(length: number, command: number, family: Family): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set(prefixV2);
  bytes[12] = command;
  bytes[13] = family.blockBytes === 0 ? 0 : (families.indexOf(family) << 4) | transport.stream;
  bytes[14] = (length - fixedBytes) >> 8;
  bytes[15] = length - fixedBytes;
  return bytes;
}

function familyOf(source: ProxyAddress, destination: ProxyAddress): Family {
  return families[knownIp(source).family === 4 && knownIp(destination).family === 4 ? 1 : 2];
}

/** Both addresses stand before both ports. `index` is 0 for the source, 1 for the destination. */
function addressAt(bytes: Uint8Array, index: 0 | 1, ipBytes: 4 | 16): ProxyAddress {
  const portAt = fixedBytes + 2 * ipBytes + 2 * index;
  return {
    address: formatIp(bytesToIp(bytes, fixedBytes + index * ipBytes, ipBytes)),
    port: (bytes[portAt]! << 8) | bytes[portAt + 1]!,
  };
}

function writeAddress(bytes: Uint8Array, index: 0 | 1, ipBytes: 4 | 16, address: ProxyAddress): void {
  writeIp(knownIp(address), bytes, fixedBytes + index * ipBytes, ipBytes);
  const portAt = fixedBytes + 2 * ipBytes + 2 * index;
  bytes[portAt] = address.port >> 8;
  bytes[portAt + 1] = address.port;
}

function parseTlvs(bytes: Uint8Array, start: number): ProxyTlv[] {
  const tlvs: ProxyTlv[] = [];
  let checksumSeen = false;
  for (let at = start; at < bytes.length;) {
    const valueAt = at + tlvHeaderBytes;
    if (valueAt > bytes.length) throw malformed('a TLV is cut short');
    const type = bytes[at]!;
    const end = valueAt + ((bytes[at + 1]! << 8) | bytes[at + 2]!);
    if (end > bytes.length) throw malformed('a TLV passes the end of the header');
    if (type === checksumType) {
      if (checksumSeen || end - valueAt !== checksumBytes)
        throw malformed('the checksum is repeated or not 4 bytes');
      checksumSeen = true;
      verifyChecksum(bytes, valueAt);
    }
    tlvs.push({ type, value: new Uint8Array(bytes.subarray(valueAt, end)) });
    at = end;
  }
  return tlvs;
}

function tlvsLength(tlvs: readonly ProxyTlv[]): number {
  return tlvs.reduce((length, tlv) => length + tlvHeaderBytes + tlv.value.length, 0);
}

function writeTlvs(bytes: Uint8Array, start: number, tlvs: readonly ProxyTlv[]): void {
  let at = start;
  for (const { type, value } of tlvs) {
    assert(type !== checksumType, 'the checksum is asked for by an option');
    writeTlvHeader(bytes, at, type, value.length);
    bytes.set(value, at + tlvHeaderBytes);
    at += tlvHeaderBytes + value.length;
  }
}

function writeTlvHeader(bytes: Uint8Array, at: number, type: number, length: number): void {
  bytes[at] = type;
  bytes[at + 1] = length >> 8;
  bytes[at + 2] = length;
}

function writeChecksum(bytes: Uint8Array, at: number): void {
  writeTlvHeader(bytes, at, checksumType, checksumBytes);
  const valueAt = at + tlvHeaderBytes;
  const checksum = checksumWithout(bytes, valueAt);
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(valueAt, checksum);
}

function verifyChecksum(bytes: Uint8Array, valueAt: number): void {
  const sent = new DataView(bytes.buffer, bytes.byteOffset).getUint32(valueAt);
  if (sent === checksumWithout(bytes, valueAt)) return;
  throw new ProtocolError(codecCodes.proxyHeaderChecksum, 'the CRC32c does not match the header');
}

/** CRC32c of the whole header with zeros in the place of the checksum itself. */
function checksumWithout(bytes: Uint8Array, valueAt: number): number {
  const before = crc32c(bytes.subarray(0, valueAt));
  return crc32c(bytes.subarray(valueAt + checksumBytes), crc32c(new Uint8Array(checksumBytes), before));
}

function header(
  command: ProxyHeader['command'],
  source: ProxyAddress | undefined,
  destination: ProxyAddress | undefined,
  tlvs: readonly ProxyTlv[],
): ProxyHeader {
  return { version: 2, command, source, destination, tlvs };
}

function malformed(message: string): ProtocolError {
  return new ProtocolError(codecCodes.proxyHeaderMalformed, message);
}
