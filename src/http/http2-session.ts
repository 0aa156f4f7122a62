/**
 * What both roles of an HTTP/2 session share: the channel on one side, the engine on the other, deadlines, and
 * the order in which a session ends. Output of one turn is written once.
 */
import type { HostBytes } from '../core/bytes.ts';
import type { ProtocolError } from '../core/errors.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import { DecoderScratch } from '../codec/hpack/decoder.ts';
import { Http2Connection, type ConnectionLimits, type ConnectionMemory } from '../codec/http2/connection.ts';
import type { ConnectionEvents, ResetCause } from '../codec/http2/connection-events.ts';
import type { HeadFault } from '../codec/http2/heads.ts';
import { errorCodes, type ErrorCode } from '../codec/http2/protocol.ts';
import type { Http2Stream } from '../codec/http2/stream.ts';
import type { FieldList, RequestHead, ResponseHead } from '../codec/http-message.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import type { Channel, ChannelSink } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import type { FlushQueue, Flushable } from './flush-queue.ts';
import { windowBytes, type BodySink, type ResetReason, type Stream, type StreamFailure } from './stream.ts';

/** Waiting uploads of four streams do not stop the others; more memory than this no connection gets. */
const connectionWindowBytes = 1024 * 1024;

/** How long an ended session waits for its peer to take the last bytes and close. */
const lingerMs = 1000;
/** How often the deadlines of a busy session are looked at; finer only where a setting is. */
const checkMs = 1000;
/** Output up to this long is written as text (see `Channel.writeLatin1`). */
const textBytesMax = 2048;
/** A connection without streams keeps no more memory than this for its next output. */
const idleBytesMax = 16 * 1024;
/** The slowest reader for whom what waits in the channel is progress, in bytes per second. */
const slowestReaderRate = 4096;

const allocate = (byteCount: number): HostBytes => Buffer.allocUnsafeSlow(byteCount) as unknown as HostBytes;
const memory: ConnectionMemory = { allocate, scratch: new DecoderScratch(allocate) };

const codeOfReset: Readonly<Record<ResetReason, ErrorCode>> = {
  cancel: errorCodes.cancel,
  refused: errorCodes.refusedStream,
  'internal-error': errorCodes.internalError,
  'protocol-error': errorCodes.protocolError,
  'no-error': errorCodes.noError,
};

/** A stream of either role. */
export interface SessionStream extends Http2Stream, Stream {
  readonly sink: BodySink;
}

export interface Http2SessionOptions {
  /** Becomes the session's; it may be paused. */
  readonly channel: Channel;
  readonly network: Network;
  readonly settings: HttpSettings;
  readonly flushes: FlushQueue;
  /** Bytes that were read before the session began: a view, used up by `start`. */
  readonly opening?: HostBytes;
}

/**
 * `open`: serves. `draining`: takes no new streams. `closing`: the last bytes are written, the peer is to close.
 * `closed`: the channel is.
 */
type Phase = 'open' | 'draining' | 'closing' | 'closed';

interface Ending {
  readonly reason: Reason;
  readonly detail: string | undefined;
}

