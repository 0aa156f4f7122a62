/**
 * PROXY protocol version 1, one line of text: `PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n`. proxy-protocol.txt §2.1.
 *
 * Strict, because the line decides who the client is: single spaces, no leading zeros, families that agree.
 */

import { assert, ProtocolError } from '../core/errors.ts';
import { formatIp, parseIp, type IpAddress } from '../core/ip.ts';
import { codecCodes } from './codes.ts';
import { latin1Text } from './latin1.ts';
import type { ProxyAddress, ProxyHeader } from './proxy-protocol.ts';

/** 'PROXY ' */
export const prefixV1: Uint8Array = new Uint8Array([0x50, 0x52, 0x4f, 0x58, 0x59, 0x20]);
/** The longest line of the specification: UNKNOWN with two full IPv6 addresses, CRLF included. */
export const lineV1BytesMax = 107;

const carriageReturn = 0x0d;
const lineFeed = 0x0a;
const portMax = 65535;

/** Length of the line with its CRLF, undefined while its end is not there. */
export function lineLengthV1(bytes: Uint8Array): number | undefined {
  const end = Math.min(bytes.length, lineV1BytesMax);
  for (let at = prefixV1.length; at < end; at++) {
    const afterReturn = bytes[at - 1] === carriageReturn;
    if (afterReturn !== (bytes[at] === lineFeed)) throw malformed('the line does not end in CR LF');
    if (afterReturn) return at + 1;
  }
  if (bytes.length < lineV1BytesMax) return undefined;
  throw new ProtocolError(
    codecCodes.proxyHeaderOversized,
    `the line does not end within ${lineV1BytesMax} bytes`,
  );
}

/** `bytes` are one line with its CRLF, its prefix seen. */
export function parseLineV1(bytes: Uint8Array): ProxyHeader {
  const line = latin1Text(bytes, prefixV1.length, bytes.length - 2);
  // Whatever follows UNKNOWN MUST be ignored.
  if (line === 'UNKNOWN' || line.startsWith('UNKNOWN ')) return header(undefined, undefined);
  const fields = line.split(' ');
  if (fields.length !== 5) throw malformed('the line has not exactly six fields');
  const [family, source, destination, sourcePort, destinationPort] = fields as [
    string,
    string,
    string,
    string,
    string,
  ];
  if (family !== 'TCP4' && family !== 'TCP6') throw malformed('the family is none of TCP4, TCP6, UNKNOWN');
  return header(
    { address: parseAddress(source, family), port: parsePort(sourcePort) },
    { address: parseAddress(destination, family), port: parsePort(destinationPort) },
  );
}

/** The line for a connection; UNKNOWN when either end has no IP address. An IPv4 end beside an IPv6 one is mapped. */
export function encodeProxyV1(
  source: ProxyAddress | undefined,
  destination: ProxyAddress | undefined,
): Uint8Array {
  if (source === undefined || destination === undefined) return asciiBytes('PROXY UNKNOWN\r\n');
  const from = knownIp(source);
  const to = knownIp(destination);
  const isV4 = from.family === 4 && to.family === 4;
  const spell = (ip: IpAddress) => (isV4 || ip.family === 6 ? formatIp(ip) : `::ffff:${formatIp(ip)}`);
  const family = isV4 ? 'TCP4' : 'TCP6';
  return asciiBytes(`PROXY ${family} ${spell(from)} ${spell(to)} ${source.port} ${destination.port}\r\n`);
}

/** What we encode is our own knowledge, so an address that is none is our fault and not the peer's. */
export function knownIp(address: ProxyAddress): IpAddress {
  const ip = parseIp(address.address);
  assert(ip !== undefined, 'a PROXY header is written from IP addresses');
  assert(
    Number.isInteger(address.port) && address.port >= 0 && address.port <= portMax,
    'a port is 0 to 65535',
  );
  return ip;
}

function parseAddress(text: string, family: 'TCP4' | 'TCP6'): string {
  const ip = text.includes(':') === (family === 'TCP6') ? parseIp(text) : undefined;
  if (ip === undefined) throw malformed(`an address is none of ${family}`);
  return formatIp(ip);
}

function parsePort(text: string): number {
  const port = /^(0|[1-9][0-9]{0,4})$/.test(text) ? Number(text) : portMax + 1;
  if (port > portMax) throw malformed('a port is no decimal from 0 to 65535');
  return port;
}

function header(source: ProxyAddress | undefined, destination: ProxyAddress | undefined): ProxyHeader {
  return { version: 1, command: 'proxy', source, destination, tlvs: [] };
}

function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function malformed(message: string): ProtocolError {
  return new ProtocolError(codecCodes.proxyHeaderMalformed, message);
}
