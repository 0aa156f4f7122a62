/**
 * Traces of requests: each continues what its client began, or begins one, and becomes a span when it is over. One
 * per worker. Where nothing is traced there is none, and `traceparent` passes through like any field.
 */
import { getJoined, removeField, setField, type FieldList, type RequestHead } from '../codec/http-message.ts';
import { reasons } from '../core/reason.ts';
import type { RequestSummary } from '../telemetry/request-log.ts';
import { continueTrace, formatTraceparent, type TraceContext } from '../telemetry/trace-context.ts';
import type { Span, SpanExporter } from '../telemetry/trace-export.ts';

export class RequestTracing {
  readonly #exporter: Pick<SpanExporter, 'add'>;
  readonly #sampleRate: number;

  /** `sampleRate` is the share of new traces that are recorded, 0–1. */
  constructor(exporter: Pick<SpanExporter, 'add'>, sampleRate: number) {
    this.#exporter = exporter;
    this.#sampleRate = sampleRate;
  }

  begin(fields: FieldList): TraceContext {
    // Two fields are as good as none (§3.2.2.1), and joined they are not well-formed.
    return continueTrace(getJoined(fields, 'traceparent'), this.#sampleRate);
  }

  /** The request is over. `scheme` is that of the client's connection. */
  end(record: RequestSummary, scheme: RequestHead['scheme']): void {
    const { trace } = record;
    if (trace?.isSampled === true) this.#exporter.add(spanOf(record, trace, scheme, Date.now()));
  }
}

/** Tells the backend: our span is its parent. The state that came with a trace goes only where that trace goes. */
export function writeTrace(fields: FieldList, trace: TraceContext): void {
  if (trace.parentId === null) removeField(fields, 'tracestate');
  setField(fields, 'traceparent', formatTraceparent(trace));
}

/** In the words of OpenTelemetry's conventions for HTTP servers; what they have no word for has ours in front. */
function spanOf(record: RequestSummary, context: TraceContext, scheme: string, endMs: number): Span {
  const { routeId, status, reason, upstreamName, userAgent, ruleId } = record;
  const method = knownMethods.has(record.method) ? record.method : otherMethod;
  const query = record.path.indexOf('?');
  // An answer of 5xx is an error of the server; 4xx is the client's (conventions, "Status").
  const isError = status >= 500 || reasons[reason].outcome === 'failed';
  return {
    context,
    name: `${method === otherMethod ? 'HTTP' : method}${routeId === null ? '' : ` ${routeId}`}`,
    kind: 'server',
    startMs: endMs - record.totalMs,
    endMs,
    isError,
    attributes: {
      'http.request.method': method,
      ...(method === otherMethod ? { 'http.request.method_original': record.method } : {}),
      'url.scheme': scheme,
      // Without the query, which is where secrets are.
      'url.path': query < 0 ? record.path : record.path.slice(0, query),
      'server.address': record.host,
      'client.address': record.client,
      'network.protocol.version': record.downstreamVersion.slice('HTTP/'.length),
      ...(routeId === null ? {} : { 'http.route': routeId }),
      ...(status === 0 ? {} : { 'http.response.status_code': status }),
      ...(isError ? { 'error.type': reason === 'answered' ? String(status) : reason } : {}),
      ...(userAgent === undefined ? {} : { 'user_agent.original': userAgent }),
      'http.request.body.size': record.bytesIn,
      'http.response.body.size': record.bytesOut,
      'portcullis.request_id': record.id,
      'portcullis.listener': record.listener,
      'portcullis.reason': reason,
      ...(ruleId === null ? {} : { 'portcullis.rule': ruleId }),
      ...(upstreamName === null ? {} : { 'portcullis.upstream': upstreamName }),
      'portcullis.queue_ms': record.queueMs,
      'portcullis.connect_ms': record.connectMs,
      'portcullis.first_byte_ms': record.firstByteMs,
    },
  };
}

/** Others are a client's invention and would be a name of their own each. */
const knownMethods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
]);
const otherMethod = '_OTHER';
