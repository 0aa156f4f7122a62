/**
 * Origins that HTTP tests put behind the proxy: Node's own servers for HTTP/1.1, h2c, https and h2, all answering the
 * same paths. What they saw of a request they answer as JSON, so that a test compares it at the client.
 *
 *   /echo         what was seen of the request: method, target, version, fields, trailers, digest of the body
 *   /bytes/N      N bytes of the pattern with a Content-Length; /chunked/N without
 *   /trailers     a body and a trailer section
 *   /hints        103 before the answer
 *   /early        answers before the request's body has come
 *   /reset/N      promises more than the N bytes it sends, then breaks off
 *   /status/N     an empty answer with that status
 *   /hang         no answer
 *   /events       server-sent events: one at once, the next at each `release`
 *   /fields       echoes fields named x-echo-* back as response fields
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer as createHttp1,
  type IncomingMessage,
  type Server as Http1Server,
  type ServerResponse,
} from 'node:http';
import {
  createSecureServer,
  createServer as createHttp2,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Issued } from './authority.ts';
import { acceptWebSocket } from './websocket.ts';

export const originProtocols = ['http1', 'h2c', 'https', 'h2'] as const;
export type OriginProtocol = (typeof originProtocols)[number];

/** What `/echo` answers. Fields are in the order of the wire, names in lower case. */
export interface Seen {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly trailers: Readonly<Record<string, string>>;
  readonly bodyBytes: number;
  readonly bodyDigest: string;
  /** Connections are numbered in the order of their arrival. */
  readonly connection: number;
}

/** HTTP/2's compatibility layer has the same methods, of which TypeScript knows nothing. */
type Request = IncomingMessage;
type Response = ServerResponse;
type Http2Answer = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

const patternBytes = 64 * 1024;
/** What `/bytes/N` sends, over and over. */
export const pattern: Buffer = Buffer.alloc(patternBytes, '0123456789abcdefghijklmnopqrstuvwxyz+/-');

/** Digest of the pattern's first bytes. */
export function patternDigest(length: number): string {
  const hash = createHash('sha256');
  for (let at = 0; at < length; at += patternBytes) hash.update(pattern.subarray(0, length - at));
  return hash.digest('hex');
}

