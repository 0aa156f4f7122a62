/** What a complete header block means, by the state of its stream and the role: RFC 9113 §5.1, §8.1. */
import type { ResponseHead } from '../http-message.ts';
import type { Http2Connection } from './connection.ts';
import { ConnectionError } from './errors.ts';
import type { HeaderBlock } from './header-block.ts';
import type { DecodedRequest, HeadFault } from './heads.ts';
import { errorCodes } from './protocol.ts';
import type { Http2Stream } from './stream.ts';

/** What a request gets that never becomes one, where an answer helps more than a reset. */
const refusalStatus: Readonly<Partial<Record<HeadFault, number>>> = {
  oversized: 431,
  'target-oversized': 414,
};

export class HeadReceiver<S extends Http2Stream> {
  readonly #connection: Http2Connection<S>;

  constructor(connection: Http2Connection<S>) {
    this.#connection = connection;
  }

  receive(streamId: number, block: HeaderBlock): void {
    const { streams, heads } = this.#connection;
    const stream = streams.get(streamId);
    if (stream !== undefined) {
      this.#onOpenStream(stream, block);
      return;
    }
    if (!streams.isIdle(streamId)) {
      // One that we reset a moment ago may still be written to (§5.4.2).
      heads.skip(block.bytes, block.start, block.end);
      if (!streams.wasReset(streamId))
        throw new ConnectionError(errorCodes.streamClosed, 'HEADERS on a closed stream');
      return;
    }
    if (!this.#connection.isServer || (streamId & 1) === 0)
      throw new ConnectionError(errorCodes.protocolError, 'HEADERS on a stream nobody opened');
    if (this.#connection.isAccepting) {
      streams.lastPeerId = streamId;
      this.#onNewStream(streamId, block);
    } else {
      // Its sender learns from our GOAWAY that nothing was done with it.
      heads.skip(block.bytes, block.start, block.end);
      streams.noteIgnored(streamId);
    }
  }

  #onOpenStream(stream: S, block: HeaderBlock): void {
    const connection = this.#connection;
    if (stream.isRemoteDone) {
      connection.heads.skip(block.bytes, block.start, block.end);
      connection.failStream(stream, errorCodes.streamClosed, 'HEADERS after the end');
    } else if (block.isSelfDependent) {
      connection.heads.skip(block.bytes, block.start, block.end);
      connection.failStream(stream, errorCodes.protocolError, 'a stream that depends on itself');
    } else if (stream.receivePhase === 'head') {
      this.#onResponse(stream, block);
    } else {
      this.#onTrailers(stream, block);
    }
  }

  #onNewStream(streamId: number, block: HeaderBlock): void {
    const connection = this.#connection;
    const { limits, streams, heads, send, events } = connection;
    if (block.isSelfDependent || streams.count >= limits.streamsMax) {
      heads.skip(block.bytes, block.start, block.end);
      const code = block.isSelfDependent ? errorCodes.protocolError : errorCodes.refusedStream;
      connection.refuseStream(streamId, code);
      return;
    }
    const decoded = heads.request(block.bytes, block.start, block.end);
    if (heads.isOversized) connection.abuse.spend('hpack-bomb', connection.nowMs);
    const fault = decoded.fault ?? (isEndBeforeLength(decoded, block) ? 'malformed' : null);
    if (fault !== null) {
      this.#refuse(streamId, fault, block);
      return;
    }
    const stream = events.newStream(streamId, send.peer.windowBytes, limits.streamWindowBytes);
    streams.add(stream);
    stream.receivePhase = 'body';
    stream.receivedMs = connection.nowMs;
    stream.isHeadRequest = decoded.head.method === 'HEAD';
    if (decoded.head.protocol === null && decoded.head.method !== 'CONNECT')
      stream.receiveLeft = decoded.contentLength;
    if (block.isEndStream) connection.endReceiving(stream);
    events.onRequest(stream, decoded.head, block.isEndStream);
  }

  #refuse(streamId: number, fault: HeadFault, block: HeaderBlock): void {
    const connection = this.#connection;
    const status = refusalStatus[fault];
    connection.events.onRefusedRequest(fault);
    if (status === undefined) {
      connection.refuseStream(streamId, errorCodes.protocolError);
      return;
    }
    // An answer, and then no more of the body than what is on its way (§8.1).
    connection.answerBare(streamId, status, block.isEndStream);
  }

  #onResponse(stream: S, block: HeaderBlock): void {
    const connection = this.#connection;
    const { heads, events } = connection;
    const decoded = heads.response(block.bytes, block.start, block.end);
    if (heads.isOversized) connection.abuse.spend('hpack-bomb', connection.nowMs);
    if (decoded.fault !== null) {
      connection.failStream(stream, errorCodes.protocolError, `a response head that is ${decoded.fault}`);
      return;
    }
    const { head } = decoded;
    if (head.status < 200) {
      if (block.isEndStream)
        connection.failStream(stream, errorCodes.protocolError, 'an interim response that ends');
      else events.onInformational(stream, head);
      return;
    }
    const expected = hasNoBody(stream, head) ? 0 : decoded.contentLength;
    if (block.isEndStream && expected > 0) {
      connection.failStream(stream, errorCodes.protocolError, 'a body that differs from its content-length');
      return;
    }
    stream.receiveLeft = expected;
    stream.receivePhase = 'body';
    stream.receivedMs = connection.nowMs;
    if (block.isEndStream) connection.endReceiving(stream);
    events.onResponse(stream, head, block.isEndStream);
  }

  #onTrailers(stream: S, block: HeaderBlock): void {
    const connection = this.#connection;
    const { heads, events } = connection;
    const { fault, fields } = heads.trailers(block.bytes, block.start, block.end);
    if (heads.isOversized) connection.abuse.spend('hpack-bomb', connection.nowMs);
    if (fault !== null) connection.failStream(stream, errorCodes.protocolError, `trailers that are ${fault}`);
    else if (!block.isEndStream)
      connection.failStream(stream, errorCodes.protocolError, 'trailers that do not end the stream');
    else if (stream.receiveLeft > 0)
      connection.failStream(stream, errorCodes.protocolError, 'a body that differs from its content-length');
    else {
      connection.endReceiving(stream);
      events.onTrailers(stream, fields);
    }
  }
}

function isEndBeforeLength(decoded: DecodedRequest, block: HeaderBlock): boolean {
  return block.isEndStream && decoded.contentLength > 0;
}

function hasNoBody(stream: Http2Stream, head: ResponseHead): boolean {
  return stream.isHeadRequest || head.status === 204 || head.status === 304;
}
