/**
 * HTTP/2 engine, for both roles: RFC 9113, RFC 8441. Never touches sockets or clocks: bytes and the time go in,
 * calls of `ConnectionEvents` and bytes in `send.sink` come out.
 *
 * What a peer does wrong on a stream resets the stream; what leaves the connection's state in doubt, or costs
 * us more than it should, ends the connection with GOAWAY (§5.4).
 */
import type { HostBytes } from '../../core/bytes.ts';
import { ProtocolError } from '../../core/errors.ts';
import type { Allocate } from '../byte-sink.ts';
import type { DecoderScratch } from '../hpack/decoder.ts';
import type { FieldList, RequestHead, ResponseHead } from '../http-message.ts';
import { AbuseCounters } from './abuse.ts';
import type { ConnectionEvents, ResetCause } from './connection-events.ts';
import { AbuseError, ConnectionError } from './errors.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { closeHeaders, writeGoAway, writePing, writeReset, writeSettings } from './frame-writer.ts';
import { ControlFrames, uint32 } from './control-frames.ts';
import { HeaderBlock } from './header-block.ts';
import { HeadReceiver } from './head-receiver.ts';
import { HeadDecoder, type HeadLimits } from './head-decoder.ts';
import {
  errorCodes,
  flags,
  frameTypes,
  preface,
  settingIds,
  windowBytesDefault,
  windowBytesLimit,
  type ErrorCode,
} from './protocol.ts';
import { ReceiveWindows } from './receive-windows.ts';
import { SendSide } from './send-side.ts';
import type { Http2Stream } from './stream.ts';
import { StreamTable } from './stream-table.ts';

export interface ConnectionLimits extends HeadLimits {
  /** Streams the peer may have open at once; 0 for a client, whose server may open none. */
  readonly streamsMax: number;
  /** What a stream, and the whole connection, may hand out unconsumed. */
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
}

/** Memory of the host, and what all connections of a worker share of it. */
export interface ConnectionMemory {
  readonly allocate: Allocate;
  readonly scratch: DecoderScratch;
}

const pingPayload = new Uint8Array(8);

export class Http2Connection<S extends Http2Stream> implements FrameSink {
  readonly isServer: boolean;
  readonly limits: ConnectionLimits;
  readonly events: ConnectionEvents<S>;
  readonly streams: StreamTable<S>;
  readonly send: SendSide<S>;
  readonly abuse = new AbuseCounters();
  readonly windows: ReceiveWindows;
  readonly heads: HeadDecoder;
  /** True until the connection failed or was stopped: what still comes is not read. */
  isReading = true;
  /** False after the GOAWAY that named the last stream. */
  isAccepting = true;
  /** True until the peer acknowledged our settings. */
  isSettingsAckDue = true;
  hasPeerSettings = false;
  nowMs = 0;

  readonly #reader: FrameReader;
  readonly #block: HeaderBlock;
  readonly #receiver: HeadReceiver<S>;
  readonly #control: ControlFrames<S>;
  /** The stream of the DATA frame under way; undefined where nobody wants its bytes. */
  #dataStream: S | undefined;
  #isDataEnd = false;
  /** A window opened: what waits is sent when all that came was read. */
  mayPump = false;
  #holdCount = 0;
  #holdMs = 0;

  constructor(
    role: 'server' | 'client',
    limits: ConnectionLimits,
    memory: ConnectionMemory,
    events: ConnectionEvents<S>,
  ) {
    this.isServer = role === 'server';
    this.limits = limits;
    this.events = events;
    this.streams = new StreamTable(this.isServer);
    this.send = new SendSide<S>(
      {
        onOutputFull: () => events.onOutputFull(),
        onSendDrained: (stream) => events.onStreamDrain(stream),
        onSendEnd: (stream) => this.#onSendEnd(stream),
      },
      this.abuse,
      memory.allocate,
    );
    const { connectionWindowBytes, streamWindowBytes } = limits;
    this.windows = new ReceiveWindows(
      connectionWindowBytes,
      streamWindowBytes,
      this.send.sink,
      !this.isServer,
    );
    this.heads = new HeadDecoder(limits, memory.scratch);
    this.#reader = new FrameReader(this, memory.allocate, this.isServer);
    this.#block = new HeaderBlock(limits.headBytesMax, this.abuse, memory.allocate);
    this.#receiver = new HeadReceiver(this);
    this.#control = new ControlFrames(this);
  }

