/**
 * A keyed hash of two words, for tables whose keys a stranger chooses.
 *
 * HalfSipHash with one round for each word and three at the end, the strength kernels use for their hash
 * tables: without the 64-bit key nobody can aim many sources at one set. Multiplicative hashes do not give
 * that, since some of their collisions hold under every seed. `kind` takes the place of the length.
 */

/** Signed 32-bit hash of (`high`, `low`, `kind`) under the key (`key0`, `key1`). About 20 ns. */
export function keyedHash(key0: number, key1: number, high: number, low: number, kind: number): number {
  let v0 = key0;
  let v1 = key1;
  let v2 = key0 ^ 0x6c796765;
  let v3 = key1 ^ 0x74656462 ^ high;
  for (let round = 0; round < 5; round++) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    if (round === 0) {
      v0 ^= high;
      v3 ^= low;
    } else if (round === 1) {
      v0 ^= low;
      v2 ^= 0xff ^ kind;
    }
  }
  return v1 ^ v3;
}
