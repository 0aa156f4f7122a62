/**
 * The admin API on its address: one port for gRPC over HTTP/2 and JSON over HTTP/1.1, told apart by ALPN with TLS and by
 * the first bytes without. Owns the listening socket, the connections and the TLS identity.
 */

import { createServer as createHttp1Server } from 'node:http';
import type { Server as Http1Server } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Server as TlsServer } from 'node:tls';
import type { ConnectRouter } from '@connectrpc/connect';
import { isLoopback, parseIp } from '../core/ip.ts';
import { formatEndpoint } from '../model/endpoint.ts';
import type { AdminAddress, AdminSettings } from '../model/settings.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Control } from './control.ts';
import { dropInService } from './drop-in-service.ts';
import { file_google_rpc_error_details } from './gen/google/rpc/error_details_pb.ts';
import { Health } from './gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from './gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from './gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { ProxyAdminService as DropInService } from './gen/mc_proxy/v1/admin_pb.ts';
import { ProxyAdminService } from './gen/portcullis/v1/admin_pb.ts';
import { healthService } from './health.ts';
import { HttpHandler } from './http-handler.ts';
import { adminLimits } from './limits.ts';
import type { AdminLimits } from './limits.ts';
import { splitProtocol } from './protocol-split.ts';
import type { HttpVersion } from './protocol-split.ts';
import { Reflection } from './reflection.ts';
import { adminService } from './service.ts';
import { TlsIdentityWatcher, loadTlsIdentity } from './tls-identity.ts';
import type { TlsIdentity } from './tls-identity.ts';
import { listenUnix } from './unix-socket.ts';

const acceptBacklog = 128;
const keepAliveProbeMs = 30_000;

export class AdminServer {
  readonly #settings: AdminSettings;
  readonly #address: AdminAddress;
  readonly #limits: AdminLimits;
  readonly #logger: Logger;
  readonly #shutdown = new AbortController();
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #http1: Http1Server;
  readonly #http2: Http2Server;
  readonly #acceptor: Server;
  #identity: TlsIdentity | null;
  #boundAddress = '';
  readonly #identityWatcher: TlsIdentityWatcher | null;

  /** Rejects when the address may not be served so, is taken, or the TLS files do not load. */
  static async start(
    settings: AdminSettings,
    control: Control,
    logger: Logger,
    limits: AdminLimits = adminLimits,
  ): Promise<AdminServer> {
    const { address } = settings;
    if (address === null) throw new Error('admin: no address is configured');
    refuseOpenDoor(settings, address);
    const hasTls = address.kind === 'tcp' && settings.tlsCert !== null;
    const identity = hasTls ? await loadTlsIdentity(settings) : null;
    const server = new AdminServer(settings, address, identity, control, logger, limits);
    try {
      await server.#listen();
    } catch (error) {
      await server.close(0);
      throw error;
    }
    return server;
  }

  private constructor(
    settings: AdminSettings,
    address: AdminAddress,
    identity: TlsIdentity | null,
    control: Control,
    logger: Logger,
    limits: AdminLimits,
  ) {
    this.#settings = settings;
    this.#address = address;
    this.#identity = identity;
    this.#limits = limits;
    this.#logger = logger;
    const handler = new HttpHandler({
      address,
      certificateNames: (host) => this.#identity?.certificate.checkHost(host) !== undefined,
      routes: (router) => this.#addServices(router, control),
      limits,
      logger,
    });
    this.#http1 = this.#createHttp1(handler);
    this.#http2 = this.#createHttp2(handler);
    this.#acceptor = identity === null ? this.#createPlainAcceptor() : this.#createTlsAcceptor(identity);
    this.#acceptor.maxConnections = limits.connectionsMax;
    this.#acceptor.on('connection', (socket) => this.#own(socket));
    this.#acceptor.on('drop', () => logger.warn('admin connection refused', { reason: 'connections limit' }));
    this.#identityWatcher =
      identity === null
        ? null
        : new TlsIdentityWatcher(
            settings,
            identity,
            limits.reloadIntervalMs,
            (changed) => this.#takeIdentity(changed),
            logger,
          );
  }

  /** `127.0.0.1:9443` with the real port, or `unix:/run/portcullis.sock`. */
  get address(): string {
    return this.#boundAddress;
  }

