/** Refuses a request without a field of a name (403). An empty value counts as none. */
import { sharedFilter } from '../../http/filter-list.ts';
import type { Filter, FilterAnswer, FilterContext, FilterFactory, FilterVerdict } from '../../http/filter.ts';
import type { RequestHead } from '../../http/message.ts';

export interface RequireHeaderSettings {
  readonly ruleId: string;
  /** In lower case. */
  readonly name: string;
}

export function requireHeader(settings: RequireHeaderSettings): FilterFactory {
  return sharedFilter(new RequireHeader(settings));
}

class RequireHeader implements Filter {
  readonly ruleId: string;
  readonly #name: string;
  readonly #answer: FilterAnswer;

  constructor({ ruleId, name }: RequireHeaderSettings) {
    this.ruleId = ruleId;
    this.#name = name;
    this.#answer = { status: 403, reason: 'header-missing', ruleId };
  }

  onRequestHead(context: FilterContext, head: RequestHead): FilterVerdict {
    const { fields } = head;
    for (let at = 0; at < fields.length; at += 2) {
      if (fields[at] === this.#name && fields[at + 1] !== '') return 'continue';
    }
    // The message model keeps the host apart from the fields.
    if (this.#name === 'host' && head.authority !== '') return 'continue';
    context.answer(this.#answer);
    return 'pause';
  }
}
