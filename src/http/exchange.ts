/**
 * One request's life, from its head to the end of its answer. Joins a downstream and an upstream stream and never
 * learns which versions they speak: filters, a session from the pool, the body both ways by credit, one retry,
 * deadlines, tunnels, and one record at the end.
 *
 *   new ─ forward ─▶ filtering ─▶ waiting ─▶ sent ─▶ responding ─▶ lingering ─▶ over
 *     │                              ▲ retry │          │ tunnel
 *     └─ answer ────────────────────────────────────────┴──────▶ lingering ─▶ over
 *
 * Both streams are told of every end: what the backend did not complete never looks complete to the client.
 */
import { assert } from '../core/errors.ts';
import type { HostBytes } from '../core/bytes.ts';
import { reasons, type Reason } from '../core/reason.ts';
import type { FieldList, RequestHead, ResponseHead } from '../codec/http-message.ts';
import { errorAnswer, refusalStatusOf, renderAnswer } from './error-answer.ts';
import type { DownstreamFacts, ExchangeContext, SessionWaiter } from './exchange-context.ts';
import { ExchangeRequest } from './exchange-request.ts';
import {
  downstreamReason,
  interimMax,
  isIdempotent,
  isStreamed,
  patienceMs,
  stallReasons,
  upstreamReason,
  type Waiting,
} from './exchange-rules.ts';
import { FilterChain, type Direction, type FilterOutput } from './filter-chain.ts';
import type { FilterAnswer } from './filter.ts';
import { noFilters, type FilterList } from './filter-list.ts';
import { stripRequestHop, stripResponseHop, stripTrailers } from './request-traits.ts';
import type {
  ClientSession,
  DownstreamStream,
  RequestSink,
  ResponseSink,
  Stream,
  StreamFailure,
} from './stream.ts';
import type { UpstreamTarget } from './upstream-target.ts';