  /** Writes what opens a connection: preface and SETTINGS, and the connection's window. */
  open(): void {
    const { sink } = this.send;
    const { limits } = this;
    if (!this.isServer) {
      sink.ensure(preface.length);
      sink.length += sink.bytes.latin1Write(preface, sink.length);
    }
    const shared = [
      [settingIds.initialWindowSize, limits.streamWindowBytes],
      [settingIds.maxHeaderListSize, limits.headBytesMax],
    ] as const;
    writeSettings(
      sink,
      this.isServer
        ? [
            ...shared,
            [settingIds.maxConcurrentStreams, limits.streamsMax],
            [settingIds.enableConnectProtocol, 1],
          ]
        : [...shared, [settingIds.enablePush, 0]],
    );
    this.windows.open(limits.connectionWindowBytes - windowBytesDefault);
  }

  /** Since when a frame other than DATA, or a header block, waits for its rest; Infinity: none does. */
  get incompleteSinceMs(): number {
    const blockMs = this.#block.streamId === 0 ? Infinity : this.#block.beganMs;
    return this.#reader.isHolding ? Math.min(blockMs, this.#holdMs) : blockMs;
  }

  /** Bytes kept of what is not complete. */
  get heldBytes(): number {
    return this.#reader.heldBytes + this.#block.heldBytes;
  }

  receive(bytes: HostBytes, nowMs: number): void {
    this.nowMs = nowMs;
    this.send.nowMs = nowMs;
    try {
      this.#reader.receive(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.fail(error);
    }
    if (this.#reader.holdCount !== this.#holdCount) {
      this.#holdCount = this.#reader.holdCount;
      this.#holdMs = nowMs;
    }
    if (this.mayPump) {
      this.mayPump = false;
      this.send.pump();
    }
  }

  /** A deadline found a stream that the peer never let us send to: as `abuse`, from outside of `receive`. */
  noteStall(nowMs: number): void {
    try {
      this.abuse.spend('zero-window-stall', nowMs);
    } catch (error) {
      this.fail(error as ProtocolError);
    }
  }

  /** Sends GOAWAY and reads no more. */
  fail(error: ProtocolError): void {
    if (!this.isReading) return;
    this.isReading = false;
    const code =
      error instanceof ConnectionError || error instanceof AbuseError
        ? error.errorCode
        : errorCodes.compressionError;
    this.goAway(this.streams.lastPeerId, code);
    this.events.onFailed(error, code);
  }

  goAway(lastStreamId: number, code: ErrorCode): void {
    writeGoAway(this.send.sink, lastStreamId, code);
  }

  /** Says which streams were the last: what the peer opens from here on is not answered (§6.8). */
  stopAccepting(): void {
    this.isAccepting = false;
    this.goAway(this.streams.lastPeerId, errorCodes.noError);
  }

  ping(): void {
    writePing(this.send.sink, pingPayload, 0, false);
  }

  // --- what we send ---

  sendRequest(stream: S, head: RequestHead, isEnd: boolean): void {
    const start = this.send.beginHead();
    this.send.encoder.request(this.send.sink, head);
    this.#endHead(stream, start, isEnd);
  }

  sendResponse(stream: S, head: ResponseHead, isEnd: boolean): void {
    const start = this.send.beginHead();
    this.send.encoder.response(this.send.sink, head);
    this.#endHead(stream, start, isEnd);
  }

  sendInformational(stream: S, head: ResponseHead): void {
    const start = this.send.beginHead();
    this.send.encoder.response(this.send.sink, head);
    this.send.endHead(stream, start, false);
  }

  sendData(stream: S, bytes: Uint8Array, isEnd: boolean): boolean {
    if (stream.sendLeft >= 0) {
      stream.sendLeft -= bytes.length;
      if (stream.sendLeft < 0 || (isEnd && stream.sendLeft > 0)) {
        this.#failOurs(stream);
        return true;
      }
    }
    this.send.nowMs = this.nowMs;
    return this.send.sendData(stream, bytes, isEnd);
  }

  sendTrailers(stream: S, fields: FieldList): void {
    if (stream.sendLeft > 0) this.#failOurs(stream);
    else this.send.sendTrailers(stream, fields);
  }

  sendEnd(stream: S): void {
    if (stream.sendLeft > 0) this.#failOurs(stream);
    else this.send.sendEnd(stream);
  }

  /** Gives credit back for what `onData` handed out. */
  consume(stream: S, byteCount: number): void {
    this.windows.consume(stream, byteCount);
  }

  /** Ends a stream, without a call back. */
  reset(stream: S, code: ErrorCode): void {
    writeReset(this.send.sink, stream.id, code);
    this.streams.noteReset(stream.id);
    this.close(stream, 'reset');
  }

