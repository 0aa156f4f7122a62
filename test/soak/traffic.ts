/**
 * The kinds of traffic that the gate mixes: each is one class, and one line of the table at the end. A client opens a
 * connection, has exchanges on it, every byte of which it checks, and leaves in order or vanishes.
 */
import { GrpcClient } from './grpc-client.ts';
import { Http1TlsClient, Http2TlsClient } from './http-clients.ts';
import type { ClientContext, SoakClient } from './soak-client.ts';
import { TlsStreamClient } from './stream-client.ts';
import { WebSocketHttp1Client, WebSocketHttp2Client } from './websocket-clients.ts';

export interface TrafficKind {
  readonly name: string;
  /** Of the route, and of the link behind it. */
  readonly host: string;
  readonly link: string;
  /** Goes out by the egress gateway, which ends TLS in the host's name. */
  readonly isEgress?: boolean;
  readonly client: new (context: ClientContext) => SoakClient;
}

export const trafficKinds: readonly TrafficKind[] = [
  { name: 'l4-tls', host: 'l4.soak.example', link: 'stream', client: TlsStreamClient },
  { name: 'h1', host: 'h1.soak.example', link: 'http1', client: Http1TlsClient },
  { name: 'h1-https', host: 'https.soak.example', link: 'https', client: Http1TlsClient },
  { name: 'h2', host: 'h2.soak.example', link: 'h2', client: Http2TlsClient },
  { name: 'h2-http1', host: 'down.soak.example', link: 'http1', client: Http2TlsClient },
  { name: 'grpc', host: 'grpc.soak.example', link: 'grpc', client: GrpcClient },
  { name: 'ws-h1', host: 'ws1.soak.example', link: 'http1', client: WebSocketHttp1Client },
  { name: 'ws-h2', host: 'ws2.soak.example', link: 'http1', client: WebSocketHttp2Client },
  { name: 'mitm-h1', host: 'mitm1.soak.example', link: 'h2', isEgress: true, client: Http1TlsClient },
  { name: 'mitm-h2', host: 'mitm2.soak.example', link: 'https', isEgress: true, client: Http2TlsClient },
];

/** What has a route. */
export const ingressKinds = trafficKinds.filter(({ isEgress }) => isEgress !== true);
