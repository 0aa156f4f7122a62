/**
 * Finds where keys and values stand in TOML text that is known to be valid.
 *
 * Syntax trees with places exist, and take 7 s and 1.1 GB for 100,000 routes and 100,000 networks; this scan takes
 * under half a second. It keeps only the places it was asked for. toml-eslint-parser is the oracle of its test.
 */

import { parse } from 'smol-toml';
import { noteKey, noteValue } from './places.ts';
import type { Target, WantedPlace } from './places.ts';

/** Fills in the offsets of everything below `root` that the text has. */
export function findPlaces(text: string, root: WantedPlace): void {
  new PlaceScanner(text, root).scan();
}

interface Key {
  readonly name: string;
  readonly offset: number;
}

class PlaceScanner {
  readonly #text: string;
  readonly #root: WantedPlace;
  #at = 0;

  constructor(text: string, root: WantedPlace) {
    this.#text = text;
    this.#root = root;
  }

  scan(): void {
    let table: Target = this.#root;
    for (this.#skipSpace(); this.#at < this.#text.length; this.#skipSpace()) {
      if (this.#text[this.#at] === '[') table = this.#header();
      else this.#pair(table);
    }
  }

  /** `[a.b]` or `[[a.b]]`; answers the table it opens. */
  #header(): Target {
    const start = this.#at;
    const isRow = this.#text[start + 1] === '[';
    this.#at += isRow ? 2 : 1;
    const keys = this.#keys();
    this.#at += isRow ? 2 : 1;
    let target: Target = this.#root;
    keys.forEach(({ name, offset }, index) => {
      target = noteKey(target, name, offset);
      noteValue(target, start);
      if (target === undefined) return;
      if (isRow && index === keys.length - 1) target.rowCount++;
      if (target.rowCount === 0) return;
      target = target.children.get(String(target.rowCount - 1));
      noteValue(target, start);
    });
    return target;
  }

  /** `a.b = value` within `table`. */
  #pair(table: Target): void {
    let target = table;
    for (const { name, offset } of this.#keys()) target = noteKey(target, name, offset);
    this.#at++;
    this.#skipSpace();
    this.#value(target);
  }

  /** Dotted keys, up to and not including `=` or `]`. */
  #keys(): Key[] {
    const keys: Key[] = [];
    for (;;) {
      this.#skipSpace();
      keys.push(this.#key());
      this.#skipSpace();
      if (this.#text[this.#at] !== '.') return keys;
      this.#at++;
    }
  }

  #key(): Key {
    const offset = this.#at;
    const first = this.#text[offset];
    if (first === '"' || first === "'") this.#skipString(first);
    else this.#skipWhile(isBareKey);
    const written = this.#text.slice(offset, this.#at);
    if (first === "'") return { name: written.slice(1, -1), offset };
    if (first !== '"') return { name: written, offset };
    // Escapes in a key are rare enough to let the parser take them apart.
    return {
      name: written.includes('\\') ? Object.keys(parse(`${written} = 0`))[0]! : written.slice(1, -1),
      offset,
    };
  }

  #value(target: Target): void {
    noteValue(target, this.#at);
    const first = this.#text[this.#at]!;
    if (first === '"' || first === "'") this.#skipString(first);
    else if (first === '[') this.#array(target);
    else if (first === '{') this.#inlineTable(target);
    else this.#skipWhile(isScalar);
  }

  #array(target: Target): void {
    for (let index = 0; this.#nextElement(']'); index++) this.#value(target?.children.get(String(index)));
  }

  #inlineTable(target: Target): void {
    while (this.#nextElement('}')) this.#pair(target);
  }

  /** Steps over the opening bracket or a comma to the next element; false past the closing bracket. */
  #nextElement(close: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== close) this.#at++;
    this.#skipSpace();
    if (this.#at < this.#text.length && this.#text[this.#at] !== close) return true;
    this.#at++;
    return false;
  }

  #skipString(quote: string): void {
    const triple = quote.repeat(3);
    const isLong = this.#text.startsWith(triple, this.#at);
    const close = isLong ? triple : quote;
    let end = this.#text.indexOf(close, this.#at + close.length);
    while (quote === '"' && isEscaped(this.#text, end)) end = this.#text.indexOf(close, end + 1);
    this.#at = end + close.length;
    // A long string may end in up to two quotes of its own.
    while (isLong && this.#text[this.#at] === quote) this.#at++;
  }

  #skipSpace(): void {
    for (;;) {
      this.#skipWhile(isSpace);
      if (this.#text[this.#at] !== '#') return;
      const end = this.#text.indexOf('\n', this.#at);
      this.#at = end < 0 ? this.#text.length : end;
    }
  }

  #skipWhile(accepts: (code: number) => boolean): void {
    while (this.#at < this.#text.length && accepts(this.#text.charCodeAt(this.#at))) this.#at++;
  }
}

/** True when an odd number of backslashes stands before. */
function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (text[first - 1] === '\\') first--;
  return (at - first) % 2 === 1;
}

/** Space, tab, line ends, and the byte order mark a file may begin with. */
function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d || code === 0xfeff;
}

/** Up to `=`, `.`, `]`, space or tab. */
function isBareKey(code: number): boolean {
  return code !== 0x3d && code !== 0x2e && code !== 0x5d && code !== 0x20 && code !== 0x09;
}

/** Numbers, booleans and dates, up to `,`, `]`, `}`, `#` or the line's end. A date may hold a space. */
function isScalar(code: number): boolean {
  return code !== 0x2c && code !== 0x5d && code !== 0x7d && code !== 0x23 && code !== 0x0a && code !== 0x0d;
}
