/**
 * Refuses a method that is not among those listed (405 with `Allow`, RFC 9110 §15.5.6), and a request that asks the
 * backend by a field to take it for one.
 */
import { sharedFilter } from '../../http/filter-list.ts';
import type { Filter, FilterAnswer, FilterContext, FilterFactory, FilterVerdict } from '../../http/filter.ts';
import type { FieldList, RequestHead } from '../../http/message.ts';

export interface AllowMethodsSettings {
  readonly ruleId: string;
  /** As they stand in a request: methods are case-sensitive. */
  readonly methods: readonly string[];
}

export function allowMethods(settings: AllowMethodsSettings): FilterFactory {
  return sharedFilter(new AllowMethods(settings));
}

class AllowMethods implements Filter {
  readonly ruleId: string;
  readonly #methods: readonly string[];
  readonly #answer: FilterAnswer;

  constructor({ ruleId, methods }: AllowMethodsSettings) {
    this.ruleId = ruleId;
    this.#methods = methods;
    this.#answer = {
      status: 405,
      reason: 'method-refused',
      ruleId,
      fields: ['allow', methods.join(', ')],
    };
  }

  onRequestHead(context: FilterContext, head: RequestHead): FilterVerdict {
    if (this.#methods.includes(head.method) && this.#isOverrideAllowed(head.fields)) return 'continue';
    context.answer(this.#answer);
    return 'pause';
  }

  #isOverrideAllowed(fields: FieldList): boolean {
    for (let at = 0; at < fields.length; at += 2) {
      if (!fields[at]!.startsWith('x') || !overrideNames.has(fields[at]!.replaceAll('_', '-'))) continue;
      // Frameworks take it in any case.
      if (!this.#methods.includes(fields[at + 1]!.toUpperCase())) return false;
    }
    return true;
  }
}

const overrideNames: ReadonlySet<string> = new Set([
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
]);
