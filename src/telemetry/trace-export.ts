/**
 * Spans to a collector, by OTLP over HTTP as JSON (OTLP 1.x §JSON). One per worker.
 *
 * Spans wait in a bounded queue and leave in batches, one request at a time; what finds no room, or is not taken, is
 * dropped and counted. A collector that is gone costs the data path one comparison. Whether a trace is recorded is
 * its client's choice, so spans have a rate of their own: nobody makes us build more of them than that.
 */
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { TraceContext } from './trace-context.ts';

export interface Span {
  readonly context: TraceContext;
  /** `GET /api`: few and bounded, so the route rather than the path. */
  readonly name: string;
  readonly kind: 'server' | 'client';
  /** Unix time, in milliseconds with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly isError: boolean;
}

export interface SpanExporterOptions {
  readonly endpoint: string;
  readonly serviceVersion: string;
  /** Names this process among those of the service. */
  readonly instance: string;
  /** Told of spans that were dropped. */
  readonly onDropped: (count: number) => void;
  readonly limits?: Partial<SpanLimits>;
}

export interface SpanLimits {
  readonly queueMax: number;
  /** Taken in one second. */
  readonly perSecondMax: number;
  readonly batchMax: number;
  /** How long a span may wait for company. */
  readonly delayMs: number;
  /** Of one request; a collector that is slower has lost the batch. */
  readonly timeoutMs: number;
  /** What is left has this long to leave when the worker ends. */
  readonly closeMs: number;
  /** Of a text attribute or a name; more is cut. */
  readonly charactersMax: number;
}

const defaultLimits: SpanLimits = {
  queueMax: 4_096,
  perSecondMax: 2_000,
  batchMax: 512,
  delayMs: 1_000,
  timeoutMs: 10_000,
  closeMs: 2_000,
  charactersMax: 512,
};

export class SpanExporter {
  readonly #options: SpanExporterOptions;
  readonly #limits: SpanLimits;
  readonly #url: URL;
  #queue: Span[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | null = null;
  /** Of the second that began at `#secondMs`. */
  #taken = 0;
  #secondMs = 0;
  readonly #closing = new AbortController();

  constructor(options: SpanExporterOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#url = new URL(options.endpoint);
  }

  /** Takes a span of a trace that is sampled. Never throws. */
  add(span: Span): void {
    if (this.#queue.length >= this.#limits.queueMax || !this.#isInRate(span.endMs)) {
      return this.#options.onDropped(1);
    }
    this.#queue.push(span);
    if (this.#sending !== null) return;
    if (this.#queue.length >= this.#limits.batchMax) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), this.#limits.delayMs).unref();
  }

  /** Sends what waits, for the end of the worker. Takes `closeMs` at most; what is left then is dropped. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#closing.abort(), this.#limits.closeMs);
    while ((this.#queue.length > 0 || this.#sending !== null) && !this.#closing.signal.aborted) {
      if (this.#sending === null) this.#send();
      await this.#sending;
    }
    clearTimeout(timer);
    clearTimeout(this.#timer);
    if (this.#queue.length > 0) this.#options.onDropped(this.#queue.length);
    this.#queue = [];
  }

  #isInRate(nowMs: number): boolean {
    // Backwards too: it is the wall clock's time.
    if (Math.abs(nowMs - this.#secondMs) >= 1_000) {
      this.#secondMs = nowMs;
      this.#taken = 0;
    }
    return ++this.#taken <= this.#limits.perSecondMax;
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#queue.splice(0, this.#limits.batchMax);
    if (batch.length === 0) return;
    this.#sending = this.#post(batch).then((isTaken) => {
      this.#sending = null;
      if (!isTaken) this.#options.onDropped(batch.length);
      if (this.#queue.length > 0)
        this.#timer ??= setTimeout(() => this.#send(), isTaken ? 0 : this.#limits.delayMs).unref();
    });
  }

  /** Whether the collector took it. Never rejects. */
  #post(batch: readonly Span[]): Promise<boolean> {
    const body = Buffer.from(JSON.stringify(this.#message(batch)));
    const { timeoutMs } = this.#limits;
    const options: RequestOptions = {
      method: 'POST',
      // Without an agent of the process: nothing of its environment changes where this goes.
      agent: false,
      signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#closing.signal]),
      headers: { 'content-type': 'application/json', 'content-length': body.length },
    };
    return new Promise((resolve) => {
      const call = (this.#url.protocol === 'https:' ? httpsRequest : httpRequest)(
        this.#url,
        options,
        (response) => {
          response.resume();
          response.on('error', () => resolve(false));
          response.on('end', () => resolve(response.statusCode === 200));
        },
      );
      call.on('error', () => resolve(false));
      call.end(body);
    });
  }

  #message(batch: readonly Span[]): object {
    const { serviceVersion, instance } = this.#options;
    const resource = {
      'service.name': 'portcullis',
      'service.version': serviceVersion,
      'service.instance.id': instance,
    };
    return {
      resourceSpans: [
        {
          resource: { attributes: this.#attributes(resource) },
          scopeSpans: [
            {
              scope: { name: 'portcullis', version: serviceVersion },
              spans: batch.map((span) => this.#spanMessage(span)),
            },
          ],
        },
      ],
    };
  }

  #spanMessage({ context, name, kind, startMs, endMs, attributes, isError }: Span): object {
    return {
      traceId: context.traceId,
      spanId: context.spanId,
      ...(context.parentId === null ? {} : { parentSpanId: context.parentId }),
      name: name.slice(0, this.#limits.charactersMax).toWellFormed(),
      kind: kind === 'server' ? spanKindServer : spanKindClient,
      startTimeUnixNano: nanoseconds(startMs),
      endTimeUnixNano: nanoseconds(endMs),
      attributes: this.#attributes(attributes),
      status: isError ? { code: statusError } : {},
    };
  }

  #attributes(attributes: Span['attributes']): object[] {
    return Object.entries(attributes).map(([key, value]) => ({ key, value: this.#value(value) }));
  }

  #value(value: string | number | boolean): object {
    switch (typeof value) {
      case 'string':
        return { stringValue: value.slice(0, this.#limits.charactersMax).toWellFormed() };
      case 'boolean':
        return { boolValue: value };
      default:
        // 64-bit numbers are text in the JSON of Protobuf.
        return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
    }
  }
}

const spanKindServer = 2;
const spanKindClient = 3;
const statusError = 2;

/** A double holds today's time to a quarter of a microsecond; text holds the rest. */
function nanoseconds(ms: number): string {
  const whole = Math.floor(ms);
  return String(BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1e6)));
}
