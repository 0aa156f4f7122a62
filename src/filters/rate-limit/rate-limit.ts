/**
 * Refuses more requests of one key in a window than allowed (429 with Retry-After), exact over all workers. The key
 * is the client's address (IPv6 by its /64), or the value of a field; a request without the field is keyed by its
 * address, so that leaving it out wins nothing.
 */
import { hash } from 'node:crypto';
import { IpAddress } from '../../core/ip.ts';
import { sharedFilter } from '../../http/filter-list.ts';
import type { Filter, FilterAnswer, FilterContext, FilterFactory, FilterVerdict } from '../../http/filter.ts';
import { getField, type RequestHead } from '../../http/message.ts';

/** What the filter needs of a `RateTable`. */
export interface RequestRates {
  readonly windowMs: number;
  tryAdmit(key: IpAddress, nowMs: number): boolean;
}

export interface RateLimitSettings {
  readonly ruleId: string;
  /** In lower case; null: by address. */
  readonly header: string | null;
  /** This worker's view of the policy's table. */
  readonly rates: RequestRates;
  /** Milliseconds on the clock that all workers share (`Network.nowMs`). */
  readonly nowMs: () => number;
}

export function rateLimit(settings: RateLimitSettings): FilterFactory {
  return sharedFilter(new RateLimit(settings));
}

class RateLimit implements Filter {
  readonly ruleId: string;
  readonly #header: string | null;
  readonly #rates: RequestRates;
  readonly #nowMs: () => number;
  readonly #answer: FilterAnswer;

  constructor({ ruleId, header, rates, nowMs }: RateLimitSettings) {
    this.ruleId = ruleId;
    this.#header = header;
    this.#rates = rates;
    this.#nowMs = nowMs;
    // When exactly the next one is free the table does not tell; after a whole window it is.
    const retryAfter = String(Math.max(1, Math.ceil(rates.windowMs / 1000)));
    this.#answer = {
      status: 429,
      reason: 'request-rate-limited',
      ruleId,
      fields: ['retry-after', retryAfter],
    };
  }

  onRequestHead(context: FilterContext, head: RequestHead): FilterVerdict {
    if (this.#rates.tryAdmit(this.#keyOf(context, head), this.#nowMs())) return 'continue';
    context.answer(this.#answer);
    return 'pause';
  }

  #keyOf(context: FilterContext, head: RequestHead): IpAddress {
    const { clientIp } = context.exchange;
    if (this.#header === null) return clientIp;
    const value = getField(head.fields, this.#header);
    return value === undefined || value === '' ? clientIp : keyOfText(value);
  }
}

/**
 * The first half of an IPv6 address holds 64 bits of a cryptographic hash, which is what the table keys by: nobody
 * finds another value, or an address, that shares somebody else's quota.
 */
function keyOfText(text: string): IpAddress {
  const digest = hash('sha256', text, 'buffer');
  return new IpAddress(digest.readInt32BE(0), digest.readInt32BE(4), -1, -1);
}
