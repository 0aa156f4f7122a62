/**
 * Streams, sessions and a pool without a wire: they write down what they are told, and tests speak for the peer.
 * They keep the rules of stream.ts, so that an exchange that breaks one is found out.
 */
import { assert } from '../../core/errors.ts';
import type { HostBytes } from '../../core/bytes.ts';
import { parseIp } from '../../core/ip.ts';
import { TimerWheel } from '../../core/timer-wheel.ts';
import type { FieldList, RequestHead, ResponseHead } from '../../codec/http-message.ts';
import { httpDefaults } from '../../model/http-settings.ts';
import type { Network } from '../../net/network.ts';
import type { RequestSummary } from '../../telemetry/request-log.ts';
import type { DownstreamFacts, ExchangeContext, SessionWaiter, UpstreamSource } from '../exchange-context.ts';
import type {
  BodySink,
  ClientSession,
  DownstreamStream,
  HttpVersion,
  RequestSink,
  ResetReason,
  ResponseSink,
  ServerSession,
  StreamFailure,
  UpstreamStream,
} from '../stream.ts';
import type { UpstreamTarget } from '../upstream-target.ts';

export function bytes(text: string): HostBytes {
  return Buffer.from(text, 'latin1') as unknown as HostBytes;
}

export function requestHead(overrides: Partial<RequestHead> = {}): RequestHead {
  return {
    method: 'GET',
    scheme: 'https',
    authority: 'app.example.com',
    path: '/a?b',
    protocol: null,
    fields: [],
    ...overrides,
  };
}

/** What both sides write down. */
abstract class ScriptedStream {
  isClosed = false;
  isBacklogged = false;
  /** Everything said to the stream, in order. */
  readonly log: string[] = [];
  /** Bytes sent, without regard to pieces. */
  sentBytes = 0;
  /** Bytes handed out and not consumed. */
  unconsumedBytes = 0;
  isSendEnded = false;
  isReceiveEnded = false;
  resetReason: ResetReason | null = null;
  /** False: only counted, for tests of long bodies. */
  keepsData = true;

  protected abstract get bodySink(): BodySink;
  protected abstract readonly self: DownstreamStream & UpstreamStream;

  sendData(data: HostBytes, isEnd: boolean): boolean {
    if (this.isClosed) return true;
    assert(!this.isSendEnded, 'data after the end');
    this.sentBytes += data.length;
    if (this.keepsData) this.log.push(`data ${Buffer.from(data).toString('latin1')}${isEnd ? ' end' : ''}`);
    if (isEnd) this.#endSending();
    return !this.isBacklogged;
  }

  sendTrailers(fields: FieldList): void {
    if (this.isClosed) return;
    assert(!this.isSendEnded, 'trailers after the end');
    this.log.push(`trailers ${fields.join(' ')}`);
    this.#endSending();
  }

  sendEnd(): void {
    if (this.isClosed) return;
    assert(!this.isSendEnded, 'two ends');
    this.log.push('end');
    this.#endSending();
  }

  consume(byteCount: number): void {
    if (this.isClosed) return;
    this.unconsumedBytes -= byteCount;
    assert(this.unconsumedBytes >= 0, 'more consumed than was handed out');
  }

  reset(reason: ResetReason): void {
    if (this.isClosed) return;
    this.log.push(`reset ${reason}`);
    this.resetReason = reason;
    this.isClosed = true;
  }

  // --- the peer ---

  /** The peer sends data, in memory that is overwritten afterwards. */
  receive(text: string, isEnd = false): void {
    this.receiveBytes(bytes(text), isEnd);
  }

  receiveBytes(data: HostBytes, isEnd = false): void {
    if (this.isClosed) return;
    this.unconsumedBytes += data.length;
    if (isEnd) this.isReceiveEnded = true;
    this.bodySink.onData(this.self, data, isEnd);
    data.fill(0xee);
    this.#settle();
  }

  receiveTrailers(...fields: string[]): void {
    if (this.isClosed) return;
    this.isReceiveEnded = true;
    this.bodySink.onTrailers(this.self, fields);
    this.#settle();
  }

  receiveEnd(): void {
    if (this.isClosed) return;
    this.isReceiveEnded = true;
    this.bodySink.onEnd(this.self);
    this.#settle();
  }

  drain(): void {
    this.isBacklogged = false;
    if (!this.isClosed) this.bodySink.onDrain(this.self);
  }

  /** The stream dies. */
  fail(failure: Partial<StreamFailure> = {}): void {
    if (this.isClosed) return;
    this.isClosed = true;
    const reason = failure.reason ?? 'upstream-reset';
    this.bodySink.onReset(this.self, {
      detail: undefined,
      isUnprocessed: false,
      ...failure,
      reason,
    });
  }

  #endSending(): void {
    this.isSendEnded = true;
    this.#settle();
  }

  #settle(): void {
    if (this.isSendEnded && this.isReceiveEnded) this.isClosed = true;
  }
}

