/**
 * What the backend is told of the client: `X-Forwarded-*`, `X-Real-IP`, `Forwarded` (RFC 7239), `X-Request-ID` and
 * `Via` (RFC 9110 §7.6.3). What a peer says of others is believed only when the peer is trusted, and a chain is
 * followed only as far as each hop is.
 */
import { formatIp, parseIp, sameIp, type IpAddress } from '../core/ip.ts';
import {
  getField,
  getJoined,
  removeField,
  setField,
  type FieldList,
  type RequestHead,
} from '../codec/http-message.ts';
import type { CidrTable } from '../model/cidr-table.ts';
import type { Filter, FilterContext, FilterVerdict } from './filter.ts';
import { writeTrace } from './request-tracing.ts';
import type { HttpVersion } from './stream.ts';

/** Peers whose X-Forwarded fields are believed. */
export type TrustedProxies = CidrTable<true>;

/** Hops of `X-Forwarded-For` that are looked at, from the last on. */
const hopsMax = 64;

export interface ForwardingFacts {
  /** The client as the connection knows it: the socket's peer, or whom a PROXY header names. */
  readonly clientIp: IpAddress;
  readonly isTrusted: boolean;
  readonly version: HttpVersion;
  /** Of this process: see `ExchangeContext.pseudonym`. */
  readonly pseudonym: string;
  /** Also send `Forwarded`. */
  readonly sendsForwarded: boolean;
}

/** Who really asks: the last hop that is no trusted proxy; the connection's client when that is not trusted. */
export function realClient(fields: FieldList, clientIp: IpAddress, trusted: TrustedProxies): IpAddress {
  if (trusted.lookup(clientIp) === undefined) return clientIp;
  const chain = getJoined(fields, 'x-forwarded-for');
  if (chain === undefined) return clientIp;
  let believed = clientIp;
  let end = chain.length;
  for (let hop = 0; hop < hopsMax && end > 0; hop++) {
    const comma = chain.lastIndexOf(',', end - 1);
    const ip = parseHop(chain.slice(comma + 1, end).trim());
    // What a trusted proxy wrote and we can not read ends the chain: the proxy is as far as we know.
    if (ip === undefined) return believed;
    if (trusted.lookup(ip) === undefined) return ip;
    believed = ip;
    end = comma;
  }
  return believed;
}

/** How often this very process stands in the request's `Via`. */
function countOwnVia(fields: FieldList, pseudonym: string): number {
  let count = 0;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== 'via') continue;
    for (const entry of fields[at + 1]!.split(',')) {
      if (entry.trim().split(/[ \t]+/, 2)[1] === pseudonym) count++;
    }
  }
  return count;
}

/**
 * The verdict on a request that came by here before. Once is no loop: a listener may hand a request to another one
 * of the same process. The second time it is, and 508.
 */
export function isLoop(fields: FieldList, pseudonym: string): boolean {
  return getField(fields, 'via') !== undefined && countOwnVia(fields, pseudonym) >= loopCount;
}

const loopCount = 2;

/**
 * Sets the fields. Made once per downstream connection (and route, where routes differ in `sendsForwarded`), since
 * most of each value is the same for all of its requests; keeps nothing of a request. Stands in the chain behind
 * the policies, which judge what the client sent, and before the route's header rules, which have the last word.
 */
export class ForwardingFilter implements Filter {
  readonly ruleId = 'filter/forwarded';
  readonly #isTrusted: boolean;
  readonly #sendsForwarded: boolean;
  readonly #clientIp: IpAddress;
  readonly #client: string;
  /** `for=…` of RFC 7239, quoted where it must be. */
  readonly #forwardedFor: string;
  readonly #via: string;

  constructor(facts: ForwardingFacts) {
    this.#isTrusted = facts.isTrusted;
    this.#sendsForwarded = facts.sendsForwarded;
    this.#clientIp = facts.clientIp;
    this.#client = formatIp(facts.clientIp);
    this.#forwardedFor = `for=${forwardedNode(facts.clientIp)}`;
    this.#via = `${facts.version === 'HTTP/2' ? '2.0' : facts.version.slice(5)} ${facts.pseudonym}`;
  }

