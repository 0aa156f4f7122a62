/**
 * The request's way to the backend: a session, the head, the body by credit, what is kept for a second try. See
 * exchange.ts, the map.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { FieldList } from '../codec/http-message.ts';
import { continueWaitMs } from './exchange-rules.ts';
import { ExchangeState } from './exchange-state.ts';
import type { Direction } from './filter-chain.ts';
import { HeldBody, replayBytesMax } from './held-body.ts';
import type { ClientSession, UpstreamStream } from './stream.ts';

/** What a client sends while its owner has not decided where to. */
class EarlyRequest {
  readonly body = new HeldBody();
  trailers: FieldList | null = null;
}

const nothing = Buffer.alloc(0) as unknown as HostBytes;

export abstract class ExchangeRequest extends ExchangeState {
  protected early: EarlyRequest | null = null;

  passRequestHead(): void {
    if (this.phase === 'filtering') this.acquire();
  }

  passRequestData(bytes: HostBytes, isEnd: boolean): void {
    if (isEnd) this.onRequestSent();
    const upstream = this.upstream;
    if (upstream === null || (this.isUpgrade && this.phase !== 'tunnel')) {
      (this.held ??= new HeldBody()).keep(bytes);
      return;
    }
    if (this.mayReplay) this.keepForReplay(bytes);
    if (bytes.length === 0) upstream.sendEnd();
    else upstream.sendData(bytes, isEnd);
  }

  passRequestTrailers(fields: FieldList): void {
    this.onRequestSent();
    this.trailers = fields;
    this.upstream?.sendTrailers(fields);
  }

  protected acquire(): void {
    this.phase = 'waiting';
    this.waitStartMs = this.context.network.nowMs;
    const session = this.context.pool.acquire(this.target!, this.self);
    if (session !== null) this.send(session);
  }

  protected send(session: ClientSession): void {
    const held = this.held;
    // A tunnel's request has no body, and no end before the tunnel's.
    const isWhole = this.isRequestSent && (held === null || held.byteCount === 0) && this.trailers === null;
    this.isReused = session.requestCount > 0;
    this.upstreamVersion = session.version;
    this.phase = 'sent';
    const upstream = this.openStream(session, isWhole);
    this.progressMs = this.context.network.nowMs;
    if (isWhole || this.isUpgrade) return;
    this.flushHeld(upstream);
    if (this.traits.expectsContinue && !this.isContinueSent && !this.isRequestRead) this.awaitContinue();
  }

  /** A head that can not be written (a filter's doing) leaves the session unused, and out of the pool's sight. */
  protected openStream(session: ClientSession, isWhole: boolean): UpstreamStream {
    try {
      return (this.upstream = session.request(this.head, isWhole, this.self));
    } catch (error) {
      if (session.streamCount === 0) session.drain();
      throw error;
    }
  }

  /** Sends what was held while there was no upstream stream. It stays for a second try while it is small. */
  protected flushHeld(upstream: UpstreamStream): void {
    const held = this.held;
    const isEnd = this.isRequestSent && this.trailers === null;
    if (held !== null) {
      const last = held.chunks.length - 1;
      for (let at = 0; at <= last; at++) upstream.sendData(held.chunks[at]!, isEnd && at === last);
    }
    if (this.trailers !== null) upstream.sendTrailers(this.trailers);
    else if (isEnd && (held === null || held.chunks.length === 0)) upstream.sendEnd();
    if (!this.mayReplay || (held !== null && held.byteCount > replayBytesMax)) this.dropReplay();
    this.settleRequest();
  }

  protected onRequestData(bytes: HostBytes, isEnd: boolean): void {
    this.bytesIn += bytes.length;
    if (isEnd) this.isRequestRead = true;
    if (this.phase === 'lingering') {
      this.downstream.consume(bytes.length);
      return isEnd ? this.linger() : undefined;
    }
    this.requestOwed += bytes.length;
    if (this.phase === 'new') return (this.early ??= new EarlyRequest()).body.keep(bytes);
    if (this.isOpaque('request')) this.passRequestData(bytes, isEnd);
    else this.chain!.requestData(bytes, isEnd);
    this.settleRequest();
    // The other half of a tunnel was closed before.
    if (isEnd && this.isResponseSent) this.linger();
  }

  /** What came before the owner had decided: the filters it chose have yet to see it. */
  protected takeEarly(): EarlyRequest | null {
    const { early } = this;
    this.early = null;
    if (early === null && this.isRequestRead && !this.isRequestSent) return new EarlyRequest();
    return early;
  }

  /** Lets it arrive again, behind the head. It was counted when it came. */
  protected replayEarly({ body, trailers }: EarlyRequest): void {
    for (const chunk of body.chunks) this.#arrive(chunk, false);
    if (trailers !== null) this.onRequestTrailers(trailers);
    else if (this.isRequestRead) this.#arrive(nothing, true);
    this.settleRequest();
  }

  #arrive(bytes: HostBytes, isEnd: boolean): void {
    if (this.phase === 'lingering' || this.phase === 'over') return;
    if (this.isOpaque('request')) this.passRequestData(bytes, isEnd);
    else this.chain!.requestData(bytes, isEnd);
  }

  protected onRequestTrailers(fields: FieldList): void {
    this.isRequestRead = true;
    if (this.phase === 'lingering') return this.linger();
    if (this.phase === 'new') {
      (this.early ??= new EarlyRequest()).trailers = fields;
      return;
    }
    if (this.chain === null) this.passRequestTrailers(fields);
    else this.chain.requestTrailers(fields);
  }

  protected onRequestSent(): void {
    this.isRequestSent = true;
    this.continueDueMs = Infinity;
    this.progressMs = this.context.network.nowMs;
  }

  /** Gives the client credit for what the backend's side has taken. */
  protected settleRequest(): void {
    if (this.requestOwed === 0) return;
    const upstream = this.upstream;
    if (upstream === null || upstream.isBacklogged) return;
    if (this.isUpgrade && this.phase !== 'tunnel') return;
    if (this.chain !== null && this.chain.isHeld('request')) return;
    const byteCount = this.requestOwed;
    this.requestOwed = 0;
    this.downstream.consume(byteCount);
  }

  protected keepForReplay(bytes: HostBytes): void {
    if (bytes.length === 0) return;
    if (this.traits.contentLength > replayBytesMax) return this.dropReplay();
    if (!(this.held ??= new HeldBody()).tryKeep(bytes)) this.dropReplay();
  }

  protected dropReplay(): void {
    this.mayReplay = false;
    if (!this.isUpgrade) this.held = null;
  }

  protected awaitContinue(): void {
    this.continueDueMs = this.context.network.nowMs + continueWaitMs;
    this.arm(this.continueDueMs);
  }

  protected sendContinue(): void {
    this.continueDueMs = Infinity;
    if (this.isContinueSent || this.isHeadSent) return;
    this.isContinueSent = true;
    this.downstream.sendInformational({ status: 100, fields: [] });
  }

  /** No filter looks at this direction: there is none, or the bytes are a tunnel's. */
  isOpaque(direction: Direction): boolean {
    return this.chain === null || (this.phase === 'tunnel' && !this.chain.isHeld(direction));
  }
}
