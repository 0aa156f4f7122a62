/**
 * Which path lies below which prefix. The one place that decides it: the data path, `explain` and the checks of
 * the configuration all ask here.
 *
 * A rule that a client could write its way around is worse than none, so a path is matched after RFC 3986 §6.2.2
 * normalisation (`%61` is `a`, `/x/../api` is `/api`) and with doubled slashes as one. What backends are known to
 * read differently (`%2F` and `\` as a slash, `/api;v=1` as `/api`) is read both ways: see `matchPath` of
 * route-group.ts. Case matters. The path itself goes to the backend as it was received.
 */

export const pathPrefixCharactersMax = 1024;

/**
 * True for a path that has only one reading: no escape, no parameter, no fragment, no backslash, no empty or dot
 * segment. What follows `?` does not count. Nearly every path ends here, so this allocates nothing.
 */
export function isPlainPath(path: string): boolean {
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at);
    if (code > semicolon && code !== backslash && code !== questionMark) continue;
    if (code === questionMark) return true;
    if (code === percent || code === semicolon || code === backslash || code === hash) return false;
    if (code !== slash) continue;
    const next = path.charCodeAt(at + 1);
    if (next === slash || next === dot) return false;
  }
  return true;
}

/** True when `path`, normalised or plain, is `prefix` or lies below it. The query does not count. */
export function isBelow(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false;
  if (path.length === prefix.length || prefix === '') return true;
  const next = path.charCodeAt(prefix.length);
  return next === slash || next === questionMark;
}

/** The path as RFC 3986 §6.2.2 reads it, without its query, doubled slashes as one: `/a//b/%2e%2e/%63?x` is `/a/c`. */
export function normalisePath(path: string): string {
  const bare = withoutQuery(path);
  return isPlainPath(bare) ? bare : removeDotSegments(decodeUnreserved(bare));
}

/**
 * The path as lenient servers read it: `%2F`, `%5C` and `\` are slashes, what follows `;` in a segment is no part of
 * its name, and what follows `#` or a NUL is not read.
 */
export function lenientPath(path: string): string {
  const slashed = withoutQuery(path)
    .replace(/(?:#|%00).*$/s, '')
    .replace(/%2f|%5c|\\/gi, '/');
  return removeDotSegments(decodeUnreserved(slashed).replace(/;[^/]*/g, ''));
}

/**
 * Why `text` is no prefix, completing "a path that …", or null. Other spellings of a prefix are refused rather than
 * rewritten, but for the slash at its end, which `canonicalPrefix` takes away.
 */
export function pathPrefixFault(text: string): string | null {
  if (!text.startsWith('/')) return 'begins with "/"';
  if (text.length > pathPrefixCharactersMax) return `has at most ${pathPrefixCharactersMax} characters`;
  if (/[?#]/.test(text)) return 'has no query and no fragment';
  if (/[;\\]|%2f|%5c/i.test(text))
    return 'has no ";", no backslash and no encoded slash, which servers read differently';
  if (!/^(?:[\w\-.~!$&'()*+,=:@/]|%[\da-f]{2})*$/i.test(text))
    return 'has only characters of RFC 3986, others as %XX';
  if (text.endsWith('/') || normalisePath(text) !== text)
    return 'is normalised: no empty or dot segments, no needless %XX';
  return null;
}

/** Without slashes at its end: `/api/` → `/api`, `/` → `''`. */
export function canonicalPrefix(text: string): string {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === slash) end--;
  return text.slice(0, end);
}

const hash = 0x23;
const percent = 0x25;
const dot = 0x2e;
const slash = 0x2f;
const semicolon = 0x3b;
const questionMark = 0x3f;
const backslash = 0x5c;

function withoutQuery(path: string): string {
  const end = path.indexOf('?');
  return end < 0 ? path : path.slice(0, end);
}

/** RFC 3986 §6.2.2.1 and §6.2.2.2. An escape that is none stays as it is. */
function decodeUnreserved(path: string): string {
  return path.replace(/%[\da-f]{2}/gi, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return /[\w\-.~]/.test(character) ? character : escape.toUpperCase();
  });
}

/** RFC 3986 §5.2.4, with empty segments left out. */
function removeDotSegments(path: string): string {
  if (!path.startsWith('/')) return path;
  const segments = path.split('/');
  const kept: string[] = [];
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '.' && segment !== '') kept.push(segment);
  }
  const last = segments.at(-1);
  const isFolder = last === '' || last === '.' || last === '..';
  return kept.length === 0 ? '/' : `/${kept.join('/')}${isFolder ? '/' : ''}`;
}
