/**
 * Remembers what header blocks meant (or looked like) while the compression's table stays the same. A block that
 * inserts nothing gives the same fields until the table changes, so that its bytes are a key; peers that send
 * the same heads again and again are the rule. (bench: h2c; 10 % of its requests per second.)
 *
 * Where it does not pay it stops trying for a while: messages that are all different cost a few instructions.
 */

/** Blocks kept; one more and all are forgotten. */
const entriesMax = 64;
/** Misses beyond hits after which it rests, and for how many blocks. */
const patience = 32;
const restBlocks = 512;

/** Decides whether remembering pays. */
export class MemoPatience {
  #balance = 0;
  #resting = 0;

  /** To be asked once for each block. */
  isTrying(): boolean {
    if (this.#resting === 0) return true;
    if (--this.#resting === 0) this.#balance = 0;
    return false;
  }

  hit(): void {
    if (this.#balance < patience) this.#balance += 2;
  }

  miss(): void {
    if (--this.#balance <= -patience) this.#resting = restBlocks;
  }
}

export class BlockMemo<Meaning> {
  /** Longer blocks are not worth their memory: two hundred connections with such keys would be noticed. */
  static readonly keyBytesMax = 1024;

  readonly #patience = new MemoPatience();
  readonly #meanings = new Map<string, Meaning>();
  #tableVersion = 0;

  isTrying(): boolean {
    return this.#patience.isTrying();
  }

  get count(): number {
    return this.#meanings.size;
  }

  find(key: string, tableVersion: number): Meaning | undefined {
    if (this.#tableVersion !== tableVersion) {
      this.#meanings.clear();
      this.#tableVersion = tableVersion;
    }
    const meaning = this.#meanings.get(key);
    if (meaning === undefined) this.#patience.miss();
    else this.#patience.hit();
    return meaning;
  }

  /** Only for a block that left the table as `find` was told. */
  keep(key: string, meaning: Meaning): void {
    if (this.#meanings.size >= entriesMax) this.#meanings.clear();
    this.#meanings.set(key, meaning);
  }
}
