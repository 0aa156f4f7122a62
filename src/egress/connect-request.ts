/**
 * One CONNECT, from its verdict to the end of its tunnel. Over HTTP/1 the connection itself becomes the tunnel; over
 * HTTP/2 the stream does.
 */
import type { Reason } from '../core/reason.ts';
import { statusOf } from '../http/error-answer.ts';
import { Http1ServerSession } from '../http/http1-server-session.ts';
import type { DownstreamStream, RequestSink } from '../http/stream.ts';
import type { Channel } from '../net/channel.ts';
import type { Subject, Verdict } from './decision.ts';
import type { EgressExchange } from './egress-exchange.ts';
import type { EgressHost, HttpFace } from './http-face.ts';
import { wayOf, type EgressRuntime } from './runtime.ts';
import { StreamChannel } from './stream-channel.ts';
import { hostPort, type Target } from './target.ts';
import { openTunnel, type Opening, type OpeningObserver } from './tunnel-opening.ts';
import { TunnelRecord } from './tunnel-record.ts';
import { Tunnel, type TunnelObserver } from './tunnel.ts';

/** The connection that the request came on. */
export interface ConnectOwner extends HttpFace {
  readonly channel: Channel;
  /** The tunnel took the connection over: the session is gone, and the end of the tunnel ends the connection. */
  onDetached(tunnel: Tunnel): void;
  onTunnelStarted(request: ConnectRequest): void;
  /** The account of the tunnel is closed. `isDetached`: so is the connection. */
  onTunnelEnded(
    request: ConnectRequest,
    reason: Reason,
    detail: string | undefined,
    isDetached: boolean,
  ): void;
}

export class ConnectRequest implements OpeningObserver, TunnelObserver, RequestSink {
  readonly #host: EgressHost;
  readonly #owner: ConnectOwner;
  readonly #exchange: EgressExchange;
  readonly #stream: DownstreamStream;
  readonly #target: Target;
  readonly #verdict: Verdict;
  readonly #runtime: EgressRuntime;
  readonly #clientName: string | null;
  readonly #record: TunnelRecord;
  #opening: Opening | null = null;
  #upstream: Channel | null = null;
  #tunnel: Tunnel | null = null;
  #isDetached = false;
  #isGone = false;

  constructor(
    owner: ConnectOwner,
    exchange: EgressExchange,
    stream: DownstreamStream,
    target: Target,
    verdict: Verdict,
  ) {
    const { host, network } = owner;
    this.#host = host;
    this.#owner = owner;
    this.#exchange = exchange;
    this.#stream = stream;
    this.#target = target;
    this.#verdict = verdict;
    this.#runtime = host.runtime;
    this.#clientName = owner.clientName;
    const { id, userAgent, downstreamVersion: version } = exchange;
    const { client, listener } = owner;
    const facts = { id, client, listener, version, userAgent, startMs: network.refresh() };
    const { destination } = wayOf(target, verdict, false);
    this.#record = new TunnelRecord(facts, target, verdict, hostPort(destination.host, destination.port));
  }

  start(subject: Subject): void {
    this.#stream.sink = this;
    this.#opening = openTunnel(this.#host, this.#runtime, this.#target, subject, this.#verdict, this);
  }

  drain(): void {
    this.#tunnel?.drain();
  }

  abort(reason: Reason, detail?: string): void {
    this.#tunnel?.abort(reason, detail);
  }

  // --- the opening ---

  /** From the event loop, because a session gives its connection up only from outside of its own calls. */
  onOpen(upstream: Channel | null): void {
    this.#upstream = upstream;
    setImmediate(() => {
      try {
        this.#accept();
      } catch (error) {
        this.#host.gate.reportFault(error);
        this.#stream.reset('internal-error');
        upstream?.reset();
      }
    });
  }

  onNotOpened(reason: Reason, detail: string | undefined): void {
    if (this.#isGone) return;
    this.#stream.sink = this.#exchange;
    this.#exchange.detail = detail;
    const body = this.#owner.describe(reason, detail);
    const answer = { status: statusOf(reason), reason, ruleId: null };
    this.#exchange.answer(body === undefined ? answer : { ...answer, body });
  }

  #accept(): void {
    if (this.#isGone || this.#stream.isClosed) return this.#upstream?.reset();
    const stream = this.#stream;
    stream.sendHead({ status: 200, fields: [] }, false);
    const { session } = stream;
    const plan = {
      target: this.#target,
      verdict: this.#verdict,
      runtime: this.#runtime,
      upstream: this.#upstream,
      clientName: this.#clientName,
    };
    if (!(session instanceof Http1ServerSession)) {
      const channel = new StreamChannel(stream, this.#owner.channel);
      this.#tunnel = new Tunnel(this.#host, this.#owner, channel, plan, this);
      this.#owner.onTunnelStarted(this);
      return this.#tunnel.start(null);
    }
    const detached = session.detach();
    if (detached === null) return this.#upstream?.reset();
    this.#isDetached = true;
    this.#tunnel = new Tunnel(this.#host, this.#owner, this.#owner.channel, plan, this);
    this.#owner.onDetached(this.#tunnel);
    this.#tunnel.start(detached.opening ?? null);
  }

  // --- the tunnel ---

  onTunnelEnd(reason: Reason, detail: string | undefined, bytesIn: number, bytesOut: number): void {
    this.#record.end(reason, detail, bytesIn, bytesOut, this.#owner.network.refresh());
    this.#owner.bytesIn += bytesIn;
    this.#owner.bytesOut += bytesOut;
    this.#host.services.onRequestEnd(this.#record, this.#verdict.action);
    this.#owner.onTunnelEnded(this, reason, detail, this.#isDetached);
  }

  // --- the stream, until there is a tunnel ---

  onData(): void {}
  onTrailers(): void {}
  onEnd(): void {}
  onDrain(): void {}

  onReset(): void {
    this.#isGone = true;
    this.#opening?.cancel();
    this.#upstream?.reset();
    this.#record.end('client-gone', undefined, 0, 0, this.#owner.network.refresh());
    this.#host.services.onRequestEnd(this.#record, this.#verdict.action);
  }
}
