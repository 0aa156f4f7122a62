/** What egress needs of its worker. One per worker, made by the data plane. */
import type { Reason } from '../core/reason.ts';
import type { DownstreamFacts } from '../http/exchange-context.ts';
import type { FlushQueue } from '../http/flush-queue.ts';
import type { HttpVersion } from '../http/stream.ts';
import type { UpstreamPool } from '../http/upstream-pool.ts';
import type { EgressAction } from '../model/egress-settings.ts';
import type { TlsTerminator } from '../net/tls.ts';
import type { RequestSummary } from '../telemetry/request-log.ts';
import type { Verdict } from './decision.ts';

export interface EgressServices {
  readonly pool: UpstreamPool;
  readonly flushes: FlushQueue;
  readonly terminator: TlsTerminator;
  /** Names this process in `Via` and `Proxy-Status`. */
  readonly pseudonym: string;
  /** A request or a tunnel was judged. */
  onJudged(judgement: Judgement): void;
  /** A request or a tunnel is over. `action` is null when it ended before it was judged. */
  onRequestEnd(record: RequestSummary, action: EgressAction | null): void;
  /** A session answered by itself what was no request. */
  onRefusal(
    facts: DownstreamFacts,
    version: HttpVersion,
    reason: Reason,
    status: number,
    detail: string | undefined,
  ): void;
}

export interface Judgement {
  /** The request's id. */
  readonly id: string;
  readonly client: string;
  /** Name of the authenticated client. */
  readonly clientName: string | null;
  readonly listener: string;
  /** Canonical. */
  readonly host: string;
  readonly port: number;
  readonly method: string;
  /** Null for a tunnel. */
  readonly path: string | null;
  readonly verdict: Verdict;
}
