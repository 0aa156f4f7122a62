/** Frames that concern the connection, and PRIORITY: RFC 9113 §6.3, §6.5, §6.7, §6.8. */
import type { HostBytes } from '../../core/bytes.ts';
import type { Http2Connection } from './connection.ts';
import { ConnectionError } from './errors.ts';
import { writePing, writeSettingsAck } from './frame-writer.ts';
import { errorCodes, flags, streamIdMax, windowBytesLimit } from './protocol.ts';
import type { Http2Stream } from './stream.ts';

export class ControlFrames<S extends Http2Stream> {
  readonly #connection: Http2Connection<S>;

  constructor(connection: Http2Connection<S>) {
    this.#connection = connection;
  }

  onSettings(flagBits: number, streamId: number, bytes: HostBytes, start: number, end: number): void {
    const connection = this.#connection;
    if (streamId !== 0) throw new ConnectionError(errorCodes.protocolError, 'SETTINGS on a stream');
    const length = end - start;
    if ((flagBits & flags.ack) !== 0) {
      if (length > 0)
        throw new ConnectionError(errorCodes.frameSizeError, 'an acknowledgement with a payload');
      // One that answers nothing of ours is a frame for free.
      if (!connection.isSettingsAckDue) connection.abuse.spend('settings-flood', connection.nowMs);
      connection.isSettingsAckDue = false;
      connection.events.onSettingsAck();
      return;
    }
    if (length % 6 !== 0) throw new ConnectionError(errorCodes.frameSizeError, 'SETTINGS cut off');
    connection.abuse.spend('settings-flood', connection.nowMs);
    const { peer } = connection.send;
    const windowBefore = peer.windowBytes;
    for (let at = start; at < end; at += 6) {
      peer.apply((bytes[at]! << 8) | bytes[at + 1]!, uint32(bytes, at + 2, at + 6, 4), !connection.isServer);
    }
    connection.send.encoder.setTableBytesMax(peer.headerTableBytes);
    writeSettingsAck(connection.send.sink);
    this.#shiftWindows(peer.windowBytes - windowBefore);
    const isFirst = !connection.hasPeerSettings;
    connection.hasPeerSettings = true;
    connection.events.onPeerSettings(isFirst);
  }

  onPing(flagBits: number, streamId: number, bytes: HostBytes, start: number, end: number): void {
    const connection = this.#connection;
    if (streamId !== 0) throw new ConnectionError(errorCodes.protocolError, 'PING on a stream');
    if (end - start !== 8) throw new ConnectionError(errorCodes.frameSizeError, 'a PING of another length');
    if ((flagBits & flags.ack) !== 0) {
      connection.events.onPong();
      return;
    }
    connection.abuse.spend('ping-flood', connection.nowMs);
    writePing(connection.send.sink, bytes, start, true);
  }

  onGoAway(streamId: number, bytes: HostBytes, start: number, end: number): void {
    const connection = this.#connection;
    if (streamId !== 0) throw new ConnectionError(errorCodes.protocolError, 'GOAWAY on a stream');
    if (end - start < 8) throw new ConnectionError(errorCodes.frameSizeError, 'GOAWAY cut off');
    connection.abuse.spend('settings-flood', connection.nowMs);
    const lastStreamId = uint32(bytes, start, start + 4, 4) & streamIdMax;
    connection.events.onGoAway(lastStreamId, uint32(bytes, start + 4, start + 8, 4));
  }

  /** Priorities are ignored; what contradicts itself is not (RFC 7540 §5.3.1, kept by RFC 9113 §5.3.2 as a frame). */
  onPriority(streamId: number, bytes: HostBytes, start: number, end: number): void {
    const connection = this.#connection;
    if (streamId === 0) throw new ConnectionError(errorCodes.protocolError, 'PRIORITY on stream 0');
    connection.abuse.spend('priority-flood', connection.nowMs);
    const isCut = end - start !== 5;
    if (!isCut && (uint32(bytes, start, start + 4, 4) & streamIdMax) !== streamId) return;
    const code = isCut ? errorCodes.frameSizeError : errorCodes.protocolError;
    const stream = connection.streams.get(streamId);
    if (stream === undefined) connection.refuseStream(streamId, code);
    else connection.failStream(stream, code, 'a bad priority');
  }

  /** A new initial window moves every stream's window by the difference (§6.9.2). */
  #shiftWindows(difference: number): void {
    const connection = this.#connection;
    if (difference === 0) return;
    for (const stream of connection.streams.all()) {
      stream.sendWindow += difference;
      if (stream.sendWindow > windowBytesLimit)
        throw new ConnectionError(errorCodes.flowControlError, 'the window of a stream passes the limit');
      if (stream.isQueueing) connection.send.wake(stream);
    }
    connection.mayPump = true;
  }
}

/** The number at `start`; what surrounds it must have `length` bytes exactly. */
export function uint32(bytes: Uint8Array, start: number, end: number, length: number): number {
  if (end - start !== length)
    throw new ConnectionError(errorCodes.frameSizeError, 'a frame of the wrong length');
  return (
    ((bytes[start]! << 24) | (bytes[start + 1]! << 16) | (bytes[start + 2]! << 8) | bytes[start + 3]!) >>> 0
  );
}