export class Exchange
  extends ExchangeRequest
  implements RequestSink, ResponseSink, SessionWaiter, FilterOutput
{
  /** Becomes the stream's sink. The owner calls `forward` or `answer`, now or later. */
  constructor(
    context: ExchangeContext,
    facts: DownstreamFacts,
    stream: DownstreamStream,
    head: RequestHead,
    isEnd: boolean,
  ) {
    super(context, facts, stream, head, isEnd);
    stream.sink = this;
  }

  protected get self(): this {
    return this;
  }

  // --- the owner's calls ---

  /** Sends the request to `target` through `filters`. Once. */
  forward(target: UpstreamTarget, filters: FilterList = noFilters): void {
    // The client left while its owner made up its mind.
    if (this.phase === 'over') return;
    assert(this.phase === 'new', 'an exchange is forwarded or answered once');
    try {
      this.#forward(target, filters);
    } catch (error) {
      this.#fault(error);
    }
  }

  /** Answers in place of a backend. After the head of a response has gone it resets the stream instead. */
  answer(answer: FilterAnswer): void {
    if (this.phase === 'over' || this.isResponseSent) return;
    try {
      this.#answer(answer, -1);
    } catch (error) {
      this.#fault(error);
    }
  }

  // --- SessionWaiter ---

  onSession(session: ClientSession, connectMs: number): void {
    if (this.phase !== 'waiting') return;
    try {
      this.connectMs = connectMs;
      this.queueMs = Math.max(0, this.context.network.refresh() - this.waitStartMs - connectMs);
      this.send(session);
    } catch (error) {
      this.#fault(error);
    }
  }

  onNoSession(reason: Reason, detail: string | undefined): void {
    if (this.phase !== 'waiting') return;
    try {
      this.#fail(reason, detail);
    } catch (error) {
      this.#fault(error);
    }
  }

  // --- the streams' calls, either side ---

  onData(stream: Stream, bytes: HostBytes, isEnd: boolean): void {
    try {
      this.progressMs = this.context.network.nowMs;
      if (stream === this.downstream) this.onRequestData(bytes, isEnd);
      else if (stream === this.upstream) this.#onResponseData(bytes, isEnd);
    } catch (error) {
      this.#fault(error);
    }
  }

  onTrailers(stream: Stream, fields: FieldList): void {
    try {
      stripTrailers(fields);
      if (stream === this.downstream) this.onRequestTrailers(fields);
      else if (stream === this.upstream) this.#onResponseTrailers(fields);
    } catch (error) {
      this.#fault(error);
    }
  }

  onEnd(stream: Stream): void {
    this.onData(stream, nothing, true);
  }

  onDrain(stream: Stream): void {
    try {
      this.progressMs = this.context.network.nowMs;
      if (stream === this.upstream) this.settleRequest();
      else if (stream === this.downstream) {
        this.#settleResponse();
        if (this.phase === 'lingering') this.linger();
      }
    } catch (error) {
      this.#fault(error);
    }
  }

  onReset(stream: Stream, failure: StreamFailure): void {
    try {
      if (stream === this.downstream) this.#onClientGone(failure);
      else if (stream === this.upstream) this.#onUpstreamGone(failure);
    } catch (error) {
      this.#fault(error);
    }
  }

  onInformational(stream: Stream, head: ResponseHead): void {
    if (stream !== this.upstream || this.phase !== 'sent') return;
    try {
      this.hasUpstreamSpoken = true;
      if (++this.interimCount > interimMax) {
        return this.#fail('upstream-malformed', 'more interim responses than are passed on');
      }
      if (head.status === 100) return this.sendContinue();
      stripResponseHop(head.fields);
      this.downstream.sendInformational(head);
    } catch (error) {
      this.#fault(error);
    }
  }

  onHead(stream: Stream, head: ResponseHead, isEnd: boolean): void {
    if (stream !== this.upstream || this.phase !== 'sent') return;
    try {
      const nowMs = this.context.network.refresh();
      this.firstByteMs = nowMs - this.startMs;
      this.progressMs = nowMs;
      this.hasUpstreamSpoken = true;
      this.phase = 'responding';
      this.continueDueMs = Infinity;
      if (this.mayReplay) this.dropReplay();
      if (isEnd) this.isResponseRead = true;
      stripResponseHop(head.fields);
      if (this.isUpgrade) return this.#onUpgradeHead(head, isEnd);
      if (!isEnd && !this.isStreamed) this.isStreamed = isStreamed(head.fields);
      if (this.chain === null) this.passResponseHead(head, isEnd);
      else this.chain.responseHead(head, isEnd);
    } catch (error) {
      this.#fault(error);
    }
  }

  // --- FilterOutput: what has passed every filter ---

  passResponseHead(head: ResponseHead, isEnd: boolean): void {
    if (this.phase === 'over') return;
    // The model has every tunnel begin with 200; an HTTP/1 client is sent 101.
    const isSwitch = this.protocol !== null && head.status === 200 && this.downstreamVersion !== 'HTTP/2';
    this.status = isSwitch ? 101 : head.status;
    this.isHeadSent = true;
    this.downstream.sendHead(head, isEnd);
    if (isEnd) this.endResponse();
    else if (this.opensTunnel) this.#openTunnel();
  }

  passResponseData(bytes: HostBytes, isEnd: boolean): void {
    if (this.phase === 'over') return;
    this.bytesOut += bytes.length;
    if (bytes.length === 0) {
      if (isEnd) this.downstream.sendEnd();
    } else this.downstream.sendData(bytes, isEnd);
    if (isEnd) this.endResponse();
  }

  passResponseTrailers(fields: FieldList): void {
    if (this.phase === 'over') return;
    this.downstream.sendTrailers(fields);
    this.endResponse();
  }

  onFilterAnswer(answer: FilterAnswer, index: number): void {
    if (this.phase !== 'over' && !this.isResponseSent) this.#answer(answer, index);
  }

  onFilterLimit(direction: Direction, reason: Reason, ruleId: string): void {
    this.detail = `a filter held more of the ${direction} than its buffer takes`;
    this.#answer(errorAnswer(reason, ruleId), -1);
  }

  onFilterFault(error: unknown): void {
    this.#fault(error);
  }

  onFilterResume(direction: Direction): void {
    if (direction === 'request') this.settleRequest();
    else this.#settleResponse();
  }

  get exchange(): this {
    return this;
  }

  // --- the request ---

  #forward(target: UpstreamTarget, filters: FilterList): void {
    const { head, traits, isRequestSent: isEnd } = this;
    const early = this.takeEarly();
    this.target = target;
    this.upstreamName = target.name;
    this.phase = 'filtering';
    stripRequestHop(head, isEnd, this.downstreamVersion === 'HTTP/1.0');
    if (traits.grpcTimeoutMs !== Infinity) this.callDueMs = this.startMs + traits.grpcTimeoutMs;
    // Looked at again when it expires: what is waited for changes, and the shortest wait is a safe first guess.
    const { bodyIdleTimeoutMs, responseTimeoutMs } = this.context.http;
    this.arm(Math.min(this.callDueMs, this.startMs + Math.min(bodyIdleTimeoutMs, responseTimeoutMs)));
    if (filters.filters.length > 0) this.chain = new FilterChain(filters, this);
    if (this.chain === null) this.acquire();
    else this.chain.requestHead(head, isEnd);
    if (early !== null) this.replayEarly(early);
  }

  // --- the response ---

  #onResponseData(bytes: HostBytes, isEnd: boolean): void {
    if (this.phase !== 'responding' && this.phase !== 'tunnel') return;
    if (isEnd) this.isResponseRead = true;
    this.responseOwed += bytes.length;
    if (this.isOpaque('response')) this.passResponseData(bytes, isEnd);
    else this.chain!.responseData(bytes, isEnd);
    this.#settleResponse();
  }

  #onResponseTrailers(fields: FieldList): void {
    if (this.phase !== 'responding') return;
    this.isResponseRead = true;
    if (this.chain === null) this.passResponseTrailers(fields);
    else this.chain.responseTrailers(fields);
  }

  /** Gives the backend credit for what the client's side has taken. */
  #settleResponse(): void {
    if (this.responseOwed === 0 || this.upstream === null || this.downstream.isBacklogged) return;
    if (this.chain !== null && this.chain.isHeld('response')) return;
    const byteCount = this.responseOwed;
    this.responseOwed = 0;
    this.upstream.consume(byteCount);
  }

  /** A tunnel opens, or the backend declines it with an ordinary response. */
  #onUpgradeHead(head: ResponseHead, isEnd: boolean): void {
    this.opensTunnel = head.status >= 200 && head.status < 300 && !isEnd;
    if (!this.opensTunnel) {
      this.held = null;
      this.isRequestSent = true;
      this.upstream!.sendEnd();
    }
    if (this.chain === null) this.passResponseHead(head, isEnd);
    else this.chain.responseHead(head, isEnd);
  }

  #openTunnel(): void {
    this.phase = 'tunnel';
    this.reason = 'tunnel-closed';
    this.mayReplay = false;
    if (this.upstream !== null) this.flushHeld(this.upstream);
    this.held = null;
  }

  // --- ends ---

  #onClientGone(failure: StreamFailure): void {
    if (this.phase === 'over') return;
    if (!this.isResponseSent) {
      if (this.phase !== 'tunnel') this.reason = downstreamReason(failure.reason);
      this.detail = failure.detail;
      // What the client did wrong its session has answered, where no answer had begun.
      if (!this.isHeadSent && reasons[this.reason].outcome === 'refused')
        this.status = refusalStatusOf(this.reason);
    }
    this.finish();
  }

  #onUpstreamGone(failure: StreamFailure): void {
    this.upstream = null;
    // The answer is whole; only the rest of the request has nobody to go to.
    if (this.isResponseRead || this.phase === 'over') return;
    if (this.phase === 'sent') {
      if (this.#mayRetry(failure)) return this.#retry();
      return this.#fail(upstreamReason(failure.reason), failure.detail);
    }
    if (this.phase !== 'tunnel') this.reason = upstreamReason(failure.reason);
    this.detail = failure.detail;
    this.abandon();
  }

  /** Once, only before the backend said a word, and only what is held whole and does no harm when it comes twice. */
  #mayRetry(failure: StreamFailure): boolean {
    if (this.isRetried || this.hasUpstreamSpoken || !this.mayReplay) return false;
    return failure.isUnprocessed || (this.isReused && isIdempotent(this.method));
  }

  #retry(): void {
    this.isRetried = true;
    this.needsFresh = true;
    this.acquire();
  }

  #fail(reason: Reason, detail: string | undefined): void {
    const body = this.context.describe?.(reason, detail);
    this.detail = detail;
    this.#answer(body === undefined ? errorAnswer(reason) : { ...errorAnswer(reason), body }, -1);
  }

  /** Answers by ourselves; by the filter at `index`, or past all of them with -1. */
  #answer(answer: FilterAnswer, index: number): void {
    this.dropUpstream();
    this.held = null;
    this.reason = answer.reason;
    this.ruleId = answer.ruleId;
    if (this.isHeadSent || this.downstream.isClosed) return this.abandon();
    const { head, body } = renderAnswer(answer, this.head, this.isGrpc, this.context.pseudonym);
    const chain = this.chain;
    this.phase = 'responding';
    this.isResponseRead = true;
    this.opensTunnel = false;
    chain?.beginAnswer(index);
    if (chain === null || index <= 0) {
      this.passResponseHead(head, body === null);
      if (body !== null) this.passResponseData(bytesOf(body), true);
      return;
    }
    chain.responseHead(head, body === null);
    if (body !== null) chain.responseData(bytesOf(body), true);
    if (!this.isResponseSent) this.arm(this.context.network.nowMs + this.context.http.responseTimeoutMs);
  }

  /** A fault of ours ends this exchange and no other. */
  #fault(error: unknown): void {
    this.context.onFault(error);
    if (this.phase === 'over') return;
    try {
      this.#fail('internal-error', undefined);
    } catch (second) {
      this.context.onFault(second);
      this.isHeadSent = true;
      this.abandon();
    }
  }

  // --- deadlines ---

  override expire(nowMs: number): void {
    try {
      if (nowMs >= this.continueDueMs) this.sendContinue();
      if (this.phase === 'lingering') return this.linger();
      if (nowMs >= this.callDueMs) return this.#onCallExpired();
      const waiting = this.#waiting();
      const dueMs = this.progressMs + patienceMs(waiting, this.context.http, this.isStreamed);
      if (nowMs >= dueMs) return this.#onStalled(waiting);
      const { bodyIdleTimeoutMs } = this.context.http;
      this.arm(Math.min(dueMs, this.callDueMs, this.continueDueMs, nowMs + bodyIdleTimeoutMs));
    } catch (error) {
      this.#fault(error);
    }
  }

  /** Whom the exchange waits for now. */
  #waiting(): Waiting {
    switch (this.phase) {
      case 'new':
      case 'filtering':
        return 'filter';
      case 'waiting':
        return 'session';
      case 'sent':
        if (this.isRequestSent) return 'backend';
        if (this.chain?.isHeld('request') === true) return 'filter';
        return this.requestOwed > 0 ? 'taker' : 'request';
      case 'responding':
        if (this.chain?.isHeld('response') === true) return 'filter';
        return this.downstream.isBacklogged ? 'taker' : 'response';
      case 'tunnel':
        return this.isRequestRead || this.isResponseSent ? 'half-tunnel' : 'tunnel';
      case 'lingering':
      case 'over':
        return 'taker';
    }
  }

  #onStalled(waiting: Waiting): void {
    if (waiting === 'filter') this.detail = 'a filter did not go on';
    const detail = this.detail;
    this.#fail(stallReasons[waiting], detail);
  }

  /** The client's own deadline: it has given up by now, or is about to. */
  #onCallExpired(): void {
    this.callDueMs = Infinity;
    if (!this.isHeadSent || this.isResponseSent || this.downstream.isClosed) {
      return this.#fail('upstream-timeout', 'grpc-timeout');
    }
    this.dropUpstream();
    this.reason = 'upstream-timeout';
    this.detail = 'grpc-timeout';
    this.downstream.sendTrailers(['grpc-status', '4', 'grpc-message', 'deadline exceeded']);
    this.endResponse();
  }
}

const nothing = Buffer.alloc(0) as unknown as HostBytes;

function bytesOf(text: string): HostBytes {
  return Buffer.from(text, 'latin1') as unknown as HostBytes;
}
