/**
 * A client's connection that speaks HTTP to the proxy: who the client is, and for each request its target. It is the
 * account of the connection towards the gate, also when a tunnel takes the connection over.
 */
import { getField, type RequestHead } from '../codec/http-message.ts';
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import { formatIp } from '../core/ip.ts';
import type { Connection, ConnectionOwner } from '../gate/connection.ts';
import type { FilterAnswer } from '../http/filter.ts';
import { Http1ServerSession } from '../http/http1-server-session.ts';
import { Http2ServerSession } from '../http/http2-server-session.ts';
import type { DownstreamStream, ServerSession, ServerSessionObserver } from '../http/stream.ts';
import type { Channel } from '../net/channel.ts';
import type { Admission } from './authentication.ts';
import { ConnectRequest, type ConnectOwner } from './connect-request.ts';
import type { Subject } from './decision.ts';
import { EgressExchange, refusalAnswer } from './egress-exchange.ts';
import { HttpFace, type EgressHost } from './http-face.ts';
import type { EgressRuntime } from './runtime.ts';
import { TargetRefusal, targetOfConnect, targetOfRequest } from './target.ts';
import type { Tunnel } from './tunnel.ts';

export class ProxyConnection
  extends HttpFace
  implements ConnectionOwner, ServerSessionObserver, ConnectOwner
{
  /** What the session reads: the connection's own, or the TLS on it. */
  channel: Channel;
  readonly #connection: Connection;
  readonly #isSecure: boolean;
  /** Subject of the client's certificate. */
  readonly #subject: string | null;
  #session: ServerSession | null = null;
  #tunnel: Tunnel | null = null;
  /** Tunnels on streams. */
  readonly #requests = new Set<ConnectRequest>();
  /** The last credentials that were judged, and what they came to: a client shows the same each time. */
  #credentials: string | null = null;
  #admission: Admission = 'proxy-auth-required';
  #admittedBy: EgressRuntime | null = null;
  #ruleId: string | null = null;

  constructor(
    host: EgressHost,
    connection: Connection,
    channel: Channel,
    tls: { clientSubject: string | null } | null,
  ) {
    super(host, {
      clientIp: connection.client,
      client: formatIp(connection.client),
      listener: connection.listener.settings.name,
      serverName: connection.serverName,
    });
    this.channel = channel;
    this.#connection = connection;
    this.#isSecure = tls !== null;
    this.#subject = tls?.clientSubject ?? null;
    connection.owner = this;
  }

  start(protocol: 'h2' | 'http1', opening: HostBytes | null): void {
    const options = {
      channel: this.channel,
      network: this.network,
      settings: this.http,
      scheme: this.#isSecure ? ('https' as const) : ('http' as const),
      flushes: this.host.services.flushes,
      ...(opening === null ? {} : { opening }),
    };
    const session =
      protocol === 'h2' ? new Http2ServerSession(options, this) : new Http1ServerSession(options, this);
    this.#session = session;
    session.start();
    if (this.host.gate.isDraining) session.drain();
  }

  // --- the gate's calls ---

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    this.#ruleId = ruleId;
    if (this.#tunnel !== null) this.#tunnel.abort(reason, detail);
    else this.#session?.abort(reason, detail);
  }

  drain(): void {
    if (this.#tunnel !== null) return this.#tunnel.drain();
    this.#session?.drain();
    for (const request of this.#requests) request.drain();
  }

  // --- the session's calls ---

  onRequest(stream: DownstreamStream, head: RequestHead, isEnd: boolean): void {
    const exchange = new EgressExchange(this, this, stream, head, isEnd);
    const admission = this.#admit(head);
    if (!(admission instanceof Promise)) return this.#serve(exchange, stream, admission);
    admission.then(
      (judged) => {
        if (!exchange.isOver) this.#serve(exchange, stream, judged);
      },
      (error: unknown) => {
        this.onFault(error);
        stream.reset('internal-error');
      },
    );
  }

  onRefused(reason: Reason, status: number, detail: string | undefined): void {
    this.host.services.onRefusal(this, this.#session!.version, reason, status, detail);
  }

  onClosed(reason: Reason, detail: string | undefined): void {
    this.#end(reason, detail);
  }

  // --- tunnels ---

  onDetached(tunnel: Tunnel): void {
    this.#tunnel = tunnel;
    this.#session = null;
  }

  onTunnelStarted(request: ConnectRequest): void {
    this.#requests.add(request);
  }

  onTunnelEnded(
    request: ConnectRequest,
    reason: Reason,
    detail: string | undefined,
    isDetached: boolean,
  ): void {
    this.#requests.delete(request);
    if (isDetached) this.#end(reason, detail);
  }

  // --- requests ---

  #serve(exchange: EgressExchange, stream: DownstreamStream, admission: Admission): void {
    if (typeof admission === 'string') return exchange.answer(admissionAnswer(admission));
    this.clientName = admission.name;
    const { head } = exchange;
    if (head.authority === '')
      return exchange.answer({ status: 400, reason: 'target-missing', ruleId: null });
    const isTunnel = head.method === 'CONNECT' && head.protocol === null;
    const target = isTunnel ? targetOfConnect(head.authority) : targetOfRequest(head.scheme, head.authority);
    if (target instanceof TargetRefusal) {
      exchange.detail = `the target ${target.fault}`;
      return exchange.answer({ status: 400, reason: 'target-malformed', ruleId: null });
    }
    if (!isTunnel) return this.dispatch(exchange, target, 'request', stream.session.version);
    const { host, port } = target;
    const subject: Subject = {
      host,
      port,
      kind: 'tunnel',
      method: null,
      path: null,
      client: this.clientName,
    };
    const verdict = this.judge(exchange.id, subject);
    exchange.verdict = verdict;
    exchange.routeId = verdict.ruleId;
    if (!verdict.isAllowed) return exchange.answer(refusalAnswer(verdict));
    new ConnectRequest(this, exchange, stream, target, verdict).start(subject);
  }

  #admit(head: RequestHead): Admission | Promise<Admission> {
    const { runtime } = this.host;
    const { authenticator } = runtime;
    const header = getField(head.fields, 'proxy-authorization');
    if (header === undefined) return authenticator.admit(this.clientIp, this.#subject);
    if (header === this.#credentials && runtime === this.#admittedBy) return this.#admission;
    const judged = authenticator.admitBasic(header);
    if (!(judged instanceof Promise)) return this.#remember(header, runtime, judged);
    return judged.then((admission) => this.#remember(header, runtime, admission));
  }

  /** Only what was granted: a client may be let in later than it first asked. */
  #remember(header: string, runtime: EgressRuntime, admission: Admission): Admission {
    if (typeof admission === 'string') return admission;
    this.#credentials = header;
    this.#admission = admission;
    this.#admittedBy = runtime;
    return admission;
  }

  #end(reason: Reason, detail: string | undefined): void {
    if (this.#connection.isEnded) return;
    this.host.gate.end(this.#connection, {
      reason,
      ruleId: this.#ruleId,
      routeId: null,
      backendName: null,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      detail,
    });
  }
}

function admissionAnswer(reason: 'proxy-auth-required' | 'client-denied'): FilterAnswer {
  if (reason === 'client-denied') return { status: 403, reason, ruleId: 'allowed-clients/-/-' };
  const fields = ['proxy-authenticate', 'Basic realm="portcullis", charset="UTF-8"'];
  return { status: 407, reason, ruleId: 'allowed-clients/-/-', fields };
}
