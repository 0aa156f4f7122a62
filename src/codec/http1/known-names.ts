/**
 * Field names that are met all the time, found as they are usually written. The answer is one string for each name,
 * so that comparing two of them is comparing two addresses, and says what the codec itself does with the field.
 */

/** What a field means to the codec. `ordinary`: nothing; it stays in the list untouched. */
export const roles = {
  ordinary: 0,
  host: 1,
  contentLength: 2,
  transferEncoding: 3,
  connection: 4,
  upgrade: 5,
  expect: 6,
  /** Belongs to the connection and means nothing to us: dropped. */
  dropped: 7,
  webSocketKey: 8,
  webSocketAccept: 9,
} as const;
export type Role = (typeof roles)[keyof typeof roles];

export interface KnownName {
  readonly name: string;
  readonly role: Role;
}

const special: Readonly<Record<string, Role>> = {
  host: roles.host,
  'content-length': roles.contentLength,
  'transfer-encoding': roles.transferEncoding,
  connection: roles.connection,
  upgrade: roles.upgrade,
  expect: roles.expect,
  'keep-alive': roles.dropped,
  'proxy-connection': roles.dropped,
  'http2-settings': roles.dropped,
  'sec-websocket-key': roles.webSocketKey,
  'sec-websocket-accept': roles.webSocketAccept,
};

const ordinary = `accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-credentials
  access-control-allow-headers access-control-allow-methods access-control-allow-origin
  access-control-expose-headers access-control-max-age access-control-request-headers access-control-request-method
  age allow alt-svc authorization cache-control content-disposition content-encoding content-language
  content-location content-range content-security-policy content-type cookie date dnt etag expires forwarded from
  grpc-encoding grpc-message grpc-status grpc-timeout if-match if-modified-since if-none-match if-range
  if-unmodified-since last-event-id last-modified link location max-forwards origin pragma priority
  proxy-authenticate proxy-authorization proxy-status range referer referrer-policy retry-after save-data sec-ch-ua
  sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user
  sec-websocket-extensions sec-websocket-protocol sec-websocket-version server server-timing set-cookie
  strict-transport-security te trailer traceparent tracestate upgrade-insecure-requests user-agent vary via
  www-authenticate x-content-type-options x-forwarded-for x-forwarded-host x-forwarded-proto x-frame-options
  x-powered-by x-real-ip x-request-id x-requested-with x-xss-protection`;

const known = new Map<string, KnownName>();
for (const name of [...Object.keys(special), ...ordinary.split(/\s+/)]) {
  const entry: KnownName = { name, role: special[name] ?? roles.ordinary };
  known.set(name, entry);
  known.set(
    name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase()),
    entry,
  );
}
for (const [written, name] of [
  ['ETag', 'etag'],
  ['DNT', 'dnt'],
  ['TE', 'te'],
  ['WWW-Authenticate', 'www-authenticate'],
  ['sec-ch-ua', 'sec-ch-ua'],
  ['X-Real-IP', 'x-real-ip'],
  ['X-Request-ID', 'x-request-id'],
  ['X-XSS-Protection', 'x-xss-protection'],
  ['HTTP2-Settings', 'http2-settings'],
  ['Sec-WebSocket-Key', 'sec-websocket-key'],
  ['Sec-WebSocket-Accept', 'sec-websocket-accept'],
  ['Sec-WebSocket-Version', 'sec-websocket-version'],
  ['Sec-WebSocket-Protocol', 'sec-websocket-protocol'],
  ['Sec-WebSocket-Extensions', 'sec-websocket-extensions'],
] as const) {
  known.set(written, known.get(name)!);
}

/** The entry of a name, however it is written; undefined for a name that is not in the table. */
export function findName(written: string): KnownName | undefined {
  return known.get(written);
}
