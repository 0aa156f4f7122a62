/**
 * Keeps web pages out of the admin API. A page that somebody visits can make the browser call addresses that only that
 * person reaches, `http://localhost:9443` among them (CSRF), and by pointing a name of its own at such an address it
 * can even read the answer (DNS rebinding). Both are told by the Host, Origin and Sec-Fetch-Site that browsers send.
 */

import { isLoopback, parseIp, sameIp } from '../core/ip.ts';
import type { AdminAddress } from '../model/settings.ts';

export interface RequestSource {
  /** `Host`, or `:authority`. */
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly secFetchSite: string | undefined;
  /** Where the connection arrived. Undefined on a Unix socket. */
  readonly localAddress: string | undefined;
  readonly isEncrypted: boolean;
}

/** Answers whether the certificate of the server names a host. */
export type NamesHost = (host: string) => boolean;

/** Why the request is refused; null: it is not. */
export function refusalOf(
  source: RequestSource,
  address: AdminAddress,
  certificateNames: NamesHost,
): string | null {
  if (source.host === undefined) return 'the request names no Host';
  const host = hostnameOf(source.host);
  if (host === undefined || !isOwnHost(host, source.localAddress, address, certificateNames))
    return 'the Host of the request is not a name of this server';
  const { secFetchSite, origin } = source;
  if (secFetchSite !== undefined && secFetchSite !== 'same-origin' && secFetchSite !== 'none')
    return 'Sec-Fetch-Site says that the request comes from a page of another site';
  const own = `${source.isEncrypted ? 'https' : 'http'}://${source.host}`.toLowerCase();
  if (origin !== undefined && origin.toLowerCase() !== own)
    return 'the Origin of the request is a page of another site';
  return null;
}

/** Without its port, which a tunnel may change, and without brackets. */
function hostnameOf(host: string): string | undefined {
  const match = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::\d{1,5})?$/i.exec(host);
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

/** An address is safe when the connection arrived at it: only names can be pointed elsewhere. */
function isOwnHost(
  host: string,
  localAddress: string | undefined,
  address: AdminAddress,
  certificateNames: NamesHost,
): boolean {
  if (host === 'localhost') return true;
  if (address.kind === 'unix') return false;
  const ip = parseIp(host);
  if (ip === undefined) return host === address.host.toLowerCase() || certificateNames(host);
  const local = localAddress === undefined ? undefined : parseIp(localAddress);
  return isLoopback(ip) || host === address.host || (local !== undefined && sameIp(ip, local));
}
