/** One exchange among scripted streams, as most of its tests begin. */
import { assert } from '../../core/errors.ts';
import type { Reason } from '../../core/reason.ts';
import type { RequestHead } from '../../codec/http-message.ts';
import { Exchange } from '../exchange.ts';
import { FilterList } from '../filter-list.ts';
import type { Filter } from '../filter.ts';
import type { HttpVersion } from '../stream.ts';
import {
  requestHead,
  ScriptedClientSession,
  ScriptedContext,
  ScriptedDownstream,
  testFacts,
  testTarget,
  type ScriptedUpstream,
} from './scripted-streams.ts';

export interface Scene {
  readonly context: ScriptedContext;
  readonly down: ScriptedDownstream;
  readonly exchange: Exchange;
  readonly session: ScriptedClientSession;
  /** The latest upstream stream. */
  readonly up: () => ScriptedUpstream;
  readonly reason: () => Reason;
}

export interface SceneOptions {
  readonly head?: Partial<RequestHead>;
  readonly isEnd?: boolean;
  readonly version?: HttpVersion;
  /** Requests the upstream connection served before. */
  readonly served?: number;
  readonly upstreamVersion?: HttpVersion;
  readonly filters?: readonly Filter[];
  /** False: no session is ready. */
  readonly isReady?: boolean;
}

export function beginExchange(options: SceneOptions = {}): Scene {
  const context = new ScriptedContext();
  const isEnd = options.isEnd ?? true;
  const down = new ScriptedDownstream(options.version, isEnd);
  const session = new ScriptedClientSession(options.upstreamVersion, options.served);
  if (options.isReady !== false) context.pool.ready.push(session);
  const exchange = new Exchange(context, testFacts, down, requestHead(options.head), isEnd);
  exchange.forward(testTarget, new FilterList(options.filters ?? []));
  return {
    context,
    down,
    exchange,
    session,
    up: () => session.streams.at(-1)!,
    reason: () => {
      assert(context.records.length === 1, 'exactly one record');
      return context.records[0]!.reason;
    },
  };
}

/** A request with a body. */
export const post = { method: 'POST', fields: ['content-type', 'text/plain'] };
