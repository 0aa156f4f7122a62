/**
 * Writes ClientHellos for tests, fuzzers and benchmarks: well-formed ones like those of real clients, and, because
 * every part may be given as raw bytes, malformed ones. No part of the proxy.
 */

export interface HelloExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

export interface HelloSpec {
  readonly legacyVersion?: number;
  readonly sessionId?: Uint8Array;
  readonly cipherSuites?: readonly number[];
  readonly compressionMethods?: readonly number[];
  /** Undefined leaves the whole extensions block out, as clients before TLS 1.3 may. */
  readonly extensions?: readonly HelloExtension[] | undefined;
}

/** The handshake message, header included. */
export function helloMessage(spec: HelloSpec): Uint8Array {
  const body = joined(
    uint16(spec.legacyVersion ?? 0x0303),
    filler(32),
    vector8(spec.sessionId ?? filler(32)),
    vector16(joined(...(spec.cipherSuites ?? [0x1301, 0x1302, 0x1303]).map(uint16))),
    vector8(Uint8Array.from(spec.compressionMethods ?? [0])),
    spec.extensions === undefined
      ? new Uint8Array(0)
      : vector16(joined(...spec.extensions.map(extensionBytes))),
  );
  return handshake(1, body);
}

export function handshake(type: number, body: Uint8Array): Uint8Array {
  return joined(Uint8Array.of(type, body.length >> 16, body.length >> 8, body.length), body);
}

/** Cuts a message into records: as long as `lengths` says, in turn, the rest in one. */
export function records(message: Uint8Array, lengths: readonly number[] = []): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const length of [...lengths, message.length]) {
    if (at >= message.length) break;
    parts.push(record(message.subarray(at, at + length)));
    at += length;
  }
  return joined(...parts);
}

export function record(payload: Uint8Array, type = 22, version = 0x0301): Uint8Array {
  return joined(Uint8Array.of(type), uint16(version), vector16(payload));
}

/** A hello of the shape Chrome sends: GREASE all over, ECH, padded or with a post-quantum key share. */
export function browserHello(serverName: string, keyShareBytes = 32): HelloSpec {
  const grease = 0x5a5a;
  return {
    cipherSuites: [
      grease,
      0x1301,
      0x1302,
      0x1303,
      0xc02b,
      0xc02f,
      0xc02c,
      0xc030,
      0xcca9,
      0xcca8,
      0xc013,
      0xc014,
    ],
    extensions: [
      { type: grease, data: new Uint8Array(0) },
      serverNameExtension(serverName),
      { type: 23, data: new Uint8Array(0) },
      { type: 0xff01, data: Uint8Array.of(0) },
      { type: 10, data: vector16(joined(uint16(grease), uint16(29), uint16(23), uint16(24))) },
      { type: 11, data: vector8(Uint8Array.of(0)) },
      { type: 35, data: new Uint8Array(0) },
      alpnExtension(['h2', 'http/1.1']),
      { type: 5, data: Uint8Array.of(1, 0, 0, 0, 0) },
      { type: 13, data: vector16(joined(uint16(0x0403), uint16(0x0804), uint16(0x0401), uint16(0x0503))) },
      { type: 18, data: new Uint8Array(0) },
      keyShareExtension(grease, keyShareBytes),
      { type: 45, data: vector8(Uint8Array.of(1)) },
      supportedVersionsExtension([grease, 0x0304, 0x0303]),
      { type: 27, data: vector8(uint16(2)) },
      echOuterExtension(144),
      { type: 0x8a8a, data: Uint8Array.of(0) },
    ],
  };
}

export function serverNameExtension(name: string): HelloExtension {
  return { type: 0, data: vector16(hostNameEntry(name)) };
}

/** One entry of a ServerNameList. */
export function hostNameEntry(name: string, type = 0): Uint8Array {
  return joined(Uint8Array.of(type), vector16(latin1(name)));
}

export function alpnExtension(protocols: readonly string[]): HelloExtension {
  return { type: 16, data: vector16(joined(...protocols.map((protocol) => vector8(latin1(protocol))))) };
}

export function supportedVersionsExtension(versions: readonly number[]): HelloExtension {
  return { type: 43, data: vector8(joined(...versions.map(uint16))) };
}

/** A GREASE share and one of `bytes` bytes: 32 for X25519, 1216 for X25519MLKEM768. */
export function keyShareExtension(grease: number, bytes: number): HelloExtension {
  const shares = joined(uint16(grease), vector16(Uint8Array.of(0)), uint16(0x11ec), vector16(filler(bytes)));
  return { type: 51, data: vector16(shares) };
}

export function echOuterExtension(payloadBytes: number): HelloExtension {
  const suite = Uint8Array.of(0, 0, 1, 0, 1);
  return {
    type: 0xfe0d,
    data: joined(suite, Uint8Array.of(7), vector16(filler(32)), vector16(filler(payloadBytes))),
  };
}

/** Padding (RFC 7685), to reach an exact size. */
export function paddingExtension(bytes: number): HelloExtension {
  return { type: 21, data: new Uint8Array(bytes) };
}

export function vector8(bytes: Uint8Array): Uint8Array {
  return joined(Uint8Array.of(bytes.length), bytes);
}

export function vector16(bytes: Uint8Array): Uint8Array {
  return joined(uint16(bytes.length), bytes);
}

export function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function extensionBytes(extension: HelloExtension): Uint8Array {
  return joined(uint16(extension.type), vector16(extension.data));
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value);
}

/** Stands for keys and randoms: the same in every run, and no zeros that a slip could read as lengths. */
function filler(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + 7) & 0xff);
}
