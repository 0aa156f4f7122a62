/**
 * One name asked of DNS, by c-ares: A and AAAA together for each candidate, until one has an address.
 * c-ares bounds the time by its own timeouts and tries; callers with less patience leave before.
 */

import type { Resolver as CaresResolver } from 'node:dns';

export type ResolveFailure = 'name-not-found' | 'name-timeout' | 'name-failed';

export type DnsAnswer =
  | {
      readonly kind: 'found';
      readonly v4: readonly string[];
      readonly v6: readonly string[];
      readonly ttlS: number;
    }
  | { readonly kind: 'failed'; readonly reason: ResolveFailure };

/** Calls back exactly once. `candidates` is not empty. */
export function queryCandidates(
  cares: CaresResolver,
  candidates: readonly string[],
  callback: (answer: DnsAnswer) => void,
): void {
  let worst: ResolveFailure = 'name-not-found';
  const ask = (at: number): void => {
    queryBoth(cares, candidates[at]!, (answer) => {
      if (answer.kind === 'found') return callback(answer);
      if (answer.reason === 'name-failed') worst = 'name-failed';
      // A domain of the search list may be broken without harm; a silent server costs its whole timeout each time.
      if (answer.reason === 'name-timeout' || at + 1 === candidates.length) {
        return callback({ kind: 'failed', reason: answer.reason === 'name-timeout' ? answer.reason : worst });
      }
      ask(at + 1);
    });
  };
  ask(0);
}

/** RFC 8305 §3: once one family has answered, the other gets so long. Some servers never answer AAAA. */
const otherFamilyMs = 50;

/** More addresses than anybody dials; a hostile answer holds hundreds. */
const addressesMax = 16;

function queryBoth(cares: CaresResolver, name: string, callback: (answer: DnsAnswer) => void): void {
  const pair = new FamilyPair(callback);
  cares.resolve4(name, { ttl: true }, (error, records) => pair.settle(4, error, records));
  cares.resolve6(name, { ttl: true }, (error, records) => pair.settle(6, error, records));
}

interface AddressRecord {
  readonly address: string;
  readonly ttl: number;
}

/** Waits for both families and makes one answer of them. */
class FamilyPair {
  readonly #callback: (answer: DnsAnswer) => void;
  readonly #found: { 4: readonly AddressRecord[]; 6: readonly AddressRecord[] } = { 4: [], 6: [] };
  readonly #finish = (): void => this.#answer();
  #failure: ResolveFailure = 'name-not-found';
  #settledCount = 0;
  #answered = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(callback: (answer: DnsAnswer) => void) {
    this.#callback = callback;
  }

  settle(
    family: 4 | 6,
    error: NodeJS.ErrnoException | null,
    records: readonly AddressRecord[] | undefined,
  ): void {
    if (this.#answered) return;
    this.#settledCount++;
    if (error !== null) this.#failure = worseFailure(this.#failure, failureOf(error.code ?? ''));
    else this.#found[family] = (records ?? []).slice(0, addressesMax);
    if (this.#settledCount === 2) this.#answer();
    else if (this.#found[family].length > 0) this.#timer = setTimeout(this.#finish, otherFamilyMs);
  }

  #answer(): void {
    this.#answered = true;
    clearTimeout(this.#timer);
    const records = [...this.#found[4], ...this.#found[6]];
    if (records.length === 0) return this.#callback({ kind: 'failed', reason: this.#failure });
    this.#callback({
      kind: 'found',
      v4: this.#found[4].map(({ address }) => address),
      v6: this.#found[6].map(({ address }) => address),
      ttlS: Math.min(...records.map(({ ttl }) => ttl)),
    });
  }
}

function failureOf(code: string): ResolveFailure {
  if (code === 'ENOTFOUND' || code === 'ENODATA') return 'name-not-found';
  return code === 'ETIMEOUT' ? 'name-timeout' : 'name-failed';
}

/** "No such name" is believed only when both families say so. */
function worseFailure(a: ResolveFailure, b: ResolveFailure): ResolveFailure {
  if (a === 'name-timeout' || b === 'name-timeout') return 'name-timeout';
  return a === 'name-failed' ? a : b;
}
