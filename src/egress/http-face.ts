/**
 * What the outer connection and the one inside a tunnel have in common: the context of their exchanges, and the one
 * way from a target to a judged, forwarded request.
 */
import type { IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import type { Gate } from '../gate/gate.ts';
import { errorAnswer } from '../http/error-answer.ts';
import type { DownstreamFacts, ExchangeContext, UpstreamSource } from '../http/exchange-context.ts';
import { isLoop } from '../http/forwarded.ts';
import type { HttpVersion } from '../http/stream.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { Network } from '../net/network.ts';
import type { RequestSummary } from '../telemetry/request-log.ts';
import { decide, type Subject, type Verdict } from './decision.ts';
import { EgressExchange, prepareHead, refusalAnswer } from './egress-exchange.ts';
import type { EgressRuntime } from './runtime.ts';
import type { EgressServices } from './services.ts';
import type { Target } from './target.ts';

export interface ClientFacts {
  readonly clientIp: IpAddress;
  readonly client: string;
  readonly listener: string;
  readonly serverName: string | null;
}

/** What a worker's egress offers its connections. */
export interface EgressHost {
  readonly gate: Gate;
  readonly services: EgressServices;
  /** The current one: each request takes it anew. */
  readonly runtime: EgressRuntime;
}

export abstract class HttpFace implements ExchangeContext, DownstreamFacts {
  readonly host: EgressHost;
  readonly network: Network;
  readonly pool: UpstreamSource;
  readonly pseudonym: string;
  readonly clientIp: IpAddress;
  readonly client: string;
  readonly listener: string;
  readonly serverName: string | null;
  /** The authenticated client. */
  clientName: string | null = null;
  /** Bodies of all requests and tunnels so far. */
  bytesIn = 0;
  bytesOut = 0;

  constructor(host: EgressHost, { clientIp, client, listener, serverName }: ClientFacts) {
    this.host = host;
    this.network = host.gate.context.network;
    this.pool = host.services.pool;
    this.pseudonym = host.services.pseudonym;
    this.clientIp = clientIp;
    this.client = client;
    this.listener = listener;
    this.serverName = serverName;
  }

  get http(): HttpSettings {
    return this.host.gate.context.http;
  }

  onFault(error: unknown): void {
    this.host.gate.reportFault(error);
  }

  onRequestEnd(record: RequestSummary): void {
    this.bytesIn += record.bytesIn;
    this.bytesOut += record.bytesOut;
    const action = record instanceof EgressExchange ? (record.verdict?.action ?? null) : null;
    this.host.services.onRequestEnd(record, action);
  }

  /** What a failure is called on the page that the client sees. */
  describe(reason: Reason, detail: string | undefined): string | undefined {
    if (reason !== 'upstream-tls-failed' && reason !== 'address-denied' && reason !== 'parent-failed')
      return undefined;
    return `${reason}${detail === undefined ? '' : `: ${detail}`}\n`;
  }

  protected judge(id: string, subject: Subject): Verdict {
    const { services, runtime } = this.host;
    const verdict = decide(runtime.policy, subject);
    const { host, port, path } = subject;
    const { client, clientName, listener } = this;
    const method = subject.method ?? 'CONNECT';
    services.onJudged({ id, client, clientName, listener, host, port, method, path, verdict });
    return verdict;
  }

  /** Judges one request for `target`, and forwards or refuses it. */
  protected dispatch(
    exchange: EgressExchange,
    target: Target,
    kind: 'request' | 'inner',
    version: HttpVersion,
  ): void {
    const { head, id } = exchange;
    const { host, port } = target;
    const subject: Subject = {
      host,
      port,
      kind,
      method: head.method,
      path: head.path,
      client: this.clientName,
    };
    const verdict = this.judge(id, subject);
    exchange.verdict = verdict;
    exchange.routeId = verdict.ruleId;
    if (!verdict.isAllowed) return exchange.answer(refusalAnswer(verdict));
    // TRACE says back what it was sent, credentials that we added among it.
    if (head.method === 'TRACE') return exchange.answer(errorAnswer('method-refused', verdict.ruleId));
    if (isLoop(head.fields, this.pseudonym)) return exchange.answer(errorAnswer('loop-detected'));
    const { runtime } = this.host;
    const via = `${version === 'HTTP/2' ? '2.0' : version.slice(5)} ${this.pseudonym}`;
    prepareHead(head, id, via, target, subject, verdict, runtime);
    exchange.forward(runtime.upstream(target, verdict));
  }
}
