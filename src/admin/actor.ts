/** Who calls, told by how the connection came in. */

import { createContextKey } from '@connectrpc/connect';
import type { TLSSocket } from 'node:tls';
import { escapeText } from '../core/escape.ts';
import type { AdminAddress } from '../model/settings.ts';
import type { Actor } from './control.ts';

const nameCharactersMax = 512;

export const actorKey = createContextKey<Actor>({ name: 'unknown' }, { description: 'who calls' });

/** The subject of a verified client certificate: its common name and the whole, `ops (O=Example, CN=ops)`. */
export function actorOf(socket: TLSSocket | object, address: AdminAddress): Actor {
  if (address.kind === 'unix') return { name: 'unix' };
  const certificate =
    'authorized' in socket && socket.authorized ? socket.getPeerX509Certificate() : undefined;
  if (certificate === undefined) return { name: 'loopback' };
  const parts = certificate.subject.split('\n');
  const commonName = parts.find((part) => part.startsWith('CN='))?.slice(3) ?? '-';
  return { name: escapeText(`${commonName} (${parts.join(', ')})`, nameCharactersMax) };
}
