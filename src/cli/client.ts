/**
 * The admin API as a typed client, exported as `portcullis/client`: one method for each call of
 * proto/portcullis/v1/admin.proto, a promise of its answer; `watchEvents` gives an async iterable.
 *
 *   using client = connectClient({ address: 'unix:/run/portcullis/admin.sock' });
 *   await client.addRoute({ listenerAddr: ':443', route: { hostname: 'app.example.com', backend: '10.0.0.5:8443' } });
 *
 * It speaks gRPC over one HTTP/2 connection, opened by the first call and again after it was lost. What fails
 * rejects with an `AdminError`.
 */

import { connect as connectSocket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { createClient } from '@connectrpc/connect';
import type { CallOptions, Client } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { ProxyAdminService } from '../admin/gen/portcullis/v1/admin_pb.ts';
import { AdminError, toAdminError } from './admin-error.ts';

export { AdminError } from './admin-error.ts';
export type { AdminErrorCode } from './admin-error.ts';
export { FirewallRuleType, ProxyAdminService } from '../admin/gen/portcullis/v1/admin_pb.ts';
export type * from '../admin/gen/portcullis/v1/admin_pb.ts';

/** One method for each call. Disposing of it ends its connection, and with that the calls under way. */
export type AdminClient = Client<typeof ProxyAdminService> & Disposable;

/** PEM text or bytes, as `node:tls` takes them. A server's certificate is always verified. */
export type ClientTls = Pick<
  ConnectionOptions,
  'ca' | 'cert' | 'key' | 'passphrase' | 'servername' | 'checkServerIdentity' | 'allowPartialTrustChain'
>;

export interface ClientOptions {
  /** `unix:/path`, `host:port` or `[::1]:port`. */
  readonly address: string;
  /** Of a TCP address; absent: the system's certificate authorities, and no certificate of our own. */
  readonly tls?: ClientTls;
  /** No TLS on a TCP address, which has to be a loopback one. */
  readonly insecureLoopback?: boolean;
  /** How long a call may take; a stream may last. 30 s unless told otherwise. */
  readonly timeoutMs?: number;
}

/** Connects with the first call. Throws AdminError, `invalid-argument`, for an address that can not be understood. */
export function connectClient(options: ClientOptions): AdminClient {
  const { address, timeoutMs = 30_000 } = options;
  const { url, session } = target(options);
  const sessionManager = new Http2SessionManager(url, {}, session);
  const transport = createGrpcTransport({ baseUrl: url, sessionManager, readMaxBytes: answerBytesMax });
  const plain = createClient(ProxyAdminService, transport);
  const explain = (error: unknown): AdminError => toAdminError(error, address, sessionManager.error());
  const client: Record<string | symbol, unknown> = { [Symbol.dispose]: () => sessionManager.abort() };
  for (const { localName, methodKind } of ProxyAdminService.methods) {
    const call = plain[localName as keyof typeof plain] as Call;
    client[localName] =
      methodKind === 'unary'
        ? explainingCall(call as UnaryCall, timeoutMs, explain)
        : explainingStream(call as StreamCall, explain);
  }
  // Each method of the service was put there, of the kind that its type says.
  return client as unknown as AdminClient;
}

/** A configuration of a million routes fits. */
const answerBytesMax = 256 * 2 ** 20;

type UnaryCall = (request: object, options?: CallOptions) => Promise<unknown>;
type StreamCall = (request: object, options?: CallOptions) => AsyncIterable<unknown>;
type Call = UnaryCall | StreamCall;

function explainingCall(call: UnaryCall, timeoutMs: number, explain: (error: unknown) => Error): UnaryCall {
  return async (request, options) => {
    try {
      return await call(request, { timeoutMs, ...options });
    } catch (error) {
      throw explain(error);
    }
  };
}

function explainingStream(call: StreamCall, explain: (error: unknown) => Error): StreamCall {
  return async function* (request, options) {
    try {
      yield* call(request, options);
    } catch (error) {
      throw explain(error);
    }
  };
}

interface Target {
  readonly url: string;
  readonly session: ConstructorParameters<typeof Http2SessionManager>[2];
}

function target({ address, tls, insecureLoopback = false }: ClientOptions): Target {
  if (address.startsWith('unix:')) {
    const path = address.slice(5);
    return { url: 'http://localhost', session: { createConnection: () => connectSocket(path) } };
  }
  const match = /^(\[[0-9a-f:.]+\]|[^:/[\]@\s]+):([1-9]\d{0,4})$/i.exec(address);
  if (match === null || Number(match[2]) > 65_535) {
    throw new AdminError('invalid-argument', `expected unix:/path or host:port, found ${address}`, 'address');
  }
  if (!insecureLoopback) {
    return {
      url: `https://${address}`,
      session: { minVersion: 'TLSv1.2', ...tls, rejectUnauthorized: true },
    };
  }
  if (!/^(127(\.\d{1,3}){3}|localhost|\[::1\])$/i.test(match[1]!)) {
    throw new AdminError(
      'invalid-argument',
      `${address} is no loopback address: speak TLS to it`,
      'insecureLoopback',
    );
  }
  return { url: `http://${address}`, session: {} };
}
