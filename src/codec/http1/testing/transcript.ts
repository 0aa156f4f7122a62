/** What a parser makes of bytes, as text that two runs can be compared by. No part of the proxy. */

import type { HostBytes } from '../../../core/bytes.ts';
import { ProtocolError } from '../../../core/errors.ts';
import type { FieldList } from '../../http-message.ts';
import type { Http1Limits } from '../limits.ts';
import type { Http1Request } from '../request-head.ts';
import { RequestParser, type RequestEvents } from '../request-parser.ts';
import type { Http1Response, ResponseExpectation } from '../response-head.ts';
import { ResponseParser, type ResponseEvents } from '../response-parser.ts';

export const testLimits: Http1Limits = {
  headBytesMax: 2048,
  headerCountMax: 16,
  targetBytesMax: 256,
  trailerBytesMax: 512,
  chunkExtensionBytesMax: 32,
};

export interface Message {
  readonly request: Http1Request | undefined;
  readonly response: Http1Response | undefined;
  readonly informational: readonly number[];
  readonly body: string;
  readonly trailers: FieldList | undefined;
  readonly isComplete: boolean;
}

export interface Transcript {
  readonly messages: readonly Message[];
  /** `code: message` of the refusal that ended it. */
  readonly refusal: string | undefined;
  /** Bytes of a head without its end were left. */
  readonly isInHead: boolean;
  /** The most that was kept between two calls. */
  readonly bufferedMax: number;
}

type Draft = { -readonly [Key in keyof Message]: Message[Key] };

class Recorder implements RequestEvents, ResponseEvents {
  readonly messages: Draft[] = [];

  onHead(head: Http1Request | Http1Response, isEnd: boolean): void {
    const draft = this.#last();
    const isRequest = 'version' in head;
    const message = draft === undefined || draft.isComplete || isRequest ? this.#begin() : draft;
    if (isRequest) message.request = head;
    else message.response = head;
    message.isComplete = isEnd;
  }

  onInformational(response: Http1Response): void {
    const draft = this.#last();
    const message = draft === undefined || draft.isComplete ? this.#begin() : draft;
    message.informational = [...message.informational, response.head.status];
  }

  onBody(bytes: HostBytes, isEnd: boolean): void {
    const message = this.#last()!;
    message.body += bytes.latin1Slice();
    message.isComplete = isEnd;
  }

  onTrailers(fields: FieldList): void {
    this.#last()!.trailers = fields;
    this.#last()!.isComplete = true;
  }

  onBodyEnd(): void {
    this.#last()!.isComplete = true;
  }

  #last(): Draft | undefined {
    return this.messages.at(-1);
  }

  #begin(): Draft {
    const draft: Draft = {
      request: undefined,
      response: undefined,
      informational: [],
      body: '',
      trailers: undefined,
      isComplete: false,
    };
    this.messages.push(draft);
    return draft;
  }
}

/** `bytes` as a connection of requests, read in pieces that end at `cuts`. Each piece is overwritten once it was read. */
export function readRequests(
  bytes: HostBytes,
  cuts: readonly number[],
  allocate: (byteCount: number) => HostBytes,
  limits: Http1Limits = testLimits,
): Transcript {
  const parser = new RequestParser(limits, 'http', allocate);
  const recorder = new Recorder();
  const read = pieces(bytes, cuts, allocate, (piece) => {
    for (let at = 0; at < piece.length;) at = parser.receive(piece, at, recorder);
    return parser.bufferedLength;
  });
  return { messages: recorder.messages, ...read, isInHead: read.refusal === undefined && parser.isInHead };
}

/** `bytes` as the answers to one request, to the end of the connection. */
export function readResponse(
  bytes: HostBytes,
  cuts: readonly number[],
  allocate: (byteCount: number) => HostBytes,
  expected: ResponseExpectation = { isHead: false, isConnect: false, protocol: null },
  limits: Http1Limits = testLimits,
): Transcript & { readonly isWhole: boolean } {
  const parser = new ResponseParser(limits, allocate);
  const recorder = new Recorder();
  parser.expect(expected);
  const read = pieces(bytes, cuts, allocate, (piece) => {
    for (let at = 0; at < piece.length;) at = parser.receive(piece, at, recorder);
    return parser.bufferedLength;
  });
  return {
    messages: recorder.messages,
    ...read,
    isInHead: false,
    isWhole: read.refusal === undefined && parser.finish(),
  };
}

function pieces(
  bytes: HostBytes,
  cuts: readonly number[],
  allocate: (byteCount: number) => HostBytes,
  receive: (piece: HostBytes) => number,
): { refusal: string | undefined; bufferedMax: number } {
  let bufferedMax = 0;
  let start = 0;
  const ends = [...cuts.filter((cut) => cut > 0 && cut < bytes.length), bytes.length];
  try {
    for (const end of ends.toSorted((a, b) => a - b)) {
      const piece = allocate(end - start);
      piece.set(bytes.subarray(start, end));
      bufferedMax = Math.max(bufferedMax, receive(piece));
      piece.fill(0xee);
      start = end;
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { refusal: `${error.code}: ${error.message}`, bufferedMax };
  }
  return { refusal: undefined, bufferedMax };
}
