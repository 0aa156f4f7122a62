/**
 * Runs the filters of one exchange: the request through them in order, the response in reverse. Each direction
 * goes on by itself, and may be held by one filter while the other runs.
 *
 * What a filter does from inside a phase (answer, resume) takes effect when the phase has returned, so that no
 * filter is ever entered twice. A filter that throws ends its exchange and no other.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import type { FieldList, RequestHead, ResponseHead } from '../codec/http-message.ts';
import type { ExchangeFacts, Filter, FilterAnswer, FilterContext } from './filter.ts';
import type { FilterList } from './filter-list.ts';

/** What one direction keeps while it is held. What arrives is bounded by the streams' windows; filters may make more of it. */
export const filterBufferBytesMax = 1024 * 1024;

export type Direction = 'request' | 'response';

/** Where a message goes when every filter has let it pass. */
export interface FilterOutput extends ExchangeFacts {
  passRequestHead(): void;
  passRequestData(bytes: HostBytes, isEnd: boolean): void;
  passRequestTrailers(fields: FieldList): void;
  passResponseHead(head: ResponseHead, isEnd: boolean): void;
  passResponseData(bytes: HostBytes, isEnd: boolean): void;
  passResponseTrailers(fields: FieldList): void;
  /** The filter at `index` answers in place of the backend. */
  onFilterAnswer(answer: FilterAnswer, index: number): void;
  /** The buffer of a held direction is full. */
  onFilterLimit(direction: Direction, reason: Reason, ruleId: string): void;
  onFilterFault(error: unknown): void;
  /** A held direction goes on: credit may be due. */
  onFilterResume(direction: Direction): void;
}

/** One part of a message on its way through the filters. */
type Part =
  | { readonly kind: 'head'; readonly head: RequestHead | ResponseHead; readonly isEnd: boolean }
  | { readonly kind: 'data'; readonly bytes: HostBytes; readonly isEnd: boolean }
  | { readonly kind: 'trailers'; readonly fields: FieldList };

/** One direction: where it is held, and what waits there. */
class Lane {
  readonly direction: Direction;
  /** The filter that holds it, -1 without. */
  heldAt = -1;
  /** What the holding filter saw last; null when nothing is held. */
  held: Part | null = null;
  waiting: Part[] = [];
  waitingBytes = 0;
  /** A filter asked to go on while a phase ran. */
  isResumeDue = false;
  /** True while its parts move: whatever arrives then waits for its turn. */
  isRunning = false;

  constructor(direction: Direction) {
    this.direction = direction;
  }
}

export class FilterChain implements FilterContext {
  readonly exchange: FilterOutput;
  readonly #list: FilterList;
  readonly #filters: readonly Filter[];
  readonly #request = new Lane('request');
  readonly #response = new Lane('response');
  /** The first filter of the response, counted from the back: lower after an answer. */
  #responseStart: number;
  #data: HostBytes = nothing;
  /** Given inside a phase, and which filter gave it: delivered when the phase has returned. */
  #answer: FilterAnswer | null = null;
  #answeredBy = 0;
  /** The filter whose phase runs, -1 outside. */
  #current = -1;
  /** No phase runs any more. */
  #isOver = false;
  #isEnded = false;

  constructor(list: FilterList, output: FilterOutput) {
    this.exchange = output;
    this.#list = list;
    this.#filters = list.filters;
    this.#responseStart = list.filters.length - 1;
  }

  /** True while the direction is held: its source gets no credit. */
  isHeld(direction: Direction): boolean {
    return this.#laneOf(direction).heldAt >= 0;
  }

  /** True when a filter wants to see the request's body. */
  get filtersRequestData(): boolean {
    return this.#list.hasRequestData;
  }

