/**
 * The target of a request or a tunnel: one canonical object, made once, from which verdict, SNI, Host, leaf
 * certificate, pool key and log line all take what they need.
 *
 * Whatever two programs could read differently is refused: zone ids, user information, percent-encoding, and every
 * spelling of an IPv4 address but dotted decimal (`0x7f.1`, `2130706433`, `127.1`, `010.0.0.1`). IPv4 in IPv6
 * clothes is IPv4 from here on.
 */
import { domainToASCII } from 'node:url';
import { normaliseHostname } from '../core/hostname.ts';
import { formatIp, parseIp, type IpAddress } from '../core/ip.ts';

export const targetSchemes = ['http', 'https'] as const;
export type TargetScheme = (typeof targetSchemes)[number];

export interface Target {
  readonly scheme: TargetScheme;
  /** A normalised host name, or an address in its one spelling, without brackets. */
  readonly host: string;
  /** The address when `host` is one. */
  readonly ip: IpAddress | null;
  /** 1–65535. */
  readonly port: number;
}

/** Why a text names no target. */
export class TargetRefusal {
  /** Completes "the target …"; holds nothing of the client's. */
  readonly fault: string;

  constructor(fault: string) {
    this.fault = fault;
  }
}

export interface Host {
  readonly host: string;
  readonly ip: IpAddress | null;
}

/** 253 characters of a name in A-labels are at most 253 of U-labels in UTF-8 times four. */
const hostBytesMax = 1024;

const defaultPorts: Readonly<Record<TargetScheme, number>> = { http: 80, https: 443 };

/** The authority of a CONNECT request, `host:port` (RFC 9112 §3.2.3). A tunnel is taken for https until it shows otherwise. */
export function targetOfConnect(authority: string): Target | TargetRefusal {
  const parts = splitAuthority(authority);
  if (parts instanceof TargetRefusal) return parts;
  if (parts.port === null) return new TargetRefusal('has no port');
  const host = parseHost(parts.host, parts.isBracketed);
  return host instanceof TargetRefusal ? host : { scheme: 'https', ...host, port: parts.port };
}

/** Scheme and authority of an absolute target, or of a request inside a tunnel. Without a port it is the scheme's. */
export function targetOfRequest(scheme: string, authority: string): Target | TargetRefusal {
  if (scheme !== 'http' && scheme !== 'https')
    return new TargetRefusal('has a scheme other than http and https');
  const parts = splitAuthority(authority);
  if (parts instanceof TargetRefusal) return parts;
  const host = parseHost(parts.host, parts.isBracketed);
  if (host instanceof TargetRefusal) return host;
  return { scheme, ...host, port: parts.port ?? defaultPorts[scheme] };
}

/** Host and port as a codec found them apart from each other (SOCKS5). `host` is a name or an address without brackets. */
export function targetOfHost(host: string, port: number): Target | TargetRefusal {
  if (port === 0) return new TargetRefusal('has port 0');
  const parsed = parseHost(host, host.includes(':'));
  return parsed instanceof TargetRefusal ? parsed : { scheme: 'https', ...parsed, port };
}

/** A host as clients and operators write it, in its canonical form. */
export function canonicalHost(text: string): Host | TargetRefusal {
  const match = /^\[([^\]]*)\]$/.exec(text);
  return match === null ? parseHost(text, text.includes(':')) : parseHost(match[1]!, true);
}

/** `host`, or `host:port` where the port is not the scheme's own: what Host and :authority say. */
export function authorityOf({ scheme, host, port }: Target): string {
  return port === defaultPorts[scheme] ? hostText(host) : hostPort(host, port);
}

/** `host:port`, an IPv6 address in brackets. */
export function hostPort(host: string, port: number): string {
  return `${hostText(host)}:${port}`;
}

export function sameTarget(a: Target, b: Target): boolean {
  return a.host === b.host && a.port === b.port && a.scheme === b.scheme;
}

export function defaultPort(scheme: TargetScheme): number {
  return defaultPorts[scheme];
}

interface Authority {
  readonly host: string;
  readonly isBracketed: boolean;
  readonly port: number | null;
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function splitAuthority(text: string): Authority | TargetRefusal {
  if (text.includes('@')) return new TargetRefusal('holds user information');
  const match = /^(?:\[([^\]]*)\]|([^[\]:]*))(?::(\d*))?$/.exec(text);
  if (match === null) return new TargetRefusal('is not host:port');
  const port = parsePort(match[3]);
  if (port instanceof TargetRefusal) return port;
  return { host: match[1] ?? match[2]!, isBracketed: match[1] !== undefined, port };
}

/** `host:` with nothing behind the colon is the scheme's port (RFC 3986 §3.2.3). */
function parsePort(text: string | undefined): number | null | TargetRefusal {
  if (text === undefined || text === '') return null;
  if (!/^[1-9]\d{0,4}$/.test(text)) return new TargetRefusal('has a port that is no plain number');
  const port = Number(text);
  return port > 65_535 ? new TargetRefusal('has a port above 65535') : port;
}

function parseHost(text: string, isBracketed: boolean): Host | TargetRefusal {
  if (text === '') return new TargetRefusal('names no host');
  if (text.length > hostBytesMax) return new TargetRefusal('has a host that is too long');
  if (text.includes('%')) return new TargetRefusal('has a zone id or percent-encoding');
  if (isBracketed) return parseBracketed(text);
  const ascii = toAscii(text);
  if (ascii === undefined) return new TargetRefusal('has a host that is no valid international name');
  const ip = parseIp(ascii);
  // An address that appears only after mapping (full-width digits) was not meant to be read as one.
  if (ip !== undefined && ascii === text) return { host: formatIp(ip), ip };
  const name = normaliseHostname(ascii);
  return name === undefined
    ? new TargetRefusal('has a host that is neither a name nor an address')
    : { host: name, ip: null };
}

function parseBracketed(text: string): Host | TargetRefusal {
  const ip = text.includes(':') ? parseIp(text) : undefined;
  return ip === undefined
    ? new TargetRefusal('has brackets around what is no IPv6 address')
    : { host: formatIp(ip), ip };
}

/** Heads are latin1: a name in other letters came as the bytes of its UTF-8. */
function toAscii(text: string): string | undefined {
  if (!/[^\0-\x7f]/.test(text)) return text;
  const name = /[^\0-\xff]/.test(text) ? text : decodeUtf8(text);
  if (name === undefined) return undefined;
  return domainToASCII(name) || undefined;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decodeUtf8(latin1: string): string | undefined {
  try {
    return utf8.decode(Buffer.from(latin1, 'latin1'));
  } catch {
    return undefined;
  }
}
