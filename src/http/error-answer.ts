/**
 * Every answer that the proxy makes itself: its status, its `Proxy-Status` (RFC 9209), and a short body that fits
 * the client. Nothing of the request is said back.
 */
import { reasons, type Reason } from '../core/reason.ts';
import { getField, type FieldList, type RequestHead, type ResponseHead } from '../codec/http-message.ts';
import type { FilterAnswer } from './filter.ts';

export interface LocalAnswer {
  readonly head: ResponseHead;
  /** Null: no body, the head ends the answer. */
  readonly body: string | null;
}

/** The status that goes with a reason for ending a request. */
export function statusOf(reason: Reason): number {
  return facts[reason]?.status ?? 500;
}

/** As `statusOf`, of what a client's session refuses by itself: 0 where it ends the connection without an answer. */
export function refusalStatusOf(reason: Reason): number {
  return facts[reason]?.status ?? 0;
}

/** The answer to `request` that says why it ended. */
export function errorAnswer(reason: Reason, ruleId: string | null = null): FilterAnswer {
  return { status: statusOf(reason), reason, ruleId };
}

/**
 * What goes on the wire. `isGrpc`: a gRPC client reads `grpc-status` and nothing else, so it gets that with 200,
 * and no body (a response of trailers only). `grpcStatus` overrides the one that the reason maps to.
 */
export function renderAnswer(
  answer: FilterAnswer,
  request: RequestHead,
  isGrpc: boolean,
  pseudonym: string,
): LocalAnswer {
  const { reason } = answer;
  const fields: FieldList = ['date', dateText(), 'proxy-status', proxyStatus(reason, pseudonym)];
  if (answer.fields !== undefined) fields.push(...answer.fields);
  if (isGrpc) {
    fields.push('content-type', 'application/grpc', 'grpc-status', grpcStatusOf(answer.status));
    fields.push('grpc-message', grpcMessage(reason));
    return { head: { status: 200, fields }, body: null };
  }
  const body = bodyOf(answer, request, fields);
  fields.push('content-length', String(body === null ? 0 : body.length));
  const head = { status: answer.status, fields };
  return { head, body: body === '' || request.method === 'HEAD' ? null : body };
}

interface AnswerFacts {
  readonly status: number;
  /** The error type of RFC 9209 §2.3 that fits. */
  readonly type: string;
}

const refused = (status: number): AnswerFacts => ({ status, type: 'http_request_denied' });
const failed = (status: number, type: string): AnswerFacts => ({ status, type });

const facts: Readonly<Partial<Record<Reason, AnswerFacts>>> = {
  'request-malformed': failed(400, 'http_request_error'),
  'request-ambiguous': failed(400, 'http_request_error'),
  'request-timeout': failed(408, 'http_request_error'),
  'target-oversized': failed(414, 'http_request_error'),
  'head-oversized': failed(431, 'http_request_error'),
  'version-refused': failed(505, 'http_request_error'),
  'expectation-failed': failed(417, 'http_request_error'),
  'body-oversized': refused(413),
  'method-refused': refused(405),
  'no-route': failed(404, 'destination_not_found'),
  misdirected: refused(421),
  'user-agent-blocked': refused(403),
  'header-missing': refused(403),
  'blocked-ip': refused(403),
  'blocked-cidr': refused(403),
  'blocked-country': refused(403),
  'request-rate-limited': refused(429),
  'rate-limited': refused(429),
  'loop-detected': failed(508, 'proxy_loop_detected'),
  draining: failed(503, 'destination_unavailable'),
  'upstream-limit': failed(503, 'connection_limit_reached'),
  'upstream-timeout': failed(504, 'http_response_timeout'),
  'upstream-reset': failed(502, 'http_response_incomplete'),
  'backend-reset': failed(502, 'connection_terminated'),
  'backend-closed': failed(502, 'connection_terminated'),
  'upstream-malformed': failed(502, 'http_protocol_error'),
  'upstream-tls-failed': failed(502, 'tls_protocol_error'),
  'body-stalled': failed(504, 'connection_write_timeout'),
  'idle-timeout': failed(504, 'connection_read_timeout'),
  'name-not-found': failed(502, 'dns_error'),
  'name-timeout': failed(504, 'dns_timeout'),
  'name-failed': failed(502, 'dns_error'),
  'dial-refused': failed(502, 'connection_refused'),
  'dial-unreachable': failed(502, 'destination_ip_unroutable'),
  'dial-timeout': failed(504, 'connection_timeout'),
  'dial-failed': failed(502, 'destination_unavailable'),
  'internal-error': failed(500, 'proxy_internal_error'),
  'host-blacklisted': refused(403),
  'host-blocked': refused(403),
  'port-denied': refused(403),
  'client-denied': refused(403),
  'proxy-auth-required': refused(407),
  'address-denied': failed(403, 'destination_ip_prohibited'),
  'target-malformed': failed(400, 'http_request_error'),
  'target-missing': failed(400, 'http_request_error'),
  'authority-unavailable': failed(502, 'proxy_configuration_error'),
  'parent-failed': failed(502, 'destination_unavailable'),
};

