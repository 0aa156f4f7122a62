/**
 * What an exchange is given by whoever owns it: ingress or egress. One context per worker, one set of facts per
 * downstream connection; nothing here is made per request.
 */
import type { IpAddress } from '../core/ip.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { Network } from '../net/network.ts';
import type { RequestSummary } from '../telemetry/request-log.ts';
import type { UpstreamTarget } from './upstream-target.ts';
import type { ClientSession, HttpVersion } from './stream.ts';
import type { Reason } from '../core/reason.ts';

/** What the exchanges of one worker share. */
export interface ExchangeContext {
  readonly network: Network;
  readonly pool: UpstreamSource;
  /** Names this process in `Via` and `Proxy-Status`, without telling its version: a token, `portcullis-1a2b3c4d`. */
  readonly pseudonym: string;
  /** Replaced as a whole when the process settings are read again. */
  http: HttpSettings;
  /** A request is over, however it ended. Once for each exchange. The record stays as it is. */
  onRequestEnd(record: RequestSummary): void;
  /** More for the body of our answer to a failure than its reason; undefined, or absent: no more. */
  describe?(reason: Reason, detail: string | undefined): string | undefined;
  /** A fault of ours, to be told with its stack. The exchange has ended its own streams. */
  onFault(error: unknown): void;
}

/** What every request of one downstream connection has in common. */
export interface DownstreamFacts {
  /** The real client: the socket's peer, or whom a PROXY header names. */
  readonly clientIp: IpAddress;
  /** The same, printed. */
  readonly client: string;
  readonly listener: string;
  /** SNI of the connection; null without one. */
  readonly serverName: string | null;
}

/** Where an exchange gets its upstream sessions from: the pool, or a script in tests. */
export interface UpstreamSource {
  /**
   * A session to send one request on: the caller calls `session.request` before it returns to the event loop.
   * Null: the waiter is told later, or has been told already that there is none.
   */
  acquire(target: UpstreamTarget, waiter: SessionWaiter): ClientSession | null;
  /** The waiter wants none any more. */
  cancel(target: UpstreamTarget, waiter: SessionWaiter): void;
}

/** A request that needs a session. After `acquire` answered null exactly one call comes, unless it is cancelled. */
export interface SessionWaiter {
  /** What the client speaks, for targets whose protocol follows it. */
  readonly downstreamVersion: HttpVersion;
  /** True when the request opens a tunnel (`RequestHead.protocol`): HTTP/1 is then preferred where there is a choice. */
  readonly isUpgrade: boolean;
  /** True when only a connection that has served nothing will do: the request was lost on a reused one. */
  readonly needsFresh: boolean;
  /** Calls `session.request` before it returns. `connectMs` is what opening took when this waiter began it, else 0. */
  onSession(session: ClientSession, connectMs: number): void;
  onNoSession(reason: Reason, detail: string | undefined): void;
}
