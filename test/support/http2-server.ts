/** A small HTTP/2 server made of the engine alone: answers every request with 200 and a body. For conformance tests. */
import type { HostBytes } from '../../src/core/bytes.ts';
import type { RequestHead } from '../../src/codec/http-message.ts';
import { FlushQueue } from '../../src/http/flush-queue.ts';
import { Http2ServerSession } from '../../src/http/http2-server-session.ts';
import type { DownstreamStream, RequestSink, ServerSessionObserver } from '../../src/http/stream.ts';
import { httpDefaults, type HttpSettings } from '../../src/model/http-settings.ts';
import type { Transport } from '../../src/net/channel.ts';
import { FastTransport } from '../../src/net/fast-transport.ts';
import { loadNative } from '../../src/net/native.ts';
import { Network } from '../../src/net/network.ts';
import { PublicTransport } from '../../src/net/public-transport.ts';
import { Resolver } from '../../src/net/resolver.ts';

/** What one request got to its end: the body it sent. */
export type Answer = (stream: DownstreamStream, head: RequestHead, isEnd: boolean) => RequestSink;

export interface Http2TestServer extends AsyncDisposable {
  readonly port: number;
  readonly network: Network;
  readonly flushes: FlushQueue;
  readonly sessions: Set<Http2ServerSession>;
  /** Why sessions ended: reason and detail. */
  readonly endings: string[];
  readonly faults: unknown[];
}

export async function bestTransport(): Promise<Transport> {
  const native = await loadNative();
  return typeof native === 'string' ? new PublicTransport() : new FastTransport(native);
}

export async function startHttp2Server(
  answer: Answer,
  settings: HttpSettings = httpDefaults,
): Promise<Http2TestServer> {
  const network = new Network(await bestTransport(), new Resolver());
  const flushes = new FlushQueue();
  const sessions = new Set<Http2ServerSession>();
  const endings: string[] = [];
  const faults: unknown[] = [];
  const acceptor = await network.transport.listen('127.0.0.1', 0, (channel) => {
    const observer: ServerSessionObserver = {
      onRequest(stream, head, isEnd) {
        stream.sink = answer(stream, head, isEnd);
      },
      onRefused() {},
      onClosed(reason, detail) {
        sessions.delete(session);
        endings.push(detail === undefined ? reason : `${reason} ${detail}`);
      },
      onFault: (error) => void faults.push(error),
    };
    const session = new Http2ServerSession({ channel, network, settings, flushes, scheme: 'http' }, observer);
    sessions.add(session);
    session.start();
  });
  return {
    port: acceptor.port,
    network,
    flushes,
    sessions,
    endings,
    faults,
    async [Symbol.asyncDispose]() {
      acceptor.close();
      for (const session of sessions) session.abort('drained');
      flushes.run();
      network.close();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

const body = Buffer.from('Hello, this is a body of some length.\n') as unknown as HostBytes;

/** 200 and a body when the request is complete. */
export const answerAll: Answer = (stream, head, isEnd) => {
  const respond = (): void => {
    stream.sendHead(
      { status: 200, fields: ['content-type', 'text/plain', 'content-length', String(body.length)] },
      head.method === 'HEAD',
    );
    if (head.method !== 'HEAD') stream.sendData(body, true);
  };
  if (isEnd) respond();
  return {
    onData(_stream, bytes, isLast) {
      stream.consume(bytes.length);
      if (isLast) respond();
    },
    onTrailers: respond,
    onEnd: respond,
    onDrain() {},
    onReset() {},
  };
};
