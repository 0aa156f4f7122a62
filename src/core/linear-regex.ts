/**
 * Regular expressions in linear time: does the text hold a match, yes or no.
 *
 * Thompson's construction, run as an automaton whose states are made when a text first needs them (RE2). Each
 * character costs one look-up, and at worst one pass over the program, whose size is limited: no expression and no
 * text make it back-track, so none can stall a worker. The cache of states is thrown away when it is full.
 */
import { assert } from './errors.ts';
import {
  isWordSymbol,
  otherSymbol,
  parseRegex,
  RegexFault,
  symbolCount,
  type Assertion,
  type RegexNode,
} from './linear-regex-syntax.ts';

export { RegexFault } from './linear-regex-syntax.ts';

export interface RegexOptions {
  /** ASCII letters match in either case. */
  readonly ignoreCase?: boolean;
  /** Limit of the program's size, which is the worst cost of one character. */
  readonly instructionsMax?: number;
}

const instructionsMaxDefault = 4000;
/** States kept at a time. */
const statesMax = 256;

export class LinearRegex {
  readonly source: string;
  readonly #program: Program;
  readonly #states = new Map<string, State>();
  #start: State;

  private constructor(source: string, program: Program) {
    this.source = source;
    this.#program = program;
    this.#start = this.#makeStart();
  }

  static compile(source: string, options: RegexOptions = {}): LinearRegex | RegexFault {
    const tree = parseRegex(source, options.ignoreCase ?? false);
    if (tree instanceof RegexFault) return tree;
    const program = compileProgram(tree, options.instructionsMax ?? instructionsMaxDefault);
    return program instanceof RegexFault ? program : new LinearRegex(source, program);
  }

  /** Whether a match lies anywhere in `text`; anchors say where it must. */
  test(text: string): boolean {
    const { classOf, endClass } = this.#program;
    let state = this.#start;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      const symbolClass = classOf[code < otherSymbol ? code : otherSymbol]!;
      state = state.next[symbolClass] ?? this.#advance(state, symbolClass);
      if (state.isFinal) return state === matched;
    }
    return (state.next[endClass] ?? this.#advance(state, endClass)) === matched;
  }

  /** States held now. */
  get stateCount(): number {
    return this.#states.size;
  }

  #advance(state: State, symbolClass: number): State {
    const next = step(this.#program, state, symbolClass);
    const target = next === 'matched' ? matched : next === 'dead' ? dead : this.#keep(next);
    state.next[symbolClass] = target;
    return target;
  }

  #keep(state: State): State {
    const known = this.#states.get(state.key);
    if (known !== undefined) return known;
    if (this.#states.size >= statesMax) {
      this.#states.clear();
      this.#start = this.#makeStart();
    }
    this.#states.set(state.key, state);
    return state;
  }

  #makeStart(): State {
    return new State([this.#program.entry], true, false);
  }
}

/** Where the automaton may be, before what needs no symbol is followed: that depends on the next one. */
class State {
  readonly pcs: readonly number[];
  readonly isStart: boolean;
  /** The last symbol was one of a word. */
  readonly afterWord: boolean;
  readonly key: string;
  readonly isFinal: boolean;
  /** By class of the next symbol; the last is the end of the text. */
  readonly next: (State | undefined)[] = [];

  constructor(pcs: readonly number[], isStart: boolean, afterWord: boolean, isFinal = false) {
    this.pcs = pcs;
    this.isStart = isStart;
    this.afterWord = afterWord;
    this.isFinal = isFinal;
    this.key = `${afterWord ? 'w' : ''}${pcs.join()}`;
  }
}

const matched = new State([], false, false, true);
const dead = new State([], false, false, true);

type Instruction =
  | { readonly kind: 'set'; readonly symbols: Uint8Array; readonly next: number }
  | { readonly kind: 'split'; first: number; second: number }
  | { readonly kind: 'assert'; readonly assertion: Assertion; readonly next: number }
  | { readonly kind: 'match' };

interface Program {
  readonly instructions: readonly Instruction[];
  readonly entry: number;
  /** Every match begins at the start of the text. */
  readonly isAnchored: boolean;
  /** Symbols that no instruction tells apart share a class. */
  readonly classOf: Uint16Array;
  /** A symbol of each class. */
  readonly symbolOf: readonly number[];
  readonly endClass: number;
}

function compileProgram(tree: RegexNode, instructionsMax: number): Program | RegexFault {
  const emitter = new Emitter(instructionsMax);
  const entry = emitter.emit(tree, emitter.add({ kind: 'match' }));
  if (entry < 0) return new RegexFault(`needs more than ${instructionsMax} steps; repeat less`);
  const { instructions } = emitter;
  const { classOf, symbolOf } = partition(instructions);
  return { instructions, entry, isAnchored: isAnchored(tree), classOf, symbolOf, endClass: symbolOf.length };
}

