/**
 * The one thing that carries bytes. TCP, Unix sockets, and later TLS and HTTP/2 streams implement `Channel`;
 * relay, gate and sessions know nothing else.
 *
 * Rules every implementation keeps:
 * - A channel calls its sink only from the event loop, never from inside a call of the sink's owner.
 * - `onEnd` comes at most once. After `onError`, `close()` or `reset()` no further call comes.
 * - What a sink throws reaches `onFault` of the same sink, and nothing else of the process.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { IpAddress } from '../core/ip.ts';

/** Takes what arrives on a channel. One object may be the sink of several channels: the channel is the first argument. */
export interface ChannelSink {
  /**
   * Bytes arrived. They are a view of memory that the next read overwrites: they must be consumed, handed to
   * `write` of another channel, or copied before this returns.
   */
  onData(channel: Channel, bytes: HostBytes): void;
  /** The other side finished writing. Ours may go on. */
  onEnd(channel: Channel): void;
  /** Everything that was queued has left for the kernel. Follows a `write` that answered false, once. */
  onDrain(channel: Channel): void;
  /** The channel broke and is closed. `code` is the system's name for it: `ECONNRESET`. */
  onError(channel: Channel, code: string): void;
  /** A call of this sink threw. The sink's owner resets what belongs to this one connection. */
  onFault(channel: Channel, error: unknown): void;
}

export interface Channel {
  sink: ChannelSink;

  /** True while bytes wait for the kernel to take them. */
  readonly isBacklogged: boolean;
  /** True after `close`, `reset` or an error: every method is then a no-op. */
  readonly isClosed: boolean;

  /** The address and port of the other side; undefined for a Unix socket or a peer that is gone already. */
  peer(): Endpoint | undefined;
  /** The address and port of this side. */
  local(): Endpoint | undefined;

  /**
   * Sends `bytes`, in order. True: the kernel has them all. False: some wait; `onDrain` will follow, and the
   * caller should pause its source.
   *
   * `bytes` is either what `onData` of the same transport handed out, or memory the caller gives up.
   */
  write(bytes: HostBytes): boolean;
  /**
   * As `write`, one byte for each character (latin1): for what is short and made as text, heads say, where it is
   * cheaper than bytes. A character above U+00FF must not be in it.
   */
  writeLatin1(text: string): boolean;
  /** Stops reading. What the kernel already holds stays there. */
  pause(): void;
  /** Reads again. A channel begins paused. */
  resume(): void;
  /** Sends the end of stream after everything written before it. */
  halfClose(): void;
  /** Closes both directions. What still waits to be written is lost: see `isBacklogged`. */
  close(): void;
  /** Closes at once with a TCP reset, so that the other side sees a failure and not an end. */
  reset(): void;
}

export interface Endpoint {
  readonly ip: IpAddress;
  readonly port: number;
}

/** How a transport connects: the target of one attempt. */
export type ConnectTarget =
  | { readonly kind: 'ip'; readonly ip: IpAddress; readonly text: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** What becomes of one attempt; exactly one call comes, unless the attempt was cancelled. */
export interface ConnectObserver {
  onConnected(channel: Channel): void;
  onConnectFailed(code: string): void;
}

/** An attempt under way. */
export interface ConnectAttempt {
  cancel(): void;
}

export interface Acceptor {
  /** The port that was bound, also when 0 was asked for. */
  readonly port: number;
  /** The descriptor of the listening socket, for a successor; -1 when there is none. */
  readonly fd: number;
  /** Stops accepting; what has been accepted goes on. */
  close(): void;
}

/** A family of channels: the fast one on libuv's handles, and the one on Node's public sockets. */
export interface Transport {
  readonly name: 'fast' | 'public';
  /** Accepts on `host:port` beside other workers (`SO_REUSEPORT`). Rejects when it can not bind. */
  listen(host: string, port: number, onAccept: (channel: Channel) => void): Promise<Acceptor>;
  /** Accepts on a listening socket that another process left us. Rejects when `fd` is none. */
  adopt(fd: number, onAccept: (channel: Channel) => void): Promise<Acceptor>;
  connect(target: ConnectTarget, observer: ConnectObserver): ConnectAttempt;
}

/** The sink of a channel nobody has claimed yet, and of one whose owner let go. */
export const deafSink: ChannelSink = {
  onData() {},
  onEnd() {},
  onDrain() {},
  onError() {},
  onFault() {},
};
