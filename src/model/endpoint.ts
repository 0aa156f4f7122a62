/** Endpoint addresses as people write them. */

import type { EndpointAddress } from './settings.ts';

/** `app.internal:8443`, `[2001:db8::1]:8443` or `unix:/run/app.sock`. */
export function formatEndpoint(address: EndpointAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}