  /** Accepts nothing more, ends watches, lets calls finish for `graceMs`, then cuts what is left. */
  async close(graceMs: number): Promise<void> {
    this.#identityWatcher?.stop();
    this.#shutdown.abort();
    if (this.#acceptor.listening) this.#acceptor.close();
    for (const session of this.#sessions) session.close();
    // Also stops the timer that looks for slow requests.
    this.#http1.close();
    this.#http1.closeIdleConnections();
    const { promise, resolve } = Promise.withResolvers<void>();
    const cut = setTimeout(resolve, graceMs);
    const look = (): void => {
      if (this.#sockets.size === 0) resolve();
    };
    for (const socket of this.#sockets) socket.once('close', look);
    look();
    await promise;
    clearTimeout(cut);
    for (const socket of this.#sockets) socket.destroy();
  }

  #addServices(router: ConnectRouter, control: Control): void {
    const named = [ProxyAdminService, DropInService, Health, ServerReflection, ServerReflectionAlpha];
    const reflection = new Reflection(named, [file_google_rpc_error_details]);
    const names = new Set(named.map(({ typeName }) => typeName));
    const isServing = (): boolean => !control.status().isDraining;
    router.service(ProxyAdminService, adminService(control, this.#limits, this.#shutdown.signal));
    router.service(DropInService, dropInService(control));
    router.service(Health, healthService(isServing, names, this.#limits, this.#shutdown.signal));
    router.service(ServerReflection, { serverReflectionInfo: (requests) => reflection.info(requests) });
    router.service(ServerReflectionAlpha, { serverReflectionInfo: (requests) => reflection.info(requests) });
  }

  #createHttp1(handler: HttpHandler): Http1Server {
    const { headerBytesMax, headersTimeoutMs, requestTimeoutMs, idleTimeoutMs } = this.#limits;
    const server = createHttp1Server(
      {
        maxHeaderSize: headerBytesMax,
        headersTimeout: headersTimeoutMs,
        requestTimeout: requestTimeoutMs,
        keepAliveTimeout: idleTimeoutMs,
        connectionsCheckingInterval: Math.min(1000, headersTimeoutMs),
      },
      (request, response) => {
        if (this.#shutdown.signal.aborted) response.shouldKeepAlive = false;
        response.once('close', () => {
          if (this.#shutdown.signal.aborted) server.closeIdleConnections();
        });
        handler.handle(request, response);
      },
    );
    // It never listens itself, and looks for slow requests only once it believes that it does.
    server.emit('listening');
    return server;
  }

  #createHttp2(handler: HttpHandler): Http2Server {
    const { headerBytesMax, streamsMax, idleTimeoutMs } = this.#limits;
    const server = createHttp2Server({
      settings: { maxConcurrentStreams: streamsMax, maxHeaderListSize: headerBytesMax },
    });
    server.on('request', (request, response) => handler.handle(request, response));
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      if (this.#shutdown.signal.aborted) session.close();
      keepOrEnd(session, idleTimeoutMs);
    });
    server.on('sessionError', (error: Error) => {
      this.#logger.debug('admin connection failed', { reason: error.message });
    });
    return server;
  }

  #createPlainAcceptor(): Server {
    return createTcpServer((socket) => {
      splitProtocol(socket, this.#limits.handshakeTimeoutMs, (version) => this.#serve(version, socket));
    });
  }

  #createTlsAcceptor(identity: TlsIdentity): TlsServer {
    const asksForCertificate = this.#settings.clientCa !== null;
    const server = createTlsServer({
      ...identity.context,
      ALPNProtocols: ['h2', 'http/1.1'],
      handshakeTimeout: this.#limits.handshakeTimeoutMs,
      requestCert: asksForCertificate,
      rejectUnauthorized: asksForCertificate,
    });
    server.on('secureConnection', (socket) =>
      this.#serve(socket.alpnProtocol === 'h2' ? 'h2' : 'h1', socket),
    );
    server.on('tlsClientError', (error, socket) => {
      // Set when the certificate of the client was refused.
      const reason = String(
        socket.authorizationError ?? (error as NodeJS.ErrnoException).code ?? error.message,
      );
      this.#logger.warn('admin TLS handshake failed', { reason, client: socket.remoteAddress });
      socket.destroy();
    });
    return server;
  }

  #serve(version: HttpVersion, socket: Socket): void {
    if (version === 'h2') this.#http2.emit('connection', socket);
    else this.#http1.emit('connection', socket);
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', ignore);
    // A peer that vanished without a word keeps no place.
    if (this.#address.kind === 'tcp') socket.setKeepAlive(true, keepAliveProbeMs);
  }

  #takeIdentity(identity: TlsIdentity): void {
    (this.#acceptor as TlsServer).setSecureContext(identity.context);
    this.#identity = identity;
  }

  async #listen(): Promise<void> {
    const address = this.#address;
    if (address.kind === 'unix') {
      await listenUnix(this.#acceptor, address.path);
      this.#boundAddress = `unix:${address.path}`;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#acceptor.once('error', reject);
    const host = address.host === '' ? '::' : address.host;
    this.#acceptor.listen({ host, port: address.port, backlog: acceptBacklog }, resolve);
    await promise;
    this.#acceptor.off('error', reject);
    const bound = this.#acceptor.address() as AddressInfo;
    this.#boundAddress = formatEndpoint({ kind: 'tcp', host: bound.address, port: bound.port });
  }
}

/** The configuration is checked for this too; here it can never be forgotten. */
function refuseOpenDoor(settings: AdminSettings, address: AdminAddress): void {
  const hasTls = settings.tlsCert !== null && settings.tlsKey !== null;
  if (settings.clientCa !== null && !hasTls) throw new Error('admin: client_ca needs tls_cert and tls_key');
  if (address.kind === 'unix') return;
  const ip = parseIp(address.host);
  if (ip === undefined || !isLoopback(ip)) {
    if (settings.clientCa === null)
      throw new Error('admin: an address beyond loopback needs client_ca, tls_cert and tls_key');
  } else if (!hasTls && !settings.insecureLoopback) {
    throw new Error('admin: a loopback address without TLS must be asked for, or use a Unix socket');
  }
}

/** A session without streams is ended; one with a quiet watch is asked whether anybody is there. */
function keepOrEnd(session: ServerHttp2Session, idleTimeoutMs: number): void {
  let streamCount = 0;
  session.on('stream', (stream) => {
    streamCount++;
    stream.once('close', () => streamCount--);
  });
  session.setTimeout(idleTimeoutMs);
  session.on('timeout', () => {
    if (streamCount === 0) session.close();
    else session.ping(ignore);
  });
}

function ignore(): void {}
