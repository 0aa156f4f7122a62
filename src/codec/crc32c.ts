/** CRC-32C (Castagnoli), as the PROXY protocol's checksum TLV asks for it: RFC 4960 appendix B, table-driven. */

/** The polynomial 0x1EDC6F41 with its bits in reverse, since the checksum shifts right. */
const polynomial = 0x82f63b78;

const table = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? polynomial : 0);
  table[byte] = remainder;
}

/** Checksum of all `bytes` as uint32. Pass the checksum of what came before to go on with it. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  let remainder = ~previous;
  for (let at = 0; at < bytes.length; at++) {
    remainder = (remainder >>> 8) ^ table[(remainder ^ bytes[at]!) & 0xff]!;
  }
  return ~remainder >>> 0;
}
