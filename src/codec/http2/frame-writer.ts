/** Writes frames: RFC 9113 §4.1, §6. Payloads that the caller gives are trusted to fit the peer's frame size. */
import { copyOf, type ByteSink } from '../byte-sink.ts';
import { flags, frameHeaderBytes, frameTypes, type ErrorCode } from './protocol.ts';

export function writeFrameHeader(
  sink: ByteSink,
  length: number,
  type: number,
  flagBits: number,
  streamId: number,
): void {
  sink.ensure(frameHeaderBytes);
  const { bytes } = sink;
  const at = sink.length;
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flagBits;
  putUint32(bytes, at + 5, streamId);
  sink.length = at + frameHeaderBytes;
}

/** One DATA frame of `bytes` from `start`, `length` long. */
export function writeData(
  sink: ByteSink,
  streamId: number,
  bytes: Uint8Array,
  start: number,
  length: number,
  isEnd: boolean,
): void {
  sink.ensure(frameHeaderBytes + length);
  writeFrameHeader(sink, length, frameTypes.data, isEnd ? flags.endStream : 0, streamId);
  sink.bytes.set(
    start === 0 && length === bytes.length ? bytes : bytes.subarray(start, start + length),
    sink.length,
  );
  sink.length += length;
}

export function writeWindowUpdate(sink: ByteSink, streamId: number, increment: number): void {
  writeFrameHeader(sink, 4, frameTypes.windowUpdate, 0, streamId);
  writeUint32(sink, increment);
}

export function writeReset(sink: ByteSink, streamId: number, code: ErrorCode): void {
  writeFrameHeader(sink, 4, frameTypes.resetStream, 0, streamId);
  writeUint32(sink, code);
}

export function writeGoAway(sink: ByteSink, lastStreamId: number, code: ErrorCode): void {
  writeFrameHeader(sink, 8, frameTypes.goAway, 0, 0);
  writeUint32(sink, lastStreamId);
  writeUint32(sink, code);
}

export function writeSettings(
  sink: ByteSink,
  settings: readonly (readonly [id: number, value: number])[],
): void {
  writeFrameHeader(sink, settings.length * 6, frameTypes.settings, 0, 0);
  for (const [id, value] of settings) {
    sink.ensure(6);
    sink.bytes[sink.length++] = id >>> 8;
    sink.bytes[sink.length++] = id;
    writeUint32(sink, value);
  }
}

export function writeSettingsAck(sink: ByteSink): void {
  writeFrameHeader(sink, 0, frameTypes.settings, flags.ack, 0);
}

/** `payload` holds eight bytes from `start`. */
export function writePing(sink: ByteSink, payload: Uint8Array, start: number, isAck: boolean): void {
  writeFrameHeader(sink, 8, frameTypes.ping, isAck ? flags.ack : 0, 0);
  sink.append(payload.subarray(start, start + 8));
}

/**
 * Turns the header block at the sink's end, written behind room for one frame header at `start`, into HEADERS
 * and as many CONTINUATIONs as the peer's frame size asks for.
 */
export function closeHeaders(
  sink: ByteSink,
  start: number,
  streamId: number,
  isEnd: boolean,
  frameBytesMax: number,
): void {
  const blockBytes = sink.length - start - frameHeaderBytes;
  const endFlag = isEnd ? flags.endStream : 0;
  if (blockBytes <= frameBytesMax) {
    const end = sink.length;
    sink.length = start;
    writeFrameHeader(sink, blockBytes, frameTypes.headers, endFlag | flags.endHeaders, streamId);
    sink.length = end;
    return;
  }
  const block = copyOf(sink.bytes, start + frameHeaderBytes, sink.length);
  sink.length = start;
  for (let at = 0; at < block.length; at += frameBytesMax) {
    const part = block.subarray(at, at + frameBytesMax);
    const isLast = at + frameBytesMax >= block.length;
    const type = at === 0 ? frameTypes.headers : frameTypes.continuation;
    const flagBits = (at === 0 ? endFlag : 0) | (isLast ? flags.endHeaders : 0);
    writeFrameHeader(sink, part.length, type, flagBits, streamId);
    sink.append(part);
  }
}

export function writeUint32(sink: ByteSink, value: number): void {
  sink.ensure(4);
  putUint32(sink.bytes, sink.length, value);
  sink.length += 4;
}

function putUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