export abstract class Http2Session<S extends SessionStream>
  implements ChannelSink, Flushable, ConnectionEvents<S>
{
  readonly version = 'HTTP/2';
  protected readonly channel: Channel;
  protected readonly network: Network;
  protected readonly settings: HttpSettings;
  protected readonly connection: Http2Connection<S>;
  protected phase: Phase = 'open';
  protected startedMs = 0;
  /** When the last stream ended, or the session began: a PING keeps no session alive. */
  protected lastActiveMs = 0;

  readonly #flushes: FlushQueue;
  readonly #timer: SessionTimer;
  #opening: HostBytes | undefined;
  #isFlushDue = false;
  /** Since when the channel takes nothing, and how much it holds. */
  #blockedMs = 0;
  #blockedBytes = 0;
  #ending: Ending = { reason: 'session-closed', detail: undefined };
  #isEndTold = false;
  /** Resets that are told from the event loop, because they happened inside an owner's call. */
  #owed: { stream: S; failure: StreamFailure }[] = [];

  constructor(role: 'server' | 'client', options: Http2SessionOptions) {
    this.channel = options.channel;
    this.network = options.network;
    this.settings = options.settings;
    this.#flushes = options.flushes;
    this.#opening = options.opening;
    this.connection = new Http2Connection<S>(role, limitsOf(role, options.settings), memory, this);
    this.#timer = new SessionTimer(this);
  }

  abstract newStream(id: number, sendWindow: number, receiveWindow: number): S;
  abstract onRequest(stream: S, head: RequestHead, isEnd: boolean): void;
  abstract onRefusedRequest(fault: HeadFault): void;
  abstract onInformational(stream: S, head: ResponseHead): void;
  abstract onResponse(stream: S, head: ResponseHead, isEnd: boolean): void;
  abstract onGoAway(lastStreamId: number, code: ErrorCode): void;
  abstract onPeerSettings(isFirst: boolean): void;

  /** What a reset by the peer, a fault of the peer, and the loss of the connection are called in this role. */
  protected abstract failureOf(cause: ResetCause): StreamFailure;
  protected abstract readonly lostReason: Reason;
  protected abstract endingOf(error: ProtocolError): Reason;
  protected abstract readonly endReason: Reason;
  protected abstract readonly resetReason: Reason;
  /** The peer did not say in time what a session needs. */
  protected abstract readonly lateReason: Reason;
  /** Deadlines of one stream; may end it. */
  protected abstract checkStream(stream: S, nowMs: number): void;
  /** After each turn's output: what the owner is to know. */
  protected abstract settle(): void;
  /** When a session without streams ends; Infinity: never by itself. */
  protected abstract idleDeadlineMs(): number;
  protected abstract tellClosed(reason: Reason, detail: string | undefined): void;
  protected abstract tellFault(error: unknown): void;
  /** Ends streams that are not in the engine's table. */
  protected abstract takeUnsent(): S[];

  get streamCount(): number {
    return this.connection.streams.count;
  }

  /** True when everything that was gathered is out of our hands: an end may follow it. */
  protected get isOutputDone(): boolean {
    const { send } = this.connection;
    return send.sink.length === 0 && !send.isBlocked;
  }

  /** Takes the channel over, and reads. To be called once, from the event loop. */
  start(): void {
    this.startedMs = this.lastActiveMs = this.network.nowMs;
    this.channel.sink = this;
    this.connection.open();
    this.#scheduleCheck(this.network.nowMs);
    this.touch();
    const opening = this.#opening;
    this.#opening = undefined;
    if (opening !== undefined && opening.length > 0) this.onData(this.channel, opening);
    this.channel.resume();
  }

  abort(reason: Reason, detail?: string): void {
    if (this.phase === 'closed') return;
    this.#ending = { reason, detail };
    if (this.phase !== 'closing') {
      this.connection.isReading = false;
      this.connection.goAway(this.connection.streams.lastPeerId, errorCodes.noError);
      this.#write();
    }
    this.#close();
  }

  // --- the channel ---

  onData(_channel: Channel, bytes: HostBytes): void {
    if (this.phase === 'closing' || this.phase === 'closed') return;
    this.connection.receive(bytes, this.network.nowMs);
    this.touch();
  }

  onEnd(): void {
    if (this.phase !== 'closing') this.#ending = { reason: this.endReason, detail: undefined };
    this.#close();
  }

  onDrain(): void {
    const { send } = this.connection;
    send.isBlocked = false;
    this.touch();
    if (this.phase === 'closing' || this.phase === 'closed') return;
    send.nowMs = this.network.nowMs;
    this.#write();
    send.pump();
  }

  onError(_channel: Channel, code: string): void {
    this.#ending = { reason: this.resetReason, detail: code };
    this.#close();
  }

  onFault(_channel: Channel, error: unknown): void {
    this.tellFault(error);
    this.abort('internal-error');
  }

  // --- the engine ---

  onStreamData(stream: S, bytes: HostBytes, isEnd: boolean): void {
    try {
      stream.sink.onData(stream, bytes, isEnd);
    } catch (error) {
      this.faultOf(stream, error);
    }
  }

  onStreamDrain(stream: S): void {
    try {
      stream.sink.onDrain(stream);
    } catch (error) {
      this.faultOf(stream, error);
    }
  }

  onTrailers(stream: S, fields: FieldList): void {
    try {
      stream.sink.onTrailers(stream, fields);
    } catch (error) {
      this.faultOf(stream, error);
    }
  }

  onStreamEnd(stream: S): void {
    try {
      stream.sink.onEnd(stream);
    } catch (error) {
      this.faultOf(stream, error);
    }
  }

  onReset(stream: S, cause: ResetCause): void {
    if (cause.kind === 'ours') this.owe(stream, this.failureOf(cause));
    else this.tellReset(stream, this.failureOf(cause));
  }

  onStreamGone(_stream: S): void {
    this.lastActiveMs = this.network.nowMs;
    this.touch();
  }

  onSettingsAck(): void {}

  onPong(): void {}

  onFailed(error: ProtocolError, _code: ErrorCode): void {
    this.#ending = { reason: this.endingOf(error), detail: error.message };
    this.#endStreams();
    this.finish();
  }

  onOutputFull(): void {
    this.#write();
  }

  // --- for the roles ---

  /** Has the session's output written at the end of this turn. */
  touch(): void {
    if (this.#isFlushDue || this.phase === 'closed') return;
    this.#isFlushDue = true;
    this.#flushes.add(this);
  }

  flush(): void {
    this.#isFlushDue = false;
    try {
      this.#write();
      this.#payOwed();
      this.settle();
    } catch (error) {
      this.tellFault(error);
      this.abort('internal-error');
    }
    if (this.phase === 'closed') this.#tellEnd();
  }

  /** A stream was opened: its deadlines are to be looked at soon. */
  protected watch(): void {
    const nowMs = this.network.nowMs;
    if (this.#timer.deadlineMs > nowMs + checkMs) this.#scheduleCheck(nowMs);
  }

  protected tellReset(stream: S, failure: StreamFailure): void {
    try {
      stream.sink.onReset(stream, failure);
    } catch (error) {
      this.tellFault(error);
    }
  }

  protected owe(stream: S, failure: StreamFailure): void {
    this.#owed.push({ stream, failure });
    this.touch();
  }

  protected faultOf(stream: S, error: unknown): void {
    this.tellFault(error);
    if (!stream.isClosed) this.connection.reset(stream, errorCodes.internalError);
  }

  resetStream(stream: S, reason: ResetReason): void {
    this.connection.reset(stream, codeOfReset[reason]);
    this.touch();
  }

  /** The peer has all it is to get: waits a little for it to close. `ending` is not changed by what follows. */
  protected finish(ending?: Ending): void {
    if (this.phase === 'closing' || this.phase === 'closed') return;
    if (ending !== undefined) this.#ending = ending;
    this.connection.isReading = false;
    this.phase = 'closing';
    // Also behind what the channel still holds: nothing follows it, and it says why.
    this.#writeGathered();
    this.channel.halfClose();
    this.network.timers.arm(this.#timer, this.network.nowMs + lingerMs);
    this.touch();
  }

  /** Ends the session for a deadline of its peer. */
  protected expireWith(reason: Reason, detail: string, code: ErrorCode): void {
    this.connection.goAway(this.connection.streams.lastPeerId, code);
    this.connection.isReading = false;
    this.#ending = { reason, detail };
    this.#endStreams();
    this.finish();
  }

  onTimer(nowMs: number): void {
    if (this.phase === 'closing') {
      this.#close();
      return;
    }
    try {
      this.check(nowMs);
    } catch (error) {
      this.tellFault(error);
      this.abort('internal-error');
    }
    if (this.phase === 'open' || this.phase === 'draining') this.#scheduleCheck(nowMs);
  }

  protected check(nowMs: number): void {
    const { connection, settings } = this;
    const sinceStartMs = nowMs - this.startedMs;
    if (!connection.hasPeerSettings && sinceStartMs >= settings.headTimeoutMs) {
      this.expireWith(this.lateReason, 'no SETTINGS', errorCodes.settingsTimeout);
    } else if (connection.isSettingsAckDue && sinceStartMs >= settings.headTimeoutMs) {
      this.expireWith(this.lateReason, 'no acknowledgement of SETTINGS', errorCodes.settingsTimeout);
    } else if (nowMs - connection.incompleteSinceMs >= settings.headTimeoutMs) {
      this.expireWith(this.lateReason, 'a head that does not end', errorCodes.enhanceYourCalm);
    } else if (connection.send.isBlocked && nowMs >= this.#blockedDeadlineMs()) {
      this.abort('body-stalled', 'the peer reads nothing');
    } else {
      for (const stream of connection.streams.all()) {
        if (this.phase === 'open' || this.phase === 'draining') this.#checkStall(stream, nowMs);
        if (!stream.isClosed) this.checkStream(stream, nowMs);
      }
    }
  }

  /** Data waits and the window lets nothing out. */
  #checkStall(stream: S, nowMs: number): void {
    if (stream.queuedBytes === 0 || this.connection.send.isBlocked) return;
    if (nowMs - stream.sentMs < this.settings.bodyIdleTimeoutMs) return;
    this.resetStream(stream, 'cancel');
    this.tellReset(stream, { reason: 'body-stalled', detail: 'zero window', isUnprocessed: false });
    this.connection.noteStall(nowMs);
  }

  #blockedDeadlineMs(): number {
    const drainMs = (this.#blockedBytes / slowestReaderRate) * 1000;
    return this.#blockedMs + Math.max(this.settings.bodyIdleTimeoutMs, drainMs);
  }

  #scheduleCheck(nowMs: number): void {
    const { connection, settings } = this;
    const isBusy =
      connection.streams.count > 0 ||
      connection.isSettingsAckDue ||
      connection.incompleteSinceMs !== Infinity ||
      connection.send.isBlocked ||
      this.phase === 'draining';
    const soonMs = nowMs + Math.min(checkMs, settings.headTimeoutMs, settings.bodyIdleTimeoutMs);
    const deadlineMs = isBusy ? soonMs : this.idleDeadlineMs();
    if (deadlineMs === Infinity) this.network.timers.arm(this.#timer, nowMs + 60_000);
    else this.network.timers.arm(this.#timer, Math.max(deadlineMs, nowMs + 1));
  }

  /** Writes what was gathered. Nothing is while the channel holds earlier output. */
  #write(): void {
    if (!this.connection.send.isBlocked) this.#writeGathered();
  }

  #writeGathered(): void {
    const { send } = this.connection;
    const { sink } = send;
    const { length } = sink;
    if (length === 0 || this.phase === 'closed') return;
    let isTaken: boolean;
    if (length <= textBytesMax) {
      isTaken = this.channel.writeLatin1(sink.bytes.latin1Slice(0, length));
      sink.length = 0;
    } else {
      isTaken = this.channel.write(sink.bytes.subarray(0, length));
      // The memory is ours again when the kernel has it all; else it is the channel's for good.
      if (isTaken) sink.length = 0;
      else sink.give();
    }
    if (sink.bytes.length > idleBytesMax && this.connection.streams.count === 0) sink.give();
    if (isTaken) return;
    send.isBlocked = true;
    this.#blockedMs = this.network.nowMs;
    this.#blockedBytes = length;
    // A session that thought itself idle is to look at this soon.
    if (this.phase !== 'closing') this.watch();
  }

  #payOwed(): void {
    if (this.#owed.length === 0) return;
    const owed = this.#owed;
    this.#owed = [];
    for (const { stream, failure } of owed) this.tellReset(stream, failure);
  }

  /** Every stream ends with the connection: to be called from the event loop. */
  #endStreams(): void {
    const { connection } = this;
    const { detail } = this.#ending;
    for (const stream of [...connection.streams.all(), ...this.takeUnsent()]) {
      connection.close(stream, 'reset');
      this.tellReset(stream, { reason: this.#streamReason(), detail, isUnprocessed: false });
    }
  }

  #streamReason(): Reason {
    const { reason } = this.#ending;
    return reason === 'session-closed' || reason === this.endReason || reason === this.resetReason
      ? this.lostReason
      : reason;
  }

  /** Lets go of the channel. What the owner learns, it learns from the event loop: in `flush`. */
  #close(): void {
    if (this.phase === 'closed') return;
    this.connection.isReading = false;
    // Before the phase changes, which would stop it.
    this.touch();
    this.phase = 'closed';
    this.network.timers.disarm(this.#timer);
    this.channel.close();
  }

  #tellEnd(): void {
    if (this.#isEndTold) return;
    this.#isEndTold = true;
    this.#endStreams();
    this.#payOwed();
    try {
      this.tellClosed(this.#ending.reason, this.#ending.detail);
    } catch (error) {
      this.tellFault(error);
    }
  }
}

class SessionTimer extends TimerEntry {
  readonly #session: { onTimer(nowMs: number): void };

  constructor(session: { onTimer(nowMs: number): void }) {
    super();
    this.#session = session;
  }

  override expire(nowMs: number): void {
    this.#session.onTimer(nowMs);
  }
}

function limitsOf(role: 'server' | 'client', settings: HttpSettings): ConnectionLimits {
  return {
    headBytesMax: settings.headBytesMax,
    headerCountMax: settings.headerCountMax,
    targetBytesMax: settings.targetBytesMax,
    streamsMax: role === 'server' ? settings.streamsMax : 0,
    streamWindowBytes: windowBytes,
    connectionWindowBytes,
  };
}
