/**
 * Finds where keys and values stand in TOML text that is known to be valid.
 *
 * Syntax trees with places exist, and take 7 s and 1.1 GB for 100,000 routes and 100,000 networks; this scan takes a
 * quarter of a second. It keeps only the places it was asked for. toml-eslint-parser is the oracle of its test.
 */

import { parse } from 'smol-toml';

const separator = '\0';

/** Names a place: the parts of a key path and which end of the pair. */
export function placeKey(path: readonly string[], at: 'key' | 'value'): string {
  return at + path.map((part) => separator + part).join('');
}

interface Key {
  readonly name: string;
  readonly offset: number;
}

export class PlaceScanner {
  /** Offsets by placeKey. */
  readonly found = new Map<string, number>();
  readonly #text: string;
  readonly #wanted: ReadonlySet<string>;
  /** How many elements each array of tables has had, by path. */
  readonly #counts = new Map<string, number>();
  #at = 0;

  constructor(text: string, wanted: ReadonlySet<string>) {
    this.#text = text;
    this.#wanted = wanted;
  }

  /** Once for each scanner. */
  scan(): void {
    let table = '';
    for (this.#skipSpace(); this.#at < this.#text.length; this.#skipSpace()) {
      if (this.#text[this.#at] === '[') table = this.#header();
      else this.#pair(table);
    }
  }

  /** `[a.b]` or `[[a.b]]`; answers the path of the table it opens. */
  #header(): string {
    const start = this.#at;
    const isArray = this.#text[start + 1] === '[';
    this.#at += isArray ? 2 : 1;
    const keys = this.#keys();
    this.#at += isArray ? 2 : 1;
    let path = '';
    keys.forEach(({ name, offset }, index) => {
      path += separator + name;
      this.#note('key', path, offset);
      if (index === keys.length - 1 && isArray) {
        this.#note('value', path, start);
        this.#counts.set(path, (this.#counts.get(path) ?? 0) + 1);
      }
      const count = this.#counts.get(path);
      if (count !== undefined) path += separator + (count - 1);
      this.#note('value', path, start);
    });
    return path;
  }

  /** `a.b = value` within the table at `table`. */
  #pair(table: string): void {
    let path = table;
    for (const { name, offset } of this.#keys()) {
      path += separator + name;
      this.#note('key', path, offset);
    }
    this.#at++;
    this.#skipSpace();
    this.#value(path);
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

  #value(path: string): void {
    this.#note('value', path, this.#at);
    const first = this.#text[this.#at]!;
    if (first === '"' || first === "'") this.#skipString(first);
    else if (first === '[') this.#array(path);
    else if (first === '{') this.#inlineTable(path);
    else this.#skipWhile(isScalar);
  }

  #array(path: string): void {
    for (let index = 0; this.#nextElement(']'); index++) this.#value(path + separator + index);
  }

  #inlineTable(path: string): void {
    while (this.#nextElement('}')) this.#pair(path);
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
    this.#at += close.length;
    while (this.#at < this.#text.length && !this.#text.startsWith(close, this.#at)) {
      this.#at += quote === '"' && this.#text[this.#at] === '\\' ? 2 : 1;
    }
    this.#at += close.length;
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

  /** The first place wins: a table is where it is first opened. */
  #note(at: 'key' | 'value', path: string, offset: number): void {
    const key = at + path;
    if (this.#wanted.has(key) && !this.found.has(key)) this.found.set(key, offset);
  }
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
