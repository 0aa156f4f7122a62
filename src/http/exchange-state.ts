/**
 * What an exchange knows of its two streams and its body, and how it comes to an end. See exchange.ts, the map.
 */
import type { FieldList, RequestHead } from '../codec/http-message.ts';
import type { DownstreamFacts, ExchangeContext, SessionWaiter } from './exchange-context.ts';
import { ExchangeRecord } from './exchange-record.ts';
import { lingerMs } from './exchange-rules.ts';
import type { FilterChain } from './filter-chain.ts';
import type { HeldBody } from './held-body.ts';
import type { DownstreamStream, ResponseSink, UpstreamStream } from './stream.ts';
import type { UpstreamTarget } from './upstream-target.ts';

export type Phase = 'new' | 'filtering' | 'waiting' | 'sent' | 'responding' | 'tunnel' | 'lingering' | 'over';

export abstract class ExchangeState extends ExchangeRecord {
  /** The exchange itself, in the roles that its last layer plays. */
  protected abstract readonly self: SessionWaiter & ResponseSink;

  /** The request as it goes on; filters change it in place. */
  readonly head: RequestHead;
  readonly isUpgrade: boolean;
  needsFresh = false;

  protected readonly context: ExchangeContext;
  protected readonly downstream: DownstreamStream;
  protected readonly startMs: number;
  protected phase: Phase = 'new';
  protected target: UpstreamTarget | null = null;
  protected chain: FilterChain | null = null;
  protected upstream: UpstreamStream | null = null;
  protected isReused = false;
  protected waitStartMs = 0;

  /** The client has ended its request. */
  protected isRequestRead: boolean;
  /** The end of the request has passed the filters. */
  protected isRequestSent: boolean;
  protected trailers: FieldList | null = null;
  /** Bytes handed to us that the other side has not taken: credit we still owe. */
  protected requestOwed = 0;
  protected responseOwed = 0;
  /** What waits for an upstream stream, or may be needed for a second try; null when it can not be had. */
  protected held: HeldBody | null = null;
  protected mayReplay = true;

  /** The upstream stream said anything at all: from then on nothing is tried again. */
  protected hasUpstreamSpoken = false;
  protected isHeadSent = false;
  /** The backend's answer is complete; or, for our own, made. */
  protected isResponseRead = false;
  protected isResponseSent = false;
  /** What is sent downstream next opens a tunnel. */
  protected opensTunnel = false;
  /** The answer is sent and the request was given some time to end. */
  protected isLate = false;
  /** A stream without an end in sight (server-sent events, gRPC): silence is no fault. */
  protected isStreamed: boolean;
  protected isContinueSent = false;
  /** Interim responses of the backend so far. */
  protected interimCount = 0;
  protected continueDueMs = Infinity;
  protected callDueMs = Infinity;
  protected progressMs: number;

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
    this.context = context;
    this.downstream = stream;
    this.startMs = nowMs;
    this.isRequestRead = isEnd;
    this.isRequestSent = isEnd;
    this.isStreamed = this.traits.isGrpc;
    this.progressMs = nowMs;
  }

  get isGrpc(): boolean {
    return this.traits.isGrpc;
  }

  get isOver(): boolean {
    return this.phase === 'over';
  }

  /** The whole answer is on its way to the client. */
  protected endResponse(): void {
    this.isResponseSent = true;
    // Half of a tunnel is closed; the other half may go on.
    if (this.phase === 'tunnel' && !this.isRequestRead && !this.downstream.isClosed) return;
    this.phase = 'lingering';
    this.linger();
  }

  /**
   * Over, when the client has ended its request too. If it has not, nobody wants the rest: the stream is given up
   * without an error (RFC 9113 §8.1), once the answer has left it.
   */
  protected linger(): void {
    const downstream = this.downstream;
    if (this.isRequestRead || downstream.isClosed) return this.finish();
    // An HTTP/1 session tells the end of a declined upgrade by itself, and may keep its connection.
    const endsItself = this.isUpgrade && this.downstreamVersion !== 'HTTP/2' && !this.isLate;
    if (downstream.isBacklogged || endsItself) {
      this.isLate = true;
      this.arm(this.context.network.nowMs + lingerMs);
      return;
    }
    downstream.reset('no-error');
    this.finish();
  }

  /** The client sees a failure: what it has is not all. */
  protected abandon(): void {
    if (!this.downstream.isClosed)
      this.downstream.reset(this.phase === 'tunnel' ? 'cancel' : 'internal-error');
    this.finish();
  }

  /** Gives up the upstream side, unless it has come to its own end. */
  protected dropUpstream(): void {
    if (this.phase === 'waiting') this.context.pool.cancel(this.target!, this.self);
    const upstream = this.upstream;
    this.upstream = null;
    if (upstream === null || (this.isResponseRead && this.isRequestSent)) return;
    upstream.reset('cancel');
  }

  protected finish(): void {
    if (this.phase === 'over') return;
    const { network } = this.context;
    this.dropUpstream();
    this.phase = 'over';
    this.held = null;
    network.timers.disarm(this);
    this.totalMs = network.refresh() - this.startMs;
    this.chain?.end();
    this.context.onRequestEnd(this);
  }

  /** Makes sure that `expire` is called by then. A later deadline is found out when an earlier one comes. */
  protected arm(dueMs: number): void {
    if (this.next !== null && this.deadlineMs <= dueMs) return;
    this.context.network.timers.arm(this, dueMs);
  }
}