/** Emits backwards: each piece is told what follows it. Negative: too large. */
class Emitter {
  readonly instructions: Instruction[] = [];
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  add(instruction: Instruction): number {
    if (this.instructions.length >= this.#max) return -1;
    return this.instructions.push(instruction) - 1;
  }

  emit(node: RegexNode, next: number): number {
    if (next < 0) return -1;
    switch (node.kind) {
      case 'empty':
        return next;
      case 'set':
        return this.add({ kind: 'set', symbols: node.symbols, next });
      case 'assert':
        return this.add({ kind: 'assert', assertion: node.assertion, next });
      case 'sequence':
        return node.nodes.reduceRight((following, each) => this.emit(each, following), next);
      case 'choice':
        return node.nodes
          .map((each) => this.emit(each, next))
          .reduceRight((second, first) => this.#split(first, second));
      case 'repeat':
        return this.#repeat(node, next);
    }
  }

  #repeat({ node, min, max }: Extract<RegexNode, { kind: 'repeat' }>, next: number): number {
    let entry = next;
    if (max === Infinity) entry = this.#loop(node, next);
    else
      for (let count = min; count < max && entry >= 0; count++)
        entry = this.#split(this.emit(node, entry), next);
    for (let count = 0; count < min && entry >= 0; count++) entry = this.emit(node, entry);
    return entry;
  }

  #loop(node: RegexNode, next: number): number {
    const split: Instruction = { kind: 'split', first: -1, second: next };
    const at = this.add(split);
    split.first = this.emit(node, at);
    return split.first < 0 ? -1 : at;
  }

  #split(first: number, second: number): number {
    return first < 0 || second < 0 ? -1 : this.add({ kind: 'split', first, second });
  }
}

/** Splits the symbols until no set and no `\b` sees a difference within a class. */
function partition(instructions: readonly Instruction[]): { classOf: Uint16Array; symbolOf: number[] } {
  const classOf = new Uint16Array(symbolCount);
  let count = 1;
  const sets = new Set<Uint8Array>();
  for (const each of instructions) if (each.kind === 'set') sets.add(each.symbols);
  const words = Uint8Array.from({ length: symbolCount }, (_, symbol) => Number(isWordSymbol(symbol)));
  for (const symbols of [words, ...sets]) {
    const split = new Map<number, number>();
    count = 0;
    for (let symbol = 0; symbol < symbolCount; symbol++) {
      const key = classOf[symbol]! * 2 + symbols[symbol]!;
      if (!split.has(key)) split.set(key, count++);
      classOf[symbol] = split.get(key)!;
    }
  }
  const symbolOf: number[] = [];
  classOf.forEach((symbolClass, symbol) => (symbolOf[symbolClass] ??= symbol));
  return { classOf, symbolOf };
}

function isAnchored(node: RegexNode): boolean {
  switch (node.kind) {
    case 'assert':
      return node.assertion === 'start';
    case 'sequence':
      return isAnchored(node.nodes[0]!);
    case 'choice':
      return node.nodes.every(isAnchored);
    case 'repeat':
      return node.min > 0 && isAnchored(node.node);
    default:
      return false;
  }
}

/** Where the automaton is after one symbol, or the end of the text. */
function step(program: Program, state: State, symbolClass: number): State | 'matched' | 'dead' {
  const { instructions, symbolOf, endClass, entry } = program;
  const isEnd = symbolClass === endClass;
  const symbol = isEnd ? -1 : symbolOf[symbolClass]!;
  const nextWord = !isEnd && isWordSymbol(symbol);
  const seen = new Set<number>();
  const reached = new Set<number>(program.isAnchored ? [] : [entry]);
  const stack = [...state.pcs];
  while (stack.length > 0) {
    const pc = stack.pop()!;
    if (seen.has(pc)) continue;
    seen.add(pc);
    const instruction = instructions[pc]!;
    if (instruction.kind === 'match') return 'matched';
    if (instruction.kind === 'split') stack.push(instruction.first, instruction.second);
    else if (instruction.kind === 'set') {
      if (!isEnd && instruction.symbols[symbol] === 1) reached.add(instruction.next);
    } else if (holds(instruction.assertion, state, isEnd, nextWord)) stack.push(instruction.next);
  }
  if (isEnd || reached.size === 0) return 'dead';
  assert(symbol >= 0, 'a class of symbols has a symbol');
  return new State(
    [...reached].sort((a, b) => a - b),
    false,
    nextWord,
  );
}

function holds(assertion: Assertion, state: State, isEnd: boolean, nextWord: boolean): boolean {
  switch (assertion) {
    case 'start':
      return state.isStart;
    case 'end':
      return isEnd;
    case 'word-boundary':
      return state.afterWord !== nextWord;
    case 'no-word-boundary':
      return state.afterWord === nextWord;
  }
}
