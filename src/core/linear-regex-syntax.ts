/**
 * The syntax of linear regular expressions: text to a tree, or why not.
 *
 * What the RE2 family reads, as far as hosts and paths need it: literals, classes, `.`, `^` and `$` (the whole
 * text's), `\b`, groups, alternation, `* + ? {m,n}` greedy or lazy. Back-references and look-around, which no
 * automaton of bounded size decides, are refused by name, and so is whatever dialects read differently.
 */

/** Characters 0–255 each for itself, and one symbol for all above. */
export const symbolCount = 257;
export const otherSymbol = 256;

export type RegexNode =
  | { readonly kind: 'empty' }
  /** One symbol out of these. */
  | { readonly kind: 'set'; readonly symbols: Uint8Array }
  | { readonly kind: 'assert'; readonly assertion: Assertion }
  | { readonly kind: 'sequence'; readonly nodes: readonly RegexNode[] }
  | { readonly kind: 'choice'; readonly nodes: readonly RegexNode[] }
  /** `max` Infinity: no limit. */
  | { readonly kind: 'repeat'; readonly node: RegexNode; readonly min: number; readonly max: number };

export type Assertion = 'start' | 'end' | 'word-boundary' | 'no-word-boundary';

/** Why a text is no expression that is taken. */
export class RegexFault {
  /** Completes "the expression …". */
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

export const regexCharactersMax = 4096;
const depthMax = 100;
const repeatMax = 1000;

export function parseRegex(source: string, ignoreCase: boolean): RegexNode | RegexFault {
  if (source.length > regexCharactersMax)
    return new RegexFault(`is longer than ${regexCharactersMax} characters`);
  const inline = source.startsWith('(?i)');
  try {
    return new Parser(inline ? source.slice(4) : source, ignoreCase || inline).parse();
  } catch (error) {
    if (error instanceof Refused) return new RegexFault(error.message);
    throw error;
  }
}

/** Letters, digits and the underscore: `\w`. */
export function isWordSymbol(symbol: number): boolean {
  return wordSymbols[symbol] === 1;
}

class Refused extends Error {}

class Parser {
  readonly #source: string;
  readonly #ignoreCase: boolean;
  #at = 0;
  #depth = 0;

  constructor(source: string, ignoreCase: boolean) {
    this.#source = source;
    this.#ignoreCase = ignoreCase;
  }

