/**
 * What a path may mean to the server behind: as it is written, and as lenient servers read it, percent-decoded once,
 * backslashes turned, empty and dot segments resolved. A rule that refuses holds if either matches; one that allows
 * only if both do: `/%61dmin` and `//admin` are no way around `^/admin`.
 */
import type { LinearRegex } from '../core/linear-regex.ts';

export function matchesPath(regex: LinearRegex, path: string, refuses: boolean): boolean {
  const matches = regex.test(path);
  if (matches === refuses) return matches;
  const plain = plainPath(path);
  return plain === path ? matches : regex.test(plain);
}

/** The path as a lenient server reads it; its query stays as it is written. */
export function plainPath(path: string): string {
  const end = path.indexOf('?');
  const written = end < 0 ? path : path.slice(0, end);
  if (!/[%\\]|\/\.|\/\//.test(written)) return path;
  const decoded = written.replaceAll(/%[0-9a-f]{2}/gi, decodeOctet).replaceAll('\\', '/');
  const segments: string[] = [];
  const parts = decoded.split('/');
  for (const [index, part] of parts.entries()) {
    if (part === '..') segments.pop();
    else if (part !== '' && part !== '.') segments.push(part);
    if (index === parts.length - 1 && (part === '' || part === '.' || part === '..')) segments.push('');
  }
  const resolved = `/${segments.join('/')}`;
  return end < 0 ? resolved : resolved + path.slice(end);
}

function decodeOctet(triplet: string): string {
  return String.fromCharCode(Number.parseInt(triplet.slice(1), 16));
}
