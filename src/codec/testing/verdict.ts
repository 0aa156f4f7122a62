/** Feeds bytes to a reader in chunks, as a socket with one shared buffer would, and tells what came of it. */

import type { HostBytes } from '../../core/bytes.ts';
import { ProtocolError } from '../../core/errors.ts';

export type Verdict<Answer> =
  /** `chunkStart` is where the chunk that completed the answer begins. */
  | { readonly kind: 'answer'; readonly answer: Answer; readonly chunkStart: number }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | { readonly kind: 'more' };

/**
 * `cuts` are the offsets where `bytes` fall apart. Each chunk is overwritten once it was received: whoever kept a view
 * of it is found out. Errors other than ProtocolError are passed on, so that a test sees them.
 */
export function verdictOf<Answer>(
  receive: (chunk: HostBytes) => Answer | undefined,
  bytes: Uint8Array,
  cuts: readonly number[],
): Verdict<Answer> {
  const ends = [...cuts.filter((cut) => cut > 0 && cut < bytes.length), bytes.length].toSorted(
    (a, b) => a - b,
  );
  let chunkStart = 0;
  try {
    for (const end of ends) {
      const chunk = hostBytes(bytes.subarray(chunkStart, end));
      const answer = receive(chunk);
      chunk.fill(0xff);
      if (answer !== undefined) return { kind: 'answer', answer, chunkStart };
      chunkStart = end;
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { kind: 'refused', code: error.code, message: error.message };
  }
  return { kind: 'more' };
}

/** What a socket would hand over: a Buffer, whose latin1 methods Node's own types do not declare. */
export function hostBytes(buffer: Uint8Array): HostBytes {
  return buffer as HostBytes;
}

/** Cuts before every byte. */
export function bytewise(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}
