/**
 * HTTP/1 requests from the bytes of a connection (RFC 9112). Never touches sockets or clocks.
 *
 * One message at a time: `receive` stops behind a message, and the caller comes back with the rest when it is ready
 * for the next. What breaks the protocol raises a ProtocolError, after which the parser is not to be used.
 */

import type { HostBytes } from '../../core/bytes.ts';
import { assert } from '../../core/errors.ts';
import { BlockMemo } from './block-memo.ts';
import { BodyDecoder, type BodyEvents } from './body-decoder.ts';
import { carriageReturn, lineFeed, tokenKinds } from './characters.ts';
import { HeadCollector } from './head-collector.ts';
import { malformed, oversized, type Allocate, type Http1Limits } from './limits.ts';
import {
  isTargetTheFault,
  makeRequest,
  parseRequestLine,
  targetOversized,
  type Http1Request,
} from './request-head.ts';

export interface RequestEvents extends BodyEvents {
  /** With `isEnd` there is no body, and no other call comes for this message. */
  onHead(request: Http1Request, isEnd: boolean): void;
}

/** `blank` is the one empty line that a client may send before a request (RFC 9112 §2.2), after its CR. */
const states = { start: 0, blank: 1, afterBlank: 2, head: 3, body: 4 } as const;
type State = (typeof states)[keyof typeof states];

export class RequestParser {
  readonly #limits: Http1Limits;
  readonly #scheme: string;
  readonly #collector: HeadCollector;
  readonly #memo: BlockMemo;
  readonly #body: BodyDecoder;
  #state: State = states.start;
  #isStopped = false;

  /** `scheme` is that of the connection: `http` or `https`. */
  constructor(limits: Http1Limits, scheme: string, allocate: Allocate) {
    this.#limits = limits;
    this.#scheme = scheme;
    this.#collector = new HeadCollector(limits.headBytesMax, 'downstream', allocate);
    this.#memo = new BlockMemo('downstream', limits.headerCountMax);
    this.#body = new BodyDecoder(limits, 'downstream', allocate);
  }

  /** True between two messages, when nothing of the next one came. */
  get isIdle(): boolean {
    return this.#state === states.start;
  }

  /** True from a message's first byte until its head is complete. */
  get isInHead(): boolean {
    return this.#state !== states.start && this.#state !== states.body;
  }

  /** Bytes kept between two calls; never more than the limits of a head or of trailers. */
  get bufferedLength(): number {
    return this.#collector.keptLength + this.#body.keptLength;
  }

  /** Has `receive` return after the call of the sink that it is in. */
  stop(): void {
    this.#isStopped = true;
    this.#body.stop();
  }

  /**
   * The request opens a tunnel: everything from here on is its body, without an end of its own. Only between
   * messages.
   */
  openTunnel(): void {
    assert(this.#state === states.start, 'a tunnel begins behind a head');
    this.#state = states.body;
    this.#body.startUntilClose();
  }

  /**
   * Answers how many bytes were read: all of them, unless a message ended or `stop` was called. Throws
   * ProtocolError with one of the codes of a request (see codes.ts).
   */
  receive(bytes: HostBytes, start: number, sink: RequestEvents): number {
    let at = start;
    this.#isStopped = false;
    while (at < bytes.length && this.#state < states.head) at = this.#begin(bytes[at]!, at);
    if (this.#state === states.head) at = this.#readHead(bytes, at, sink);
    if (this.#state !== states.body || this.#isStopped) return at;
    at = this.#body.receive(bytes, at, sink);
    if (this.#body.isDone) this.#state = states.start;
    return at;
  }

  #begin(byte: number, at: number): number {
    if (this.#state === states.blank) {
      if (byte !== lineFeed) throw malformed('downstream', 'a bare CR before the request');
      this.#state = states.afterBlank;
      return at + 1;
    }
    if (byte === carriageReturn && this.#state === states.start) {
      this.#state = states.blank;
      return at + 1;
    }
    if (tokenKinds[byte] === 0) throw malformed('downstream', 'a request that begins with no method');
    this.#state = states.head;
    return at;
  }

  #readHead(bytes: HostBytes, at: number, sink: RequestEvents): number {
    const collector = this.#collector;
    if (!collector.collect(bytes, at)) {
      if (collector.isOversized) throw this.#oversized();
      return bytes.length;
    }
    const request = this.#parse();
    collector.clear();
    if (request.isChunked) this.#body.startChunked();
    else if (request.contentLength > 0) this.#body.startLength(request.contentLength);
    const isEnd = this.#body.isDone;
    this.#state = isEnd ? states.start : states.body;
    sink.onHead(request, isEnd);
    return at + collector.taken;
  }

  #parse(): Http1Request {
    const { text, end } = this.#collector;
    try {
      const lineEnd = text.indexOf('\r\n');
      const line = parseRequestLine(this.#collector, lineEnd, this.#limits.targetBytesMax);
      const block = this.#memo.parse(this.#collector, lineEnd + 2, end - 2);
      return makeRequest(line, block, this.#scheme);
    } catch (error) {
      this.#collector.refuseBareLineFeed();
      throw error;
    }
  }

  #oversized(): Error {
    if (isTargetTheFault(this.#collector.text, this.#limits.targetBytesMax)) return targetOversized();
    return oversized('downstream', 'a head longer than headBytesMax');
  }
}