export class HttpOrigin implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Map<Socket, number>;
  readonly #streams: Response[];
  /** Requests whose head arrived, `GET /echo`. */
  readonly requests: string[];
  readonly #counts: { connections: number };

  static async start(protocol: OriginProtocol, identity?: Issued): Promise<HttpOrigin> {
    const sockets = new Map<Socket, number>();
    const streams: Response[] = [];
    const requests: string[] = [];
    const counts = { connections: 0 };
    const answer = (request: Request, response: Response): void => {
      requests.push(`${request.method} ${request.url}`);
      response.on('error', () => undefined);
      request.on('error', () => undefined);
      const socket = (request.socket ?? undefined) as Socket | undefined;
      void answerPath(request, response, { connection: connectionOf(sockets, socket), streams });
    };
    const server = listenerOf(protocol, answer, identity);
    const event = protocol === 'https' || protocol === 'h2' ? 'secureConnection' : 'connection';
    server.on(event, (socket: Socket) => {
      sockets.set(socket, ++counts.connections);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => undefined);
    });
    server.on('upgrade', (request: IncomingMessage, socket: Socket) => acceptWebSocket(request, socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new HttpOrigin(server, sockets, streams, requests, counts);
  }

  private constructor(
    server: Server,
    sockets: Map<Socket, number>,
    streams: Response[],
    requests: string[],
    counts: { connections: number },
  ) {
    this.#server = server;
    this.#sockets = sockets;
    this.#streams = streams;
    this.requests = requests;
    this.#counts = counts;
    this.port = (server.address() as AddressInfo).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Connections since the start. */
  get connectionCount(): number {
    return this.#counts.connections;
  }

  get openCount(): number {
    return this.#sockets.size;
  }

  /** Sends the next event on every open `/events`. */
  release(): void {
    for (const response of this.#streams) response.write(`data: released\n\n`);
  }

  /** Ends every open `/events`. */
  finish(): void {
    for (const response of this.#streams.splice(0)) response.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets.keys()) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

type Answer = (request: Request, response: Response) => void;

function listenerOf(protocol: OriginProtocol, answer: Answer, identity: Issued | undefined): Server {
  const pair = { cert: identity?.cert ?? '', key: identity?.key ?? '' };
  switch (protocol) {
    case 'http1':
      return withContinue(
        createHttp1({ keepAliveTimeout: 60_000, requireHostHeader: false }, answer),
        answer,
      );
    case 'https':
      return withContinue(createHttps({ ...pair, keepAliveTimeout: 60_000 }, answer), answer);
    case 'h2c':
      return createHttp2(answer as unknown as Http2Answer);
    case 'h2':
      return createSecureServer({ ...pair, allowHTTP1: true }, answer as unknown as Http2Answer);
  }
}

/** `/refuse` answers an expectation with 417 at once; everything else is told to go on. */
function withContinue(server: Http1Server, answer: Answer): Http1Server {
  return server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/refuse') return void response.writeHead(417).end();
    response.writeContinue();
    answer(request, response);
  });
}

interface Around {
  readonly connection: number;
  readonly streams: Response[];
}

async function answerPath(request: Request, response: Response, around: Around): Promise<void> {
  const [, name, argument] = new URL(request.url ?? '/', 'http://origin').pathname.split('/');
  const count = Number(argument ?? 0);
  switch (name) {
    case 'bytes':
      response.setHeader('content-length', count);
      return sendPattern(response, count);
    case 'chunked':
      return sendPattern(response, count);
    case 'trailers':
      // The field names those to come, as HTTP/1.1 asks.
      response.setHeader('trailer', 'x-digest');
      response.write('body');
      response.addTrailers({ 'x-digest': 'abc' });
      return void response.end();
    case 'hints':
      response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
      return void response.end('hinted');
    case 'early':
      return void response.end('early');
    case 'reset':
      response.writeHead(200, { 'content-length': count + 1000 });
      response.write(pattern.subarray(0, count), () => request.socket.destroy());
      return;
    case 'status':
      response.statusCode = count;
      return void response.end();
    case 'hang':
      return;
    case 'events':
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: first\n\n');
      around.streams.push(response);
      return;
    case 'fields':
      for (const [field, value] of Object.entries(request.headers)) {
        if (field.startsWith('x-echo-')) response.setHeader(field.slice('x-echo-'.length), value!);
      }
      return void response.end('fields');
    default:
      return echo(request, response, around.connection);
  }
}

async function echo(request: Request, response: Response, connection: number): Promise<void> {
  const hash = createHash('sha256');
  let bodyBytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bodyBytes += chunk.length;
    }
  } catch {
    return; // the client gave up
  }
  const seen: Seen = {
    method: request.method ?? '',
    target: request.url ?? '',
    version: request.httpVersion,
    fields: pairsOf(request.rawHeaders),
    trailers: request.trailers as Record<string, string>,
    bodyBytes,
    bodyDigest: hash.digest('hex'),
    connection,
  };
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(seen));
}

/** Ends without an error when the client has left. */
async function sendPattern(response: Response, length: number): Promise<void> {
  await pipeline(Readable.from(chunks(length)), response).catch(() => undefined);
}

function* chunks(length: number): Generator<Buffer> {
  for (let at = 0; at < length; at += patternBytes) yield pattern.subarray(0, length - at);
}

function pairsOf(raw: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) pairs.push([raw[i]!.toLowerCase(), raw[i + 1]!]);
  return pairs;
}

/** HTTP/2's compatibility layer hands out a stand-in for the socket; then any open connection will do. */
function connectionOf(sockets: ReadonlyMap<Socket, number>, socket: Socket | undefined): number {
  return (socket === undefined ? undefined : sockets.get(socket)) ?? [...sockets.values()].at(-1) ?? 0;
}
