/** What is told of a tunnel when it is over: the same line as a request's. */
import type { Reason } from '../core/reason.ts';
import type { RequestSummary } from '../telemetry/request-log.ts';
import type { Verdict } from './decision.ts';
import { hostPort, type Target } from './target.ts';

export class TunnelRecord implements RequestSummary {
  readonly id: string;
  readonly client: string;
  readonly listener: string;
  readonly routeId: string | null;
  readonly method = 'CONNECT';
  readonly host: string;
  readonly path = '';
  readonly status = 200;
  reason: Reason = 'tunnel-closed';
  ruleId: string | null = null;
  detail: string | undefined = undefined;
  bytesIn = 0;
  bytesOut = 0;
  readonly queueMs = 0;
  connectMs = 0;
  firstByteMs = 0;
  totalMs = 0;
  readonly upstreamName: string | null;
  readonly downstreamVersion: string;
  readonly upstreamVersion = null;
  readonly protocol = null;
  readonly isRetried = false;
  readonly userAgent: string | undefined;
  readonly trace = null;
  readonly #startMs: number;

  constructor(facts: TunnelFacts, target: Target, verdict: Verdict, upstreamName: string | null) {
    this.id = facts.id;
    this.client = facts.client;
    this.listener = facts.listener;
    this.routeId = verdict.ruleId;
    this.host = hostPort(target.host, target.port);
    this.upstreamName = upstreamName;
    this.downstreamVersion = facts.version;
    this.userAgent = facts.userAgent;
    this.#startMs = facts.startMs;
  }

  end(reason: Reason, detail: string | undefined, bytesIn: number, bytesOut: number, nowMs: number): void {
    this.reason = reason;
    this.detail = detail;
    this.bytesIn = bytesIn;
    this.bytesOut = bytesOut;
    this.totalMs = nowMs - this.#startMs;
  }
}

export interface TunnelFacts {
  readonly id: string;
  readonly client: string;
  readonly listener: string;
  readonly version: string;
  readonly userAgent: string | undefined;
  readonly startMs: number;
}
