/**
 * The message model that HTTP/1 and HTTP/2 share: what a head says, whatever the version that carried it.
 *
 * Names are lower case and values hold neither NUL, CR nor LF nor outer white space: a codec refuses what is
 * otherwise. Text is latin1: one character for each byte of the wire.
 *
 * An upgrade is modelled as RFC 8441 has it, in both versions: `protocol` names the new protocol, the head
 * carries no `connection`, `upgrade` or `sec-websocket-key/accept`, and a response of 200 opens the tunnel (the
 * HTTP/1 codecs turn it into 101 and back). The method stays GET, so that rules see what the client meant; the
 * HTTP/2 codec writes and reads CONNECT.
 */

/** A flat list: name, value, name, value … in the order of the wire. A name may come again. */
export type FieldList = string[];

export interface RequestHead {
  method: string;
  /** `http` or `https`; what the connection was, or what an absolute target says. */
  scheme: string;
  /**
   * The target's authority exactly as the client wrote it: Host, `:authority`, or the absolute target's. Empty
   * only where HTTP/1.0 named none. There is no `host` field beside it.
   */
  authority: string;
  /** Origin-form with its query, never a fragment: `/a?b`; `*` for OPTIONS; empty for CONNECT. */
  path: string;
  /** The protocol an upgrade asks for, in lower case: `websocket`. Null for an ordinary request. */
  protocol: string | null;
  /** Without pseudo-headers, and without what only frames or names the connection (see `framingNames`). */
  fields: FieldList;
}

export interface ResponseHead {
  /** 100–999. 1xx is only ever passed to `onInformational`; 101 never appears. */
  status: number;
  fields: FieldList;
}

/**
 * What a codec takes out of the list when it reads and writes itself: how a body is framed and what belongs to
 * one connection is never a matter of the message. `content-length` stays, as a fact about the body; a codec
 * that writes trusts it only after checking it against the body it is given.
 */
export const framingNames: ReadonlySet<string> = new Set([
  'connection',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** The first value of `name` (lower case), or undefined. */
export function getField(fields: FieldList, name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1];
  return undefined;
}

/** All values of `name`, joined as RFC 9110 §5.3 allows; undefined when there is none. */
export function getJoined(fields: FieldList, name: string): string | undefined {
  let joined: string | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] === name)
      joined = joined === undefined ? fields[at + 1]! : `${joined}, ${fields[at + 1]!}`;
  }
  return joined;
}

/** Removes every field of that name. Answers how many there were. */
export function removeField(fields: FieldList, name: string): number {
  let kept = 0;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] === name) continue;
    fields[kept] = fields[at]!;
    fields[kept + 1] = fields[at + 1]!;
    kept += 2;
  }
  const removed = (fields.length - kept) / 2;
  fields.length = kept;
  return removed;
}

/** Leaves exactly one field of that name, in the place of the first. */
export function setField(fields: FieldList, name: string, value: string): void {
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== name) continue;
    fields[at + 1] = value;
    removeFieldFrom(fields, name, at + 2);
    return;
  }
  fields.push(name, value);
}

function removeFieldFrom(fields: FieldList, name: string, start: number): void {
  let kept = start;
  for (let at = start; at < fields.length; at += 2) {
    if (fields[at] === name) continue;
    fields[kept] = fields[at]!;
    fields[kept + 1] = fields[at + 1]!;
    kept += 2;
  }
  fields.length = kept;
}
