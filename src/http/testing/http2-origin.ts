/** A client session in memory whose server is the test: it writes frames by hand and reads what comes back. */
import type { FieldList, RequestHead, ResponseHead } from '../../codec/http-message.ts';
import { preface } from '../../codec/http2/protocol.ts';
import { emptySettings, settingsAck, summary } from '../../codec/http2/testing/frames.ts';
import { httpDefaults } from '../../model/http-settings.ts';
import { FlushQueue } from '../flush-queue.ts';
import { Http2ClientSession, type Http2ClientStream } from '../http2-client-session.ts';
import type { ResponseSink, StreamFailure } from '../stream.ts';
import { channelPair, type ChannelPair } from './channel-pair.ts';
import { scriptedNetwork } from './http2-peer.ts';

export class SeenResponse implements ResponseSink {
  readonly interim: number[] = [];
  head: ResponseHead | null = null;
  body = '';
  isDone = false;
  trailers: FieldList | null = null;
  failure: StreamFailure | null = null;
  drainCount = 0;

  onInformational(_stream: unknown, head: ResponseHead): void {
    this.interim.push(head.status);
  }

  onHead(_stream: unknown, head: ResponseHead, isEnd: boolean): void {
    this.head = head;
    this.isDone = isEnd;
  }

  onData(
    stream: { consume(byteCount: number): void },
    bytes: { latin1Slice(): string; length: number },
    isEnd: boolean,
  ): void {
    this.body += bytes.latin1Slice();
    this.isDone = isEnd;
    stream.consume(bytes.length);
  }

  onTrailers(_stream: unknown, fields: FieldList): void {
    this.trailers = fields;
    this.isDone = true;
  }

  onEnd(): void {
    this.isDone = true;
  }

  onDrain(): void {
    this.drainCount++;
  }

  onReset(_stream: unknown, failure: StreamFailure): void {
    this.failure = failure;
  }
}

export const getHead: RequestHead = {
  method: 'GET',
  scheme: 'http',
  authority: 'a.test',
  path: '/',
  protocol: null,
  fields: [],
};

export class Http2Origin {
  readonly network = scriptedNetwork();
  readonly flushes = new FlushQueue();
  readonly session: Http2ClientSession;
  readonly availability: boolean[] = [];
  readonly faults: unknown[] = [];
  closed: string | null = null;
  readonly #pair: ChannelPair;
  #received = '';
  #seen = preface.length;

  constructor() {
    this.#pair = channelPair({ isAutomatic: false });
    const { client, server } = this.#pair;
    const options = { channel: client, network: this.network, settings: httpDefaults, flushes: this.flushes };
    this.session = new Http2ClientSession(options, {
      onAvailability: (session) => void this.availability.push(session.isAvailable),
      onClosed: (_session, reason, detail) =>
        void (this.closed = detail === undefined ? reason : `${reason}: ${detail}`),
      onFault: (error) => void this.faults.push(error),
    });
    server.sink = {
      onData: (_channel, bytes) => void (this.#received += bytes.latin1Slice()),
      onEnd() {},
      onDrain() {},
      onError() {},
      onFault() {},
    };
    server.resume();
    this.session.start();
    this.settle();
  }

  /** The server's SETTINGS, and its acknowledgement. */
  open(settings: string = emptySettings): this {
    this.send(settings + settingsAck);
    this.frames();
    return this;
  }

  request(head: Partial<RequestHead> = {}, isEnd = true): { stream: Http2ClientStream; seen: SeenResponse } {
    const seen = new SeenResponse();
    const stream = this.session.request({ ...getHead, ...head }, isEnd, seen);
    this.settle();
    return { stream, seen };
  }

  send(bytes: string): this {
    this.#pair.server.writeLatin1(bytes);
    return this.settle();
  }

  end(): this {
    this.#pair.server.halfClose();
    return this.settle();
  }

  settle(): this {
    do {
      this.#pair.pump();
      this.flushes.run();
    } while (this.#pair.pump() > 0 || this.flushes.isWaiting);
    return this;
  }

  wait(ms: number): this {
    for (let passed = 0; passed < ms; passed += 100) {
      this.network.timers.advance((this.network.nowMs += 100));
      this.settle();
    }
    return this;
  }

  frames(): string[] {
    const seen = this.#seen;
    this.#seen = this.#received.length;
    return summary(this.#received.slice(seen));
  }
}
