/**
 * HTTP inside a tunnel whose TLS ends here. Each request is judged again, by itself, for the tunnel's target alone:
 * one that names another gets 421 before any rule is asked.
 */
import type { RequestHead } from '../codec/http-message.ts';
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import { errorAnswer } from '../http/error-answer.ts';
import { Http1ServerSession } from '../http/http1-server-session.ts';
import { Http2ServerSession } from '../http/http2-server-session.ts';
import type { DownstreamStream, ServerSession, ServerSessionObserver } from '../http/stream.ts';
import type { Channel } from '../net/channel.ts';
import { EgressExchange } from './egress-exchange.ts';
import { HttpFace, type ClientFacts, type EgressHost } from './http-face.ts';
import { sameTarget, TargetRefusal, targetOfRequest, type Target } from './target.ts';

/** Told once, when the session inside is closed. */
export interface InnerObserver {
  onInnerClosed(reason: Reason, detail: string | undefined): void;
}

export class InnerConnection extends HttpFace implements ServerSessionObserver {
  readonly #target: Target;
  readonly #observer: InnerObserver;
  #session: ServerSession | null = null;
  /** The last authority that was found to be the tunnel's: nearly every request writes it the same way. */
  #authority: string | null = null;

  constructor(
    host: EgressHost,
    facts: ClientFacts,
    clientName: string | null,
    target: Target,
    observer: InnerObserver,
  ) {
    super(host, { ...facts, serverName: target.host });
    this.clientName = clientName;
    this.#target = target;
    this.#observer = observer;
  }

  start(channel: Channel, protocol: string | null, opening: HostBytes | null): void {
    const options = {
      channel,
      network: this.network,
      settings: this.http,
      scheme: this.#target.scheme,
      flushes: this.host.services.flushes,
      ...(opening === null ? {} : { opening }),
    };
    const session =
      protocol === 'h2' ? new Http2ServerSession(options, this) : new Http1ServerSession(options, this);
    this.#session = session;
    session.start();
    if (this.host.gate.isDraining) session.drain();
  }

  drain(): void {
    this.#session?.drain();
  }

  abort(reason: Reason, detail?: string): void {
    this.#session?.abort(reason, detail);
  }

  onRequest(stream: DownstreamStream, head: RequestHead, isEnd: boolean): void {
    const exchange = new EgressExchange(this, this, stream, head, isEnd);
    if (head.method === 'CONNECT' && head.protocol === null)
      return exchange.answer(errorAnswer('method-refused'));
    if (!this.#isForTarget(head))
      return exchange.answer({ status: 421, reason: 'misdirected', ruleId: null });
    this.dispatch(exchange, this.#target, 'inner', stream.session.version);
  }

  onRefused(reason: Reason, status: number, detail: string | undefined): void {
    this.host.services.onRefusal(this, this.#session!.version, reason, status, detail);
  }

  onClosed(reason: Reason, detail: string | undefined): void {
    this.#observer.onInnerClosed(reason, detail);
  }

  #isForTarget({ scheme, authority }: RequestHead): boolean {
    if (scheme === this.#target.scheme && authority === this.#authority) return true;
    const target = targetOfRequest(scheme, authority);
    if (target instanceof TargetRefusal || !sameTarget(target, this.#target)) return false;
    this.#authority = authority;
    return true;
  }
}
