/**
 * One client connection that speaks HTTP: its session, and for each request the route it takes. It is the account
 * of the connection towards the gate, and what all its exchanges have in common.
 */
import type { RequestHead } from '../codec/http-message.ts';
import type { HostBytes } from '../core/bytes.ts';
import { formatIp, type IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import type { Connection, ConnectionOwner } from '../gate/connection.ts';
import type { Gate } from '../gate/gate.ts';
import { errorAnswer } from '../http/error-answer.ts';
import { Exchange } from '../http/exchange.ts';
import type { DownstreamFacts, ExchangeContext, UpstreamSource } from '../http/exchange-context.ts';
import type { FilterList } from '../http/filter-list.ts';
import { ForwardingFilter, isLoop, realClient } from '../http/forwarded.ts';
import { spendForward } from '../http/max-forwards.ts';
import { Http1ServerSession } from '../http/http1-server-session.ts';
import { Http2ServerSession } from '../http/http2-server-session.ts';
import type { DownstreamStream, ServerSession, ServerSessionObserver } from '../http/stream.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { RouteGroup } from '../model/route-group.ts';
import type { ListenerSnapshot, Route } from '../model/snapshot.ts';
import type { Channel } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import type { RequestSummary } from '../telemetry/request-log.ts';
import { redirectToHttps } from './redirect.ts';
import { chooseByPath, chooseGroup, hostOf, type HandshakeFacts } from './request-router.ts';
import type { HttpServices } from './services.ts';

export class HttpConnection
  implements ConnectionOwner, ServerSessionObserver, ExchangeContext, DownstreamFacts
{
  readonly network: Network;
  readonly pool: UpstreamSource;
  readonly pseudonym: string;
  readonly clientIp: IpAddress;
  readonly client: string;
  readonly listener: string;
  readonly serverName: string | null;
  readonly #gate: Gate;
  readonly #services: HttpServices;
  readonly #connection: Connection;
  readonly #handshake: HandshakeFacts | null;
  #session: ServerSession | null = null;
  /** Bodies of all requests so far. */
  #bytesIn = 0;
  #bytesOut = 0;
  #lastRoute: Route | null = null;
  /** The filters of requests on `#lastRoute`. */
  #filters: (() => FilterList) | null = null;
  /** The rule that ended the connection, if one did. */
  #ruleId: string | null = null;
  /** What the last authority came to: nearly every connection names one. */
  #authority: string | null = null;
  #authorityListener: ListenerSnapshot | null = null;
  #group: RouteGroup | Reason = 'no-route';

  constructor(gate: Gate, services: HttpServices, connection: Connection, handshake: HandshakeFacts | null) {
    this.network = gate.context.network;
    this.pool = services.pool;
    this.pseudonym = services.pseudonym;
    this.clientIp = connection.client;
    this.client = formatIp(connection.client);
    this.listener = connection.listener.settings.name;
    this.serverName = connection.serverName;
    this.#gate = gate;
    this.#services = services;
    this.#connection = connection;
    this.#handshake = handshake;
    connection.owner = this;
  }

  get http(): HttpSettings {
    return this.#gate.context.http;
  }

  /** `opening` is a view of what was read already, or null. */
  start(channel: Channel, protocol: string, opening: HostBytes | null): void {
    const options = {
      channel,
      network: this.network,
      settings: this.http,
      scheme: this.#handshake === null ? ('http' as const) : ('https' as const),
      flushes: this.#services.flushes,
      ...(opening === null ? {} : { opening }),
    };
    const session =
      protocol === 'h2' ? new Http2ServerSession(options, this) : new Http1ServerSession(options, this);
    this.#session = session;
    session.start();
    if (this.#gate.isDraining) session.drain();
  }

  // --- the gate's calls ---

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    this.#ruleId = ruleId;
    this.#session?.abort(reason, detail);
  }

  drain(): void {
    this.#session?.drain();
  }

  // --- the session's calls ---

  onRequest(stream: DownstreamStream, head: RequestHead, isEnd: boolean): void {
    // A target says what it likes; backends are told what the connection is.
    head.scheme = this.#handshake === null ? 'http' : 'https';
    const exchange = new Exchange(this, this, stream, head, isEnd);
    const { tracing } = this.#services;
    if (tracing !== null) exchange.trace = tracing.begin(head.fields);
    const listener = this.#currentListener();
    if (listener.settings.redirectHttps && this.#handshake === null) {
      return exchange.answer(redirectToHttps(head, this.#gate.snapshot, this.listener));
    }
    const route = this.#route(listener, head);
    if (typeof route === 'string') return exchange.answer(errorAnswer(route));
    exchange.routeId = route.ruleId;
    this.#forward(exchange, route, listener);
  }

  #forward(exchange: Exchange, route: Route, listener: ListenerSnapshot): void {
    const { routes, filters, pseudonym } = this.#services;
    const { fields } = exchange.head;
    if (isLoop(fields, pseudonym)) return exchange.answer(errorAnswer('loop-detected'));
    const final = spendForward(exchange.head);
    if (final !== null) return exchange.answer(final);
    const trusted = listener.trustedProxies;
    const hasTrusted = listener.settings.trustedProxies.length > 0;
    if (hasTrusted) {
      exchange.clientIp = realClient(fields, this.clientIp, trusted);
      if (exchange.clientIp !== this.clientIp) exchange.client = formatIp(exchange.clientIp);
    }
    const target = routes.target(route, this.#connection);
    if (typeof target === 'string') {
      exchange.detail = target;
      return exchange.answer(errorAnswer('upstream-tls-failed', route.ruleId));
    }
    if (route !== this.#lastRoute) {
      this.#lastRoute = route;
      const isTrusted = hasTrusted && trusted.lookup(this.clientIp) !== undefined;
      this.#filters = filters.of(route, this.#forwardingFilter(route, isTrusted));
    }
    exchange.forward(target, this.#filters!());
  }

  #forwardingFilter(route: Route, isTrusted: boolean): ForwardingFilter {
    return new ForwardingFilter({
      clientIp: this.clientIp,
      isTrusted,
      version: this.#session!.version,
      pseudonym: this.pseudonym,
      sendsForwarded: route.forwarded,
    });
  }

  onRefused(reason: Reason, status: number, detail: string | undefined): void {
    this.#services.onRefusal(this, this.#session!.version, reason, status, detail);
  }

  onClosed(reason: Reason, detail: string | undefined): void {
    this.#services.pool.release(this.#connection);
    if (reason === 'http2-abuse') this.#services.onHttp2Abuse(detail ?? 'other');
    this.#gate.end(this.#connection, {
      reason,
      ruleId: this.#ruleId,
      routeId: this.#lastRoute?.ruleId ?? null,
      backendName: this.#lastRoute?.backendName ?? null,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      detail,
    });
  }

  onFault(error: unknown): void {
    this.#gate.reportFault(error);
  }

  // --- the exchanges' calls ---

  onRequestEnd(record: RequestSummary): void {
    this.#bytesIn += record.bytesIn;
    this.#bytesOut += record.bytesOut;
    this.#services.onRequestEnd(record);
    this.#services.tracing?.end(record, this.#handshake === null ? 'http' : 'https');
  }

  /** As the current version has it; a listener that is gone serves its connections to their end as it was. */
  #currentListener(): ListenerSnapshot {
    return this.#gate.snapshot.listeners.get(this.listener) ?? this.#connection.listener;
  }

  #route(listener: ListenerSnapshot, head: RequestHead): Route | Reason {
    if (head.method === 'CONNECT' && head.protocol === null) return 'method-refused';
    if (head.authority !== this.#authority || listener !== this.#authorityListener) {
      this.#group = chooseGroup(listener, this.#handshake, hostOf(head.authority));
      this.#authority = head.authority;
      this.#authorityListener = listener;
    }
    return typeof this.#group === 'string' ? this.#group : chooseByPath(this.#group, head.path);
  }
}
