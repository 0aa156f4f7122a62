/**
 * Removes, sets and adds fields of the request and of the response, in this order. Rules are checked when the filter
 * is made: what frames a message or names its connection is never a rule's business, and no value can end a line.
 */
import { assert } from '../../core/errors.ts';
import { sharedFilter } from '../../http/filter-list.ts';
import type { Filter, FilterContext, FilterFactory, FilterVerdict } from '../../http/filter.ts';
import {
  framingNames,
  removeField,
  setField,
  type FieldList,
  type RequestHead,
  type ResponseHead,
} from '../../http/message.ts';
import type { HeaderRules } from '../../model/http-settings.ts';

export interface HeaderRulesSettings {
  readonly ruleId: string;
  readonly request: HeaderRules;
  readonly response: HeaderRules;
}

/** Null where there is nothing to do. */
export function headerRules(settings: HeaderRulesSettings): FilterFactory | null {
  const { ruleId, request, response } = settings;
  checkRules(request);
  checkRules(response);
  const hasRequest = !isEmpty(request);
  const hasResponse = !isEmpty(response);
  if (hasRequest && hasResponse) return sharedFilter(new BothRules(ruleId, request, response));
  if (hasRequest) return sharedFilter(new RequestRules(ruleId, request));
  return hasResponse ? sharedFilter(new ResponseRules(ruleId, response)) : null;
}

class RequestRules implements Filter {
  readonly ruleId: string;
  readonly #rules: HeaderRules;
  /** What the rules settle: the client does not get to say it under another spelling. */
  readonly #settled: ReadonlySet<string>;

  constructor(ruleId: string, rules: HeaderRules) {
    this.ruleId = ruleId;
    this.#rules = rules;
    this.#settled = new Set([...rules.remove, ...rules.set.map(([name]) => name)]);
  }

  onRequestHead(_context: FilterContext, head: RequestHead): FilterVerdict {
    dropAliases(head.fields, this.#settled);
    applyRules(head.fields, this.#rules);
    return 'continue';
  }
}

class ResponseRules implements Filter {
  readonly ruleId: string;
  readonly #rules: HeaderRules;

  constructor(ruleId: string, rules: HeaderRules) {
    this.ruleId = ruleId;
    this.#rules = rules;
  }

  onResponseHead(_context: FilterContext, head: ResponseHead): FilterVerdict {
    applyRules(head.fields, this.#rules);
    return 'continue';
  }
}

class BothRules extends RequestRules {
  readonly #response: HeaderRules;

  constructor(ruleId: string, request: HeaderRules, response: HeaderRules) {
    super(ruleId, request);
    this.#response = response;
  }

  onResponseHead(_context: FilterContext, head: ResponseHead): FilterVerdict {
    applyRules(head.fields, this.#response);
    return 'continue';
  }
}

function applyRules(fields: FieldList, { remove, set, add }: HeaderRules): void {
  for (const name of remove) removeField(fields, name);
  for (const [name, value] of set) setField(fields, name, value);
  for (const [name, value] of add) fields.push(name, value);
}

/**
 * Gateway interfaces (CGI, WSGI, Rack) make one variable of `x-user` and `x_user`, so that a name which a rule sets
 * or removes is taken out in that spelling, too.
 */
function dropAliases(fields: FieldList, settled: ReadonlySet<string>): void {
  for (let at = fields.length - 2; at >= 0; at -= 2) {
    const name = fields[at]!;
    if (name.includes('_') && settled.has(name.replaceAll('_', '-'))) fields.splice(at, 2);
  }
}

function isEmpty({ remove, set, add }: HeaderRules): boolean {
  return remove.length + set.length + add.length === 0;
}

/** Lower-case tokens (RFC 9110 §5.6.2). */
const lowerToken = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** Visible latin1, with spaces and tabs inside only (RFC 9110 §5.5). */
const fieldValue = /^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?$/;

function checkRules({ remove, set, add }: HeaderRules): void {
  for (const name of remove) checkName(name);
  for (const [name, value] of [...set, ...add]) {
    checkName(name);
    assert(name !== 'content-length', 'a header rule may not set content-length');
    assert(fieldValue.test(value), 'a header rule has a value that no field may have');
  }
}

function checkName(name: string): void {
  assert(lowerToken.test(name), 'a header rule names no field');
  assert(!framingNames.has(name), 'a header rule names a field that frames messages');
}
