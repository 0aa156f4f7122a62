/**
 * IP addresses and CIDRs: parsed once, strictly, then compared as words.
 *
 * Text follows RFC 4291 §2.2 in and RFC 5952 out. Refused because programs disagree on what they mean: leading
 * zeros in IPv4 (octal to some), short IPv4 forms, zone ids, brackets. IPv4 in IPv6 clothes (::ffff:a.b.c.d) is
 * IPv4 from here on, so that a rule for one spelling catches the other.
 */

import { assert } from './errors.ts';

export type IpFamily = 4 | 6;

export interface IpWords {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
}

/**
 * An address as four 32-bit words, most significant first. IPv4 is kept as v4-mapped words: 0, 0, 0xffff, address.
 *
 * The words are signed (`| 0`): V8 stores every int32 in place, while half of the uint32 values would each need a
 * box on the heap. Equality and bit operators do not care; use `>>> 0` for an ordering or to print.
 */
export class IpAddress implements IpWords {
  readonly family: IpFamily;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;

  /** The family is derived: v4-mapped words are IPv4. */
  constructor(w0: number, w1: number, w2: number, w3: number) {
    this.w0 = w0 | 0;
    this.w1 = w1 | 0;
    this.w2 = w2 | 0;
    this.w3 = w3 | 0;
    this.family = this.w0 === 0 && this.w1 === 0 && this.w2 === v4MappedWord ? 4 : 6;
  }
}

/** A network. Host bits of `address` are zero. */
export interface Cidr {
  readonly address: IpAddress;
  /** In the family's own bits: 0–32 or 0–128. */
  readonly prefixLength: number;
}

export interface ParsedCidr {
  readonly cidr: Cidr;
  /** True when the text named an address inside the network, `10.0.0.1/8`: a likely slip of the operator. */
  readonly hostBitsSet: boolean;
}

/** The address that `text` spells, or undefined when it is none. Runs once for each connection. */
export function parseIp(text: string): IpAddress | undefined {
  const length = text.length;
  if (length > addressCharactersMax) return undefined;
  const word = parseV4Word(text, 0, length);
  return word >= 0 ? new IpAddress(0, 0, v4MappedWord, word) : parseV6(text, length);
}

/** The one canonical spelling of an address: dotted decimal, or RFC 5952. */
export function formatIp(ip: IpAddress): string {
  return ip.family === 4 ? formatV4(ip.w3) : formatV6(ip);
}

export function sameIp(a: IpAddress, b: IpAddress): boolean {
  return a.w3 === b.w3 && a.w2 === b.w2 && a.w1 === b.w1 && a.w0 === b.w0;
}

/** `address/prefix`, or an address alone, which means that address and no other (/32, /128). */
export function parseCidr(text: string): ParsedCidr | undefined {
  const slash = text.indexOf('/');
  const ip = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  if (slash < 0) return { cidr: hostCidr(ip), hostBitsSet: false };
  const written = parsePrefixLength(text.slice(slash + 1));
  if (written === undefined) return undefined;
  // ::ffff:10.0.0.0/104 counts its prefix in IPv6 bits; every other text in its family's own.
  const offset = ip.family === 4 && !text.includes(':') ? 96 : 0;
  if (offset + written > 128) return undefined;
  const address = maskIp(ip, offset + written);
  const prefixLength = address.family === 4 ? offset + written - 96 : written;
  return { cidr: { address, prefixLength }, hostBitsSet: !sameIp(address, ip) };
}

