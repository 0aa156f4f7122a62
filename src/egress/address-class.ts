/**
 * Classes of addresses, for the guard of the network behind the proxy. IANA's special-purpose registries (RFC 6890),
 * and the IPv6 forms that carry an IPv4 address within them.
 */
import { assert } from '../core/errors.ts';
import { cidrContains, IpAddress, parseCidr, type Cidr } from '../core/ip.ts';

export const addressClasses = [
  'public',
  'loopback',
  'link-local',
  'metadata',
  'private',
  'unique-local',
  'shared',
  'multicast',
  'unspecified',
  'reserved',
  'embedded',
] as const;
export type AddressClass = (typeof addressClasses)[number];

/** What `allow_private` opens: addresses of one's own network, never of one's own machine. */
export const privateClasses: ReadonlySet<AddressClass> = new Set(['private', 'unique-local', 'shared']);

/** The first network that contains the address decides. */
const networks: readonly (readonly [AddressClass, string])[] = [
  // Link-local too, and told apart because it is what an attacker wants: AWS, GCP, Azure; AWS on IPv6; Alibaba.
  ['metadata', '169.254.169.254/32'],
  ['metadata', '169.254.170.2/32'],
  ['metadata', 'fd00:ec2::254/128'],
  ['metadata', '100.100.100.200/32'],
  // Azure's wire server and Oracle's second: public by number only.
  ['metadata', '168.63.129.16/32'],
  ['metadata', '192.0.0.192/32'],
  ['loopback', '127.0.0.0/8'],
  ['loopback', '::1/128'],
  ['link-local', '169.254.0.0/16'],
  ['link-local', 'fe80::/10'],
  ['private', '10.0.0.0/8'],
  ['private', '172.16.0.0/12'],
  ['private', '192.168.0.0/16'],
  ['shared', '100.64.0.0/10'],
  ['unique-local', 'fc00::/7'],
  // Site-local, deprecated by RFC 3879 and still routed in places.
  ['unique-local', 'fec0::/10'],
  ['unspecified', '0.0.0.0/8'],
  ['unspecified', '::/128'],
  ['multicast', '224.0.0.0/4'],
  ['multicast', 'ff00::/8'],
  ['reserved', '192.0.0.0/24'],
  ['reserved', '192.0.2.0/24'],
  ['reserved', '192.88.99.0/24'],
  ['reserved', '198.18.0.0/15'],
  ['reserved', '198.51.100.0/24'],
  ['reserved', '203.0.113.0/24'],
  ['reserved', '240.0.0.0/4'],
  // IPv4-compatible (RFC 4291 §2.5.5.1), 6to4, Teredo, the NAT64 prefix for local use, IPv4-translated (RFC 2765).
  ['embedded', '::/96'],
  ['embedded', '::ffff:0:0:0/96'],
  ['embedded', '2002::/16'],
  ['embedded', '2001::/32'],
  ['embedded', '64:ff9b:1::/48'],
  ['reserved', '100::/64'],
  ['reserved', '2001::/23'],
  ['reserved', '2001:db8::/32'],
  ['reserved', '3fff::/20'],
  ['reserved', '5f00::/16'],
];

const classes: readonly (readonly [AddressClass, Cidr])[] = networks.map(([name, text]) => {
  const parsed = parseCidr(text);
  assert(parsed !== undefined, `${text} is no network`);
  return [name, parsed.cidr];
});

const nat64 = parseCidr('64:ff9b::/96')!.cidr;
const v4Mapped = 0xffff;

/** IPv4-mapped addresses are IPv4 already (core/ip.ts). Behind NAT64 an address is what the IPv4 address within it is. */
export function classOfAddress(ip: IpAddress): AddressClass {
  if (cidrContains(nat64, ip)) return classOfAddress(new IpAddress(0, 0, v4Mapped, ip.w3));
  for (const [name, cidr] of classes) if (cidrContains(cidr, ip)) return name;
  return isIsatap(ip) ? 'embedded' : 'public';
}

/** An interface id of ::0:5efe:a.b.c.d or ::200:5efe:a.b.c.d (RFC 5214 §6.1). */
function isIsatap(ip: IpAddress): boolean {
  return ip.family === 6 && ((ip.w2 & ~0x0200_0000) | 0) === 0x5efe;
}
