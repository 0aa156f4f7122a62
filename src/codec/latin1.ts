/** Bytes to text, one character for each byte, by the host's method where the bytes have it. */

import type { HostBytes } from '../core/bytes.ts';

/**
 * `bytes` is the caller's HostBytes or a codec's own buffer, which is a plain Uint8Array. The host's method takes a
 * third of the time of the portable one, which serves short names only: every byte becomes an argument.
 */
export function latin1Text(bytes: Uint8Array, start: number, end: number): string {
  if (isHostBytes(bytes)) return bytes.latin1Slice(start, end);
  return String.fromCharCode(...bytes.subarray(start, end));
}

function isHostBytes(bytes: Uint8Array): bytes is HostBytes {
  return 'latin1Slice' in bytes;
}
