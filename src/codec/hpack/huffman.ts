/**
 * The Huffman code of HPACK: RFC 7541 §5.2 and Appendix B.
 *
 * The code is canonical, so that the length of each symbol's code is the whole table: codes of one length count
 * up with the symbols, and the first code of the next length goes on from there.
 */
import type { HostBytes } from '../../core/bytes.ts';

/** Bits of the code of each byte, 0–255, and of the end of string, 256. */
const codeBits: readonly number[] = [
  // 0x00
  ...[13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28],
  ...[28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  ...[6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6],
  ...[5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  // 0x40
  ...[13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
  ...[7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  ...[15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5],
  ...[6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  // 0x80
  ...[20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23],
  ...[24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  ...[22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23],
  ...[21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  // 0xc0
  ...[26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25],
  ...[19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  ...[20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23],
  ...[26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
  30,
];

const endOfString = 256;
const bitsMax = 30;
/** Codes up to this length, which is all of what headers are made of but a few marks, take one look. */
const quickBits = 9;

const bitCounts = Uint8Array.from(codeBits);
const codes = new Uint32Array(codeBits.length);
/** By the next nine bits: symbol << 4 | length of its code; 0 for a longer code. */
const quick = new Uint16Array(1 << quickBits);
/** Symbols in the order of their codes. */
const ordered = new Uint16Array(codeBits.length);
/** By length: the first code, how many there are, and the place of the first in `ordered`. */
const firstCode = new Uint32Array(bitsMax + 1);
const codeCount = new Uint16Array(bitsMax + 1);
const firstPlace = new Uint16Array(bitsMax + 1);

for (let bits = 1, code = 0, place = 0; bits <= bitsMax; bits++, code *= 2) {
  firstCode[bits] = code;
  firstPlace[bits] = place;
  for (let symbol = 0; symbol < codeBits.length; symbol++) {
    if (codeBits[symbol] !== bits) continue;
    if (bits <= quickBits)
      quick.fill((symbol << 4) | bits, code << (quickBits - bits), (code + 1) << (quickBits - bits));
    codes[symbol] = code++;
    ordered[place++] = symbol;
    codeCount[bits]!++;
  }
}

/** The longest that `byteCount` bytes of code can become. */
export function decodedBytesMax(byteCount: number): number {
  return Math.floor((byteCount * 8) / 5);
}

/**
 * Decodes to `target`, which has room for `decodedBytesMax`. Answers how many bytes it wrote; -1 for what no
 * encoder makes: the end of string, or padding that is longer than 7 bits or not all ones (§5.2).
 */
export function decodeHuffman(source: Uint8Array, start: number, end: number, target: Uint8Array): number {
  let written = 0;
  let held = 0;
  let heldBits = 0;
  let at = start;
  for (;;) {
    // Three bytes at most are added to fewer than eight bits: the sum stays within 31 bits.
    while (heldBits < quickBits && at < end) {
      held = ((held << 8) | source[at++]!) & 0x7fffff;
      heldBits += 8;
    }
    if (heldBits < quickBits) break;
    const found = quick[(held >>> (heldBits - quickBits)) & ((1 << quickBits) - 1)]!;
    if (found !== 0) {
      target[written++] = found >>> 4;
      heldBits -= found & 15;
      continue;
    }
    // A longer code: bit by bit from here, by the first code of each length.
    let code = (held >>> (heldBits - quickBits)) & ((1 << quickBits) - 1);
    let bits = quickBits;
    heldBits -= quickBits;
    for (;;) {
      if (heldBits === 0) {
        if (at === end) return isPadding(code, bits) ? written : -1;
        held = source[at++]!;
        heldBits = 8;
      }
      code = code * 2 + ((held >>> --heldBits) & 1);
      if (++bits > bitsMax) return -1;
      const offset = code - firstCode[bits]!;
      if (offset < 0 || offset >= codeCount[bits]!) continue;
      const symbol = ordered[firstPlace[bits]! + offset]!;
      if (symbol === endOfString) return -1;
      target[written++] = symbol;
      break;
    }
  }
  return decodeTail(held, heldBits, target, written);
}

/** The last few bits: short codes, then padding. */
function decodeTail(held: number, heldBits: number, target: Uint8Array, start: number): number {
  let written = start;
  let left = heldBits;
  while (left > 0) {
    const rest = held & ((1 << left) - 1);
    // Filled up with ones, which begin no code of up to nine bits.
    const found = quick[((rest << (quickBits - left)) | ((1 << (quickBits - left)) - 1)) & 0x1ff]!;
    if (found === 0 || (found & 15) > left) return isPadding(rest, left) ? written : -1;
    target[written++] = found >>> 4;
    left -= found & 15;
  }
  return written;
}

function isPadding(code: number, bits: number): boolean {
  return bits < 8 && code === (1 << bits) - 1;
}

/** How many bytes the code of `text` (latin1) has. */
export function huffmanBytes(text: string): number {
  let bits = 0;
  for (let at = 0; at < text.length; at++) bits += bitCounts[text.charCodeAt(at)]!;
  return (bits + 7) >>> 3;
}

/** Writes the code of `text` (latin1); answers the offset behind it. */
export function encodeHuffman(text: string, target: HostBytes | Uint8Array, offset: number): number {
  let written = offset;
  let held = 0;
  let heldBits = 0;
  for (let at = 0; at < text.length; at++) {
    const symbol = text.charCodeAt(at);
    let code = codes[symbol]!;
    let bits = bitCounts[symbol]!;
    if (bits > 23) {
      // Held bits and a code of 30 would not fit in 32: the upper half goes first.
      held = (held << (bits - 15)) | (code >>> 15);
      heldBits += bits - 15;
      while (heldBits >= 8) target[written++] = held >>> (heldBits -= 8);
      code &= 0x7fff;
      bits = 15;
    }
    held = (held << bits) | code;
    heldBits += bits;
    while (heldBits >= 8) target[written++] = held >>> (heldBits -= 8);
  }
  if (heldBits > 0) target[written++] = (held << (8 - heldBits)) | (0xff >>> heldBits);
  return written;
}
