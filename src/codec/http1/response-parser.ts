/**
 * HTTP/1 responses from the bytes of a connection to a backend (RFC 9112 §4, §6.3). Never touches sockets or clocks.
 *
 * A response can only be read by who knows the request: `expect` comes first. Bytes that nobody asked for are a
 * protocol error, so that nothing of one response ever passes for another.
 */

import type { HostBytes } from '../../core/bytes.ts';
import { assert } from '../../core/errors.ts';
import { BlockMemo } from './block-memo.ts';
import { BodyDecoder, type BodyEvents } from './body-decoder.ts';
import { HeadCollector } from './head-collector.ts';
import { informationalMax, malformed, type Allocate, type Http1Limits } from './limits.ts';
import {
  makeResponse,
  parseStatusLine,
  type Http1Response,
  type ResponseExpectation,
} from './response-head.ts';

export interface ResponseEvents extends BodyEvents {
  /** 1xx; the final head is still to come. */
  onInformational(response: Http1Response): void;
  /** With `isEnd` there is no body, and no other call comes for this message. */
  onHead(response: Http1Response, isEnd: boolean): void;
}

const states = { idle: 0, head: 1, body: 2 } as const;
type State = (typeof states)[keyof typeof states];

export class ResponseParser {
  readonly #collector: HeadCollector;
  readonly #memo: BlockMemo;
  readonly #body: BodyDecoder;
  #state: State = states.idle;
  #expected: ResponseExpectation | undefined = undefined;
  #informationalCount = 0;
  #isStopped = false;

  constructor(limits: Http1Limits, allocate: Allocate) {
    this.#collector = new HeadCollector(limits.headBytesMax, 'upstream', allocate);
    this.#memo = new BlockMemo('upstream', limits.headerCountMax);
    this.#body = new BodyDecoder(limits, 'upstream', allocate);
  }

  /** True when no response is expected, or the one expected was read. */
  get isIdle(): boolean {
    return this.#state === states.idle;
  }

  /** Bytes kept between two calls; never more than the limits of a head or of trailers. */
  get bufferedLength(): number {
    return this.#collector.keptLength + this.#body.keptLength;
  }

  /** A request went out; its response is read next. */
  expect(expected: ResponseExpectation): void {
    assert(this.#state === states.idle, 'one response after another');
    this.#expected = expected;
    this.#informationalCount = 0;
    this.#state = states.head;
  }

  /** Has `receive` return after the call of the sink that it is in. */
  stop(): void {
    this.#isStopped = true;
    this.#body.stop();
  }

  /**
   * Answers how many bytes were read: all of them, unless the response ended or `stop` was called. What is left
   * answers no request, and neither do bytes for an idle parser. Throws ProtocolError `upstream-malformed`.
   */
  receive(bytes: HostBytes, start: number, sink: ResponseEvents): number {
    let at = start;
    this.#isStopped = false;
    if (this.#state === states.idle) throw malformed('upstream', 'bytes that answer no request');
    while (at < bytes.length && !this.#isStopped && this.#state !== states.idle) {
      if (this.#state === states.head) {
        at = this.#readHead(bytes, at, sink);
      } else {
        at = this.#body.receive(bytes, at, sink);
        if (this.#body.isDone) this.#state = states.idle;
      }
    }
    return at;
  }

  /** The connection ended. True when that is where the response ends, too, or none was expected. */
  finish(): boolean {
    if (this.#state === states.head) return false;
    const isComplete = this.#body.finish();
    if (isComplete) this.#state = states.idle;
    return isComplete;
  }

  #readHead(bytes: HostBytes, at: number, sink: ResponseEvents): number {
    const collector = this.#collector;
    if (!collector.collect(bytes, at)) {
      if (collector.isOversized) throw malformed('upstream', 'a head longer than headBytesMax');
      return bytes.length;
    }
    const response = this.#parse();
    collector.clear();
    if (response.isInformational) this.#informational(response, sink);
    else this.#final(response, sink);
    return at + collector.taken;
  }

  #informational(response: Http1Response, sink: ResponseEvents): void {
    if (++this.#informationalCount > informationalMax) {
      throw malformed('upstream', 'too many informational responses');
    }
    sink.onInformational(response);
  }

  #final(response: Http1Response, sink: ResponseEvents): void {
    if (response.body === 'length') this.#body.startLength(response.contentLength);
    else if (response.body === 'chunked') this.#body.startChunked();
    else if (response.body !== 'none') this.#body.startUntilClose();
    const isEnd = response.body === 'none';
    this.#state = isEnd ? states.idle : states.body;
    sink.onHead(response, isEnd);
  }

  #parse(): Http1Response {
    const { text, end } = this.#collector;
    try {
      const lineEnd = text.indexOf('\r\n');
      const status = parseStatusLine(text, lineEnd);
      return makeResponse(status, this.#memo.parse(this.#collector, lineEnd + 2, end - 2), this.#expected!);
    } catch (error) {
      this.#collector.refuseBareLineFeed();
      throw error;
    }
  }
}
