/**
 * What is said to a parent proxy before its connection is the target's: CONNECT (RFC 9110 §9.3.6) or SOCKS5. Sans-I/O.
 *
 * Host and port are canonical by construction (target.ts): no byte of a client is ever written here.
 */
import { ProtocolError, assert } from '../core/errors.ts';
import { Socks5Client, socks5Replies } from '../codec/socks5.ts';
import { hostPort } from './target.ts';

export interface ParentCredentials {
  readonly username: string;
  readonly password: string;
}

/** What the parent said: more is to come; or the connection is the target's, `consumed` bytes into this chunk; or no. */
export type ParentProgress =
  | { readonly kind: 'more'; readonly send: Uint8Array | null }
  | { readonly kind: 'open'; readonly consumed: number }
  | { readonly kind: 'refused'; readonly detail: string };

export interface ParentHandshake {
  opening(): Uint8Array;
  /** Throws a ProtocolError for what is no answer. */
  receive(bytes: Uint8Array): ParentProgress;
}

/** The head of an answer to CONNECT. */
const answerBytesMax = 16 * 1024;

export class ConnectHandshake implements ParentHandshake {
  readonly #opening: Uint8Array;
  #kept = '';

  constructor(host: string, port: number, credentials: ParentCredentials | null) {
    const authority = hostPort(host, port);
    assert(/^[\x21-\x7e]+$/.test(authority), 'the authority of a CONNECT is canonical');
    const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`];
    if (credentials !== null) lines.push(`Proxy-Authorization: Basic ${basic(credentials)}`);
    this.#opening = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  }

  opening(): Uint8Array {
    return this.#opening;
  }

  receive(bytes: Uint8Array): ParentProgress {
    const before = this.#kept.length;
    // The end may lie across two chunks; what is kept is bounded, so each byte is looked at a few times at most.
    this.#kept += Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
    const end = this.#kept.indexOf('\r\n\r\n', Math.max(0, before - 3));
    if (end < 0) {
      if (this.#kept.length >= answerBytesMax) throw malformed('the answer to CONNECT is too long');
      return { kind: 'more', send: null };
    }
    const status = /^HTTP\/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r\n/.exec(this.#kept)?.[1];
    if (status === undefined) throw malformed('the answer to CONNECT is no HTTP');
    if (status.startsWith('1')) return this.#skip(bytes, end + 4 - before);
    if (!status.startsWith('2')) return { kind: 'refused', detail: `status ${status}` };
    return { kind: 'open', consumed: end + 4 - before };
  }

  /** An interim answer; the final one follows. */
  #skip(bytes: Uint8Array, consumed: number): ParentProgress {
    this.#kept = '';
    return this.receive(bytes.subarray(consumed));
  }
}

export class SocksHandshake implements ParentHandshake {
  readonly #client: Socks5Client;

  constructor(host: string, port: number, credentials: ParentCredentials | null) {
    this.#client = new Socks5Client({ host, port, credentials });
  }

  opening(): Uint8Array {
    return this.#client.opening();
  }

  receive(bytes: Uint8Array): ParentProgress {
    const sent: Uint8Array[] = [];
    let reply = -1;
    const consumed = this.#client.receive(bytes, {
      onSend: (each) => void sent.push(each),
      onReply: (each) => void (reply = each),
    });
    if (reply < 0) return { kind: 'more', send: sent.length === 0 ? null : Buffer.concat(sent) };
    if (reply === socks5Replies.succeeded) return { kind: 'open', consumed };
    return { kind: 'refused', detail: `reply ${reply}` };
  }
}

function basic({ username, password }: ParentCredentials): string {
  return Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
}

function malformed(message: string): ProtocolError {
  return new ProtocolError('parent-failed', message, 'upstream');
}
