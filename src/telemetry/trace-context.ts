/**
 * W3C Trace Context, level 1: `traceparent` read, continued or begun. Pure functions; randomness comes in.
 *
 * A header that is not exactly right is as good as none (§3.2.2.3): a new trace begins, and nothing of it is passed on.
 */
import { randomFillSync } from 'node:crypto';

export interface TraceContext {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** Of our own span, 16 digits. */
  readonly spanId: string;
  /** Of the caller's span; null when the trace begins here. */
  readonly parentId: string | null;
  readonly isSampled: boolean;
}

/** What a caller sent. */
export interface TraceParent {
  readonly traceId: string;
  readonly parentId: string;
  readonly isSampled: boolean;
}

/** Undefined: none, or not well-formed. Versions above 00 are read as 00 and may have more behind it (§4.3). */
export function parseTraceparent(value: string | undefined): TraceParent | undefined {
  if (value === undefined || value.length > traceparentCharactersMax) return undefined;
  const match = traceparentPattern.exec(value);
  if (match === null) return undefined;
  const [, version, traceId, parentId, flags, rest] = match as unknown as readonly string[];
  if (version === 'ff' || (version === '00' && rest !== '')) return undefined;
  if (traceId === zeroTrace || parentId === zeroSpan) return undefined;
  return { traceId: traceId!, parentId: parentId!, isSampled: (Number.parseInt(flags!, 16) & 1) === 1 };
}

/** Continues what the caller began with the caller's own decision, or begins and decides by `sampleRate`. */
export function continueTrace(
  traceparent: string | undefined,
  sampleRate: number,
  random: () => number = Math.random,
): TraceContext {
  const parent = parseTraceparent(traceparent);
  const spanId = randomHex(spanBytes);
  if (parent !== undefined) return { ...parent, spanId };
  return { traceId: randomHex(traceBytes), spanId, parentId: null, isSampled: random() < sampleRate };
}

/** What goes to the backend: our span is the parent there. */
export function formatTraceparent({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`;
}

const traceparentPattern = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(|-.*)$/;
/** A version to come may be longer; what is longer than this is nobody's. */
const traceparentCharactersMax = 256;
const zeroTrace = '0'.repeat(32);
const zeroSpan = '0'.repeat(16);
const traceBytes = 16;
const spanBytes = 8;

/** Random bytes are fetched many at a time: one by one they cost a microsecond. */
const pool = Buffer.alloc(4096);
let poolUsed = pool.length;

/** Never all zero, which would be no id. */
function randomHex(bytes: number): string {
  for (;;) {
    if (poolUsed + bytes > pool.length) {
      randomFillSync(pool);
      poolUsed = 0;
    }
    const text = pool.toString('hex', poolUsed, (poolUsed += bytes));
    if (/[^0]/.test(text)) return text;
  }
}