  parse(): RegexNode {
    const node = this.#choice();
    if (this.#at < this.#source.length) throw new Refused('has a ")" without its "("');
    return node;
  }

  #choice(): RegexNode {
    if (++this.#depth > depthMax) throw new Refused(`nests groups more than ${depthMax} deep`);
    const nodes = [this.#sequence()];
    while (this.#take('|')) nodes.push(this.#sequence());
    this.#depth--;
    return nodes.length === 1 ? nodes[0]! : { kind: 'choice', nodes };
  }

  #sequence(): RegexNode {
    const nodes: RegexNode[] = [];
    while (this.#at < this.#source.length && !this.#sees('|') && !this.#sees(')'))
      nodes.push(this.#repeated());
    if (nodes.length === 0) return { kind: 'empty' };
    return nodes.length === 1 ? nodes[0]! : { kind: 'sequence', nodes };
  }

  #repeated(): RegexNode {
    const isGroup = this.#sees('(');
    const node = this.#atom();
    const range = this.#quantifier();
    if (range === undefined) return node;
    if (node.kind === 'assert' && !isGroup) throw new Refused('repeats an anchor');
    this.#take('?');
    if (/[*+?{]/.test(this.#source[this.#at] ?? '')) throw new Refused('repeats a repetition');
    return { kind: 'repeat', node, ...range };
  }

  #quantifier(): { min: number; max: number } | undefined {
    if (this.#take('*')) return { min: 0, max: Infinity };
    if (this.#take('+')) return { min: 1, max: Infinity };
    if (this.#take('?')) return { min: 0, max: 1 };
    if (!this.#sees('{')) return undefined;
    const match = /^\{(\d{1,5})(,(\d{1,5})?)?\}/.exec(this.#source.slice(this.#at, this.#at + 16));
    if (match === null) throw new Refused('has a "{" that begins no repetition; write "\\{"');
    this.#at += match[0].length;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === undefined ? Infinity : Number(match[3]);
    if (max < min) throw new Refused('has a repetition whose end is below its start');
    if (min > repeatMax || (max !== Infinity && max > repeatMax)) {
      throw new Refused(`repeats more than ${repeatMax} times`);
    }
    return { min, max };
  }

  #atom(): RegexNode {
    const character = this.#source[this.#at++]!;
    switch (character) {
      case '^':
        return { kind: 'assert', assertion: 'start' };
      case '$':
        return { kind: 'assert', assertion: 'end' };
      case '.':
        return { kind: 'set', symbols: anyButLineEnd };
      case '(':
        return this.#group();
      case '[':
        return this.#class();
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        throw new Refused(`has a "${character}" with nothing before it to repeat`);
      case '{':
        throw new Refused('has a "{" that begins no repetition; write "\\{"');
      default:
        return this.#literal(character.charCodeAt(0));
    }
  }

  #group(): RegexNode {
    if (this.#take('?')) this.#groupKind();
    const node = this.#choice();
    if (!this.#take(')')) throw new Refused('has a "(" without its ")"');
    return node;
  }

  /** Behind `(?`: a group that captures nothing, or under a name, which is the same to a yes or no. */
  #groupKind(): void {
    const rest = this.#source.slice(this.#at, this.#at + 64);
    if (/^(?:[=!]|<[=!])/.test(rest)) throw new Refused('looks ahead or behind, which no linear engine can');
    const match = /^(?::|P?<\w{1,32}>)/.exec(rest);
    if (match === null)
      throw new Refused('has a "(?" group that is not "(?:" or a name; "(?i)" may only stand first');
    this.#at += match[0].length;
  }

  #escape(): RegexNode {
    const character = this.#source[this.#at];
    const assertion = assertions.get(character ?? '');
    if (assertion !== undefined) {
      this.#at++;
      return { kind: 'assert', assertion };
    }
    if (character !== undefined && /[1-9k]/.test(character)) {
      throw new Refused('refers back to a group, which no linear engine can');
    }
    const read = this.#escapedSet();
    return typeof read === 'number' ? this.#literal(read) : { kind: 'set', symbols: read };
  }

  /** Past a backslash: a code, or the symbols of a class such as `\d`. */
  #escapedSet(): number | Uint8Array {
    const character = this.#source[this.#at++];
    if (character === undefined) throw new Refused('ends in a backslash');
    const set = escapedClasses.get(character);
    if (set !== undefined) return set;
    const control = controls.get(character);
    if (control !== undefined) return control;
    if (character === 'x') return this.#hexadecimal();
    if (/[a-z0-9]/i.test(character)) throw new Refused(`has an unknown escape "\\${character}"`);
    return character.charCodeAt(0);
  }

  #hexadecimal(): number {
    const digits = this.#source.slice(this.#at, this.#at + 2);
    if (!/^[0-9a-f]{2}$/i.test(digits)) throw new Refused('has a "\\x" without two hexadecimal digits');
    this.#at += 2;
    return Number.parseInt(digits, 16);
  }

  #literal(code: number): RegexNode {
    if (code >= otherSymbol) throw new Refused('has a character that no host and no path can hold');
    const symbols = new Uint8Array(symbolCount);
    symbols[code] = 1;
    if (this.#ignoreCase) fold(symbols);
    return { kind: 'set', symbols };
  }

  #class(): RegexNode {
    const isNegated = this.#take('^');
    const symbols = new Uint8Array(symbolCount);
    if (this.#sees(']')) throw new Refused('has an empty class "[]"; write "\\]" for a bracket');
    while (!this.#take(']')) this.#classItem(symbols);
    if (this.#ignoreCase) fold(symbols);
    return { kind: 'set', symbols: isNegated ? complement(symbols) : symbols };
  }

  #classItem(symbols: Uint8Array): void {
    const first = this.#classPart();
    if (typeof first !== 'number') return unite(symbols, first);
    if (!this.#sees('-') || this.#source[this.#at + 1] === ']') {
      symbols[first] = 1;
      return;
    }
    this.#at++;
    const last = this.#classPart();
    if (typeof last !== 'number' || last < first)
      throw new Refused('has a range in a class that runs backwards');
    symbols.fill(1, first, last + 1);
  }

  #classPart(): number | Uint8Array {
    const character = this.#source[this.#at++];
    if (character === undefined) throw new Refused('has a "[" without its "]"');
    if (character === '[' && this.#sees(':')) throw new Refused('has a POSIX class; write "a-z" or "\\w"');
    if (character === '\\') {
      if (this.#sees('b')) throw new Refused('has a "\\b" in a class');
      return this.#escapedSet();
    }
    const code = character.charCodeAt(0);
    if (code >= otherSymbol) throw new Refused('has a character that no host and no path can hold');
    return code;
  }

  #sees(character: string): boolean {
    return this.#source[this.#at] === character;
  }

  #take(character: string): boolean {
    if (!this.#sees(character)) return false;
    this.#at++;
    return true;
  }
}

const assertions: ReadonlyMap<string, Assertion> = new Map([
  ['b', 'word-boundary'],
  ['B', 'no-word-boundary'],
  ['A', 'start'],
  ['z', 'end'],
]);

const controls: ReadonlyMap<string, number> = new Map([
  ['t', 9],
  ['n', 10],
  ['v', 11],
  ['f', 12],
  ['r', 13],
]);

const wordSymbols = setOf(/[A-Za-z0-9_]/);
const digits = setOf(/[0-9]/);
const spaces = setOf(/[\t\n\v\f\r \xa0]/);
const anyButLineEnd = complement(setOf(/[\n\r]/));

const escapedClasses: ReadonlyMap<string, Uint8Array> = new Map([
  ['d', digits],
  ['D', complement(digits)],
  ['w', wordSymbols],
  ['W', complement(wordSymbols)],
  ['s', spaces],
  ['S', complement(spaces)],
]);

function setOf(characters: RegExp): Uint8Array {
  return Uint8Array.from({ length: symbolCount }, (_, code) =>
    Number(code < otherSymbol && characters.test(String.fromCharCode(code))),
  );
}

function complement(symbols: Uint8Array): Uint8Array {
  return symbols.map((bit) => 1 - bit);
}

function unite(symbols: Uint8Array, more: Uint8Array): void {
  for (let symbol = 0; symbol < symbolCount; symbol++) symbols[symbol]! |= more[symbol]!;
}

/** Each ASCII letter in both cases. */
function fold(symbols: Uint8Array): void {
  for (let upper = 0x41; upper <= 0x5a; upper++) {
    const either = symbols[upper]! | symbols[upper + 0x20]!;
    symbols[upper] = either;
    symbols[upper + 0x20] = either;
  }
}
