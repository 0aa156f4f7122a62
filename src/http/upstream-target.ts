/**
 * Where a request goes. Ingress and egress choose one; the pool and the exchange know nothing else about the
 * far side.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import type { Channel } from '../net/channel.ts';
import type { UpstreamTls } from '../net/tls.ts';

export interface UpstreamTarget {
  /**
   * The whole identity: address, protocol, every TLS setting, rewrite, parent proxy. Two requests may share a
   * connection exactly when their keys are equal.
   */
  readonly key: string;
  /** As people write it, for log and metric: `10.0.0.1:8080`. */
  readonly name: string;
  /** `client`: on plain TCP whatever version the downstream speaks. */
  readonly protocol: 'http1' | 'h2' | 'alpn' | 'client';
  readonly tls: UpstreamTls | null;
  /** Opens a connection underneath TLS and HTTP. */
  readonly dialer: Dialer;
  /**
   * Sent first on each connection, before TLS. A target that has one belongs to one downstream connection: its
   * pool entries end with that connection (`UpstreamPool.release(owner)`).
   */
  readonly preface: HostBytes | null;
  /** The downstream connection that the preface speaks for; null without one. Part of the identity. */
  readonly owner: object | null;
}

/** Opens connections: straight to an address, or through a parent proxy. */
export interface Dialer {
  dial(timeoutMs: number, observer: DialOutcome): { cancel(): void };
}

/** Exactly one call comes, unless the dial was cancelled. */
export interface DialOutcome {
  /** Paused, without a sink. */
  onDialed(channel: Channel): void;
  onDialFailed(reason: Reason, detail: string): void;
  onDialFault(error: unknown): void;
}