function proxyStatus(reason: Reason, pseudonym: string): string {
  let text = proxyStatuses.get(reason);
  if (text === undefined || !text.startsWith(pseudonym)) {
    const type = facts[reason]?.type;
    const error = type === undefined ? '' : `; error=${type}`;
    text = `${pseudonym}${error}; details="${reason}"`;
    proxyStatuses.set(reason, text);
  }
  return text;
}

/** One for each reason at most. */
const proxyStatuses = new Map<Reason, string>();

function bodyOf(answer: FilterAnswer, request: RequestHead, fields: FieldList): string | null {
  const { body } = answer;
  if (body !== undefined && body !== null) {
    if (answer.fields === undefined || getField(answer.fields, 'content-type') === undefined) {
      fields.push('content-type', 'text/plain; charset=utf-8');
    }
    return body;
  }
  if (answer.status < 200 || answer.status === 204 || answer.status === 304) return null;
  const phrase = phrases[answer.status] ?? 'Error';
  switch (kindAccepted(getField(request.fields, 'accept'))) {
    case 'json':
      fields.push('content-type', 'application/json');
      return `{"status":${answer.status},"error":"${phrase}","reason":"${answer.reason}"}\n`;
    case 'html':
      fields.push('content-type', 'text/html; charset=utf-8');
      return (
        `<!doctype html>\n<title>${answer.status} ${phrase}</title>\n` +
        `<h1>${answer.status} ${phrase}</h1>\n<p>${answer.reason}</p>\n`
      );
    case 'text':
      fields.push('content-type', 'text/plain; charset=utf-8');
      return `${answer.status} ${phrase}\n${answer.reason}\n`;
  }
}

/** Which of the three kinds the client names first; plain text for everybody else. Weights are not worth their parsing here. */
function kindAccepted(accept: string | undefined): 'html' | 'json' | 'text' {
  if (accept === undefined) return 'text';
  const html = accept.indexOf('text/html');
  const json = accept.search(/application\/(?:[a-z0-9.-]{1,64}\+)?json/);
  if (html < 0 && json < 0) return 'text';
  return json < 0 || (html >= 0 && html < json) ? 'html' : 'json';
}

/** HTTP to gRPC status: the gRPC project's own table ("HTTP to gRPC Status Code Mapping"), and its names where it has a better one. */
function grpcStatusOf(status: number): string {
  return grpcStatuses[status] ?? (status >= 500 ? '13' : '2');
}

const grpcStatuses: Readonly<Record<number, string>> = {
  400: '13',
  401: '16',
  403: '7',
  404: '12',
  408: '4',
  413: '8',
  421: '14',
  429: '8',
  431: '8',
  500: '13',
  502: '14',
  503: '14',
  504: '4',
};

/** Percent-encoded as the gRPC protocol has it. Ours holds only what needs no encoding. */
function grpcMessage(reason: Reason): string {
  return `${reason}: ${reasons[reason].meaning}`.replaceAll(/[^ -$&-~]/g, (character) =>
    encodeURIComponent(character),
  );
}

const phrases: Readonly<Record<number, string>> = {
  200: 'OK',
  204: 'No Content',
  301: 'Moved Permanently',
  302: 'Found',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  407: 'Proxy Authentication Required',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
  508: 'Loop Detected',
};

let dateSecond = Number.NaN;
let dateCache = '';

/** RFC 9110 §6.6.1, once a second. */
function dateText(): string {
  const nowMs = Date.now();
  const second = Math.floor(nowMs / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateCache = new Date(nowMs).toUTCString();
  }
  return dateCache;
}
