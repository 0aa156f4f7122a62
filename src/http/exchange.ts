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
import { errorAnswer, renderAnswer, statusOf } from './error-answer.ts';
import type { DownstreamFacts, ExchangeContext, SessionWaiter } from './exchange-context.ts';
import { ExchangeRecord } from './exchange-record.ts';
import {
  continueWaitMs,
  downstreamReason,
  isIdempotent,
  isStreamed,
  lingerMs,
  patienceMs,
  stallReasons,
  upstreamReason,
  type Waiting,
} from './exchange-rules.ts';
import { FilterChain, type Direction, type FilterOutput } from './filter-chain.ts';
import type { FilterAnswer } from './filter.ts';
import { noFilters, type FilterList } from './filter-list.ts';
import { HeldBody, replayBytesMax } from './held-body.ts';
import { stripRequestHop, stripResponseHop, stripTrailers } from './request-traits.ts';
import type {
  ClientSession,
  DownstreamStream,
  RequestSink,
  ResponseSink,
  Stream,
  StreamFailure,
  UpstreamStream,
} from './stream.ts';
import type { UpstreamTarget } from './upstream-target.ts';

type Phase = 'new' | 'filtering' | 'waiting' | 'sent' | 'responding' | 'tunnel' | 'lingering' | 'over';

