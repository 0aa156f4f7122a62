/**
 * HTTP requests, of either version, to calls: refuses what comes from a web page of elsewhere, finds the method, and
 * lets ConnectRPC speak gRPC, gRPC-Web or JSON with it.
 */

import { Code, ConnectError, createContextValues, createConnectRouter } from '@connectrpc/connect';
import type { ConnectRouter } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants } from 'node:http2';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { AdminAddress } from '../model/settings.ts';
import type { Logger } from '../telemetry/logger.ts';
import { actorKey, actorOf } from './actor.ts';
import type { AdminLimits } from './limits.ts';
import { refusalOf } from './request-guard.ts';
import type { NamesHost } from './request-guard.ts';
import { errorInterceptor } from './rpc-errors.ts';

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

export interface HttpHandlerOptions {
  readonly address: AdminAddress;
  readonly certificateNames: NamesHost;
  readonly routes: (router: ConnectRouter) => void;
  readonly limits: AdminLimits;
  readonly logger: Logger;
}

export class HttpHandler {
  readonly #options: HttpHandlerOptions;
  readonly #calls: ReadonlyMap<string, UniversalHandler>;

  constructor(options: HttpHandlerOptions) {
    const { limits, logger } = options;
    const router = createConnectRouter({
      acceptCompression: [compressionGzip],
      readMaxBytes: limits.messageBytesMax,
      maxTimeoutMs: limits.deadlineMsMax,
      interceptors: [errorInterceptor(logger)],
      // A misspelt field is an error, and a zero is shown: people write and read this JSON.
      jsonOptions: { ignoreUnknownFields: false, alwaysEmitImplicit: true },
    });
    options.routes(router);
    this.#options = options;
    this.#calls = new Map(router.handlers.map((call) => [call.requestPath, call]));
  }

  handle(request: Request, response: Response): void {
    // A peer that leaves is told by `close`; without a listener its error would end the process.
    request.on('error', ignore);
    response.on('error', ignore);
    const refusal = this.#refusalOf(request);
    if (refusal !== null) {
      this.#options.logger.warn('admin request refused', { reason: refusal });
      refuse(request, response, refusal);
      return;
    }
    const call = this.#calls.get(request.url?.split('?', 1)[0] ?? '');
    if (call === undefined) {
      respond(response, 404, 'application/json', errorJson('unimplemented', 'there is no such call'));
      return;
    }
    this.#limitDuration(request);
    this.#serve(call, request, response).catch((error: unknown) => {
      this.#complain(call, error);
      // Half an answer, or none: only an end of the stream tells the caller so.
      if ('stream' in request) request.stream.destroy();
      else request.socket.destroy();
    });
  }

  #refusalOf(request: Request): string | null {
    const { headers, socket } = request;
    const source = {
      host: 'authority' in request ? request.authority : headers.host,
      origin: headers.origin,
      secFetchSite: headers['sec-fetch-site'] as string | undefined,
      localAddress: socket.localAddress,
      isEncrypted: 'encrypted' in socket,
    };
    return refusalOf(source, this.#options.address, this.#options.certificateNames);
  }

  async #serve(call: UniversalHandler, request: Request, response: Response): Promise<void> {
    const context = createContextValues().set(actorKey, actorOf(request.socket, this.#options.address));
    const answer = await call(universalRequestFromNodeRequest(request, response, undefined, context));
    await universalResponseToNodeResponse(answer, response);
  }

  /** HTTP/1.1 requests are limited by node:http; an HTTP/2 stream could stay half sent for ever. */
  #limitDuration(request: Request): void {
    if (!('stream' in request)) return;
    const { stream } = request;
    const timer = setTimeout(
      () => stream.close(constants.NGHTTP2_CANCEL),
      this.#options.limits.requestTimeoutMs,
    );
    const stop = (): void => clearTimeout(timer);
    request.once('end', stop);
    stream.once('close', stop);
  }

  /** What the call itself threw has been answered; left are callers who went away before the answer. */
  #complain(call: UniversalHandler, error: unknown): void {
    const name = `${call.service.typeName}/${call.method.name}`;
    const { code, message } = ConnectError.from(error);
    if (code === Code.Internal) this.#options.logger.error('admin answer failed', { call: name, err: error });
    else this.#options.logger.debug('admin caller went away', { call: name, reason: message });
  }
}

/** In the words of the protocol that the request speaks. */
function refuse(request: Request, response: Response, reason: string): void {
  const contentType = request.headers['content-type'] ?? '';
  request.resume();
  if (!/^application\/grpc(?!-web)/.test(contentType)) {
    respond(response, 403, 'application/json', errorJson('permission_denied', reason));
    return;
  }
  const status = { 'grpc-status': String(Code.PermissionDenied), 'grpc-message': reason };
  writeHead(response, 200, { 'content-type': contentType, ...status });
  response.end();
}

function errorJson(code: string, message: string): string {
  return JSON.stringify({ code, message });
}

function respond(response: Response, status: number, contentType: string, body: string): void {
  writeHead(response, status, { 'content-type': contentType });
  response.end(body);
}

/** The two versions' overloads do not unite. */
function writeHead(response: Response, status: number, headers: Record<string, string>): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.statusCode = status;
}

function ignore(): void {}