  onRequestHead(context: FilterContext, head: RequestHead): FilterVerdict {
    const { fields } = head;
    const { exchange } = context;
    const found = scan(fields);
    if (found > 0) dropAliases(fields);
    const realIp = sameIp(exchange.clientIp, this.#clientIp) ? this.#client : exchange.client;
    if (found === 0) {
      // The common case: the request says none of it, and everything goes to the end.
      fields.push('x-forwarded-for', this.#client, 'x-forwarded-proto', head.scheme);
      fields.push('x-forwarded-host', head.authority, 'x-real-ip', realIp, 'x-request-id', exchange.id);
      fields.push('via', this.#via);
    } else if (this.#isTrusted) this.#append(fields, head, realIp, exchange.id);
    else this.#replace(fields, head, realIp, exchange.id);
    if (this.#sendsForwarded) this.#addForwarded(fields, head);
    if (exchange.trace !== null) writeTrace(fields, exchange.trace);
    return 'continue';
  }

  /** What a trusted proxy said stays, and we add our hop. */
  #append(fields: FieldList, head: RequestHead, realIp: string, id: string): void {
    extend(fields, 'x-forwarded-for', this.#client);
    setDefault(fields, 'x-forwarded-proto', head.scheme);
    setDefault(fields, 'x-forwarded-host', head.authority);
    setField(fields, 'x-real-ip', realIp);
    setField(fields, 'x-request-id', id);
    extend(fields, 'via', this.#via);
  }

  /** What anybody else said is worth nothing, and must not reach a backend that believes us. */
  #replace(fields: FieldList, head: RequestHead, realIp: string, id: string): void {
    for (const name of spoofable) removeField(fields, name);
    removeField(fields, 'forwarded');
    setField(fields, 'x-forwarded-for', this.#client);
    setField(fields, 'x-forwarded-proto', head.scheme);
    setField(fields, 'x-forwarded-host', head.authority);
    setField(fields, 'x-real-ip', realIp);
    setField(fields, 'x-request-id', id);
    extend(fields, 'via', this.#via);
  }

  #addForwarded(fields: FieldList, head: RequestHead): void {
    const hop = `${this.#forwardedFor};host=${quoted(head.authority)};proto=${head.scheme}`;
    extend(fields, 'forwarded', hop);
  }
}

/** Beside those that are set anyway, what backends take for the word of a proxy: on the client, or on the path. */
const spoofable: readonly string[] = [
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-server',
  'x-forwarded-ssl',
  'x-forwarded-by',
  'x-forwarded',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-original-forwarded-for',
  'x-original-host',
  'x-original-url',
  'x-rewrite-url',
];
const spoofableNames: ReadonlySet<string> = new Set([...spoofable, 'x-real-ip', 'x-request-id']);

/** How many fields there are that `ForwardingFilter` would have to look at. Lengths first, as in request-traits.ts. */
function scan(fields: FieldList): number {
  let count = 0;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    switch (name.length) {
      case 3:
        if (name === 'via') count++;
        break;
      case 9:
        if (name === 'forwarded' || (name.charCodeAt(0) === letterX && isForwardingName(name))) count++;
        break;
      default:
        if (name.charCodeAt(0) === letterX && isForwardingName(name)) count++;
    }
  }
  return count;
}

const letterX = 0x78;

/** Gateway interfaces (CGI, WSGI, Rack) make one variable of `x-real-ip` and `x_real_ip`: so these are one to us. */
function isForwardingName(name: string): boolean {
  const dashed = name.includes('_') ? name.replaceAll('_', '-') : name;
  return dashed.startsWith('x-forwarded') || spoofableNames.has(dashed);
}

/** Whoever sent them: no proxy writes these names so. */
function dropAliases(fields: FieldList): void {
  let kept = 0;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    if (name.charCodeAt(0) === letterX && name.includes('_') && isForwardingName(name)) continue;
    fields[kept] = name;
    fields[kept + 1] = fields[at + 1]!;
    kept += 2;
  }
  fields.length = kept;
}

function setDefault(fields: FieldList, name: string, value: string): void {
  if (getField(fields, name) === undefined) fields.push(name, value);
}

/** One list in one field: what was there, in order, and the new element behind it. */
function extend(fields: FieldList, name: string, element: string): void {
  const before = getJoined(fields, name);
  setField(fields, name, before === undefined || before === '' ? element : `${before}, ${element}`);
}

/** An address in a chain, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`. */
function parseHop(text: string): IpAddress | undefined {
  if (text.startsWith('[')) {
    const close = text.indexOf(']');
    return close < 0 || !/^(?::\d{1,5})?$/.test(text.slice(close + 1))
      ? undefined
      : parseIp(text.slice(1, close));
  }
  const colon = text.indexOf(':');
  if (colon < 0 || colon !== text.lastIndexOf(':')) return parseIp(text);
  return /^\d{1,5}$/.test(text.slice(colon + 1)) ? parseIp(text.slice(0, colon)) : undefined;
}

/** RFC 7239 §6: an IPv6 address in brackets and quotes. */
function forwardedNode(ip: IpAddress): string {
  return ip.family === 4 ? formatIp(ip) : `"[${formatIp(ip)}]"`;
}

/** A token as it is, anything else as a quoted string (RFC 9110 §5.6.4). */
function quoted(text: string): string {
  if (/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text)) return text;
  return `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}