  requestHead(head: RequestHead, isEnd: boolean): void {
    if (!this.#list.hasRequestHead) return this.exchange.passRequestHead();
    this.#enter(this.#request, { kind: 'head', head, isEnd });
  }

  requestData(bytes: HostBytes, isEnd: boolean): void {
    if (!this.#list.hasRequestData && this.#isFree(this.#request)) {
      return this.exchange.passRequestData(bytes, isEnd);
    }
    this.#enter(this.#request, { kind: 'data', bytes, isEnd });
  }

  requestTrailers(fields: FieldList): void {
    this.#enter(this.#request, { kind: 'trailers', fields });
  }

  responseHead(head: ResponseHead, isEnd: boolean): void {
    if (!this.#list.hasResponseHead && this.#isFree(this.#response)) {
      return this.exchange.passResponseHead(head, isEnd);
    }
    this.#enter(this.#response, { kind: 'head', head, isEnd });
  }

  responseData(bytes: HostBytes, isEnd: boolean): void {
    if (!this.#list.hasResponseData && this.#isFree(this.#response)) {
      return this.exchange.passResponseData(bytes, isEnd);
    }
    this.#enter(this.#response, { kind: 'data', bytes, isEnd });
  }

  responseTrailers(fields: FieldList): void {
    this.#enter(this.#response, { kind: 'trailers', fields });
  }

  /**
   * The response from here on is an answer of the filter at `index`: the filters that stand before it in the list
   * (they saw the request) see the answer, itself and those behind it do not.
   */
  beginAnswer(index: number): void {
    this.#responseStart = index - 1;
    for (const lane of [this.#request, this.#response]) {
      lane.heldAt = -1;
      lane.held = null;
      lane.waiting = [];
      lane.waitingBytes = 0;
      lane.isResumeDue = false;
    }
    this.#answer = null;
  }

  /** The exchange is over. Every filter is told once, those included that saw nothing of it. */
  end(): void {
    this.#isOver = true;
    if (this.#isEnded || !this.#list.hasEnd) return;
    this.#isEnded = true;
    for (const filter of this.#filters) {
      try {
        filter.onEnd?.(this);
      } catch (error) {
        this.exchange.onFilterFault(error);
      }
    }
  }

  // --- FilterContext ---

  resume(direction: Direction): void {
    if (this.#isOver) return;
    const lane = this.#laneOf(direction);
    // A filter may ask to go on before its phase has returned `pause`, or while the other direction runs.
    lane.isResumeDue = lane.heldAt >= 0 || lane.isRunning;
    if (this.#current < 0) this.#tryResume(lane);
  }

  replaceData(bytes: HostBytes): void {
    this.#data = bytes;
  }

  answer(answer: FilterAnswer): void {
    if (this.#isOver) return;
    if (this.#current >= 0) {
      this.#answer = answer;
      return;
    }
    const { heldAt } = this.#request;
    const index = heldAt >= 0 ? heldAt : this.#response.heldAt;
    this.exchange.onFilterAnswer(answer, index < 0 ? 0 : index);
  }

  // --- the walk ---

  #laneOf(direction: Direction): Lane {
    return direction === 'request' ? this.#request : this.#response;
  }

  #isFree(lane: Lane): boolean {
    return lane.heldAt < 0 && !lane.isRunning;
  }

  #enter(lane: Lane, part: Part): void {
    if (this.#isOver) return;
    if (!this.#isFree(lane)) return this.#hold(lane, part);
    lane.isRunning = true;
    this.#walk(lane, part, this.#startOf(lane));
    this.#goOn(lane);
  }

  #startOf(lane: Lane): number {
    return lane === this.#request ? 0 : this.#responseStart;
  }

  /** What waited follows, until a filter holds or answers. */
  #goOn(lane: Lane): void {
    while (lane.heldAt < 0 && lane.waiting.length > 0 && this.#answer === null && !this.#isOver) {
      const part = lane.waiting.shift()!;
      if (part.kind === 'data') lane.waitingBytes -= part.bytes.length;
      this.#walk(lane, part, this.#startOf(lane));
    }
    lane.isRunning = false;
    if (this.#isOver) return;
    if (this.#answer !== null) this.#deliverAnswer();
    else this.#resumeDue();
  }

  /** Keeps what arrives while the direction is held. */
  #hold(lane: Lane, part: Part): void {
    const kept = part.kind === 'data' ? { ...part, bytes: copied(part.bytes) } : part;
    lane.waiting.push(kept);
    if (kept.kind === 'data') this.#count(lane, kept.bytes.length);
  }

  #count(lane: Lane, byteCount: number): void {
    lane.waitingBytes += byteCount;
    if (lane.waitingBytes <= filterBufferBytesMax || this.#isOver) return;
    const { ruleId } = this.#filters[Math.max(lane.heldAt, 0)]!;
    const reason = lane.direction === 'request' ? 'body-oversized' : 'upstream-malformed';
    this.exchange.onFilterLimit(lane.direction, reason, ruleId);
  }

  /** Takes a part through the filters from `start` on, and out at the end. */
  #walk(lane: Lane, part: Part, start: number): void {
    const step = lane === this.#request ? 1 : -1;
    const behind = lane === this.#request ? this.#filters.length : -1;
    if (part.kind === 'data') this.#data = part.bytes;
    for (let at = start; at !== behind; at += step) {
      const isPaused = this.#call(lane, part, at);
      if (this.#isOver) return;
      if (this.#answer !== null) {
        this.#answeredBy = at;
        return;
      }
      if (isPaused && !lane.isResumeDue) return this.#park(lane, part, at);
      lane.isResumeDue = false;
    }
    this.#leave(lane, part);
  }

  /** Calls one phase. True: it asked to pause. */
  #call(lane: Lane, part: Part, at: number): boolean {
    const filter = this.#filters[at]!;
    this.#current = at;
    try {
      return (
        (lane === this.#request ? this.#onRequest(filter, part) : this.#onResponse(filter, part)) === 'pause'
      );
    } catch (error) {
      this.#isOver = true;
      this.exchange.onFilterFault(error);
      return false;
    } finally {
      this.#current = -1;
    }
  }

  #onRequest(filter: Filter, part: Part): unknown {
    switch (part.kind) {
      case 'head':
        return filter.onRequestHead?.(this, part.head as RequestHead, part.isEnd);
      case 'data':
        return filter.onRequestData?.(this, this.#data, part.isEnd);
      case 'trailers':
        return filter.onRequestTrailers?.(this, part.fields);
    }
  }

  #onResponse(filter: Filter, part: Part): unknown {
    switch (part.kind) {
      case 'head':
        return filter.onResponseHead?.(this, part.head as ResponseHead, part.isEnd);
      case 'data':
        return filter.onResponseData?.(this, this.#data, part.isEnd);
      case 'trailers':
        return filter.onResponseTrailers?.(this, part.fields);
    }
  }

  #park(lane: Lane, part: Part, at: number): void {
    lane.heldAt = at;
    lane.held = part.kind === 'data' ? { ...part, bytes: copied(this.#data) } : part;
    if (lane.held.kind === 'data') this.#count(lane, lane.held.bytes.length);
  }

  #leave(lane: Lane, part: Part): void {
    const output = this.exchange;
    const isRequest = lane === this.#request;
    switch (part.kind) {
      case 'head':
        if (isRequest) output.passRequestHead();
        else output.passResponseHead(part.head as ResponseHead, part.isEnd);
        return;
      case 'data': {
        // A chunk that a filter dropped is nothing, unless it ends the message.
        const bytes = this.#data;
        if (bytes.length === 0 && !part.isEnd) return;
        if (isRequest) output.passRequestData(bytes, part.isEnd);
        else output.passResponseData(bytes, part.isEnd);
        return;
      }
      case 'trailers':
        if (isRequest) output.passRequestTrailers(part.fields);
        else output.passResponseTrailers(part.fields);
    }
  }

  #deliverAnswer(): void {
    const answer = this.#answer!;
    this.#answer = null;
    this.exchange.onFilterAnswer(answer, this.#answeredBy);
  }

  #resumeDue(): void {
    this.#tryResume(this.#request);
    this.#tryResume(this.#response);
  }

  #tryResume(lane: Lane): void {
    if (lane.isResumeDue && lane.heldAt >= 0 && !lane.isRunning && !this.#isOver) this.#resume(lane);
  }

  /** The held part goes on behind the filter that held it; what waited follows through all of them. */
  #resume(lane: Lane): void {
    const held = lane.held!;
    const { heldAt } = lane;
    lane.isResumeDue = false;
    lane.heldAt = -1;
    lane.held = null;
    lane.isRunning = true;
    if (held.kind === 'data') lane.waitingBytes -= held.bytes.length;
    this.#walk(lane, held, heldAt + (lane === this.#request ? 1 : -1));
    this.#goOn(lane);
    if (!this.#isOver && lane.heldAt < 0) this.exchange.onFilterResume(lane.direction);
  }
}

const nothing = Buffer.alloc(0) as unknown as HostBytes;

function copied(bytes: HostBytes): HostBytes {
  return Buffer.from(bytes) as unknown as HostBytes;
}