  /** Moves a stream, and drops it when both its directions are done. */
  close(stream: S, event: 'sendEnd' | 'receiveEnd' | 'reset'): void {
    if (stream.isClosed) return;
    stream.move(event);
    if (!stream.isClosed) return;
    // A busy client that cancels one call in ten must not pay for the nine.
    if (event !== 'reset') this.abuse.earn('rapid-reset', 1);
    this.streams.remove(stream);
    this.send.forget(stream);
    this.windows.settle(stream);
    this.events.onStreamGone(stream);
  }

  #endHead(stream: S, start: number, isEnd: boolean): void {
    if (!isEnd && !stream.isHeadRequest) stream.sendLeft = this.send.encoder.contentLength;
    this.send.endHead(stream, start, isEnd);
    if (isEnd) this.#onSendEnd(stream);
  }

  #onSendEnd(stream: S): void {
    this.close(stream, 'sendEnd');
  }

  #failOurs(stream: S): void {
    this.reset(stream, errorCodes.internalError);
    const detail = 'a body that differs from its content-length';
    this.events.onReset(stream, {
      kind: 'ours',
      code: errorCodes.internalError,
      detail,
      isUnprocessed: false,
    });
  }

  // --- what we receive ---

  /** The peer broke the protocol on one stream: it is reset, and its owner told. */
  failStream(stream: S, code: ErrorCode, detail: string): void {
    this.reset(stream, code);
    this.events.onReset(stream, { kind: 'fault', code, detail, isUnprocessed: false });
    this.abuse.spend('made-you-reset', this.nowMs);
  }

  /** Resets a stream that has no record. */
  refuseStream(streamId: number, code: ErrorCode): void {
    writeReset(this.send.sink, streamId, code);
    this.streams.noteReset(streamId);
    this.abuse.spend('made-you-reset', this.nowMs);
  }

  /** Answers a stream that has no record, with a head alone. */
  answerBare(streamId: number, status: number, isRequestDone: boolean): void {
    const start = this.send.beginHead();
    this.send.encoder.response(this.send.sink, { status, fields: ['content-length', '0'] });
    closeHeaders(this.send.sink, start, streamId, true, this.send.peer.frameBytesMax);
    if (!isRequestDone) writeReset(this.send.sink, streamId, errorCodes.noError);
    this.streams.noteReset(streamId);
  }

  /** A message is complete on its way in. */
  endReceiving(stream: S): void {
    stream.receivePhase = 'done';
    this.close(stream, 'receiveEnd');
  }

  onFrame(
    type: number,
    flagBits: number,
    streamId: number,
    bytes: HostBytes,
    start: number,
    end: number,
  ): void {
    this.#expect(type, flagBits, streamId);
    switch (type) {
      case frameTypes.headers:
        this.#onHeaders(flagBits, streamId, bytes, start, end);
        break;
      case frameTypes.continuation:
        if (this.#block.append(flagBits, bytes, start, end, this.nowMs)) this.#onBlock();
        break;
      case frameTypes.windowUpdate:
        this.#onWindowUpdate(streamId, uint32(bytes, start, end, 4) & 0x7fffffff);
        break;
      case frameTypes.resetStream:
        this.#onResetStream(streamId, uint32(bytes, start, end, 4));
        break;
      case frameTypes.settings:
        this.#control.onSettings(flagBits, streamId, bytes, start, end);
        break;
      case frameTypes.ping:
        this.#control.onPing(flagBits, streamId, bytes, start, end);
        break;
      case frameTypes.goAway:
        this.#control.onGoAway(streamId, bytes, start, end);
        break;
      case frameTypes.priority:
        this.#control.onPriority(streamId, bytes, start, end);
        break;
      case frameTypes.pushPromise:
        // We never allow one, and a client never may (§8.4).
        throw new ConnectionError(errorCodes.protocolError, 'a push');
      default:
        this.abuse.spend('priority-flood', this.nowMs);
    }
  }

  onDataFrame(flagBits: number, streamId: number, length: number, padding: number): void {
    this.#expect(frameTypes.data, flagBits, streamId);
    this.#isDataEnd = (flagBits & flags.endStream) !== 0;
    this.windows.receive(length);
    const stream = this.#receivingStream(streamId);
    this.#dataStream = stream;
    if (length === padding && !this.#isDataEnd) this.abuse.spend('empty-frames', this.nowMs);
    if (stream === undefined) {
      // Nobody will consume it.
      this.windows.credit(length);
      return;
    }
    this.windows.receiveOn(stream, length);
    if (padding > 0) this.windows.consume(stream, padding);
    if (stream.receiveWindow < 0) {
      this.#dataStream = undefined;
      this.failStream(stream, errorCodes.flowControlError, 'more than the window of the stream');
    } else if (!this.#countBody(stream, length - padding)) {
      this.#dataStream = undefined;
      this.failStream(stream, errorCodes.protocolError, 'a body that differs from its content-length');
    }
  }

  onDataPiece(bytes: HostBytes, start: number, end: number, isLast: boolean): void {
    const stream = this.#dataStream;
    if (stream === undefined || stream.isClosed) return;
    const length = end - start;
    const isEnd = isLast && this.#isDataEnd;
    stream.receivedMs = this.nowMs;
    stream.receivedBytes += length;
    if (length > 0) this.abuse.earn('ping-flood', 1);
    if (isEnd) this.endReceiving(stream);
    if (length > 0) {
      const isWhole = start === 0 && end === bytes.length;
      this.events.onStreamData(stream, isWhole ? bytes : bytes.subarray(start, end), isEnd);
    } else if (isEnd) {
      this.events.onStreamEnd(stream);
    }
  }

  /** Counts a frame, before its first piece, against the length that was announced. */
  #countBody(stream: S, byteCount: number): boolean {
    if (stream.receiveLeft < 0) return true;
    stream.receiveLeft -= byteCount;
    return this.#isDataEnd ? stream.receiveLeft === 0 : stream.receiveLeft >= 0;
  }

  /** What must hold of every frame, by where it comes (§3.4, §4.3). */
  #expect(type: number, flagBits: number, streamId: number): void {
    if (!this.hasPeerSettings && (type !== frameTypes.settings || (flagBits & flags.ack) !== 0))
      throw new ConnectionError(errorCodes.protocolError, 'no SETTINGS at the beginning');
    const expected = this.#block.streamId;
    if (
      expected === 0
        ? type === frameTypes.continuation
        : type !== frameTypes.continuation || streamId !== expected
    )
      throw new ConnectionError(errorCodes.protocolError, 'a header block that is not continued');
  }

  /** The stream a DATA frame is for, or undefined where its bytes are to be dropped. */
  #receivingStream(streamId: number): S | undefined {
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.streams.isIdle(streamId))
        throw new ConnectionError(errorCodes.protocolError, 'DATA on an idle stream');
      if (!this.streams.wasReset(streamId)) this.refuseStream(streamId, errorCodes.streamClosed);
      return undefined;
    }
    if (stream.isRemoteDone) {
      this.failStream(stream, errorCodes.streamClosed, 'DATA after the end');
      return undefined;
    }
    if (stream.receivePhase !== 'body') {
      this.failStream(stream, errorCodes.protocolError, 'DATA before a head');
      return undefined;
    }
    return stream;
  }

  #onHeaders(flagBits: number, streamId: number, bytes: HostBytes, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(errorCodes.protocolError, 'HEADERS on stream 0');
    if (this.#block.begin(flagBits, streamId, bytes, start, end, this.nowMs)) this.#onBlock();
  }

  #onBlock(): void {
    const block = this.#block;
    const { streamId } = block;
    block.streamId = 0;
    this.#receiver.receive(streamId, block);
    block.release();
  }

  #onWindowUpdate(streamId: number, increment: number): void {
    this.abuse.spend('window-update-flood', this.nowMs);
    if (streamId === 0) {
      if (increment === 0) throw new ConnectionError(errorCodes.protocolError, 'a window update of nothing');
      this.send.openWindow(increment);
      this.mayPump = true;
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.streams.isIdle(streamId))
        throw new ConnectionError(errorCodes.protocolError, 'WINDOW_UPDATE on an idle stream');
      // An honest update may come late; one of nothing is wrong at any time (§6.9).
      if (increment === 0) this.refuseStream(streamId, errorCodes.protocolError);
      return;
    }
    if (increment === 0) {
      this.failStream(stream, errorCodes.protocolError, 'a window update of nothing');
      return;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > windowBytesLimit) {
      this.failStream(stream, errorCodes.flowControlError, 'the window of a stream passes the limit');
      return;
    }
    if (stream.isQueueing) this.send.wake(stream);
    this.mayPump = true;
  }

  #onResetStream(streamId: number, code: ErrorCode): void {
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.streams.isIdle(streamId))
        throw new ConnectionError(errorCodes.protocolError, 'RST_STREAM on an idle stream');
      this.abuse.spend('reset-flood', this.nowMs);
      return;
    }
    this.close(stream, 'reset');
    // Only a peer that refused, before it sent anything, certainly did nothing (§8.7).
    const isUnprocessed = code === errorCodes.refusedStream && stream.receivePhase === 'head';
    const cause: ResetCause = { kind: 'peer', code, detail: 'RST_STREAM', isUnprocessed };
    this.events.onReset(stream, cause);
    this.abuse.spend('rapid-reset', this.nowMs);
  }
}
