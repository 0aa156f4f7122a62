/** The bounds of an HTTP/1 connection: those of the settings, and those that nobody needs to set. */
import type { HostBytes } from '../core/bytes.ts';
import type { Http1Limits } from '../codec/http1/limits.ts';
import type { HttpSettings } from '../model/http-settings.ts';

const trailerBytesMax = 16 * 1024;
const chunkExtensionBytesMax = 256;

/** What is read and dropped of a request body nobody wants any more, before the connection is given up for it. */
export const discardBytesMax = 256 * 1024;

/** How long a connection we close stays open for reading, so that no reset destroys our last words on their way. */
export const lingerMs = 2_000;

/**
 * When a connection drains, a request that is on its way has this long to arrive. As HTTP/2's notice; HTTP/1 has no word
 * for it but the next response, and a client whose request meets an end instead sees it fail.
 */
export const drainNoticeMs = 1_000;

/** A client has this many times `bodyIdleTimeoutMs` to take what was sent to it: one window at most, unseen while it leaves. */
export const drainPatience = 2;

export function codecLimits(settings: HttpSettings): Http1Limits {
  const { headBytesMax, headerCountMax, targetBytesMax } = settings;
  return {
    headBytesMax,
    headerCountMax,
    targetBytesMax,
    trailerBytesMax: Math.min(trailerBytesMax, headBytesMax),
    chunkExtensionBytesMax,
  };
}

/** Memory for the codecs. */
export function allocate(byteCount: number): HostBytes {
  return Buffer.allocUnsafe(byteCount) as unknown as HostBytes;
}
