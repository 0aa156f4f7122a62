/** Requests over HTTP/1.1 and HTTP/2 by Node's own clients, and over a raw connection; answers as plain data. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request as request1, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import {
  connect as connect2,
  type ClientHttp2Session,
  type IncomingHttpHeaders as Http2Headers,
  type SecureClientSessionOptions,
} from 'node:http2';
import { Agent as TlsAgent, request as requestTls } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import type { Seen } from './http-origin.ts';
import { Peer } from './peer.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Http2Headers;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Interim responses. */
  readonly interim: readonly number[];
}

export interface Ask {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: Uint8Array | string | undefined;
}

/** A connection kept between requests. */
export class Http1Client implements Disposable {
  readonly #port: number;
  readonly #host: string;
  readonly #tls: ConnectionOptions | undefined;
  readonly #agent: Agent;

  /** `host` is the Host field and, with `tls`, the server name. */
  constructor(port: number, host: string, tls?: ConnectionOptions) {
    this.#port = port;
    this.#host = host;
    this.#tls = tls;
    this.#agent = tls === undefined ? new Agent(kept) : new TlsAgent({ ...kept, ...tls });
  }

  async ask({ method = 'GET', path = '/echo', headers = {}, body }: Ask = {}): Promise<Answer> {
    const interim: number[] = [];
    const send = this.#tls === undefined ? request1 : requestTls;
    const request = send({
      ...{ host: '127.0.0.1', port: this.#port, method, path, agent: this.#agent, ...this.#tls },
      ...{ servername: this.#host, headers: { host: this.#host, ...headers } },
    });
    request.on('information', ({ statusCode }) => interim.push(statusCode));
    request.on('error', () => undefined);
    request.end(body);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const { statusCode = 0, trailers } = response;
    return {
      status: statusCode,
      headers: response.headers,
      trailers: trailers as IncomingHttpHeaders,
      body: Buffer.concat(chunks),
      interim,
    };
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

const kept = { keepAlive: true, maxSockets: 1 };

/** An HTTP/2 connection. */
export class Http2Client implements Disposable {
  readonly session: ClientHttp2Session;
  readonly #host: string;
  readonly #scheme: string;

  static async connect(port: number, host: string, tls?: SecureClientSessionOptions): Promise<Http2Client> {
    const options = tls === undefined ? {} : { servername: host, ...tls };
    const session = connect2(`${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, options);
    session.on('error', () => undefined);
    await once(session, 'connect');
    return new Http2Client(session, host, tls === undefined ? 'http' : 'https');
  }

  private constructor(session: ClientHttp2Session, host: string, scheme: string) {
    this.session = session;
    this.#host = host;
    this.#scheme = scheme;
  }

  async ask({ method = 'GET', path = '/echo', headers = {}, body }: Ask = {}): Promise<Answer> {
    const stream = this.session.request({
      ...{ ':method': method, ':path': path, ':authority': this.#host, ':scheme': this.#scheme },
      ...(headers as Record<string, string>),
    });
    const interim: number[] = [];
    let trailers: IncomingHttpHeaders = {};
    stream.on('headers', (fields: Http2Headers) => interim.push(Number(fields[':status'])));
    stream.on('trailers', (fields: Http2Headers) => (trailers = fields));
    stream.end(body);
    const [headersOf] = (await once(stream, 'response')) as [Http2Headers];
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    return {
      status: Number(headersOf[':status']),
      headers: headersOf,
      trailers,
      body: Buffer.concat(chunks),
      interim,
    };
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

/** What the origin saw, from the answer of `/echo`. */
export function seenIn(answer: Answer): Seen {
  return JSON.parse(answer.body.toString()) as Seen;
}

/** All values of a field that the origin saw. */
export function fieldOf(seen: Seen, name: string): string[] {
  return seen.fields.filter(([each]) => each === name).map(([, value]) => value);
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Sends bytes as they are, in plain text, and reads to the end of the connection. */
export async function raw(port: number, bytes: string, host = '127.0.0.1'): Promise<string> {
  const peer = await Peer.connect(port, { host });
  await peer.write(Buffer.from(bytes, 'latin1'));
  const answer = await peer.readToEnd();
  peer.close();
  return answer.toString('latin1');
}
