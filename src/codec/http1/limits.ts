/** The bounds of the HTTP/1 codec, and how it refuses. */

import { ProtocolError } from '../../core/errors.ts';
import type { HostBytes } from '../../core/bytes.ts';
import { codecCodes } from '../codes.ts';

export interface Http1Limits {
  /** A head, from its first byte to the empty line, with it. */
  readonly headBytesMax: number;
  /** Fields of a head, and of a trailer section. */
  readonly headerCountMax: number;
  readonly targetBytesMax: number;
  /** A trailer section, with its empty line. */
  readonly trailerBytesMax: number;
  /** Extensions of one chunk, which nobody reads. */
  readonly chunkExtensionBytesMax: number;
}

/** By how much the extensions of a body may outgrow its data before it counts as an attack. */
export const chunkExcessBytesMax = 16 * 1024;

/** Digits of a chunk size, leading zeros included. */
export const chunkSizeDigitsMax = 16;

/** Informational responses before a final one. */
export const informationalMax = 32;

/** Memory from the host, for the part of a head that came without its end. */
export type Allocate = (byteCount: number) => HostBytes;

/** Who sent what is being read: it decides the code of every refusal. */
export type Side = 'downstream' | 'upstream';

/** Breaks the specification. */
export function malformed(side: Side, message: string): ProtocolError {
  if (side === 'upstream') return new ProtocolError(codecCodes.upstreamMalformed, message, 'upstream');
  return new ProtocolError(codecCodes.requestMalformed, message);
}

/** Two parsers could read it in two ways. */
export function ambiguous(side: Side, message: string): ProtocolError {
  if (side === 'upstream') return new ProtocolError(codecCodes.upstreamMalformed, message, 'upstream');
  return new ProtocolError(codecCodes.requestAmbiguous, message);
}

/** More than `headBytesMax`, `headerCountMax` or `trailerBytesMax`. */
export function oversized(side: Side, message: string): ProtocolError {
  if (side === 'upstream') return new ProtocolError(codecCodes.upstreamMalformed, message, 'upstream');
  return new ProtocolError(codecCodes.headOversized, message);
}
