// The heads of the HTTP figures: the smallest, what a browser and an application server say to each other, and a
// gRPC call.

import { createHash } from 'node:crypto';
import type { CannedField, HeadSet } from './canned-heads.ts';

export type HeadSetName = 'small' | 'realistic' | 'grpc';

/** Different paths, tokens and ids, sent in turn. */
const REALISTIC_ROUNDS = 128;

/** The heads of one figure. A body's length is said where there is one. */
export function headSet(
  name: HeadSetName,
  scheme: string,
  requestBytes: number,
  responseBytes: number,
): HeadSet {
  const request: CannedField[] = [
    [':method', requestBytes > 0 ? 'POST' : 'GET'],
    [':scheme', scheme],
  ];
  const length: CannedField[] = requestBytes > 0 ? [['content-length', String(requestBytes)]] : [];
  const response: CannedField[] = [
    [':status', '200'],
    ['content-length', String(responseBytes)],
  ];
  switch (name) {
    case 'small':
      return {
        request: [...request, [':path', '/'], ['user-agent', 'bench/1'], ['accept', '*/*'], ...length],
        response: [...response, ['content-type', 'text/plain']],
        rounds: 1,
      };
    case 'realistic':
      return {
        request: [...request, ...browserFields(), ...length],
        response: [...response, ...applicationFields()],
        rounds: REALISTIC_ROUNDS,
      };
    case 'grpc':
      return {
        request: [...request, ...callFields()],
        response: [
          [':status', '200'],
          ['content-type', 'application/grpc'],
        ],
        trailers: [
          ['grpc-status', '0'],
          ['grpc-message', ''],
        ],
        rounds: 1,
      };
  }
}

/** With `Host`, twenty fields. */
function browserFields(): CannedField[] {
  return [
    [':path', (round) => `/api/v2/accounts/${10_000 + round * 37}/orders?page=${round + 2}&sort=-created_at`],
    [
      'user-agent',
      'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
    ],
    ['accept', 'application/json, text/plain, */*'],
    ['accept-encoding', 'gzip, deflate, br, zstd'],
    ['accept-language', 'en-GB,en;q=0.9,de;q=0.8'],
    ['authorization', `Bearer ${digest('authorization')}.${digest('claims')}.${digest('signature')}`],
    ['cache-control', 'no-cache'],
    ['pragma', 'no-cache'],
    ['cookie', `session=${digest('session')}; theme=dark; consent=all; _ga=GA1.2.1234567890.1700000000`],
    ['dnt', '1'],
    ['origin', 'https://app.bench.example'],
    ['referer', (round) => `https://app.bench.example/accounts/${10_000 + round * 37}`],
    ['sec-ch-ua', '"Chromium";v="126", "Not/A)Brand";v="8"'],
    ['sec-ch-ua-mobile', '?0'],
    ['sec-ch-ua-platform', '"Linux"'],
    ['sec-fetch-dest', 'empty'],
    ['sec-fetch-mode', 'cors'],
    ['sec-fetch-site', 'same-origin'],
    ['x-csrf-token', digest('csrf')],
    [
      'traceparent',
      (round) => `00-${digest(`trace ${round}`).slice(0, 32)}-${digest(`span ${round}`).slice(0, 16)}-01`,
    ],
  ];
}

/** With `Content-Length`, twenty fields. */
function applicationFields(): CannedField[] {
  return [
    ['date', 'Sat, 21 Nov 2026 04:00:00 GMT'],
    ['content-type', 'application/json; charset=utf-8'],
    ['server', 'application/7.3'],
    ['cache-control', 'private, max-age=0, must-revalidate'],
    ['etag', (round) => `W/"${digest(`etag ${round}`).slice(0, 27)}"`],
    ['last-modified', 'Fri, 20 Nov 2026 23:59:12 GMT'],
    ['vary', 'accept-encoding, origin'],
    ['strict-transport-security', 'max-age=63072000; includeSubDomains; preload'],
    ['content-security-policy', "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"],
    ['x-content-type-options', 'nosniff'],
    ['x-frame-options', 'DENY'],
    ['referrer-policy', 'strict-origin-when-cross-origin'],
    ['permissions-policy', 'geolocation=(), camera=(), microphone=()'],
    ['access-control-allow-origin', 'https://app.bench.example'],
    ['access-control-allow-credentials', 'true'],
    ['x-ratelimit-limit', '5000'],
    ['x-ratelimit-remaining', (round) => String(4999 - round)],
    ['x-runtime', (round) => `0.0${10_000 + round}`],
    ['set-cookie', `session=${digest('session')}; Path=/; HttpOnly; Secure; SameSite=Lax`],
  ];
}

function callFields(): CannedField[] {
  return [
    [':path', '/bench.v1.Echo/Unary'],
    ['te', 'trailers'],
    ['content-type', 'application/grpc'],
    ['user-agent', 'grpc-bench/1'],
    ['grpc-timeout', '5S'],
    ['grpc-accept-encoding', 'identity,gzip'],
  ];
}

/** As random as tokens are, and the same in every run. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
