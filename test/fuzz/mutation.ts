/**
 * The mutations of the fuzzers, from a seeded generator, so that a seed and a corpus repeat a run.
 *
 * No coverage feedback: the corpus holds an example of every shape, and lengths, which are what binary formats break
 * on, are changed more often than chance would.
 */

/** Inputs grow by splicing; longer ones only repeat what shorter ones show. */
const inputBytesMax = 4096;

/** A small seeded generator (mulberry32): plenty for mutations, useless for secrets. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }
}

/** A copy of one of the corpus, mutated one to four times. */
export function mutant(corpus: readonly Uint8Array[], random: Random): Uint8Array {
  let bytes: Uint8Array = Uint8Array.from(corpus[random.below(corpus.length)]!);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const mutate = mutations[random.below(mutations.length)]!;
    bytes = mutate(bytes, random, corpus).subarray(0, inputBytesMax);
  }
  return bytes;
}

/** A few cuts that depend on nothing but the bytes, so that an input alone repeats a crash. */
export function randomCuts(bytes: Uint8Array): number[] {
  const random = new Random(bytes.reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, bytes.length));
  return Array.from({ length: random.below(6) }, () => random.below(bytes.length + 1));
}

type Mutation = (bytes: Uint8Array, random: Random, corpus: readonly Uint8Array[]) => Uint8Array;

const flipBit: Mutation = (bytes, random) => {
  if (bytes.length > 0) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
  return bytes;
};

const setByte: Mutation = (bytes, random) => {
  if (bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256);
  return bytes;
};

/** Adds a little to a byte, or to two as one number: a length that is off by one, by two, by ten. */
const tweakLength: Mutation = (bytes, random) => {
  if (bytes.length < 2) return bytes;
  const at = random.below(bytes.length - 1);
  const sum = ((bytes[at]! << 8) | bytes[at + 1]!) + random.below(21) - 10;
  bytes[at] = sum >> 8;
  bytes[at + 1] = sum;
  return bytes;
};

const interesting = [0, 1, 2, 3, 10, 13, 16, 22, 32, 127, 128, 254, 255];
const setInteresting: Mutation = (bytes, random) => {
  if (bytes.length > 0) bytes[random.below(bytes.length)] = interesting[random.below(interesting.length)]!;
  return bytes;
};

const insert: Mutation = (bytes, random) => {
  const at = random.below(bytes.length + 1);
  const added = Uint8Array.from({ length: 1 + random.below(8) }, () => random.below(256));
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at)]);
};

const remove: Mutation = (bytes, random) => {
  const at = random.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(8))]);
};

const truncate: Mutation = (bytes, random) => bytes.slice(0, random.below(bytes.length + 1));

/** The beginning of this one, the end of another. */
const splice: Mutation = (bytes, random, corpus) => {
  const other = corpus[random.below(corpus.length)]!;
  return Buffer.concat([
    bytes.subarray(0, random.below(bytes.length + 1)),
    other.subarray(random.below(other.length + 1)),
  ]);
};

const repeat: Mutation = (bytes, random) => {
  const at = random.below(bytes.length + 1);
  const piece = bytes.subarray(at, at + 1 + random.below(32));
  return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
};

const mutations: readonly Mutation[] = [
  flipBit,
  setByte,
  tweakLength,
  tweakLength,
  tweakLength,
  setInteresting,
  insert,
  remove,
  truncate,
  splice,
  repeat,
];
