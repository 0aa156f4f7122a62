/** A server session in memory whose client is the test: it writes frames by hand and reads what comes back. */
import type { RequestHead, FieldList } from '../../codec/http-message.ts';
import { preface } from '../../codec/http2/protocol.ts';
import { emptySettings, settingsAck, summary } from '../../codec/http2/testing/frames.ts';
import type { HostBytes } from '../../core/bytes.ts';
import { httpDefaults, type HttpSettings } from '../../model/http-settings.ts';
import { Network } from '../../net/network.ts';
import { Resolver } from '../../net/resolver.ts';
import { ScriptedTransport } from '../../net/testing/scripted-channel.ts';
import { FlushQueue } from '../flush-queue.ts';
import { Http2ServerSession } from '../http2-server-session.ts';
import type { DownstreamStream, RequestSink, ServerSessionObserver, StreamFailure } from '../stream.ts';
import { channelPair, type ChannelPair } from './channel-pair.ts';

/** A network whose time the test moves. */
export function scriptedNetwork(): Network {
  const network = new Network(new ScriptedTransport(), new Resolver());
  network.close();
  network.refresh = () => network.nowMs;
  return network;
}

export interface SeenRequest {
  readonly stream: DownstreamStream;
  readonly head: RequestHead;
  body: string;
  isDone: boolean;
  trailers: FieldList | null;
  failure: StreamFailure | null;
  drainCount: number;
}

export class Http2Peer {
  readonly network: Network = scriptedNetwork();
  readonly flushes = new FlushQueue();
  readonly session: Http2ServerSession;
  readonly requests: SeenRequest[] = [];
  readonly refused: string[] = [];
  readonly faults: unknown[] = [];
  closed: string | null = null;
  /** While false, what arrives is not consumed. */
  isConsuming = true;
  readonly #pair: ChannelPair;
  #seen = 0;
  #received = '';

  constructor(settings: Partial<HttpSettings> = {}, roomBytes?: number) {
    this.#pair = channelPair({ isAutomatic: false, ...(roomBytes === undefined ? {} : { roomBytes }) });
    const { client, server } = this.#pair;
    const options = {
      channel: server,
      network: this.network,
      settings: { ...httpDefaults, ...settings },
      flushes: this.flushes,
      scheme: 'http',
    } as const;
    this.session = new Http2ServerSession(options, this.#observer());
    client.sink = {
      onData: (_channel, bytes) => void (this.#received += bytes.latin1Slice()),
      onEnd() {},
      onDrain() {},
      onError() {},
      onFault() {},
    };
    client.resume();
    this.session.start();
  }

  /** Preface and SETTINGS, acknowledged; answers nothing new is seen of it. */
  open(firstSettings: string = emptySettings): this {
    this.send(preface + firstSettings + settingsAck);
    this.frames();
    return this;
  }

  /** Writes bytes and lets everything happen that they cause. */
  send(bytes: string): this {
    this.#pair.client.writeLatin1(bytes);
    return this.settle();
  }

  settle(): this {
    do {
      this.#pair.pump();
      this.flushes.run();
    } while (this.#pair.pump() > 0 || this.flushes.isWaiting);
    return this;
  }

  /** Lets time pass, a tick at a time as in life. */
  wait(ms: number): this {
    for (let passed = 0; passed < ms; passed += 100) {
      this.network.timers.advance((this.network.nowMs += 100));
      this.settle();
    }
    return this;
  }

  /** What came back since the last call. */
  frames(): string[] {
    const seen = this.#seen;
    this.#seen = this.#received.length;
    return summary(this.#received.slice(seen));
  }

  /** The session has said its last word. */
  get refusesMore(): boolean {
    return this.#pair.server.isHalfClosed;
  }

  pauseReading(): void {
    this.#pair.client.pause();
  }

  resumeReading(): void {
    this.#pair.client.resume();
  }

  endWriting(): this {
    this.#pair.client.halfClose();
    return this.settle();
  }

  #observer(): ServerSessionObserver {
    return {
      onRequest: (stream, head, isEnd) => {
        const seen: SeenRequest = {
          stream,
          head,
          body: '',
          isDone: isEnd,
          trailers: null,
          failure: null,
          drainCount: 0,
        };
        this.requests.push(seen);
        stream.sink = this.#sink(seen);
      },
      onRefused: (reason, status) => void this.refused.push(`${reason} ${status}`),
      onClosed: (reason, detail) =>
        void (this.closed = detail === undefined ? reason : `${reason}: ${detail}`),
      onFault: (error) => void this.faults.push(error),
    };
  }

  #sink(seen: SeenRequest): RequestSink {
    return {
      onData: (stream, bytes, isEnd) => {
        seen.body += bytes.latin1Slice();
        seen.isDone = isEnd;
        if (this.isConsuming) stream.consume(bytes.length);
      },
      onTrailers: (_stream, fields) => {
        seen.trailers = fields;
        seen.isDone = true;
      },
      onEnd: () => void (seen.isDone = true),
      onDrain: () => void seen.drainCount++,
      onReset: (_stream, failure) => void (seen.failure = failure),
    };
  }
}

export function bytesOf(text: string): HostBytes {
  return Buffer.from(text, 'latin1') as unknown as HostBytes;
}
