/** What ingress needs of its worker to serve HTTP. One per worker, made by the data plane. */
import type { Reason } from '../core/reason.ts';
import type { DownstreamFacts } from '../http/exchange-context.ts';
import type { FlushQueue } from '../http/flush-queue.ts';
import type { RequestTracing } from '../http/request-tracing.ts';
import type { HttpVersion } from '../http/stream.ts';
import type { UpstreamPool } from '../http/upstream-pool.ts';
import type { TlsFiles } from '../net/tls-files.ts';
import type { TlsTerminator } from '../net/tls.ts';
import type { RequestSummary } from '../telemetry/request-log.ts';
import type { RouteFilters } from './route-filters.ts';
import type { RouteRuntimes } from './route-runtime.ts';

export interface HttpServices {
  readonly pool: UpstreamPool;
  readonly flushes: FlushQueue;
  readonly terminator: TlsTerminator;
  readonly certificates: TlsFiles;
  readonly routes: RouteRuntimes;
  readonly filters: RouteFilters;
  /** Names this process in `Via` and `Proxy-Status`. */
  readonly pseudonym: string;
  /** Null where nothing is traced. */
  readonly tracing: RequestTracing | null;
  /** A handshake with a client ended: as which kind, or why not. */
  onHandshake(result: 'full' | 'resumed' | Reason): void;
  /** A client's connection was ended because it crossed a limit against abuse, named by its kind. */
  onHttp2Abuse(kind: string): void;
  /** A request is over. */
  onRequestEnd(record: RequestSummary): void;
  /** A session answered by itself what was no request. */
  onRefusal(
    facts: DownstreamFacts,
    version: HttpVersion,
    reason: Reason,
    status: number,
    detail: string | undefined,
  ): void;
}
