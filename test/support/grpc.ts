/**
 * As much of gRPC over HTTP/2 as tests need: an origin, and a client over a `node:http2` session. Messages are bytes.
 *
 *   /test.Echo/Unary    the message back; /test.Echo/Stream each message as it comes
 *   /test.Echo/Fail     status 5 without a message, head and trailers in one
 *   /test.Echo/Large    as many messages of 1 MiB as the message's first byte says
 *   /test.Echo/Hang     no answer
 */
import { once } from 'node:events';
import {
  createSecureServer,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Issued } from './authority.ts';

const largeMessage = Buffer.alloc(1024 * 1024, 'g');

export class GrpcOrigin implements AsyncDisposable {
  readonly port: number;
  readonly #server: Http2Server;
  readonly #sessions: Set<ServerHttp2Session>;
  /** Heads of calls, in the order of arrival. */
  readonly calls: IncomingHttpHeaders[];

  /** In clear, or with an identity by TLS. */
  static async start(identity?: Issued): Promise<GrpcOrigin> {
    const sessions = new Set<ServerHttp2Session>();
    const calls: IncomingHttpHeaders[] = [];
    const server = identity === undefined ? createServer() : createSecureServer({ ...identity });
    server.on('session', (session: ServerHttp2Session) => {
      sessions.add(session);
      session.on('close', () => sessions.delete(session));
    });
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      calls.push(headers);
      stream.on('error', () => undefined);
      serveCall(stream, String(headers[':path']));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new GrpcOrigin(server, sessions, calls);
  }

  private constructor(server: Http2Server, sessions: Set<ServerHttp2Session>, calls: IncomingHttpHeaders[]) {
    this.#server = server;
    this.#sessions = sessions;
    this.calls = calls;
    this.port = (server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function serveCall(stream: ServerHttp2Stream, path: string): void {
  const head = { ':status': 200, 'content-type': 'application/grpc' };
  if (path === '/test.Echo/Hang') return;
  if (path === '/test.Echo/Fail') {
    return stream.respond(
      { ...head, 'grpc-status': '5', 'grpc-message': 'no such thing' },
      { endStream: true },
    );
  }
  stream.respond(head, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  readMessages(stream, (message) => {
    if (path !== '/test.Echo/Large') return void stream.write(encodeMessage(message));
    for (let i = 0; i < message[0]!; i++) stream.write(encodeMessage(largeMessage));
  });
  stream.on('end', () => stream.end());
}

/** One call, unary or streaming. */
export class GrpcCall {
  readonly #stream: ClientHttp2Stream;
  readonly messages: Buffer[] = [];
  headers: IncomingHttpHeaders = {};
  trailers: IncomingHttpHeaders = {};
  /** The stream is over, in order or not. */
  readonly ended: Promise<void>;
  #onMessage: () => void = () => undefined;

  constructor(session: ClientHttp2Session, path: string, fields: Record<string, string> = {}) {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
      ...fields,
    });
    this.#stream = stream;
    stream.on('response', (headers: IncomingHttpHeaders) => (this.headers = headers));
    stream.on('trailers', (trailers: IncomingHttpHeaders) => (this.trailers = trailers));
    stream.on('error', () => undefined);
    readMessages(stream, (message) => {
      this.messages.push(message);
      this.#onMessage();
    });
    this.ended = new Promise((resolve) => stream.on('close', () => resolve()));
  }

  send(message: Uint8Array | string): this {
    this.#stream.write(encodeMessage(Buffer.from(message)));
    return this;
  }

  end(): this {
    this.#stream.end();
    return this;
  }

  cancel(): void {
    this.#stream.close(8);
  }

  async received(count: number): Promise<readonly Buffer[]> {
    while (this.messages.length < count) await new Promise<void>((resolve) => (this.#onMessage = resolve));
    return this.messages;
  }

  /** From the trailers, or from the head of an answer that is nothing but trailers. */
  get status(): string | undefined {
    return (this.trailers['grpc-status'] ?? this.headers['grpc-status']) as string | undefined;
  }
}

function encodeMessage(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function readMessages(stream: NodeJS.ReadableStream, onMessage: (message: Buffer) => void): void {
  let chunks: Buffer[] = [];
  let have = 0;
  let need = 5;
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    have += chunk.length;
    if (have < need) return;
    let unread = Buffer.concat(chunks);
    while (unread.length >= 5 && unread.length >= 5 + unread.readUInt32BE(1)) {
      const size = 5 + unread.readUInt32BE(1);
      onMessage(unread.subarray(5, size));
      unread = unread.subarray(size);
    }
    chunks = [unread];
    have = unread.length;
    need = unread.length >= 5 ? 5 + unread.readUInt32BE(1) : 5;
  });
}
