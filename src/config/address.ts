/** Addresses as the configuration writes them: where a listener binds and where a backend listens. */

import { resolve } from 'node:path';
import { domainToASCII } from 'node:url';
import { normaliseHostname } from '../core/hostname.ts';
import { formatIp, isLoopback, isUnspecified, parseIp } from '../core/ip.ts';
import type { AdminAddress, EndpointAddress, ListenAddress } from '../model/settings.ts';

/** sun_path holds 108 bytes, the last of them a zero. */
const unixPathBytesMax = 107;

/** `:443`, `127.0.0.1:8443`, `[::1]:8443`; port 0 asks for a free one. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const parts = splitPort(text);
  if (parts === undefined) return undefined;
  if (parts.host === '' && !parts.bracketed) return { host: '', port: parts.port };
  const ip = parseBracketedIp(parts);
  return ip === undefined ? undefined : { host: formatIp(ip), port: parts.port };
}

/** The one spelling of a listener's address, which is also its name. */
export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `host:port`, `[v6]:port` or `unix:path`, a relative path counted from `directory`. */
export function parseEndpoint(text: string, directory: string): EndpointAddress | undefined {
  if (text.startsWith('unix:')) return parseUnix(text.slice(5), directory);
  const parts = splitPort(text);
  if (parts === undefined || parts.port === 0) return undefined;
  const ip = parseBracketedIp(parts);
  if (ip !== undefined) {
    return isUnspecified(ip) ? undefined : { kind: 'tcp', host: formatIp(ip), port: parts.port };
  }
  const host = parts.bracketed ? undefined : normaliseHostname(toAscii(parts.host));
  return host === undefined ? undefined : { kind: 'tcp', host, port: parts.port };
}

/** As a listener's, or `unix:path`, a relative path counted from `directory`. */
export function parseAdminAddress(text: string, directory: string): AdminAddress | undefined {
  if (text.startsWith('unix:')) return parseUnix(text.slice(5), directory);
  const address = parseListenAddress(text);
  return address === undefined ? undefined : { kind: 'tcp', ...address };
}

/** Two addresses that cannot be bound side by side. Port 0 becomes a port of its own unless the host is the same. */
export function overlap(a: ListenAddress, b: ListenAddress): boolean {
  if (a.port !== b.port) return false;
  if (a.host === b.host) return true;
  return a.port !== 0 && (containsHost(a.host, b.host) || containsHost(b.host, a.host));
}

/** No host and `::` take every address, IPv4 included; 0.0.0.0 takes every IPv4 address. */
export function containsHost(host: string, other: string): boolean {
  return host === '' || host === '::' || (host === '0.0.0.0' && !other.includes(':'));
}

export function isLoopbackHost(host: string): boolean {
  const ip = parseIp(host);
  return ip !== undefined && isLoopback(ip);
}

/** A name in letters of any script becomes its xn-- form; what has none is returned as it is and refused later. */
export function toAscii(name: string): string {
  return /[^\0-\x7f]/.test(name) ? domainToASCII(name) || name : name;
}

interface HostPort {
  readonly host: string;
  readonly bracketed: boolean;
  readonly port: number;
}

function splitPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]*)\]|([^[\]:]*)):(0|[1-9]\d{0,4})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return undefined;
  return { host: match[1] ?? match[2]!, bracketed: match[1] !== undefined, port };
}

/** Brackets and colons go together: `[::1]`, never `[127.0.0.1]`. */
function parseBracketedIp({ host, bracketed }: HostPort): ReturnType<typeof parseIp> {
  return bracketed === host.includes(':') ? parseIp(host) : undefined;
}

function parseUnix(path: string, directory: string): { kind: 'unix'; path: string } | undefined {
  if (path === '' || path.includes('\0')) return undefined;
  const absolute = resolve(directory, path);
  return Buffer.byteLength(absolute) > unixPathBytesMax ? undefined : { kind: 'unix', path: absolute };
}
