/**
 * The guard of the network behind the proxy: which addresses a target may have.
 *
 * A name is resolved once, every address is judged, and what is dialled is a literal that was judged: an answer that
 * changes between two look-ups (DNS rebinding) changes nothing. Deny beats allow; only an address that a rewrite
 * names is exempt, and even that never leads back into this proxy.
 */
import { CidrTable } from '../model/cidr-table.ts';
import { formatIp, isLoopback, isUnspecified, parseCidr, parseIp, type IpAddress } from '../core/ip.ts';
import { classOfAddress, privateClasses, type AddressClass } from './address-class.ts';

/** How far a rule opens the guard. `rewrite`: the operator named this very address or host. */
export type GuardLevel = 'public' | 'private' | 'rewrite';

/** Why an address is not dialled: its class, or whose it is. */
export type Denial = AddressClass | 'own-address' | 'own-listener' | 'denied-network';

/** Where this process can be reached. */
export interface OwnAddresses {
  /** Of every interface. */
  readonly addresses: readonly string[];
  /** Ports it listens on, whatever the address: data plane, metrics, admin. */
  readonly ports: readonly number[];
}

export class NetworkGuard {
  readonly #own: ReadonlySet<string>;
  readonly #ownPorts: ReadonlySet<number>;
  readonly #denied: CidrTable<true>;

  /** `deniedNetworks` are canonical CIDRs. */
  constructor(own: OwnAddresses, deniedNetworks: readonly string[]) {
    this.#own = new Set(own.addresses.flatMap((text) => canonical(text)));
    this.#ownPorts = new Set(own.ports);
    this.#denied = CidrTable.from(deniedNetworks.map((text) => [parseCidr(text)!.cidr, true] as const));
  }

  /** Why `ip` is not dialled; null when it may be. */
  judge(ip: IpAddress, port: number, level: GuardLevel): Denial | null {
    const isOwn = isLoopback(ip) || isUnspecified(ip) || this.#own.has(formatIp(ip));
    if (isOwn && this.#ownPorts.has(port)) return 'own-listener';
    if (level === 'rewrite') return null;
    if (this.#denied.lookup(ip) !== undefined) return 'denied-network';
    const name = classOfAddress(ip);
    // An address of our own that is private as well is still ours.
    if (isOwn) return name === 'public' || privateClasses.has(name) ? 'own-address' : name;
    if (name === 'public') return null;
    return level === 'private' && privateClasses.has(name) ? null : name;
  }
}

function canonical(text: string): string[] {
  // Interfaces write link-local addresses with their zone.
  const ip = parseIp(text.replace(/%.*$/, ''));
  return ip === undefined ? [] : [formatIp(ip)];
}
