/**
 * A small HTTP server for operators: metrics and health on one address, the admin pages on another. Control path only,
 * so node:http serves it. Owns the socket, the limits and the guard; what is answered stands in tables of pages.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { formatEndpoint } from '../model/endpoint.ts';
import type { AdminAddress } from '../model/settings.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { HttpLimits } from './http-limits.ts';
import { refusalOf } from './request-guard.ts';
import { listenUnix } from './unix-socket.ts';

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** One path. POST changes something and demands the header `x-portcullis`, which no web page can send. */
export interface Page {
  readonly method: 'GET' | 'POST';
  /** For the index. */
  readonly summary: string;
  serve(query: URLSearchParams, request: IncomingMessage): Answer | Promise<Answer>;
}

export type Pages = ReadonlyMap<string, Page>;

/** What the caller did wrong, or that we can not serve it; the message is the answer. */
export class PageError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'PageError';
    this.status = status;
  }
}

export interface HttpDoorOptions {
  /** For the log: `admin`, `metrics`. */
  readonly name: string;
  readonly address: AdminAddress;
  readonly pages: Pages;
  /** Pages that only scrapers and probes read may be asked for by any Host: probes use addresses and service names. */
  readonly guardsHost: boolean;
  readonly limits: HttpLimits;
  readonly logger: Logger;
  /** A listening socket that another process left us; null: bind. */
  readonly inheritedFd: number | null;
}

/** Sent with every change, so that it can not come from a form or an image of a web page. */
export const customHeader = 'x-portcullis';

export class HttpDoor {
  readonly #options: HttpDoorOptions;
  readonly #server: Server;
  #address = '';
  #closed: Promise<void> | null = null;

  /** Rejects when the address can not be bound. */
  static async open(options: HttpDoorOptions): Promise<HttpDoor> {
    const door = new HttpDoor(options);
    await door.#listen();
    return door;
  }

  private constructor(options: HttpDoorOptions) {
    this.#options = options;
    const { limits } = options;
    this.#server = createServer(
      {
        maxHeaderSize: limits.headerBytesMax,
        headersTimeout: limits.headersTimeoutMs,
        requestTimeout: limits.requestTimeoutMs,
        keepAliveTimeout: limits.idleTimeoutMs,
        connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
      },
      (request, response) => void this.#handle(request, response),
    );
    this.#server.maxConnections = limits.connectionsMax;
  }

  /** `127.0.0.1:9090` with the real port, or `unix:/run/portcullis-http.sock`. */
  get address(): string {
    return this.#address;
  }

  /** Of the listening socket, for a successor; null when there is none to hand on. */
  get fd(): number | null {
    const { _handle: handle } = this.#server as Server & { _handle?: { fd?: number } | null };
    return this.#options.address.kind === 'unix' ? null : (handle?.fd ?? null);
  }

  /** Accepts nothing more and cuts what is left after `graceMs`. */
  close(graceMs: number): Promise<void> {
    return (this.#closed ??= this.#close(graceMs));
  }

  async #close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const cut = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    this.#server.closeIdleConnections();
    await closed;
    clearTimeout(cut);
  }

  async #listen(): Promise<void> {
    const { address, inheritedFd } = this.#options;
    if (address.kind === 'unix') {
      await listenUnix(this.#server, address.path);
      this.#address = `unix:${address.path}`;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    const where = inheritedFd === null ? hostAndPort(address.host, address.port) : { fd: inheritedFd };
    this.#server.listen({ ...where, exclusive: true, backlog: acceptBacklog }, resolve);
    await promise;
    this.#server.off('error', reject);
    const bound = this.#server.address() as AddressInfo;
    this.#address = formatEndpoint({ kind: 'tcp', host: bound.address, port: bound.port });
  }

  /** Never rejects: whatever goes wrong is the end of this one request. */
  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', ignore);
    response.on('error', ignore);
    this.#skipBody(request);
    let answer: Answer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      answer = this.#failure(request, error);
    }
    if (answer.status >= 400 || this.#closed !== null) response.shouldKeepAlive = false;
    response.writeHead(answer.status, {
      'content-type': answer.contentType,
      'content-length': Buffer.byteLength(answer.body),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    response.end(request.method === 'HEAD' ? '' : answer.body);
  }

  #answer(request: IncomingMessage): Answer | Promise<Answer> {
    const { pages, limits } = this.#options;
    this.#refuseForeign(request);
    const target = request.url ?? '';
    if (target.length > limits.targetBytesMax) throw new PageError(414, 'the request target is too long');
    const mark = target.indexOf('?');
    const path = mark < 0 ? target : target.slice(0, mark);
    const page = pages.get(path);
    if (page === undefined) throw new PageError(404, 'there is no such page');
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    if (method !== page.method) throw new PageError(405, `this page takes ${page.method}`);
    if (method === 'POST' && request.headers[customHeader] === undefined) {
      throw new PageError(403, `a change needs the header ${customHeader}, with any value`);
    }
    return page.serve(new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)), request);
  }

  #refuseForeign(request: IncomingMessage): void {
    const { address, guardsHost, name, logger } = this.#options;
    const { headers, socket } = request;
    const refusal = refusalOf(
      {
        host: guardsHost ? headers.host : 'localhost',
        origin: guardsHost ? headers.origin : undefined,
        secFetchSite: headers['sec-fetch-site'] as string | undefined,
        localAddress: socket.localAddress,
        isEncrypted: false,
      },
      address,
      () => false,
    );
    if (refusal === null) return;
    logger.warn('request refused', { address: name, reason: refusal });
    throw new PageError(403, refusal);
  }

  #failure(request: IncomingMessage, error: unknown): Answer {
    if (error instanceof PageError) return plainText(error.status, `${error.message}\n`);
    const path = (request.url ?? '').split('?', 1)[0];
    this.#options.logger.error('page failed', { address: this.#options.name, page: path, err: error });
    return plainText(500, 'internal error; see the log\n');
  }

  #skipBody(request: IncomingMessage): void {
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > this.#options.limits.bodyBytesMax) request.destroy();
    });
  }
}

export function plainText(status: number, body: string): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

export function json(value: unknown): Answer {
  return { status: 200, contentType: 'application/json', body: `${JSON.stringify(value, null, 2)}\n` };
}

const acceptBacklog = 128;

function hostAndPort(host: string, port: number): { host?: string; port: number } {
  return host === '' ? { port } : { host, port };
}

function ignore(): void {}
