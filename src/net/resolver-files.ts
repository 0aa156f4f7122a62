/**
 * The two files that decide what a name means before DNS is asked: hosts(5) and resolv.conf(5). Both are parsed
 * once and again when they changed, which is looked up at most once per `checkMs` (one stat: some microseconds).
 */

import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { formatIp, parseIp } from '../core/ip.ts';

/** Host name in lower case → its addresses in the order of the file. */
export type Hosts = ReadonlyMap<string, readonly string[]>;

export interface ResolvConf {
  /** In the form `dns.setServers` takes. */
  readonly servers: readonly string[];
  /** Domains to complete a short name with. */
  readonly search: readonly string[];
  /** A name with at least so many dots is tried as it is first. */
  readonly ndots: number;
}

/** A small text file, parsed. A missing or unreadable file counts as empty. */
export class WatchedFile<Parsed> {
  readonly #path: string;
  readonly #parse: (text: string) => Parsed;
  readonly #checkMs: number;
  #stamp = '';
  #nextCheckMs = Number.NEGATIVE_INFINITY;
  #parsed: Parsed;

  constructor(path: string, parse: (text: string) => Parsed, checkMs: number) {
    this.#path = path;
    this.#parse = parse;
    this.#checkMs = checkMs;
    this.#parsed = parse('');
  }

  get parsed(): Parsed {
    return this.#parsed;
  }

  /** True when the file was found changed and has been parsed anew. */
  refresh(nowMs: number): boolean {
    if (nowMs < this.#nextCheckMs) return false;
    this.#nextCheckMs = nowMs + this.#checkMs;
    const stamp = fileStamp(this.#path);
    if (stamp === this.#stamp) return false;
    this.#stamp = stamp;
    this.#parsed = this.#parse(readStart(this.#path));
    return true;
  }
}

/** `address name alias … # comment`. Lines without a valid address are skipped, as the C library does. */
export function parseHosts(text: string): Hosts {
  const hosts = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [addressText = '', ...names] = words(line, '#');
    const ip = parseIp(addressText);
    if (ip === undefined) continue;
    const address = formatIp(ip);
    for (const name of names) {
      const key = name.toLowerCase();
      const addresses = hosts.get(key);
      if (addresses === undefined) hosts.set(key, [address]);
      else if (!addresses.includes(address) && addresses.length < hostsAddressesMax) addresses.push(address);
    }
  }
  return hosts;
}

/** `nameserver`, `search`/`domain` (the last one counts) and `options ndots:N`; the rest is c-ares' own business. */
export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = [];
  let search: readonly string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword, ...values] = words(line, '#', ';');
    if (keyword === 'nameserver' && isIP(values[0] ?? '') !== 0) servers.push(values[0]!);
    else if (keyword === 'search' || keyword === 'domain') search = values.map(withoutDot).filter(isDomain);
    else if (keyword === 'options') ndots = values.reduce(readNdots, ndots);
  }
  return {
    // Without a nameserver line the resolver of this machine is meant.
    servers: servers.length === 0 ? ['127.0.0.1'] : servers.slice(0, serversMax),
    search: search.slice(0, searchMax),
    ndots,
  };
}

/** The absolute names to ask for, in order. A name with a final dot is absolute already. */
export function candidateNames(name: string, { search, ndots }: ResolvConf): readonly string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const completed = search
    .map((domain) => `${name}.${domain}`)
    .filter((candidate) => candidate.length <= nameCharactersMax);
  const dots = name.split('.').length - 1;
  return dots >= ndots ? [name, ...completed] : [...completed, name];
}

/** glibc's limits, except that it takes any number of search domains since 2.26: each is a question on a miss. */
const serversMax = 3;
const searchMax = 6;
const ndotsMax = 15;
const nameCharactersMax = 253;
const fileBytesMax = 1024 * 1024;
const hostsAddressesMax = 16;

function words(line: string, ...commentMarks: readonly string[]): string[] {
  let text = line;
  for (const mark of commentMarks) text = text.split(mark, 1)[0]!;
  return text.split(/\s+/).filter((word) => word !== '');
}

function withoutDot(domain: string): string {
  return domain.replace(/\.$/, '').toLowerCase();
}

function isDomain(domain: string): boolean {
  return domain !== '' && domain.length <= nameCharactersMax;
}

function readNdots(ndots: number, option: string): number {
  const match = /^ndots:(\d{1,4})$/.exec(option);
  return match === null ? ndots : Math.min(Number(match[1]), ndotsMax);
}

/** Tells one state of a file from another; an editor that replaces the file changes its inode. */
function fileStamp(path: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(path);
    return `${mtimeMs}/${size}/${ino}`;
  } catch {
    return '';
  }
}

/** Whole lines from the first `fileBytesMax` bytes. */
function readStart(path: string): string {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const bytes = Buffer.alloc(Math.min(fstatSync(fd).size, fileBytesMax));
    const count = readSync(fd, bytes, 0, bytes.length, 0);
    const text = bytes.toString('utf8', 0, count);
    return count < fileBytesMax ? text : text.slice(0, text.lastIndexOf('\n') + 1);
  } catch {
    return '';
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
