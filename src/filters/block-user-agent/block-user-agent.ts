/** Refuses a request whose User-Agent contains a text (403). */
import { sharedFilter } from '../../http/filter-list.ts';
import type { Filter, FilterAnswer, FilterContext, FilterFactory, FilterVerdict } from '../../http/filter.ts';
import type { RequestHead } from '../../http/message.ts';

export interface BlockUserAgentSettings {
  readonly ruleId: string;
  /** Compared letter by letter, case and all. */
  readonly text: string;
}

export function blockUserAgent(settings: BlockUserAgentSettings): FilterFactory {
  return sharedFilter(new BlockUserAgent(settings));
}

class BlockUserAgent implements Filter {
  readonly ruleId: string;
  readonly #text: string;
  readonly #answer: FilterAnswer;

  constructor({ ruleId, text }: BlockUserAgentSettings) {
    this.ruleId = ruleId;
    this.#text = text;
    this.#answer = { status: 403, reason: 'user-agent-blocked', ruleId };
  }

  onRequestHead(context: FilterContext, { fields }: RequestHead): FilterVerdict {
    for (let at = 0; at < fields.length; at += 2) {
      if (fields[at] !== 'user-agent' || !fields[at + 1]!.includes(this.#text)) continue;
      context.answer(this.#answer);
      return 'pause';
    }
    return 'continue';
  }
}
