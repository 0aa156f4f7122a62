/** The two values of a WebSocket handshake over HTTP/1 (RFC 6455 §4). What follows it is opaque to us. */

import { createHash, randomBytes } from 'node:crypto';

/** RFC 6455 §1.3. */
const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** A key for a handshake of ours. */
export function newWebSocketKey(): string {
  return randomBytes(16).toString('base64');
}

/** What proves that a server understood the handshake with `key`. */
export function webSocketAccept(key: string): string {
  return createHash('sha1')
    .update(key + guid)
    .digest('base64');
}
