/** Sinks and observers that write down what they were told, for tests that script a conversation. */
import type { HostBytes } from '../../core/bytes.ts';
import type { Reason } from '../../core/reason.ts';
import type { FieldList, RequestHead, ResponseHead } from '../../codec/http-message.ts';
import { httpDefaults, type HttpSettings } from '../../model/http-settings.ts';
import { Network } from '../../net/network.ts';
import { Resolver } from '../../net/resolver.ts';
import { ScriptedTransport } from '../../net/testing/scripted-channel.ts';
import type {
  ClientSession,
  ClientSessionObserver,
  DownstreamStream,
  RequestSink,
  ResponseSink,
  ServerSessionObserver,
  Stream,
  StreamFailure,
} from '../stream.ts';

export const testSettings: HttpSettings = { ...httpDefaults, headBytesMax: 4096, pipelinedMax: 4 };

/** A network whose clock only a test moves: `network.nowMs += …; network.timers.advance(network.nowMs)`. */
export function testNetwork(): Network {
  const network = new Network(new ScriptedTransport(), new Resolver());
  network.close();
  return network;
}

/** Moves the clock and lets what is due expire. */
export function elapse(network: Network, milliseconds: number): void {
  const end = network.nowMs + milliseconds;
  while (network.nowMs < end) {
    network.nowMs = Math.min(end, network.nowMs + 1000);
    network.timers.advance(network.nowMs);
  }
}

/** Writes down what comes on one stream. Consumes at once unless told otherwise. */
export class RecordingSink implements RequestSink, ResponseSink {
  readonly events: string[] = [];
  body = '';
  bodyLength = 0;
  head: ResponseHead | undefined = undefined;
  failure: StreamFailure | undefined = undefined;
  isEnded = false;
  isConsuming = true;

  onInformational(_stream: Stream, head: ResponseHead): void {
    this.events.push(`informational ${head.status}`);
  }

  onHead(_stream: Stream, head: ResponseHead, isEnd: boolean): void {
    this.head = head;
    this.events.push(`head ${head.status}`);
    if (isEnd) this.#ended();
  }

  onData(stream: Stream, bytes: HostBytes, isEnd: boolean): void {
    this.bodyLength += bytes.length;
    if (this.body.length < 100_000) this.body += bytes.latin1Slice();
    if (isEnd) this.#ended();
    if (this.isConsuming) stream.consume(bytes.length);
  }

  onTrailers(_stream: Stream, fields: FieldList): void {
    this.events.push(`trailers ${fields.join(' ')}`);
    this.#ended();
  }

  onEnd(_stream: Stream): void {
    this.#ended();
  }

  onDrain(_stream: Stream): void {
    this.events.push('drain');
  }

  onReset(_stream: Stream, failure: StreamFailure): void {
    this.failure = failure;
    this.events.push(`reset ${failure.reason}`);
  }

  #ended(): void {
    if (this.isEnded) throw new Error('a second end');
    this.isEnded = true;
    this.events.push('end');
  }
}

export interface SeenRequest {
  readonly stream: DownstreamStream;
  readonly head: RequestHead;
  readonly sink: RecordingSink;
}

/** Collects the requests of a server session; `answer` runs for each. */
export class RecordingServer implements ServerSessionObserver {
  readonly requests: SeenRequest[] = [];
  readonly events: string[] = [];
  readonly faults: unknown[] = [];
  answer: (request: SeenRequest) => void = () => undefined;

  onRequest(stream: DownstreamStream, head: RequestHead, isEnd: boolean): void {
    const sink = new RecordingSink();
    stream.sink = sink;
    if (isEnd) sink.isEnded = true;
    const request = { stream, head, sink };
    this.requests.push(request);
    this.answer(request);
  }

  onRefused(reason: Reason, status: number): void {
    this.events.push(`refused ${reason} ${status}`);
  }

  onClosed(reason: Reason): void {
    this.events.push(`closed ${reason}`);
  }

  onFault(error: unknown): void {
    this.faults.push(error);
  }
}

export class RecordingPool implements ClientSessionObserver {
  readonly events: string[] = [];
  readonly faults: unknown[] = [];

  onAvailability(session: ClientSession): void {
    this.events.push(session.isAvailable ? 'available' : 'busy');
  }

  onClosed(_session: ClientSession, reason: Reason): void {
    this.events.push(`closed ${reason}`);
  }

  onFault(error: unknown): void {
    this.faults.push(error);
  }
}
