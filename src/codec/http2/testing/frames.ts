/** Writes frames by hand, right and wrong ones, for tests and fuzzers. No part of the proxy. */
import { frameTypes, flags } from '../protocol.ts';

export function frame(
  type: number,
  flagBits: number,
  streamId: number,
  payload: Uint8Array | string = '',
): string {
  const body = typeof payload === 'string' ? payload : text(payload);
  const { length } = body;
  return text([length >> 16, length >> 8, length, type, flagBits, ...uint32Bytes(streamId)]) + body;
}

export const emptySettings: string = frame(frameTypes.settings, 0, 0);
export const settingsAck: string = frame(frameTypes.settings, flags.ack, 0);

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): string {
  const payload = pairs.map(([id, value]) => text([id >> 8, id, ...uint32Bytes(value)])).join('');
  return frame(frameTypes.settings, 0, 0, payload);
}

/** HEADERS with the whole block; `isEnd` ends the stream. */
export function headers(streamId: number, block: string, isEnd = true): string {
  return frame(frameTypes.headers, flags.endHeaders | (isEnd ? flags.endStream : 0), streamId, block);
}

export function data(streamId: number, payload: string, isEnd = false): string {
  return frame(frameTypes.data, isEnd ? flags.endStream : 0, streamId, payload);
}

export function windowUpdate(streamId: number, increment: number): string {
  return frame(frameTypes.windowUpdate, 0, streamId, text(uint32Bytes(increment)));
}

export function resetStream(streamId: number, code: number): string {
  return frame(frameTypes.resetStream, 0, streamId, text(uint32Bytes(code)));
}

export function goAway(lastStreamId: number, code: number): string {
  return frame(frameTypes.goAway, 0, 0, text([...uint32Bytes(lastStreamId), ...uint32Bytes(code)]));
}

/** A block of literal fields that touches no table. */
export function literals(...fields: readonly string[]): string {
  let block = '';
  for (let at = 0; at < fields.length; at += 2)
    block += text([0]) + literal(fields[at]!) + literal(fields[at + 1]!);
  return block;
}

export function request(method = 'GET', path = '/', ...fields: readonly string[]): string {
  return literals(':method', method, ':scheme', 'http', ':authority', 'a.test', ':path', path, ...fields);
}

/** What a peer wrote, frame by frame: `HEADERS 1 end`, `RST_STREAM 3 8`. */
export function summary(bytes: string): string[] {
  const lines: string[] = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const length = number(bytes, at, 3);
    const type = bytes.charCodeAt(at + 3);
    const flagBits = bytes.charCodeAt(at + 4);
    lines.push(line(type, flagBits, number(bytes, at + 5, 4), bytes.slice(at + 9, at + 9 + length)));
    at += 9 + length;
  }
  return lines;
}

const names = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
];

function line(type: number, flagBits: number, streamId: number, payload: string): string {
  const name = names[type] ?? 'UNKNOWN';
  const end = (flagBits & 1) === 0 ? '' : type <= 1 ? ' end' : ' ack';
  switch (type) {
    case frameTypes.data:
      return `${name} ${streamId} ${payload.length}${end}`;
    case frameTypes.goAway:
      return `${name} ${number(payload, 0, 4)} ${number(payload, 4, 4)}`;
    case frameTypes.resetStream:
    case frameTypes.windowUpdate:
      return `${name} ${streamId} ${number(payload, 0, 4)}`;
    default:
      return streamId === 0 ? `${name}${end}` : `${name} ${streamId}${end}`;
  }
}

function number(bytes: string, at: number, count: number): number {
  let value = 0;
  for (let index = 0; index < count; index++) value = value * 256 + bytes.charCodeAt(at + index);
  return value;
}

function literal(value: string): string {
  if (value.length < 127) return text([value.length]) + value;
  const rest = value.length - 127;
  return text(rest < 128 ? [127, rest] : [127, (rest & 127) | 128, rest >> 7]) + value;
}

function uint32Bytes(value: number): number[] {
  return [value >>> 24, value >>> 16, value >>> 8, value];
}

function text(bytes: ArrayLike<number>): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte & 255)).join('');
}
