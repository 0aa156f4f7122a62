/**
 * What an exchange wants to know of a request's fields, read in one pass, and what it takes out of them: whatever
 * concerns this hop alone (RFC 9110 §7.6.1). A codec has taken the framing out already, and every field that
 * `Connection` named.
 */
import type { FieldList, RequestHead } from '../codec/http-message.ts';
import { makeRequestId, isSaneRequestId } from './request-id.ts';

export class RequestTraits {
  /** The id the request came with, if that is sane, else a new one. */
  id = '';
  userAgent: string | undefined = undefined;
  isGrpc = false;
  /** The client waits for 100 before it sends the body. */
  expectsContinue = false;
  /** What the client allows a gRPC call; Infinity without. */
  grpcTimeoutMs = Infinity;
  /** Of the body; -1 when nothing says. */
  contentLength = -1;
}

/** Runs for every request. Lengths first: most names are none of these, and numbers compare faster than text. */
export function readTraits(head: RequestHead): RequestTraits {
  const traits = new RequestTraits();
  const { fields } = head;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    switch (name.length) {
      case 6:
        if (name === 'expect') traits.expectsContinue = isContinue(fields[at + 1]!);
        break;
      case 10:
        if (name === 'user-agent') traits.userAgent ??= fields[at + 1];
        break;
      case 12:
        readTwelve(traits, name, fields[at + 1]!);
        break;
      case 14:
        if (name === 'content-length') traits.contentLength = Number(fields[at + 1]);
        break;
    }
  }
  if (traits.id === '') traits.id = makeRequestId();
  if (!traits.isGrpc) traits.grpcTimeoutMs = Infinity;
  return traits;
}

/** Takes out what concerns the hop from the client to us, and would mislead the next. */
export function stripRequestHop(head: RequestHead, isBodyless: boolean, isFirstVersion: boolean): void {
  const { fields } = head;
  let kept = 0;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    let value = fields[at + 1]!;
    if (name.length === 2 && name === 'te') {
      // Of all transfer codings an intermediary may only vouch for trailers (RFC 9110 §10.1.4; RFC 9113 §8.2.2).
      if (!acceptsTrailers(value)) continue;
      value = 'trailers';
    } else if (isHopField(name)) continue;
    else if (name.length === 6 && name === 'expect' && (isBodyless || isFirstVersion)) continue;
    if (kept !== at || name === 'te') {
      fields[kept] = name;
      fields[kept + 1] = value;
    }
    kept += 2;
  }
  fields.length = kept;
}

/** As `stripRequestHop`, for what a backend sent. */
export function stripResponseHop(fields: FieldList): void {
  for (let at = 0; at < fields.length; at += 2) if (isHopField(fields[at]!)) return dropHopFields(fields, at);
}

/** A trailer section may not say again what the head settled (RFC 9110 §6.5.1), nor speak of the connection. */
export function stripTrailers(fields: FieldList): void {
  let kept = 0;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    if (notInTrailers.has(name) || name.startsWith('x-forwarded')) continue;
    fields[kept] = fields[at]!;
    fields[kept + 1] = fields[at + 1]!;
    kept += 2;
  }
  fields.length = kept;
}

const notInTrailers: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'expect',
  'forwarded',
  'host',
  'http2-settings',
  'keep-alive',
  'location',
  'max-forwards',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'range',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
  'x-real-ip',
  'x-request-id',
]);

/** Credentials for a proxy end at the proxy (RFC 9110 §11.7); the framing names are gone already, but for a filter's. */
function isHopField(name: string): boolean {
  switch (name.length) {
    case 4:
      return name === 'host';
    case 7:
      return name === 'upgrade';
    case 10:
      return name === 'connection' || name === 'keep-alive';
    case 14:
      return name === 'http2-settings';
    case 16:
      return name === 'proxy-connection';
    case 17:
      return name === 'transfer-encoding';
    case 18:
      return name === 'proxy-authenticate';
    case 19:
      return name === 'proxy-authorization';
    default:
      return false;
  }
}

function dropHopFields(fields: FieldList, start: number): void {
  let kept = start;
  for (let at = start; at < fields.length; at += 2) {
    if (isHopField(fields[at]!)) continue;
    fields[kept] = fields[at]!;
    fields[kept + 1] = fields[at + 1]!;
    kept += 2;
  }
  fields.length = kept;
}

function readTwelve(traits: RequestTraits, name: string, value: string): void {
  if (name === 'content-type') traits.isGrpc = isGrpcType(value);
  else if (name === 'x-request-id') {
    if (traits.id === '' && isSaneRequestId(value)) traits.id = value;
  } else if (name === 'grpc-timeout') traits.grpcTimeoutMs = parseGrpcTimeout(value);
}

/** `application/grpc`, and its kinds `application/grpc+proto`; not gRPC-Web, whose errors are HTTP's. */
export function isGrpcType(value: string): boolean {
  if (!value.startsWith('application/grpc')) return false;
  const next = value.charCodeAt(16);
  return value.length === 16 || next === 0x2b || next === 0x3b || next === 0x20;
}

function isContinue(value: string): boolean {
  return value === '100-continue' || value.toLowerCase() === '100-continue';
}

function acceptsTrailers(value: string): boolean {
  if (value === 'trailers') return true;
  return value.split(',').some((part) => part.trim().toLowerCase() === 'trailers');
}

const grpcUnitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** At most eight digits and a unit (gRPC over HTTP/2, "Timeout"); what is none of these sets no deadline. */
export function parseGrpcTimeout(value: string): number {
  if (!/^\d{1,8}[HMSmun]$/.test(value)) return Infinity;
  return Number(value.slice(0, -1)) * grpcUnitsMs[value.at(-1)!]!;
}
