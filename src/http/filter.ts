/**
 * The filter interface: built-in filters, policies, header rules and WebAssembly filters all stand behind it.
 *
 * An exchange runs a list of filters, in order for the request and in reverse for the response. A filter has only
 * the phases it needs; an exchange without a filter for a data phase passes that body on without a look.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { FieldList, RequestHead, ResponseHead } from '../codec/http-message.ts';
import type { IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import type { TraceContext } from '../telemetry/trace-context.ts';

/**
 * `continue`: go on with the next filter. `pause`: hold this direction here until `context.resume()`; what
 * arrives meanwhile is kept, up to the exchange's buffer limit. After `context.answer(…)` return `pause`.
 */
export type FilterVerdict = 'continue' | 'pause';

/** One filter of one exchange. Heads and fields are changed in place. */
export interface Filter {
  /** Names it in logs, traces and metrics: a rule id, or `filter/NAME`. */
  readonly ruleId: string;
  onRequestHead?(context: FilterContext, head: RequestHead, isEnd: boolean): FilterVerdict;
  /** May put other bytes in the place of these with `context.replaceData`. */
  onRequestData?(context: FilterContext, bytes: HostBytes, isEnd: boolean): FilterVerdict;
  onRequestTrailers?(context: FilterContext, fields: FieldList): FilterVerdict;
  onResponseHead?(context: FilterContext, head: ResponseHead, isEnd: boolean): FilterVerdict;
  onResponseData?(context: FilterContext, bytes: HostBytes, isEnd: boolean): FilterVerdict;
  onResponseTrailers?(context: FilterContext, fields: FieldList): FilterVerdict;
  /** The exchange is over, however it ended. Once. */
  onEnd?(context: FilterContext): void;
}

/** What an exchange lets a filter do. */
export interface FilterContext {
  readonly exchange: ExchangeFacts;
  /** Goes on where `pause` stopped, from the event loop or from inside another call. */
  resume(direction: 'request' | 'response'): void;
  /** In a data phase: what goes on instead of the bytes given. Empty drops them. Copied by the exchange if kept. */
  replaceData(bytes: HostBytes): void;
  /** Answers the client in place of the backend. Ends the request; the response passes no filter before this one. */
  answer(answer: FilterAnswer): void;
}

/** Makes filters. What keeps no state of an exchange is shared: one filter serves all of them. */
export interface FilterFactory {
  readonly isShared: boolean;
  create(): Filter;
}

export interface FilterAnswer {
  readonly status: number;
  readonly reason: Reason;
  /** The rule that decided. */
  readonly ruleId: string | null;
  /** Beside what the proxy sets itself. */
  readonly fields?: FieldList;
  /** Null: the short page that fits the client's `accept`. */
  readonly body?: string | null;
}

/** What a filter may know about its exchange. */
export interface ExchangeFacts {
  readonly id: string;
  readonly clientIp: IpAddress;
  /** The real client's address, printed. */
  readonly client: string;
  readonly listener: string;
  readonly serverName: string | null;
  readonly routeId: string | null;
  /** Null where nothing is traced. */
  readonly trace: TraceContext | null;
}
