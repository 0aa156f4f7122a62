/**
 * Names to addresses for the data path: the hosts file first, then DNS by c-ares, never `dns.lookup`, which shares
 * one thread pool with every other job and waits behind them. One per worker; IP literals never come here.
 *
 * Order of the answer: IPv4 and IPv6 in turns, beginning with IPv4. That differs from getaddrinfo (RFC 6724), which
 * puts IPv6 first where a route exists: the dialler tries addresses one after the other, and a network that
 * swallows IPv6 is commoner than one without IPv4. The start rotates within each family from one look-up to the
 * next, so that load spreads over the addresses.
 *
 * A stale answer beats none: while DNS fails, or is slow, an answer is used for up to an hour past its TTL
 * (RFC 8767). "No such name" is an answer, not a failure, and ends that.
 */

import { Resolver as CaresResolver } from 'node:dns';
import {
  candidateNames,
  parseHosts,
  parseResolvConf,
  WatchedFile,
  type Hosts,
  type ResolvConf,
} from './resolver-files.ts';
import { queryCandidates, type DnsAnswer, type ResolveFailure } from './resolver-query.ts';

export type ResolveResult =
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'failed'; readonly reason: ResolveFailure };

export type ResolveCallback = (result: ResolveResult) => void;

export interface ResolverOptions {
  /** `address` or `address:port`, instead of those of resolv.conf. */
  readonly servers?: readonly string[];
  readonly hostsPath?: string;
  readonly resolvConfPath?: string;
  /** Monotonic milliseconds; the clock of `peek`'s `nowMs`. By default that of `Network`. */
  readonly clock?: () => number;
  /** c-ares: the first try's time, doubled with each further one, and how many tries. */
  readonly queryTimeoutMs?: number;
  readonly queryTries?: number;
  /** Names kept; the longest unused one goes first. */
  readonly namesMax?: number;
  /** Names being asked for at a time. */
  readonly queriesMax?: number;
  /** Callers waiting in all. */
  readonly waitersMax?: number;
}

export class Resolver {
  readonly #servers: readonly string[] | undefined;
  readonly #clock: () => number;
  readonly #queryTimeoutMs: number;
  readonly #queryTries: number;
  readonly #namesMax: number;
  readonly #queriesMax: number;
  readonly #waitersMax: number;
  readonly #hosts: WatchedFile<Hosts>;
  readonly #resolvConf: WatchedFile<ResolvConf>;
  /** In order of use, about: see #touch. */
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new Map<string, Flight>();
  #cares: CaresResolver;
  #waiterCount = 0;
  #closed = false;

