/**
 * Refuses a request body above a size (413): by its Content-Length before anything is sent on, otherwise as soon as
 * the bytes that came pass the limit.
 */
import type { HostBytes } from '../../core/bytes.ts';
import type { Filter, FilterAnswer, FilterContext, FilterFactory, FilterVerdict } from '../../http/filter.ts';
import { getField, type RequestHead } from '../../http/message.ts';

export interface MaxBodySettings {
  readonly ruleId: string;
  readonly bytesMax: number;
}

export function maxBody({ ruleId, bytesMax }: MaxBodySettings): FilterFactory {
  const answer: FilterAnswer = { status: 413, reason: 'body-oversized', ruleId };
  return { isShared: false, create: () => new MaxBody(ruleId, bytesMax, answer) };
}

class MaxBody implements Filter {
  readonly ruleId: string;
  readonly #bytesMax: number;
  readonly #answer: FilterAnswer;
  #byteCount = 0;

  constructor(ruleId: string, bytesMax: number, answer: FilterAnswer) {
    this.ruleId = ruleId;
    this.#bytesMax = bytesMax;
    this.#answer = answer;
  }

  onRequestHead(context: FilterContext, head: RequestHead, isEnd: boolean): FilterVerdict {
    if (isEnd) return 'continue';
    const length = getField(head.fields, 'content-length');
    if (length === undefined || Number(length) <= this.#bytesMax) return 'continue';
    return this.#refuse(context);
  }

  onRequestData(context: FilterContext, bytes: HostBytes): FilterVerdict {
    this.#byteCount += bytes.length;
    return this.#byteCount <= this.#bytesMax ? 'continue' : this.#refuse(context);
  }

  #refuse(context: FilterContext): FilterVerdict {
    context.answer(this.#answer);
    return 'pause';
  }
}