export class ScriptedDownstream extends ScriptedStream implements DownstreamStream {
  sink!: RequestSink;
  readonly session: ServerSession;
  head: ResponseHead | null = null;
  readonly informational: number[] = [];

  constructor(version: HttpVersion = 'HTTP/1.1', isEnd = true) {
    super();
    this.isReceiveEnded = isEnd;
    this.session = { version, streamCount: 1, drain() {}, abort() {} };
  }

  protected get bodySink(): BodySink {
    return this.sink;
  }

  protected get self(): DownstreamStream & UpstreamStream {
    return this as unknown as DownstreamStream & UpstreamStream;
  }

  sendInformational(head: ResponseHead): void {
    this.informational.push(head.status);
  }

  sendHead(head: ResponseHead, isEnd: boolean): void {
    if (this.isClosed) return;
    assert(this.head === null, 'two heads');
    this.head = head;
    this.log.push(`head ${head.status}${isEnd ? ' end' : ''}`);
    if (!isEnd) return;
    this.isSendEnded = true;
    if (this.isReceiveEnded) this.isClosed = true;
  }
}

export class ScriptedUpstream extends ScriptedStream implements UpstreamStream {
  sink: ResponseSink;
  readonly session: ScriptedClientSession;
  readonly head: RequestHead;

  constructor(session: ScriptedClientSession, head: RequestHead, isEnd: boolean, sink: ResponseSink) {
    super();
    this.session = session;
    this.head = head;
    this.sink = sink;
    this.isSendEnded = isEnd;
  }

  protected get bodySink(): BodySink {
    return this.sink;
  }

  protected get self(): DownstreamStream & UpstreamStream {
    return this as unknown as DownstreamStream & UpstreamStream;
  }

  respond(status: number, fields: FieldList = [], isEnd = false): void {
    if (this.isClosed) return;
    if (isEnd) this.isReceiveEnded = true;
    this.sink.onHead(this, { status, fields }, isEnd);
    if (this.isSendEnded && this.isReceiveEnded) this.isClosed = true;
  }

  inform(status: number): void {
    this.sink.onInformational(this, { status, fields: [] });
  }
}

export class ScriptedClientSession implements ClientSession {
  readonly version: HttpVersion;
  requestCount: number;
  isAvailable = true;
  wasDrained = false;
  readonly streams: ScriptedUpstream[] = [];

  constructor(version: HttpVersion = 'HTTP/1.1', requestCount = 0) {
    this.version = version;
    this.requestCount = requestCount;
  }

  get streamCount(): number {
    return this.streams.filter((stream) => !stream.isClosed).length;
  }

  request(head: RequestHead, isEnd: boolean, sink: ResponseSink): UpstreamStream {
    assert(this.isAvailable, 'the session is not available');
    const stream = new ScriptedUpstream(this, head, isEnd, sink);
    this.streams.push(stream);
    this.requestCount++;
    return stream;
  }

  drain(): void {
    this.wasDrained = true;
  }

  abort(): void {
    this.isAvailable = false;
  }
}

/** Hands out what tests put in; without that, requests wait. */
export class ScriptedPool implements UpstreamSource {
  readonly ready: ClientSession[] = [];
  waiter: SessionWaiter | null = null;
  acquired = 0;
  cancelled = 0;
  /** What the waiter said it needs, one for each acquire. */
  readonly freshness: boolean[] = [];

  acquire(_target: UpstreamTarget, waiter: SessionWaiter): ClientSession | null {
    this.acquired++;
    this.freshness.push(waiter.needsFresh);
    const session = this.ready.shift();
    if (session !== undefined) return session;
    this.waiter = waiter;
    return null;
  }

  cancel(): void {
    this.cancelled++;
    this.waiter = null;
  }
}

/** A network whose time tests move. */
export class ScriptedNetwork {
  nowMs = 1000;
  readonly timers = new TimerWheel(1000);

  refresh(): number {
    return this.nowMs;
  }

  advance(byMs: number): void {
    const endMs = this.nowMs + byMs;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(this.nowMs + 100, endMs);
      this.timers.advance(this.nowMs);
    }
  }
}

export class ScriptedContext implements ExchangeContext {
  readonly clock = new ScriptedNetwork();
  readonly network = this.clock as unknown as Network;
  readonly pool = new ScriptedPool();
  readonly pseudonym = 'portcullis-test';
  http = httpDefaults;
  readonly records: RequestSummary[] = [];
  readonly faults: unknown[] = [];

  onRequestEnd(record: RequestSummary): void {
    this.records.push(record);
  }

  onFault(error: unknown): void {
    this.faults.push(error);
  }
}

export const testFacts: DownstreamFacts = {
  clientIp: parseIp('203.0.113.9')!,
  client: '203.0.113.9',
  listener: ':443',
  serverName: 'app.example.com',
};

export const testTarget: UpstreamTarget = {
  key: 'tcp 10.0.0.1:8080 http1',
  name: '10.0.0.1:8080',
  protocol: 'http1',
  tls: null,
  dialer: { dial: () => ({ cancel() {} }) },
  preface: null,
  owner: null,
};