export class Exchange
  extends ExchangeRecord
  implements RequestSink, ResponseSink, SessionWaiter, FilterOutput
{
  /** The request as it goes on; filters change it in place. */
  readonly head: RequestHead;
  readonly isUpgrade: boolean;
  needsFresh = false;

  readonly #context: ExchangeContext;
  readonly #downstream: DownstreamStream;
  readonly #startMs: number;
  #phase: Phase = 'new';
  #target: UpstreamTarget | null = null;
  #chain: FilterChain | null = null;
  #upstream: UpstreamStream | null = null;
  #isReused = false;
  #waitStartMs = 0;

  /** The client has ended its request. */
  #isRequestRead: boolean;
  /** The end of the request has passed the filters. */
  #isRequestSent: boolean;
  #trailers: FieldList | null = null;
  /** Bytes handed to us that the other side has not taken: credit we still owe. */
  #requestOwed = 0;
  #responseOwed = 0;
  /** What waits for an upstream stream, or may be needed for a second try; null when it can not be had. */
  #held: HeldBody | null = null;
  #mayReplay = true;

  /** The upstream stream said anything at all: from then on nothing is tried again. */
  #hasUpstreamSpoken = false;
  #isHeadSent = false;
  /** The backend's answer is complete; or, for our own, made. */
  #isResponseRead = false;
  #isResponseSent = false;
  /** What is sent downstream next opens a tunnel. */
  #opensTunnel = false;
  /** The answer is sent and the request was given some time to end. */
  #isLate = false;
  /** A stream without an end in sight (server-sent events, gRPC): silence is no fault. */
  #isStreamed: boolean;
  #isContinueSent = false;
  #continueDueMs = Infinity;
  #callDueMs = Infinity;
  #progressMs: number;

  /** Becomes the stream's sink. The owner calls `forward` or `answer` before it returns to the event loop, or later. */
  constructor(
    context: ExchangeContext,
    facts: DownstreamFacts,
    stream: DownstreamStream,
    head: RequestHead,
    isEnd: boolean,
  ) {
    super(facts, stream.session.version, head);
    const nowMs = context.network.refresh();
    this.head = head;
    this.isUpgrade = head.protocol !== null || head.method === 'CONNECT';
    this.#context = context;
    this.#downstream = stream;
    this.#startMs = nowMs;
    this.#isRequestRead = isEnd;
    this.#isRequestSent = isEnd;
    this.#isStreamed = this.traits.isGrpc;
    this.#progressMs = nowMs;
    stream.sink = this;
  }

  get isGrpc(): boolean {
    return this.traits.isGrpc;
  }

  get isOver(): boolean {
    return this.#phase === 'over';
  }

  // --- the owner's calls ---

  /** Sends the request to `target` through `filters`. Once. */
  forward(target: UpstreamTarget, filters: FilterList = noFilters): void {
    assert(this.#phase === 'new', 'an exchange is forwarded or answered once');
    try {
      this.#forward(target, filters);
    } catch (error) {
      this.#fault(error);
    }
  }

  /** Answers in place of a backend. After the head of a response has gone it resets the stream instead. */
  answer(answer: FilterAnswer): void {
    if (this.#phase === 'over' || this.#isResponseSent) return;
    try {
      this.#answer(answer, -1);
    } catch (error) {
      this.#fault(error);
    }
  }

  // --- SessionWaiter ---

  onSession(session: ClientSession, connectMs: number): void {
    if (this.#phase !== 'waiting') return;
    try {
      this.connectMs = connectMs;
      this.queueMs = Math.max(0, this.#context.network.refresh() - this.#waitStartMs - connectMs);
      this.#send(session);
    } catch (error) {
      this.#fault(error);
    }
  }

  onNoSession(reason: Reason, detail: string | undefined): void {
    if (this.#phase !== 'waiting') return;
    try {
      this.#fail(reason, detail);
    } catch (error) {
      this.#fault(error);
    }
  }

  // --- the streams' calls, either side ---

  onData(stream: Stream, bytes: HostBytes, isEnd: boolean): void {
    try {
      this.#progressMs = this.#context.network.nowMs;
      if (stream === this.#downstream) this.#onRequestData(bytes, isEnd);
      else if (stream === this.#upstream) this.#onResponseData(bytes, isEnd);
    } catch (error) {
      this.#fault(error);
    }
  }

  onTrailers(stream: Stream, fields: FieldList): void {
    try {
      stripTrailers(fields);
      if (stream === this.#downstream) this.#onRequestTrailers(fields);
      else if (stream === this.#upstream) this.#onResponseTrailers(fields);
    } catch (error) {
      this.#fault(error);
    }
  }

  onEnd(stream: Stream): void {
    this.onData(stream, nothing, true);
  }

  onDrain(stream: Stream): void {
    try {
      this.#progressMs = this.#context.network.nowMs;
      if (stream === this.#upstream) this.#settleRequest();
      else if (stream === this.#downstream) {
        this.#settleResponse();
        if (this.#phase === 'lingering') this.#linger();
      }
    } catch (error) {
      this.#fault(error);
    }
  }

  onReset(stream: Stream, failure: StreamFailure): void {
    try {
      if (stream === this.#downstream) this.#onClientGone(failure);
      else if (stream === this.#upstream) this.#onUpstreamGone(failure);
    } catch (error) {
      this.#fault(error);
    }
  }

  onInformational(stream: Stream, head: ResponseHead): void {
    if (stream !== this.#upstream || this.#phase !== 'sent') return;
    try {
      this.#hasUpstreamSpoken = true;
      if (head.status === 100) return this.#sendContinue();
      stripResponseHop(head.fields);
      this.#downstream.sendInformational(head);
    } catch (error) {
      this.#fault(error);
    }
  }

  onHead(stream: Stream, head: ResponseHead, isEnd: boolean): void {
    if (stream !== this.#upstream || this.#phase !== 'sent') return;
    try {
      const nowMs = this.#context.network.refresh();
      this.firstByteMs = nowMs - this.#startMs;
      this.#progressMs = nowMs;
      this.#hasUpstreamSpoken = true;
      this.#phase = 'responding';
      this.#continueDueMs = Infinity;
      if (this.#mayReplay) this.#dropReplay();
      if (isEnd) this.#isResponseRead = true;
      stripResponseHop(head.fields);
      if (this.isUpgrade) return this.#onUpgradeHead(head, isEnd);
      if (!isEnd && !this.#isStreamed) this.#isStreamed = isStreamed(head.fields);
      if (this.#chain === null) this.passResponseHead(head, isEnd);
      else this.#chain.responseHead(head, isEnd);
    } catch (error) {
      this.#fault(error);
    }
  }

  // --- FilterOutput: what has passed every filter ---

  passRequestHead(): void {
    if (this.#phase === 'filtering') this.#acquire();
  }

  passRequestData(bytes: HostBytes, isEnd: boolean): void {
    if (isEnd) this.#onRequestSent();
    const upstream = this.#upstream;
    if (upstream === null || (this.isUpgrade && this.#phase !== 'tunnel')) {
      (this.#held ??= new HeldBody()).keep(bytes);
      return;
    }
    if (this.#mayReplay) this.#keepForReplay(bytes);
    if (bytes.length === 0) upstream.sendEnd();
    else upstream.sendData(bytes, isEnd);
  }

  passRequestTrailers(fields: FieldList): void {
    this.#onRequestSent();
    this.#trailers = fields;
    this.#upstream?.sendTrailers(fields);
  }

  passResponseHead(head: ResponseHead, isEnd: boolean): void {
    if (this.#phase === 'over') return;
    this.status = head.status;
    this.#isHeadSent = true;
    this.#downstream.sendHead(head, isEnd);
    if (isEnd) this.#endResponse();
    else if (this.#opensTunnel) this.#openTunnel();
  }

  passResponseData(bytes: HostBytes, isEnd: boolean): void {
    if (this.#phase === 'over') return;
    this.bytesOut += bytes.length;
    if (bytes.length === 0) {
      if (isEnd) this.#downstream.sendEnd();
    } else this.#downstream.sendData(bytes, isEnd);
    if (isEnd) this.#endResponse();
  }

  passResponseTrailers(fields: FieldList): void {
    if (this.#phase === 'over') return;
    this.#downstream.sendTrailers(fields);
    this.#endResponse();
  }

  onFilterAnswer(answer: FilterAnswer, index: number): void {
    if (this.#phase !== 'over' && !this.#isResponseSent) this.#answer(answer, index);
  }

  onFilterLimit(direction: Direction, reason: Reason, ruleId: string): void {
    this.detail = `a filter held more of the ${direction} than its buffer takes`;
    this.#answer(errorAnswer(reason, ruleId), -1);
  }

  onFilterFault(error: unknown): void {
    this.#fault(error);
  }

  onFilterResume(direction: Direction): void {
    if (direction === 'request') this.#settleRequest();
    else this.#settleResponse();
  }

  get exchange(): this {
    return this;
  }

  // --- the request ---

  #forward(target: UpstreamTarget, filters: FilterList): void {
    const { head, traits } = this;
    this.#target = target;
    this.upstreamName = target.name;
    this.#phase = 'filtering';
    stripRequestHop(head, this.#isRequestRead, this.downstreamVersion === 'HTTP/1.0');
    if (traits.grpcTimeoutMs !== Infinity) this.#callDueMs = this.#startMs + traits.grpcTimeoutMs;
    // Looked at again when it expires: what is waited for changes, and the shortest wait is a safe first guess.
    const { bodyIdleTimeoutMs, responseTimeoutMs } = this.#context.http;
    this.#arm(Math.min(this.#callDueMs, this.#startMs + Math.min(bodyIdleTimeoutMs, responseTimeoutMs)));
    if (filters.filters.length === 0) return this.#acquire();
    this.#chain = new FilterChain(filters, this);
    this.#chain.requestHead(head, this.#isRequestRead);
  }

  #acquire(): void {
    this.#phase = 'waiting';
    this.#waitStartMs = this.#context.network.nowMs;
    const session = this.#context.pool.acquire(this.#target!, this);
    if (session !== null) this.#send(session);
  }

  #send(session: ClientSession): void {
    const held = this.#held;
    // A tunnel's request has no body, and no end before the tunnel's.
    const isWhole = this.#isRequestSent && (held === null || held.byteCount === 0) && this.#trailers === null;
    this.#isReused = session.requestCount > 0;
    this.upstreamVersion = session.version;
    this.#phase = 'sent';
    const upstream = this.#request(session, isWhole);
    this.#progressMs = this.#context.network.nowMs;
    if (isWhole || this.isUpgrade) return;
    this.#flushHeld(upstream);
    if (this.traits.expectsContinue && !this.#isContinueSent && !this.#isRequestRead) this.#awaitContinue();
  }

  /** A head that can not be written (a filter's doing) leaves the session unused, and out of the pool's sight. */
  #request(session: ClientSession, isWhole: boolean): UpstreamStream {
    try {
      return (this.#upstream = session.request(this.head, isWhole, this));
    } catch (error) {
      if (session.streamCount === 0) session.drain();
      throw error;
    }
  }

  /** Sends what was held while there was no upstream stream. It stays for a second try while it is small. */
  #flushHeld(upstream: UpstreamStream): void {
    const held = this.#held;
    const isEnd = this.#isRequestSent && this.#trailers === null;
    if (held !== null) {
      const last = held.chunks.length - 1;
      for (let at = 0; at <= last; at++) upstream.sendData(held.chunks[at]!, isEnd && at === last);
    }
    if (this.#trailers !== null) upstream.sendTrailers(this.#trailers);
    else if (isEnd && (held === null || held.chunks.length === 0)) upstream.sendEnd();
    if (!this.#mayReplay || (held !== null && held.byteCount > replayBytesMax)) this.#dropReplay();
    this.#settleRequest();
  }

  #onRequestData(bytes: HostBytes, isEnd: boolean): void {
    this.bytesIn += bytes.length;
    if (isEnd) this.#isRequestRead = true;
    if (this.#phase === 'lingering') {
      this.#downstream.consume(bytes.length);
      return isEnd ? this.#linger() : undefined;
    }
    this.#requestOwed += bytes.length;
    if (this.#isOpaque('request')) this.passRequestData(bytes, isEnd);
    else this.#chain!.requestData(bytes, isEnd);
    this.#settleRequest();
    // The other half of a tunnel was closed before.
    if (isEnd && this.#isResponseSent) this.#linger();
  }

  #onRequestTrailers(fields: FieldList): void {
    this.#isRequestRead = true;
    if (this.#phase === 'lingering') return this.#linger();
    if (this.#chain === null) this.passRequestTrailers(fields);
    else this.#chain.requestTrailers(fields);
  }

  #onRequestSent(): void {
    this.#isRequestSent = true;
    this.#continueDueMs = Infinity;
    this.#progressMs = this.#context.network.nowMs;
  }

  /** Gives the client credit for what the backend's side has taken. */
  #settleRequest(): void {
    if (this.#requestOwed === 0) return;
    const upstream = this.#upstream;
    if (upstream === null || upstream.isBacklogged) return;
    if (this.isUpgrade && this.#phase !== 'tunnel') return;
    if (this.#chain !== null && this.#chain.isHeld('request')) return;
    const byteCount = this.#requestOwed;
    this.#requestOwed = 0;
    this.#downstream.consume(byteCount);
  }

  #keepForReplay(bytes: HostBytes): void {
    if (bytes.length === 0) return;
    if (this.traits.contentLength > replayBytesMax) return this.#dropReplay();
    if (!(this.#held ??= new HeldBody()).tryKeep(bytes)) this.#dropReplay();
  }

  #dropReplay(): void {
    this.#mayReplay = false;
    if (!this.isUpgrade) this.#held = null;
  }

  #awaitContinue(): void {
    this.#continueDueMs = this.#context.network.nowMs + continueWaitMs;
    this.#arm(this.#continueDueMs);
  }

  #sendContinue(): void {
    this.#continueDueMs = Infinity;
    if (this.#isContinueSent || this.#isHeadSent) return;
    this.#isContinueSent = true;
    this.#downstream.sendInformational({ status: 100, fields: [] });
  }

  // --- the response ---

  #onResponseData(bytes: HostBytes, isEnd: boolean): void {
    if (this.#phase !== 'responding' && this.#phase !== 'tunnel') return;
    if (isEnd) this.#isResponseRead = true;
    this.#responseOwed += bytes.length;
    if (this.#isOpaque('response')) this.passResponseData(bytes, isEnd);
    else this.#chain!.responseData(bytes, isEnd);
    this.#settleResponse();
  }

  #onResponseTrailers(fields: FieldList): void {
    if (this.#phase !== 'responding') return;
    this.#isResponseRead = true;
    if (this.#chain === null) this.passResponseTrailers(fields);
    else this.#chain.responseTrailers(fields);
  }

  /** No filter looks at this direction: there is none, or the bytes are a tunnel's. */
  #isOpaque(direction: Direction): boolean {
    return this.#chain === null || (this.#phase === 'tunnel' && !this.#chain.isHeld(direction));
  }

  /** Gives the backend credit for what the client's side has taken. */
  #settleResponse(): void {
    if (this.#responseOwed === 0 || this.#upstream === null || this.#downstream.isBacklogged) return;
    if (this.#chain !== null && this.#chain.isHeld('response')) return;
    const byteCount = this.#responseOwed;
    this.#responseOwed = 0;
    this.#upstream.consume(byteCount);
  }

  /** A tunnel opens, or the backend declines it with an ordinary response. */
  #onUpgradeHead(head: ResponseHead, isEnd: boolean): void {
    this.#opensTunnel = head.status >= 200 && head.status < 300 && !isEnd;
    if (!this.#opensTunnel) {
      this.#held = null;
      this.#isRequestSent = true;
      this.#upstream!.sendEnd();
    }
    if (this.#chain === null) this.passResponseHead(head, isEnd);
    else this.#chain.responseHead(head, isEnd);
  }

  #openTunnel(): void {
    this.#phase = 'tunnel';
    this.reason = 'tunnel-closed';
    this.#mayReplay = false;
    if (this.#upstream !== null) this.#flushHeld(this.#upstream);
    this.#held = null;
  }

  /** The whole answer is on its way to the client. */
  #endResponse(): void {
    this.#isResponseSent = true;
    // Half of a tunnel is closed; the other half may go on.
    if (this.#phase === 'tunnel' && !this.#isRequestRead && !this.#downstream.isClosed) return;
    this.#phase = 'lingering';
    this.#linger();
  }

  /**
   * Over, when the client has ended its request too. If it has not, nobody wants the rest: the stream is given up
   * without an error (RFC 9113 §8.1), once the answer has left it.
   */
  #linger(): void {
    const downstream = this.#downstream;
    if (this.#isRequestRead || downstream.isClosed) return this.#finish();
    // An HTTP/1 session tells the end of a declined upgrade by itself, and may keep its connection.
    const endsItself = this.isUpgrade && this.downstreamVersion !== 'HTTP/2' && !this.#isLate;
    if (downstream.isBacklogged || endsItself) {
      this.#isLate = true;
      this.#arm(this.#context.network.nowMs + lingerMs);
      return;
    }
    downstream.reset('no-error');
    this.#finish();
  }

  // --- ends ---

  #onClientGone(failure: StreamFailure): void {
    if (this.#phase === 'over') return;
    if (!this.#isResponseSent) {
      if (this.#phase !== 'tunnel') this.reason = downstreamReason(failure.reason);
      this.detail = failure.detail;
      // What the client did wrong its session has answered, where no answer had begun.
      if (!this.#isHeadSent && reasons[this.reason].outcome === 'refused')
        this.status = statusOf(this.reason);
    }
    this.#finish();
  }

  #onUpstreamGone(failure: StreamFailure): void {
    this.#upstream = null;
    // The answer is whole; only the rest of the request has nobody to go to.
    if (this.#isResponseRead || this.#phase === 'over') return;
    if (this.#phase === 'sent') {
      if (this.#mayRetry(failure)) return this.#retry();
      return this.#fail(upstreamReason(failure.reason), failure.detail);
    }
    if (this.#phase !== 'tunnel') this.reason = upstreamReason(failure.reason);
    this.detail = failure.detail;
    this.#abandon();
  }

  /** Once, only before the backend said a word, and only what is held whole and does no harm when it comes twice. */
  #mayRetry(failure: StreamFailure): boolean {
    if (this.isRetried || this.#hasUpstreamSpoken || !this.#mayReplay) return false;
    return failure.isUnprocessed || (this.#isReused && isIdempotent(this.method));
  }

  #retry(): void {
    this.isRetried = true;
    this.needsFresh = true;
    this.#acquire();
  }

  #fail(reason: Reason, detail: string | undefined): void {
    this.detail = detail;
    this.#answer(errorAnswer(reason), -1);
  }

  /** Answers by ourselves; by the filter at `index`, or past all of them with -1. */
  #answer(answer: FilterAnswer, index: number): void {
    this.#dropUpstream();
    this.#held = null;
    this.reason = answer.reason;
    this.ruleId = answer.ruleId;
    if (this.#isHeadSent || this.#downstream.isClosed) return this.#abandon();
    const { head, body } = renderAnswer(answer, this.head, this.isGrpc, this.#context.pseudonym);
    const chain = this.#chain;
    this.#phase = 'responding';
    this.#isResponseRead = true;
    this.#opensTunnel = false;
    chain?.beginAnswer(index);
    if (chain === null || index <= 0) {
      this.passResponseHead(head, body === null);
      if (body !== null) this.passResponseData(bytesOf(body), true);
      return;
    }
    chain.responseHead(head, body === null);
    if (body !== null) chain.responseData(bytesOf(body), true);
  }

  /** The client sees a failure: what it has is not all. */
  #abandon(): void {
    if (!this.#downstream.isClosed)
      this.#downstream.reset(this.#phase === 'tunnel' ? 'cancel' : 'internal-error');
    this.#finish();
  }

  /** Gives up the upstream side, unless it has come to its own end. */
  #dropUpstream(): void {
    if (this.#phase === 'waiting') this.#context.pool.cancel(this.#target!, this);
    const upstream = this.#upstream;
    this.#upstream = null;
    if (upstream === null || (this.#isResponseRead && this.#isRequestSent)) return;
    upstream.reset('cancel');
  }

  #finish(): void {
    if (this.#phase === 'over') return;
    const { network } = this.#context;
    this.#dropUpstream();
    this.#phase = 'over';
    this.#held = null;
    network.timers.disarm(this);
    this.totalMs = network.refresh() - this.#startMs;
    this.#chain?.end();
    this.#context.onRequestEnd(this);
  }

  /** A fault of ours ends this exchange and no other. */
  #fault(error: unknown): void {
    this.#context.onFault(error);
    if (this.#phase === 'over') return;
    try {
      this.#fail('internal-error', undefined);
    } catch (second) {
      this.#context.onFault(second);
      this.#isHeadSent = true;
      this.#abandon();
    }
  }

  // --- deadlines ---

  override expire(nowMs: number): void {
    try {
      if (nowMs >= this.#continueDueMs) this.#sendContinue();
      if (this.#phase === 'lingering') return this.#linger();
      if (nowMs >= this.#callDueMs) return this.#onCallExpired();
      const waiting = this.#waiting();
      const dueMs = this.#progressMs + patienceMs(waiting, this.#context.http, this.#isStreamed);
      if (nowMs >= dueMs) return this.#onStalled(waiting);
      const { bodyIdleTimeoutMs } = this.#context.http;
      this.#arm(Math.min(dueMs, this.#callDueMs, this.#continueDueMs, nowMs + bodyIdleTimeoutMs));
    } catch (error) {
      this.#fault(error);
    }
  }

  /** Whom the exchange waits for now. */
  #waiting(): Waiting {
    switch (this.#phase) {
      case 'new':
      case 'filtering':
        return 'filter';
      case 'waiting':
        return 'session';
      case 'sent':
        if (this.#isRequestSent) return 'backend';
        if (this.#chain?.isHeld('request') === true) return 'filter';
        return this.#requestOwed > 0 ? 'taker' : 'request';
      case 'responding':
        if (this.#chain?.isHeld('response') === true) return 'filter';
        return this.#downstream.isBacklogged ? 'taker' : 'response';
      case 'tunnel':
        return 'tunnel';
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
    this.#callDueMs = Infinity;
    if (!this.#isHeadSent || this.#isResponseSent || this.#downstream.isClosed) {
      return this.#fail('upstream-timeout', 'grpc-timeout');
    }
    this.#dropUpstream();
    this.reason = 'upstream-timeout';
    this.detail = 'grpc-timeout';
    this.#downstream.sendTrailers(['grpc-status', '4', 'grpc-message', 'deadline exceeded']);
    this.#endResponse();
  }

  /** Makes sure that `expire` is called by then. A later deadline is found out when an earlier one comes. */
  #arm(dueMs: number): void {
    if (this.next !== null && this.deadlineMs <= dueMs) return;
    this.#context.network.timers.arm(this, dueMs);
  }
}

const nothing = Buffer.alloc(0) as unknown as HostBytes;

function bytesOf(text: string): HostBytes {
  return Buffer.from(text, 'latin1') as unknown as HostBytes;
}
