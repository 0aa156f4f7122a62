/** What is told of a request when it is over: the fields of an exchange that log, metrics and filters see. */
import type { IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import type { RequestHead } from '../codec/http-message.ts';
import type { RequestSummary } from '../telemetry/request-log.ts';
import type { TraceContext } from '../telemetry/trace-context.ts';
import type { DownstreamFacts } from './exchange-context.ts';
import { readTraits, type RequestTraits } from './request-traits.ts';
import type { HttpVersion } from './stream.ts';

/** The exchange is its own record, so that a request costs one object and not two. */
export abstract class ExchangeRecord extends TimerEntry implements RequestSummary {
  readonly id: string;
  /** The owner may set the client and the route before it forwards or answers. */
  client: string;
  clientIp: IpAddress;
  routeId: string | null = null;
  /** Set by the owner where requests are traced. */
  trace: TraceContext | null = null;
  readonly listener: string;
  readonly serverName: string | null;
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly protocol: string | null;
  readonly userAgent: string | undefined;
  readonly downstreamVersion: HttpVersion;
  status = 0;
  reason: Reason = 'answered';
  ruleId: string | null = null;
  detail: string | undefined = undefined;
  bytesIn = 0;
  bytesOut = 0;
  queueMs = 0;
  connectMs = 0;
  firstByteMs = 0;
  totalMs = 0;
  upstreamName: string | null = null;
  upstreamVersion: HttpVersion | null = null;
  isRetried = false;
  readonly traits: RequestTraits;

  constructor(facts: DownstreamFacts, version: HttpVersion, head: RequestHead) {
    super();
    const traits = readTraits(head);
    this.traits = traits;
    this.id = traits.id;
    this.client = facts.client;
    this.clientIp = facts.clientIp;
    this.listener = facts.listener;
    this.serverName = facts.serverName;
    this.method = head.method;
    this.host = head.authority;
    this.path = head.path;
    this.protocol = head.protocol;
    this.userAgent = traits.userAgent;
    this.downstreamVersion = version;
  }
}
