/**
 * Request body that was received and must be kept: until an upstream stream is there to take it, and after that,
 * while it is small, so that the request can be sent a second time. Copies, because what arrives is a view.
 */
import type { HostBytes } from '../core/bytes.ts';

/** A body above it is not sent twice. */
export const replayBytesMax = 64 * 1024;

export class HeldBody {
  readonly chunks: HostBytes[] = [];
  byteCount = 0;

  keep(bytes: HostBytes): void {
    if (bytes.length === 0) return;
    this.chunks.push(Buffer.from(bytes) as unknown as HostBytes);
    this.byteCount += bytes.length;
  }

  /** As `keep`, while it stays small enough to be sent twice. False: it does not, and nothing was kept. */
  tryKeep(bytes: HostBytes): boolean {
    if (this.byteCount + bytes.length > replayBytesMax) return false;
    this.keep(bytes);
    return true;
  }
}
