/**
 * Tells HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes of a plaintext connection. RFC 9113 §3.4: HTTP/2
 * begins with `PRI * HTTP/2.0`, which no HTTP/1.1 request does.
 */

import type { Socket } from 'node:net';

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** No method of HTTP/1.1 begins so. */
const prefaceBytesDecisive = 5;

export type HttpVersion = 'h1' | 'h2';

/** Calls `decided` once, with the bytes still to be read from the socket; never, when it closes or is too slow. */
export function splitProtocol(
  socket: Socket,
  timeoutMs: number,
  decided: (version: HttpVersion) => void,
): void {
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('close', stop);
    socket.off('error', ignore);
  };
  // Put back only once they are enough: bytes put back are at once readable again.
  let bytes: Buffer = Buffer.alloc(0);
  const look = (): void => {
    const more: Buffer | null = socket.read();
    if (more === null) return;
    bytes = Buffer.concat([bytes, more]);
    const version = versionOf(bytes);
    if (version === undefined) return;
    stop();
    socket.unshift(bytes);
    decided(version);
  };
  socket.on('error', ignore);
  socket.on('close', stop);
  socket.on('readable', look);
}

/** Undefined: too few bytes to tell. */
function versionOf(bytes: Buffer): HttpVersion | undefined {
  const length = Math.min(bytes.length, prefaceBytesDecisive);
  if (!bytes.subarray(0, length).equals(preface.subarray(0, length))) return 'h1';
  return length === prefaceBytesDecisive ? 'h2' : undefined;
}

/** An error closes the socket, and `close` is what we wait for. */
function ignore(): void {}