/** Always with its prefix, so that an address alone prints as /32 or /128. */
export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr.address)}/${cidr.prefixLength}`;
}

/** The first `bits` of 128 bits, zeros behind them. */
export function maskIp(words: IpWords, bits: number): IpAddress {
  return new IpAddress(
    words.w0 & prefixMask(bits),
    words.w1 & prefixMask(bits - 32),
    words.w2 & prefixMask(bits - 64),
    words.w3 & prefixMask(bits - 96),
  );
}

/** The network of exactly one address. */
export function hostCidr(ip: IpAddress): Cidr {
  return { address: ip, prefixLength: ip.family === 4 ? 32 : 128 };
}

/** An IPv4 address is in no IPv6 network, ::/0 included. */
export function cidrContains(cidr: Cidr, ip: IpAddress): boolean {
  const { address, prefixLength } = cidr;
  if (ip.family !== address.family) return false;
  const bits = address.family === 4 ? 96 + prefixLength : prefixLength;
  return (
    ((ip.w0 ^ address.w0) & prefixMask(bits)) === 0 &&
    ((ip.w1 ^ address.w1) & prefixMask(bits - 32)) === 0 &&
    ((ip.w2 ^ address.w2) & prefixMask(bits - 64)) === 0 &&
    ((ip.w3 ^ address.w3) & prefixMask(bits - 96)) === 0
  );
}

/** 127.0.0.0/8 and ::1. */
export function isLoopback(ip: IpAddress): boolean {
  if (ip.family === 4) return ip.w3 >>> 24 === 127;
  return ip.w0 === 0 && ip.w1 === 0 && ip.w2 === 0 && ip.w3 === 1;
}

/** 0.0.0.0 and :: — "every address" to a listener, no address at all to a peer. */
export function isUnspecified(ip: IpAddress): boolean {
  return ip.w3 === 0 && ip.w0 === 0 && ip.w1 === 0 && (ip.w2 === 0 || ip.family === 4);
}

/** Reads 4 or 16 bytes in network order. The caller has checked that they are there. */
export function bytesToIp(bytes: Uint8Array, offset: number, length: 4 | 16): IpAddress {
  if (length === 4) return new IpAddress(0, 0, v4MappedWord, readWord(bytes, offset));
  return new IpAddress(
    readWord(bytes, offset),
    readWord(bytes, offset + 4),
    readWord(bytes, offset + 8),
    readWord(bytes, offset + 12),
  );
}

/**
 * Writes an address in network order and answers how many bytes it took: 4 or 16 by its family, unless
 * `length` asks for IPv4 in its v4-mapped 16 bytes.
 */
export function writeIp(
  ip: IpAddress,
  bytes: Uint8Array,
  offset: number,
  length: 4 | 16 = ip.family === 4 ? 4 : 16,
): number {
  assert(length === 16 || ip.family === 4, 'an IPv6 address does not fit 4 bytes');
  if (length === 16) {
    writeWord(bytes, offset, ip.w0);
    writeWord(bytes, offset + 4, ip.w1);
    writeWord(bytes, offset + 8, ip.w2);
  }
  writeWord(bytes, offset + length - 4, ip.w3);
  return length;
}

const v4MappedWord = 0xffff;
/** ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255 */
const addressCharactersMax = 45;
const dot = 0x2e;
const colon = 0x3a;

/** Scratch of parseV6: it never calls back, so one is enough for a thread. */
const groups = new Uint16Array(8);

/** The IPv4 address from `start` to `end` as uint32, or -1. */
function parseV4Word(text: string, start: number, end: number): number {
  let word = 0;
  let octet = -1;
  let dots = 0;
  for (let at = start; at < end; at++) {
    const code = text.charCodeAt(at);
    const digit = code - 0x30;
    if (digit >= 0 && digit <= 9) {
      // After a leading zero no further digit: 010 is 8 to some and 10 to others.
      if (octet === 0) return -1;
      octet = octet < 0 ? digit : octet * 10 + digit;
      if (octet > 255) return -1;
    } else {
      if (code !== dot || octet < 0 || ++dots > 3) return -1;
      word = word * 256 + octet;
      octet = -1;
    }
  }
  return dots === 3 && octet >= 0 ? word * 256 + octet : -1;
}

function parseV6(text: string, length: number): IpAddress | undefined {
  let count = 0;
  /** How many groups stand before `::`, or -1 without one. */
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === colon) {
    if (text.charCodeAt(1) !== colon) return undefined;
    gap = 0;
    at = 2;
  }
  while (at < length) {
    if (count === 8) return undefined;
    const start = at;
    let value = 0;
    for (; at < length; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit < 0) break;
      value = (value << 4) | digit;
      if (at - start === 4) return undefined;
    }
    if (at === start) return undefined;
    if (at < length && text.charCodeAt(at) === dot) {
      const word = count > 6 ? -1 : parseV4Word(text, start, length);
      if (word < 0) return undefined;
      groups[count++] = word >>> 16;
      groups[count++] = word;
      break;
    }
    groups[count++] = value;
    if (at === length) break;
    if (text.charCodeAt(at++) !== colon || at === length) return undefined;
    if (text.charCodeAt(at) === colon) {
      if (gap >= 0) return undefined;
      gap = count;
      at++;
    }
  }
  // `::` stands for at least one group.
  if (gap < 0 ? count !== 8 : count > 7) return undefined;
  if (gap >= 0) spreadGroups(gap, count);
  return new IpAddress(groupPair(0), groupPair(2), groupPair(4), groupPair(6));
}

/** Moves the groups after the gap to the end and fills the gap with zeros. */
function spreadGroups(gap: number, count: number): void {
  groups.copyWithin(8 - (count - gap), gap, count);
  groups.fill(0, gap, 8 - (count - gap));
}

function groupPair(index: number): number {
  return (groups[index]! << 16) | groups[index + 1]!;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function parsePrefixLength(text: string): number | undefined {
  return /^(0|[1-9][0-9]{0,2})$/.test(text) ? Number(text) : undefined;
}

/** A word whose first `bits` bits are set. JavaScript shifts modulo 32, hence the two ends. */
function prefixMask(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}

function readWord(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!;
}

function writeWord(bytes: Uint8Array, offset: number, word: number): void {
  bytes[offset] = word >>> 24;
  bytes[offset + 1] = word >>> 16;
  bytes[offset + 2] = word >>> 8;
  bytes[offset + 3] = word;
}

function formatV4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** RFC 5952 §4: no leading zeros, lower case, `::` for the first of the longest runs of two zero groups or more. */
function formatV6(ip: IpAddress): string {
  const words = [ip.w0, ip.w1, ip.w2, ip.w3];
  const parts = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  let best = 0;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && parts[end] === 0) end++;
    if (end - start > bestLength) {
      best = start;
      bestLength = end - start;
    }
  }
  const hex = parts.map((part) => part.toString(16));
  if (bestLength < 2) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`;
}
