/**
 * Field names that are met all the time, found from their bytes without making a string. The answer is one string
 * for each name, so that comparing two of them is comparing two addresses, and says what the codec itself does with
 * the field.
 */

import { tokenLower } from './characters.ts';

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

const entries: readonly KnownName[] = [...Object.keys(special), ...ordinary.split(/\s+/)].map((name) => ({
  name,
  role: special[name] ?? roles.ordinary,
}));

/** What the hash of a name begins with. */
export const hashStart = 7;

/** Open addressing: at the place of its hash, or behind it, stands the index of an entry plus one. */
const slots = new Uint8Array(1024);
for (const [index, { name }] of entries.entries()) {
  let slot = hashOf(name) & (slots.length - 1);
  while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1);
  slots[slot] = index + 1;
}

/** One step of the hash by which a name is found: over its characters in lower case, from `hashStart` on. */
export function hashNext(hash: number, lower: number): number {
  return (Math.imul(hash, 31) + lower) | 0;
}

/**
 * The entry of the name in `bytes`, however it is written; undefined for one that is not in the table. `hash` is
 * that of its characters in lower case: the parser has looked at each anyway.
 */
export function findName(bytes: Uint8Array, start: number, end: number, hash: number): KnownName | undefined {
  let slot = hash & (slots.length - 1);
  for (let index = slots[slot]!; index !== 0; index = slots[slot]!) {
    const entry = entries[index - 1]!;
    if (isWritten(entry.name, bytes, start, end)) return entry;
    slot = (slot + 1) & (slots.length - 1);
  }
  return undefined;
}

function isWritten(name: string, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let at = 0; at < name.length; at++) {
    if (name.charCodeAt(at) !== tokenLower[bytes[start + at]!]) return false;
  }
  return true;
}

function hashOf(name: string): number {
  let hash = hashStart;
  for (let at = 0; at < name.length; at++) hash = hashNext(hash, name.charCodeAt(at));
  return hash;
}
