/**
 * What an operator configures for layer 7: plain data, parsed and checked (see settings.ts). One page holds what
 * listeners, routes and the process share.
 */
import type { SecretReference } from './settings.ts';

/**
 * How a listener reads its first bytes. `tls`: a ClientHello. `http`: plain HTTP/1, or HTTP/2 by its preface.
 * `auto`: whichever of the two the first byte tells.
 */
export const listenerProtocols = ['tls', 'http', 'auto'] as const;
export type ListenerProtocol = (typeof listenerProtocols)[number];

/**
 * What the backend of an l7 route speaks. `h2c`: HTTP/2, with prior knowledge on plain TCP, by ALPN over TLS.
 * `http1`. `auto`: over TLS what ALPN chooses, on plain TCP what the client speaks.
 */
export const backendProtocols = ['h2c', 'http1', 'auto'] as const;
export type BackendProtocol = (typeof backendProtocols)[number];

export const clientAuthModes = ['none', 'request', 'require'] as const;
export type ClientAuthMode = (typeof clientAuthModes)[number];

export const tlsVersions = ['1.2', '1.3'] as const;
export type TlsVersion = (typeof tlsVersions)[number];

/** How a route terminates TLS. Routes of one hostname share one identity, so their settings here are equal. */
export interface RouteTlsSettings {
  /** PEM chain: an absolute path. */
  readonly cert: string;
  readonly key: SecretReference;
  /** PEM bundle that client certificates must chain to; null only with `clientAuth` none. */
  readonly clientCa: string | null;
  readonly clientAuth: ClientAuthMode;
  readonly minVersion: TlsVersion;
}

/** TLS to the backend. Null: plain. Verification is on unless `insecure` says otherwise. */
export interface BackendTlsSettings {
  /** PEM bundle in the place of the system's roots; null: those. */
  readonly ca: string | null;
  /** The name asked for and verified; null: the backend's host. */
  readonly serverName: string | null;
  readonly insecure: boolean;
}

/** Changes to a head, in this order: remove, set, add. Names are lower case. */
export interface HeaderRules {
  readonly remove: readonly string[];
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
}

/** Longest time and largest sizes of the HTTP engine, for both directions. Section `[http]`. */
export interface HttpSettings {
  /** From accept to the end of the TLS handshake. */
  readonly tlsHandshakeTimeoutMs: number;
  /** From a request's first byte to the end of its head. */
  readonly headTimeoutMs: number;
  /** Without progress of a body, either way. */
  readonly bodyIdleTimeoutMs: number;
  /** Bytes per second, averaged over `bodyIdleTimeoutMs`, that an unfinished request body must keep; 0: none. */
  readonly bodyRateMin: number;
  /** From the request's end to the first byte of the response. */
  readonly responseTimeoutMs: number;
  /** Between requests on a downstream connection. */
  readonly keepAliveTimeoutMs: number;
  /** An upstream connection without a request. */
  readonly upstreamIdleTimeoutMs: number;
  /** Tunnels (WebSocket, CONNECT) without a byte either way. */
  readonly tunnelIdleTimeoutMs: number;
  /** A head with its request line, in bytes of the wire (HTTP/2: as RFC 9113 §6.5.2 counts). */
  readonly headBytesMax: number;
  readonly headerCountMax: number;
  readonly targetBytesMax: number;
  /** Requests read ahead on one HTTP/1 connection. */
  readonly pipelinedMax: number;
  /** Streams open at once on one HTTP/2 connection, downstream. */
  readonly streamsMax: number;
  /** TLS handshakes under way at once, per worker. */
  readonly handshakesMax: number;
  /** Connections to one upstream identity, per worker. */
  readonly upstreamConnectionsMax: number;
  /** Requests that wait for a connection of one upstream identity, per worker. */
  readonly upstreamWaitingMax: number;
}

export const httpDefaults: HttpSettings = {
  tlsHandshakeTimeoutMs: 10_000,
  headTimeoutMs: 10_000,
  bodyIdleTimeoutMs: 30_000,
  bodyRateMin: 100,
  responseTimeoutMs: 60_000,
  keepAliveTimeoutMs: 75_000,
  upstreamIdleTimeoutMs: 60_000,
  tunnelIdleTimeoutMs: 3_600_000,
  headBytesMax: 64 * 1024,
  headerCountMax: 128,
  targetBytesMax: 16 * 1024,
  pipelinedMax: 16,
  streamsMax: 128,
  handshakesMax: 1024,
  upstreamConnectionsMax: 256,
  upstreamWaitingMax: 1024,
};

export const noHeaderRules: HeaderRules = { remove: [], set: [], add: [] };
