/**
 * `host[:port]` as it may stand in Host and in a target (RFC 9110 §4.2, §7.2): letters, digits, `-._~`, or an IPv6
 * literal in brackets. The rest of what RFC 3986 allows in a name no host has, and parsers differ on it.
 */

import { parseIp } from '../../core/ip.ts';

const pattern = /^(?:[A-Za-z0-9._~-]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?$/;

/** Matching the pattern takes longer than asking whether the last good authority was the same: it nearly always was. */
let lastGood = '';

export function isAuthority(text: string): boolean {
  if (text === lastGood && text !== '') return true;
  const match = pattern.exec(text);
  if (match === null || text.length > 300) return false;
  const [, literal, port] = match;
  if (literal !== undefined && (!literal.includes(':') || parseIp(literal) === undefined)) return false;
  if (port !== undefined && Number(port) > 65535) return false;
  lastGood = text;
  return true;
}

export function hasPort(authority: string): boolean {
  return /:[0-9]+$/.test(authority);
}

/** True when both name the same place: without regard to case, and to the scheme's own port. */
export function isSameAuthority(left: string, right: string, scheme: string): boolean {
  if (left === right) return true;
  return canonical(left, scheme) === canonical(right, scheme);
}

function canonical(authority: string, scheme: string): string {
  const name = authority.toLowerCase();
  const port = scheme === 'https' ? ':443' : ':80';
  return name.endsWith(port) ? name.slice(0, -port.length) : name;
}
