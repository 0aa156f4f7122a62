/**
 * Sparse arrays of 32 slots: a bitmap says which slots are taken, a dense array holds just those, in order.
 * The nodes of both tries are made of them. Nothing here changes an array; each edit answers a copy.
 */

/** Where the slot of `bit` stands in the dense array: the number of taken slots below it. */
export function rank(map: number, bit: number): number {
  return bitCount(map & (bit - 1));
}

/** Bits set in a word (Hacker's Delight §5–1). */
export function bitCount(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  n = (n + (n >>> 4)) & 0x0f0f0f0f;
  return Math.imul(n, 0x01010101) >>> 24;
}

export function inserted<T>(items: readonly T[], index: number, item: T): readonly T[] {
  return items.toSpliced(index, 0, item);
}

export function replaced<T>(items: readonly T[], index: number, item: T): readonly T[] {
  return items.with(index, item);
}

export function removed<T>(items: readonly T[], index: number): readonly T[] {
  return items.toSpliced(index, 1);
}
