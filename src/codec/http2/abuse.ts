/**
 * What an HTTP/2 peer may do for free, and how often: a bucket of tokens for each kind of thing that costs us
 * more than it costs the peer. Never touches a clock: time is passed in.
 *
 * Honest peers also send such frames, the more of them the more they transfer; so work that goes forward gives
 * tokens back (`earn`), and only what comes without work runs a bucket dry.
 */
import { AbuseError } from './errors.ts';

export interface AbuseFacts {
  /** How many at once. */
  readonly burst: number;
  /** How many more each second. */
  readonly perSecond: number;
  /** The metric that counts connections ended for it. */
  readonly counter: string;
  readonly meaning: string;
}

export const abuseFacts = {
  'rapid-reset': {
    burst: 400,
    perSecond: 40,
    counter: 'http2_abuse_rapid_reset',
    meaning: 'Requests opened and cancelled again and again (CVE-2023-44487), or opened beyond the limit.',
  },
  'made-you-reset': {
    burst: 100,
    perSecond: 10,
    counter: 'http2_abuse_made_you_reset',
    meaning: 'Faults that make the server reset streams whose requests are under way (CVE-2025-8671).',
  },
  'continuation-flood': {
    burst: 1,
    perSecond: 0,
    counter: 'http2_abuse_continuation_flood',
    meaning: 'A header block of more frames or bytes than any head needs (CVE-2024-27316 and others).',
  },
  'settings-flood': {
    burst: 50,
    perSecond: 5,
    counter: 'http2_abuse_settings_flood',
    meaning: 'SETTINGS that ask for acknowledgements and change nothing for long (CVE-2019-9515).',
  },
  'ping-flood': {
    burst: 500,
    perSecond: 100,
    counter: 'http2_abuse_ping_flood',
    meaning: 'PINGs beyond what measuring a connection takes (CVE-2019-9512).',
  },
  'hpack-bomb': {
    burst: 8,
    perSecond: 1,
    counter: 'http2_abuse_hpack_bomb',
    meaning: 'Small header blocks that name lists beyond the limit (CVE-2016-6581).',
  },
  'zero-window-stall': {
    burst: 16,
    perSecond: 0.1,
    counter: 'http2_abuse_zero_window_stall',
    meaning: 'Responses asked for and never let out by the window (CVE-2019-9511, CVE-2019-9517).',
  },
  'empty-frames': {
    burst: 100,
    perSecond: 10,
    counter: 'http2_abuse_empty_frames',
    meaning: 'DATA, HEADERS or CONTINUATION that carry nothing (CVE-2019-9518).',
  },
  'window-update-flood': {
    burst: 1000,
    perSecond: 500,
    counter: 'http2_abuse_window_update_flood',
    meaning: 'WINDOW_UPDATEs beyond what was sent to the peer.',
  },
  'priority-flood': {
    burst: 500,
    perSecond: 50,
    counter: 'http2_abuse_priority_flood',
    meaning: 'PRIORITY and frames of unknown types, which ask for nothing (CVE-2019-9513).',
  },
  'reset-flood': {
    burst: 200,
    perSecond: 20,
    counter: 'http2_abuse_reset_flood',
    meaning: 'RST_STREAM for streams that had ended (CVE-2019-9514).',
  },
} as const satisfies Record<string, AbuseFacts>;

export type AbuseKind = keyof typeof abuseFacts;

export const abuseKinds = Object.keys(abuseFacts) as AbuseKind[];

interface Bucket {
  tokens: number;
  filledMs: number;
}

export class AbuseCounters {
  /** Made when first used: most connections need none. */
  readonly #buckets = new Map<AbuseKind, Bucket>();
  readonly #facts: Readonly<Record<AbuseKind, AbuseFacts>>;

  constructor(facts: Readonly<Record<AbuseKind, AbuseFacts>> = abuseFacts) {
    this.#facts = facts;
  }

  /** Takes a token; throws when there is none left. */
  spend(kind: AbuseKind, nowMs: number): void {
    const { burst, perSecond } = this.#facts[kind];
    let bucket = this.#buckets.get(kind);
    if (bucket === undefined) this.#buckets.set(kind, (bucket = { tokens: burst, filledMs: nowMs }));
    const passedMs = Math.max(nowMs - bucket.filledMs, 0);
    bucket.tokens = Math.min(burst, bucket.tokens + (passedMs / 1000) * perSecond);
    bucket.filledMs = nowMs;
    if (bucket.tokens < 1) throw new AbuseError(kind);
    bucket.tokens--;
  }

  /** Gives `count` tokens back, for work that went forward. */
  earn(kind: AbuseKind, count: number): void {
    const bucket = this.#buckets.get(kind);
    if (bucket !== undefined) bucket.tokens = Math.min(this.#facts[kind].burst, bucket.tokens + count);
  }
}
