/**
 * A whole proxy in memory: a client session, our server session, exchanges, the pool, our client sessions and a
 * backend's server session, joined by channels. Any version on either side.
 */
import { assert } from '../../core/errors.ts';
import type { HostBytes } from '../../core/bytes.ts';
import type { RequestHead, ResponseHead } from '../../codec/http-message.ts';
import { httpDefaults } from '../../model/http-settings.ts';
import type { Network } from '../../net/network.ts';
import type { RequestSummary } from '../../telemetry/request-log.ts';
import type { ExchangeContext } from '../exchange-context.ts';
import { Exchange } from '../exchange.ts';
import { FilterList } from '../filter-list.ts';
import type { Filter } from '../filter.ts';
import { FlushQueue } from '../flush-queue.ts';
import { Http1ServerSession } from '../http1-server-session.ts';
import { Http2ServerSession } from '../http2-server-session.ts';
import { HttpSessionFactory } from '../session-factory.ts';
import type {
  ClientSession,
  DownstreamStream,
  ResponseSink,
  ServerSessionObserver,
  Stream,
  StreamFailure,
} from '../stream.ts';
import { UpstreamPool } from '../upstream-pool.ts';
import type { UpstreamTarget } from '../upstream-target.ts';
import { channelPair, type ChannelPairOptions, type JoinedChannel } from './channel-pair.ts';
import { ScriptedNetwork, testFacts } from './scripted-streams.ts';

export type Version = 'h1' | 'h2';

/** Speaks for the backend, once for each request. */
export type Backend = (stream: DownstreamStream, head: RequestHead, isEnd: boolean) => void;

export interface JoinedProxyOptions {
  readonly downstream: Version;
  readonly upstream: Version;
  readonly backend: Backend;
  readonly filters?: readonly Filter[];
  readonly channel?: ChannelPairOptions;
}

const quiet: ServerSessionObserver = {
  onRequest() {},
  onRefused() {},
  onClosed() {},
  onFault(error) {
    throw error;
  },
};

export class JoinedProxy {
  readonly clock = new ScriptedNetwork();
  readonly flushes = new FlushQueue();
  readonly records: RequestSummary[] = [];
  readonly faults: unknown[] = [];
  readonly pool: UpstreamPool;
  /** The backend's side of each connection that was dialled. */
  readonly backendChannels: JoinedChannel[] = [];
  readonly client: ClientSession;
  readonly #options: JoinedProxyOptions;
  readonly #factory: HttpSessionFactory;

  constructor(options: JoinedProxyOptions) {
    const network = this.clock as unknown as Network;
    this.#options = options;
    this.#factory = new HttpSessionFactory(network, this.flushes, httpDefaults);
    this.pool = new UpstreamPool({
      network,
      sessions: this.#factory,
      tls: { connect: () => assert(false, 'no TLS here') as never },
      http: httpDefaults,
      connectTimeoutMs: 5000,
      onDialEnded: () => {},
      onFault: (error) => this.faults.push(error),
    });
    this.client = this.#connect();
  }

  #connect(): ClientSession {
    const { client, server } = channelPair(this.#options.channel);
    const context: ExchangeContext = {
      network: this.clock as unknown as Network,
      pool: this.pool,
      pseudonym: 'portcullis-test',
      http: httpDefaults,
      onRequestEnd: (record) => this.records.push(record),
      onFault: (error) => this.faults.push(error),
    };
    const filters = new FilterList(this.#options.filters ?? []);
    this.#serve(server, this.#options.downstream, (stream, head, isEnd) => {
      new Exchange(context, testFacts, stream, head, isEnd).forward(this.#target(), filters);
    });
    const observer = {
      onAvailability() {},
      onClosed() {},
      onFault: (error: unknown) => this.faults.push(error),
    };
    return this.#options.downstream === 'h1'
      ? this.#factory.http1(client, observer)
      : this.#factory.http2(client, observer);
  }

  #serve(channel: JoinedChannel, version: Version, onRequest: Backend): void {
    const options = {
      channel,
      network: this.clock as unknown as Network,
      settings: httpDefaults,
      scheme: 'http' as const,
      flushes: this.flushes,
    };
    const observer = { ...quiet, onRequest, onFault: (error: unknown) => this.faults.push(error) };
    const session =
      version === 'h1'
        ? new Http1ServerSession(options, observer)
        : new Http2ServerSession(options, observer);
    session.start();
  }

  #target(): UpstreamTarget {
    return {
      key: 'backend',
      name: 'backend',
      protocol: this.#options.upstream === 'h1' ? 'http1' : 'h2',
      tls: null,
      preface: null,
      owner: null,
      dialer: {
        dial: (_timeoutMs, outcome) => {
          const { client, server } = channelPair(this.#options.channel);
          this.backendChannels.push(server);
          setImmediate(() => {
            this.#serve(server, this.#options.upstream, this.#options.backend);
            outcome.onDialed(client);
          });
          return { cancel() {} };
        },
      },
    };
  }

  /** Waits, turn by turn, until `isDone` says so. */
  async until(isDone: () => boolean): Promise<void> {
    for (let turn = 0; turn < 200_000 && !isDone(); turn++) await new Promise(setImmediate);
    if (this.faults.length > 0) throw this.faults[0];
    assert(isDone(), 'nothing moves any more');
  }
}

/** Takes whatever comes, consumes it, and keeps it. */
export class Collector implements ResponseSink {
  head: ResponseHead | null = null;
  readonly informational: number[] = [];
  readonly parts: Buffer[] = [];
  trailers: string[] | null = null;
  isEnded = false;
  failure: StreamFailure | null = null;
  drains = 0;
  onPart: ((stream: Stream, bytes: HostBytes) => void) | null = null;
  onEnded: ((stream: Stream) => void) | null = null;

  get body(): Buffer {
    return Buffer.concat(this.parts);
  }

  get isOver(): boolean {
    return this.isEnded || this.failure !== null;
  }

  onInformational(_stream: Stream, head: ResponseHead): void {
    this.informational.push(head.status);
  }

  onHead(stream: Stream, head: ResponseHead, isEnd: boolean): void {
    this.head = head;
    if (isEnd) this.onEnd(stream);
  }

  onData(stream: Stream, bytes: HostBytes, isEnd: boolean): void {
    this.parts.push(Buffer.from(bytes));
    this.onPart?.(stream, bytes);
    stream.consume(bytes.length);
    if (isEnd) this.onEnd(stream);
  }

  onTrailers(stream: Stream, fields: string[]): void {
    this.trailers = fields;
    this.onEnd(stream);
  }

  onEnd(stream: Stream): void {
    this.isEnded = true;
    this.onEnded?.(stream);
  }

  onDrain(): void {
    this.drains++;
  }

  onReset(_stream: Stream, failure: StreamFailure): void {
    this.failure = failure;
  }
}

/** Sends a body in pieces, as fast as the stream takes them. */
export function sendAll(
  stream: Stream,
  pieces: readonly Buffer[],
  collector: Collector,
  trailers: string[] | null,
): void {
  let at = 0;
  const send = (): void => {
    while (at < pieces.length) {
      if (!stream.sendData(pieces[at++]! as unknown as HostBytes, false)) return;
    }
    if (at === pieces.length) {
      at++;
      if (trailers === null) stream.sendEnd();
      else stream.sendTrailers(trailers);
    }
  };
  collector.onDrain = () => send();
  send();
}
