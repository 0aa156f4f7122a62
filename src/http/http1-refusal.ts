/** What an HTTP/1 session answers by itself, to a client whose bytes are no request. */
import { phrases } from '../codec/http1/phrases.ts';
import { isReason, type Reason } from '../core/reason.ts';

const statuses: Readonly<Partial<Record<Reason, number>>> = {
  'request-malformed': 400,
  'request-ambiguous': 400,
  'request-timeout': 408,
  'target-oversized': 414,
  'head-oversized': 431,
  'version-refused': 505,
};

export function refusalStatus(reason: Reason): number {
  return statuses[reason] ?? 400;
}

/** The code of a codec's error as the reason it is. */
export function refusalReason(code: string): Reason {
  return isReason(code) ? code : 'request-malformed';
}

/** The whole response. It says nothing of the request back: what was not understood is not repeated. */
export function refusalText(status: number, reason: Reason): string {
  const body = `${status} ${phrases[status] ?? ''}\n`;
  return [
    `HTTP/1.1 ${status} ${phrases[status] ?? ''}`,
    'content-type: text/plain',
    `content-length: ${body.length}`,
    `proxy-status: portcullis; error=http_request_error; details="${reason}"`,
    'connection: close',
    '',
    body,
  ].join('\r\n');
}