  constructor(options: ResolverOptions = {}) {
    this.#servers = options.servers;
    this.#clock = options.clock ?? (() => Number(process.hrtime.bigint()) / 1e6);
    this.#queryTimeoutMs = options.queryTimeoutMs ?? 1500;
    this.#queryTries = options.queryTries ?? 3;
    this.#namesMax = options.namesMax ?? 10_000;
    this.#queriesMax = options.queriesMax ?? 1000;
    this.#waitersMax = options.waitersMax ?? 10_000;
    this.#hosts = new WatchedFile(options.hostsPath ?? '/etc/hosts', parseHosts, fileCheckMs);
    this.#resolvConf = new WatchedFile(
      options.resolvConfPath ?? '/etc/resolv.conf',
      parseResolvConf,
      fileCheckMs,
    );
    this.#cares = this.#createCares();
  }

  /** The addresses of a name that is known now, to be tried in this order. Undefined: ask `resolve`. */
  peek(name: string, nowMs: number): readonly string[] | undefined {
    this.#refreshFiles(nowMs);
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.failure !== undefined || nowMs >= entry.freshUntilMs) return undefined;
    this.#touch(entry, nowMs);
    return entry.nextAddresses();
  }

  /**
   * Calls back exactly once, within `timeoutMs` and never before it returns. `name` is normalised (lower case);
   * a final dot keeps the search list away. The callback must not throw.
   */
  resolve(name: string, nowMs: number, timeoutMs: number, callback: ResolveCallback): void {
    const known = this.#known(name, nowMs) ?? this.#fromHosts(name, nowMs);
    if (known !== undefined) return process.nextTick(callback, known);
    const flight = this.#flights.get(name);
    const isFull = flight === undefined && this.#flights.size >= this.#queriesMax;
    if (this.#closed || isFull || this.#waiterCount >= this.#waitersMax) {
      return process.nextTick(callback, this.#staleOr(name, nowMs, 'name-failed'));
    }
    this.#wait(flight ?? this.#takeOff(name), timeoutMs, callback);
  }

  /** Whoever still waits is told `name-failed`. */
  close(): void {
    this.#closed = true;
    this.#entries.clear();
    for (const flight of this.#flights.values())
      this.#land(flight, { kind: 'failed', reason: 'name-failed' });
    this.#cares.cancel();
  }

  #known(name: string, nowMs: number): ResolveResult | undefined {
    this.#refreshFiles(nowMs);
    const entry = this.#entries.get(name);
    if (entry === undefined || nowMs >= entry.freshUntilMs) return undefined;
    this.#touch(entry, nowMs);
    return entry.next();
  }

  /** `localhost` is the loopback even where no file says so (RFC 6761 §6.3). */
  #fromHosts(name: string, nowMs: number): ResolveResult | undefined {
    const key = name.endsWith('.') ? name.slice(0, -1) : name;
    const isLocal = key === 'localhost' || key.endsWith('.localhost');
    const addresses = this.#hosts.parsed.get(key) ?? (isLocal ? loopback : undefined);
    if (addresses === undefined) return undefined;
    const v6 = addresses.filter((address) => address.includes(':'));
    const v4 = addresses.filter((address) => !address.includes(':'));
    // It holds until the file changes, which forgets everything.
    const entry = new Entry(name, v4, v6, Number.POSITIVE_INFINITY, nowMs);
    this.#keep(entry);
    return entry.next();
  }

  #takeOff(name: string): Flight {
    const flight = new Flight(name);
    this.#flights.set(name, flight);
    const candidates = candidateNames(name, this.#resolvConf.parsed);
    queryCandidates(this.#cares, candidates, (answer) => {
      // Otherwise it was landed by close.
      if (this.#flights.get(name) === flight) this.#land(flight, answer);
    });
    return flight;
  }

  #wait(flight: Flight, timeoutMs: number, callback: ResolveCallback): void {
    const patienceMs = isUsable(this.#entries.get(flight.name), this.#clock())
      ? Math.min(timeoutMs, staleAnswerAfterMs)
      : timeoutMs;
    const waiter: Waiter = { callback, timer: undefined };
    waiter.timer = setTimeout(() => {
      flight.waiters.delete(waiter);
      this.#waiterCount--;
      callback(this.#staleOr(flight.name, this.#clock(), 'name-timeout'));
    }, patienceMs);
    flight.waiters.add(waiter);
    this.#waiterCount++;
  }

  #land(flight: Flight, answer: DnsAnswer): void {
    this.#flights.delete(flight.name);
    const entry = this.#judge(flight.name, answer, this.#clock());
    if (!flight.isOutdated && !this.#closed) this.#keep(entry);
    this.#waiterCount -= flight.waiters.size;
    for (const { timer, callback } of flight.waiters) {
      clearTimeout(timer);
      callback(entry.next());
    }
  }

  /** What an answer makes of the name: a new entry, or the old one once more while DNS fails. */
  #judge(name: string, answer: DnsAnswer, nowMs: number): Entry {
    if (answer.kind === 'found') {
      const ttlMs = Math.min(Math.max(answer.ttlS * 1000, ttlMsMin), ttlMsMax);
      return new Entry(name, answer.v4, answer.v6, nowMs + ttlMs, nowMs);
    }
    const before = this.#entries.get(name);
    if (answer.reason !== 'name-not-found' && isUsable(before, nowMs)) {
      // Stale, but used as fresh for a moment: otherwise every look-up would wait for DNS to fail again.
      before.freshUntilMs = Math.min(nowMs + negativeTtlMs, before.staleUntilMs);
      return before;
    }
    return new Entry(name, [], [], nowMs + negativeTtlMs, nowMs, answer.reason);
  }

  #staleOr(name: string, nowMs: number, reason: ResolveFailure): ResolveResult {
    const entry = this.#entries.get(name);
    return isUsable(entry, nowMs) ? entry.next() : { kind: 'failed', reason };
  }

  #keep(entry: Entry): void {
    this.#entries.delete(entry.name);
    if (this.#entries.size >= this.#namesMax) {
      const [longestUnused] = this.#entries.keys();
      this.#entries.delete(longestUnused!);
    }
    this.#entries.set(entry.name, entry);
  }

  /** To the end of the order of use, but not on each of 15,000 look-ups a second. */
  #touch(entry: Entry, nowMs: number): void {
    if (nowMs - entry.touchedMs < touchMs) return;
    entry.touchedMs = nowMs;
    this.#entries.delete(entry.name);
    this.#entries.set(entry.name, entry);
  }

  /** A changed file changes what names mean: everything known is forgotten. */
  #refreshFiles(nowMs: number): void {
    const hostsChanged = this.#hosts.refresh(nowMs);
    const resolvConfChanged = this.#resolvConf.refresh(nowMs);
    if (!hostsChanged && !resolvConfChanged) return;
    this.#entries.clear();
    for (const flight of this.#flights.values()) flight.isOutdated = true;
    // c-ares takes no other servers while it asks; the old one ends with its last question.
    if (resolvConfChanged) this.#cares = this.#createCares();
  }

  #createCares(): CaresResolver {
    const cares = new CaresResolver({ timeout: this.#queryTimeoutMs, tries: this.#queryTries });
    cares.setServers(this.#servers ?? this.#resolvConf.parsed.servers);
    return cares;
  }
}

const fileCheckMs = 5000;
const ttlMsMin = 1000;
const ttlMsMax = 3_600_000;
const negativeTtlMs = 2000;
const staleMsMax = 3_600_000;
/** RFC 8767 §5: a client need not wait longer when there is an old answer. */
const staleAnswerAfterMs = 1800;
const touchMs = 1000;
const loopback = ['127.0.0.1', '::1'];

interface Waiter {
  readonly callback: ResolveCallback;
  timer: NodeJS.Timeout | undefined;
}

/** One question in flight, and everybody who waits for it. */
class Flight {
  readonly name: string;
  readonly waiters = new Set<Waiter>();
  /** Set off before a file changed: its answer serves who waits for it and is not kept. */
  isOutdated = false;

  constructor(name: string) {
    this.name = name;
  }
}

/** What is known of a name: at least one address, or a failure. */
class Entry {
  readonly name: string;
  readonly failure: ResolveFailure | undefined;
  readonly staleUntilMs: number;
  freshUntilMs: number;
  touchedMs: number;
  /** The same addresses from each starting point, made once: a look-up allocates nothing. */
  readonly #rotations: readonly (readonly string[])[];
  #turn = 0;

  constructor(
    name: string,
    v4: readonly string[],
    v6: readonly string[],
    freshUntilMs: number,
    nowMs: number,
    failure?: ResolveFailure,
  ) {
    this.name = name;
    this.failure = failure;
    this.freshUntilMs = freshUntilMs;
    this.staleUntilMs = freshUntilMs + staleMsMax;
    this.touchedMs = nowMs;
    this.#rotations = Array.from({ length: Math.max(v4.length, v6.length) }, (_, turn) =>
      interleave(rotate(v4, turn), rotate(v6, turn)),
    );
  }

  nextAddresses(): readonly string[] {
    const addresses = this.#rotations[this.#turn]!;
    this.#turn = (this.#turn + 1) % this.#rotations.length;
    return addresses;
  }

  next(): ResolveResult {
    if (this.failure !== undefined) return { kind: 'failed', reason: this.failure };
    return { kind: 'addresses', addresses: this.nextAddresses() };
  }
}

/** Whether it holds addresses that are fresh, or stale and better than none. */
function isUsable(entry: Entry | undefined, nowMs: number): entry is Entry {
  return entry !== undefined && entry.failure === undefined && nowMs < entry.staleUntilMs;
}

function rotate(list: readonly string[], by: number): readonly string[] {
  const start = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

function interleave(first: readonly string[], second: readonly string[]): readonly string[] {
  const both: string[] = [];
  for (let at = 0; at < Math.max(first.length, second.length); at++) {
    if (at < first.length) both.push(first[at]!);
    if (at < second.length) both.push(second[at]!);
  }
  return both;
}
