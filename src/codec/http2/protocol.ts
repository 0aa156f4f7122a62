/** The numbers of HTTP/2: RFC 9113 §4.1, §6, §7, §11. */

export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export const frameHeaderBytes = 9;
/** The largest payload both sides begin with. We ask for no more: DATA is read piece by piece anyway. */
export const frameBytesDefault = 16_384;
export const frameBytesLimit = 0xffffff;
export const windowBytesDefault = 65_535;
export const windowBytesLimit = 0x7fffffff;
export const streamIdMax = 0x7fffffff;

export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flags = {
  /** On DATA and HEADERS. */
  endStream: 0x1,
  /** On SETTINGS and PING. */
  ack: 0x1,
  endHeaders: 0x4,
  padded: 0x8,
  priority: 0x20,
} as const;

export const settingIds = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  /** RFC 8441 §3. */
  enableConnectProtocol: 8,
} as const;

export const errorCodes = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13,
} as const;

/** Any code is legal on the wire; what is not listed means the same as `internalError` (§7). */
export type ErrorCode = number;

const errorNames = new Map<number, string>(Object.entries(errorCodes).map(([name, code]) => [code, name]));

/** For logs: a name of the table, never bytes of the peer. */
export function errorName(code: ErrorCode): string {
  return errorNames.get(code) ?? 'unknown';
}
