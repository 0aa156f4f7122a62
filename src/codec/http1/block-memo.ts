/**
 * The field lines that a connection sent last. A kept-alive client repeats them, with another target or another
 * length of body before or behind; comparing the text is some thirty times cheaper than reading it.
 */

import { parseFieldBlock, type FieldBlock, type Section } from './field-block.ts';
import type { Side } from './limits.ts';

/** What an idle connection may hold for this. */
const memoBytesMax = 4 * 1024;

export class BlockMemo {
  readonly #side: Side;
  readonly #headerCountMax: number;
  #text = '';
  #block: FieldBlock | undefined = undefined;

  constructor(side: Side, headerCountMax: number) {
    this.#side = side;
    this.#headerCountMax = headerCountMax;
  }

  /** The lines from `start` to `end`. The block is shared: its fields are to be copied. Throws ProtocolError. */
  parse(section: Section, start: number, end: number): FieldBlock {
    const lines = section.text.substring(start, end);
    if (this.#block !== undefined && lines === this.#text) return this.#block;
    const block = parseFieldBlock(section, start, end, this.#headerCountMax, this.#side);
    if (lines.length <= memoBytesMax) {
      this.#text = lines;
      this.#block = block;
    }
    return block;
  }
}
