/** YAML 1.2 (core schema: `no` is text, not false), one document. Values and places come from the same events. */

import {
  COLLECTION_STYLE,
  EVENT_ID,
  SCALAR_STYLE,
  YAMLException,
  constructFromEvents,
  getScalarValue,
  parseEvents,
} from 'js-yaml';
import type { Event } from 'js-yaml';
import type { Document, SyntaxFault } from './document.ts';
import { noteKey, noteValue, offsetsOf } from './places.ts';
import type { Target } from './places.ts';

/** A file of a few lines must not grow to gigabytes, nor fill the stack. */
const aliasesMax = 100;
const depthMax = 100;

export function parseYaml(text: string): Document | SyntaxFault {
  try {
    const events = parseEvents(text, { maxDepth: depthMax });
    const documents = constructFromEvents(events, { source: text, maxAliases: aliasesMax });
    if (documents.length > 1) return secondDocumentFault(text, events);
    return {
      kind: 'document',
      root: documents[0] ?? {},
      locate: (wanted) => offsetsOf(wanted, (root) => new PlaceWalk(text, events).node(root)),
    };
  } catch (error) {
    if (error instanceof YAMLException) {
      return { kind: 'fault', message: error.reason, offset: error.mark?.position ?? null };
    }
    // A bug of the parser is no reason to show the operator a stack instead of a line.
    return { kind: 'fault', message: String(error), offset: null };
  }
}

/** Events of documents have no place, but `---` and `...` at the start of a line are nothing else than their bounds. */
function secondDocumentFault(text: string, [first]: readonly Event[]): SyntaxFault {
  const isFirstMarked = first?.type === EVENT_ID.DOCUMENT && first.explicitStart;
  const marks = [...text.matchAll(/^(?:---|\.\.\.)(?=\s|$)/gm)];
  const mark = marks[isFirstMarked ? 1 : 0];
  return {
    kind: 'fault',
    message: 'one document, and here a second begins',
    offset: mark?.index ?? null,
  };
}

type ScalarEvent = Extract<Event, { type: typeof EVENT_ID.SCALAR }>;
type SequenceEvent = Extract<Event, { type: typeof EVENT_ID.SEQUENCE }>;

/** Steps through the events of one document. What an alias stands for is placed where the alias is. */
class PlaceWalk {
  readonly #text: string;
  readonly #events: readonly Event[];
  /** Past the event that opens the document. */
  #next = 1;
  /** Past the last text that was stepped over. */
  #end = 0;

  constructor(text: string, events: readonly Event[]) {
    this.#text = text;
    this.#events = events;
  }

  node(target: Target): void {
    const event = this.#events[this.#next++];
    if (event === undefined) return;
    if (event.type === EVENT_ID.SCALAR) this.#scalar(target, event);
    else if (event.type === EVENT_ID.ALIAS) this.#note(target, event.anchorStart - 1, event.anchorEnd);
    else if (event.type === EVENT_ID.SEQUENCE) this.#sequence(target, event);
    else if (event.type === EVENT_ID.MAPPING) this.#mapping(target, event.start);
  }

  #scalar(target: Target, event: ScalarEvent): void {
    const start = startOf(event);
    if (start === undefined) return;
    const isBlock = event.style === SCALAR_STYLE.LITERAL_BLOCK || event.style === SCALAR_STYLE.FOLDED_BLOCK;
    this.#note(target, isBlock && target !== undefined ? this.#blockHeader(start) : start, event.valueEnd);
  }

  /** The `|` or `>` at the end of the line before the content of a block scalar. */
  #blockHeader(contentStart: number): number {
    const lineStart = this.#text.lastIndexOf('\n', contentStart - 2) + 1;
    const header = /[|>][\d+-]{0,2}[ \t]*(?:#.*)?\s*$/.exec(this.#text.slice(lineStart, contentStart));
    return header === null ? contentStart : lineStart + header.index;
  }

  #note(target: Target, start: number, end: number): void {
    noteValue(target, start);
    this.#end = end;
  }

  #sequence(target: Target, { start, style }: SequenceEvent): void {
    this.#note(target, start, start);
    const indent = start - this.#text.lastIndexOf('\n', start - 1) - 1;
    const dash = `\n${' '.repeat(indent)}-`;
    for (let index = 0; !this.#closes(); index++) {
      const element = target?.children.get(String(index));
      if (style === COLLECTION_STYLE.BLOCK && this.#isEmptyNext()) {
        // An element without text is where its dash is.
        const found = index === 0 ? -1 : this.#text.indexOf(dash, this.#end);
        const at = found < 0 ? start : found + dash.length - 1;
        this.#note(element, at, at + 1);
      }
      this.node(element);
    }
  }

  #mapping(target: Target, start: number): void {
    this.#note(target, start, start);
    while (!this.#closes()) {
      const key = this.#events[this.#next];
      const name = key?.type === EVENT_ID.SCALAR ? getScalarValue(this.#text, key) : undefined;
      const keyStart = key?.type === EVENT_ID.SCALAR ? startOf(key) : undefined;
      this.node(undefined);
      // A key that is no plain text is in no path that anybody wants.
      this.node(name === undefined || keyStart === undefined ? undefined : noteKey(target, name, keyStart));
    }
  }

  #isEmptyNext(): boolean {
    const event = this.#events[this.#next];
    return event?.type === EVENT_ID.SCALAR && startOf(event) === undefined;
  }

  /** Steps over the end of the collection when it has come. */
  #closes(): boolean {
    const event = this.#events[this.#next];
    if (event !== undefined && event.type !== EVENT_ID.POP) return false;
    this.#next++;
    return true;
  }
}

/** Where its text begins, the quote included; undefined when it has none. */
function startOf(scalar: ScalarEvent): number | undefined {
  const isQuoted = scalar.style === SCALAR_STYLE.DOUBLE_QUOTED || scalar.style === SCALAR_STYLE.SINGLE_QUOTED;
  const start = isQuoted ? scalar.valueStart - 1 : scalar.valueStart;
  return start < 0 ? undefined : start;
}
