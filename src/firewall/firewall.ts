/**
 * The firewall's decision about an address: blocklist, then country, then rate.
 *
 * The gate judges the socket's peer and, behind a PROXY header, the real client: `judgeBlocked` for both,
 * `judgeRate` once, for the real client, after neither was blocked. So a blocked address never spends quota.
 * Being exempt (`allowed_ips`, `allowed_cidrs`) skips the rate limit and nothing else.
 */
import { type IpAddress, isLoopback, isUnspecified } from '../core/ip.ts';
import type { RateTable } from '../core/rate-table.ts';
import type { CidrTable } from '../model/cidr-table.ts';
import type { BlockRule, FirewallSnapshot } from '../model/snapshot.ts';
import { GeoipDatabase } from './geoip.ts';

/** Why an address is refused, and which rule decided. */
export interface FirewallRefusal {
  readonly reason: 'blocked-ip' | 'blocked-cidr' | 'blocked-country' | 'rate-limited';
  readonly ruleId: string;
}

/** One snapshot's firewall as a worker holds it: every answer prepared, nothing allocated for a connection. */
export class Firewall {
  readonly geoip: GeoipDatabase | null;
  readonly #blocked: CidrTable<BlockRule>;
  readonly #countries: ReadonlyMap<string, FirewallRefusal>;
  readonly #exempt: CidrTable<true>;
  readonly #rates: RateTable | null;
  readonly #rateLimited: FirewallRefusal | null;

  /** `rates` is this worker's view of the table for `snapshot.rateLimit`; `previous` lends its view of the same GeoIP file. */
  constructor(snapshot: FirewallSnapshot, rates: RateTable | null, previous: Firewall | null = null) {
    this.geoip = viewGeoip(snapshot.geoip, previous);
    this.#blocked = snapshot.blocked;
    this.#countries = new Map(
      Array.from(snapshot.countries, ([code, ruleId]) => [code, { reason: 'blocked-country', ruleId }]),
    );
    this.#exempt = snapshot.rateLimitExempt;
    this.#rates = rates;
    const limit = snapshot.rateLimit;
    this.#rateLimited = limit === null ? null : { reason: 'rate-limited', ruleId: limit.ruleId };
  }

  /** Whether a rule blocks the address, whatever it does. Changes nothing. */
  judgeBlocked(ip: IpAddress): FirewallRefusal | null {
    const rule = this.#blocked.lookup(ip);
    if (rule !== undefined) return rule;
    if (this.#countries.size === 0) return null;
    const country = this.country(ip);
    return country === undefined ? null : (this.#countries.get(country) ?? null);
  }

  /** Whether the address has opened too many connections lately; if not, one more is spent. */
  judgeRate(ip: IpAddress, nowMs: number): FirewallRefusal | null {
    if (this.#rates === null || this.#rateLimited === null) return null;
    if (this.#exempt.size !== 0 && this.#exempt.lookup(ip) !== undefined) return null;
    return this.#rates.tryAdmit(ip, nowMs) ? null : this.#rateLimited;
  }

  /** The whole decision about an address that is both peer and client. */
  judgeAddress(ip: IpAddress, nowMs: number): FirewallRefusal | null {
    return this.judgeBlocked(ip) ?? this.judgeRate(ip, nowMs);
  }

  /** Loopback and private addresses have no country, whatever a database says. */
  country(ip: IpAddress): string | undefined {
    return this.geoip === null || isLocal(ip) ? undefined : this.geoip.country(ip);
  }
}

function viewGeoip(buffer: SharedArrayBuffer | null, previous: Firewall | null): GeoipDatabase | null {
  if (buffer === null) return null;
  const known = previous?.geoip ?? null;
  return known !== null && known.buffer === buffer ? known : new GeoipDatabase(buffer);
}

/** Addresses that mean another host in every network: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 §2.5.6. */
function isLocal(ip: IpAddress): boolean {
  if (isLoopback(ip) || isUnspecified(ip)) return true;
  if (ip.family === 6) {
    const top = ip.w0 >>> 16;
    return (top & 0xfe00) === 0xfc00 || (top & 0xffc0) === 0xfe80;
  }
  const top = ip.w3 >>> 16;
  return (
    top >>> 8 === 10 ||
    (top & 0xfff0) === 0xac10 ||
    top === 0xc0a8 ||
    (top & 0xffc0) === 0x6440 ||
    top === 0xa9fe
  );
}
