/**
 * From lines of the request log to an allowlist: hosts that egress let through, how often, and which of them a
 * wildcard would stand for. Holds a bounded number of hosts, however long the log is.
 */
import { targetOfRequest, TargetRefusal } from '../egress/target.ts';
import { parseIp } from '../core/ip.ts';

/** Ports of one host; the rest are left out. */
const portsMax = 64;
/** So many names below one are worth a wildcard. */
const siblingsMin = 3;

/** How egress decided: an entry for the whitelist, one for passthrough. Rewrites allow by themselves. */
const lists: Readonly<Record<string, 'whitelist' | 'passthrough'>> = {
  'ALLOWED-BY-DEFAULT': 'whitelist',
  'WHITE-LISTED': 'whitelist',
  PASSTHROUGH: 'passthrough',
};

export interface LearnedHost {
  readonly host: string;
  readonly count: number;
  /** Of CONNECT, beyond 443; ascending. */
  readonly ports: readonly number[];
}

export interface Suggestion {
  readonly pattern: string;
  /** Hosts that were seen below. */
  readonly count: number;
}

export interface LearnOptions {
  readonly sinceMs: number;
  /** Also hosts that no rule named and the default refused. */
  readonly includesBlocked: boolean;
  /** Hosts that are remembered; requests to those beyond are counted. */
  readonly hostsMax: number;
}

interface Seen {
  count: number;
  readonly ports: Set<number>;
}

export class LearnedHosts {
  readonly #options: LearnOptions;
  readonly #hosts = { whitelist: new Map<string, Seen>(), passthrough: new Map<string, Seen>() };
  /** Requests that were taken. */
  requests = 0;
  /** Requests to hosts that there was no room for. */
  leftOut = 0;
  /** Lines about requests of any kind: none means that this is no such log. */
  requestLines = 0;

  constructor(options: LearnOptions) {
    this.#options = options;
  }

  /** One line of the log; what is no request that egress judged is passed over. */
  add(line: string): void {
    if (!line.includes('"msg":"request"')) return;
    const fields = parseLine(line);
    if (fields === undefined) return;
    this.requestLines++;
    const list = this.#listOf(fields);
    if (list === undefined || typeof fields['host'] !== 'string') return;
    const time = Date.parse(String(fields['time']));
    if (!(time >= this.#options.sinceMs)) return;
    const isTunnel = fields['method'] === 'CONNECT';
    const target = targetOfRequest(isTunnel ? 'https' : 'http', fields['host']);
    if (target instanceof TargetRefusal) return;
    this.#count(this.#hosts[list], target.host, isTunnel && target.port !== 443 ? target.port : null);
  }

  /** The most frequent first, then by name. */
  hosts(list: 'whitelist' | 'passthrough'): LearnedHost[] {
    return [...this.#hosts[list]]
      .map(([host, { count, ports }]) => ({ host, count, ports: [...ports].toSorted((a, b) => a - b) }))
      .toSorted((a, b) => b.count - a.count || (a.host < b.host ? -1 : 1));
  }

  /** What was refused, and what came to nothing because there is no such host, is no part of an allowlist. */
  #listOf({ action, verdict, reason }: Record<string, unknown>): 'whitelist' | 'passthrough' | undefined {
    if (action === 'BLOCKED') {
      return this.#options.includesBlocked && reason === 'host-blocked' ? 'whitelist' : undefined;
    }
    if (verdict === 'refused' || reason === 'name-not-found') return undefined;
    return typeof action === 'string' && Object.hasOwn(lists, action) ? lists[action] : undefined;
  }

  #count(hosts: Map<string, Seen>, host: string, port: number | null): void {
    let seen = hosts.get(host);
    if (seen === undefined) {
      if (this.#hosts.whitelist.size + this.#hosts.passthrough.size >= this.#options.hostsMax) {
        this.leftOut++;
        return;
      }
      hosts.set(host, (seen = { count: 0, ports: new Set() }));
    }
    this.requests++;
    seen.count++;
    if (port !== null && seen.ports.size < portsMax) seen.ports.add(port);
  }
}

/** Wildcards for names that have three siblings at least, those of the most siblings first. */
export function suggestWildcards(hosts: readonly LearnedHost[]): Suggestion[] {
  const counts = new Map<string, number>();
  for (const { host } of hosts) {
    const parent = wildcardParent(host);
    if (parent !== undefined) counts.set(parent, (counts.get(parent) ?? 0) + 1);
  }
  return [...counts]
    .filter(([, count]) => count >= siblingsMin)
    .map(([parent, count]) => ({ pattern: `*.${parent}`, count }))
    .toSorted((a, b) => b.count - a.count || (a.pattern < b.pattern ? -1 : 1));
}

/** The hosts, with a wildcard in the place of those below it. It allows private ports of any of them. */
export function withWildcards(hosts: readonly LearnedHost[]): LearnedHost[] {
  const patterns = new Set(suggestWildcards(hosts).map(({ pattern }) => pattern));
  const merged = new Map<string, { count: number; ports: Set<number> }>();
  for (const { host, count, ports } of hosts) {
    const pattern = `*.${wildcardParent(host) ?? ''}`;
    const name = patterns.has(pattern) ? pattern : host;
    const entry = merged.get(name) ?? { count: 0, ports: new Set() };
    entry.count += count;
    for (const port of ports) entry.ports.add(port);
    merged.set(name, entry);
  }
  return [...merged]
    .map(([host, { count, ports }]) => ({ host, count, ports: [...ports].toSorted((a, b) => a - b) }))
    .toSorted((a, b) => b.count - a.count || (a.host < b.host ? -1 : 1));
}

/** Below these anybody may have a name: a wildcard would allow everybody's. */
const sharedSuffixes: ReadonlySet<string> = new Set([
  'amazonaws.com',
  'appspot.com',
  'azurewebsites.net',
  'blogspot.com',
  'cloudapp.net',
  'cloudfront.net',
  'core.windows.net',
  'firebaseapp.com',
  'fly.dev',
  'github.io',
  'gitlab.io',
  'googleapis.com',
  'googleusercontent.com',
  'herokuapp.com',
  'netlify.app',
  'ngrok.io',
  'onrender.com',
  'pages.dev',
  'vercel.app',
  'web.app',
  'workers.dev',
]);

/** `api.example.com` → `example.com`; undefined where a wildcard would hold names of more than one owner. */
function wildcardParent(host: string): string | undefined {
  const dot = host.indexOf('.');
  if (dot < 0 || parseIp(host) !== undefined) return undefined;
  const parent = host.slice(dot + 1);
  const labels = parent.split('.');
  // `com`, and `co.uk` with its like: registries of two letters have short names below them.
  const isRegistry = labels.length === 2 && labels[1]!.length === 2 && labels[0]!.length <= 4;
  if (labels.length < 2 || isRegistry) return undefined;
  for (let index = 0; index < labels.length - 1; index++) {
    // Regions and services of a cloud stand between: `s3.eu-west-1.amazonaws.com`.
    if (sharedSuffixes.has(labels.slice(index).join('.'))) return undefined;
  }
  return parent;
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // A line that a rotation cut.
    return undefined;
  }
}
