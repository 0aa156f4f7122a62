/**
 * SOCKS5, both roles, up to the end of the handshake. Sans-I/O. RFC 1928 (the protocol), RFC 1929 (user name and
 * password).
 *
 * No frame is longer than 513 bytes and one is kept at a time. What follows the handshake is the caller's:
 * `receive` says how many bytes it took. Lengths and types that the RFCs do not have are refused, never guessed at.
 */
import { ProtocolError, assert, type ErrorSource } from '../core/errors.ts';
import { bytesToIp, formatIp, parseIp, writeIp } from '../core/ip.ts';
import { codecCodes } from './codes.ts';
import { latin1Text } from './latin1.ts';

export const socks5Version = 5;

/** Replies (RFC 1928 §6). */
export const socks5Replies = {
  succeeded: 0,
  failed: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  refused: 5,
  expired: 6,
  commandUnsupported: 7,
  addressUnsupported: 8,
} as const;

export const socks5Connect = 1;

/** Whether a client may, or must, show a name and a password. */
export type Socks5Authentication = 'none' | 'offered' | 'required';

export interface Socks5Request {
  /** 1 is CONNECT, 2 BIND, 3 UDP ASSOCIATE. */
  readonly command: number;
  /** A printed address, or a name as sent: latin1, 1–255 characters. */
  readonly host: string;
  readonly port: number;
}

/** Learns what the client says, from inside `receive`. */
export interface Socks5ServerSink {
  /** Bytes to send. */
  onSend(bytes: Uint8Array): void;
  /**
   * Whether they are right; `later`: `settle` will say, and nothing more is taken until then. Each text is latin1, at
   * most 255 characters.
   */
  onCredentials(username: string, password: string): boolean | 'later';
  /** The handshake is over but for `encodeSocks5Reply`. */
  onRequest(request: Socks5Request): void;
  /** The client can not or did not authenticate; what it must be told is sent. The connection is to be closed. */
  onRefused(): void;
}

type ServerState = 'methods' | 'credentials' | 'judging' | 'request' | 'over';

export class Socks5Server {
  readonly #authentication: Socks5Authentication;
  readonly #frame = new Frame('downstream');
  #state: ServerState = 'methods';

  constructor(authentication: Socks5Authentication) {
    this.#authentication = authentication;
  }

  /** Answers how many bytes it took: fewer than given when the handshake ended within them, or waits for `settle`. */
  receive(bytes: Uint8Array, sink: Socks5ServerSink): number {
    for (let at = 0; at < bytes.length; at++) {
      if (this.#state === 'over' || this.#state === 'judging') return at;
      if (this.#frame.add(bytes[at]!, lengths[this.#state])) this.#complete(sink);
    }
    return bytes.length;
  }

  #complete(sink: Socks5ServerSink): void {
    const { bytes, length } = this.#frame;
    this.#frame.length = 0;
    switch (this.#state) {
      case 'methods':
        return this.#chooseMethod(bytes.subarray(2, length), sink);
      case 'credentials':
        return this.#judgeCredentials(bytes, sink);
      case 'request':
        this.#state = 'over';
        return sink.onRequest(readRequest(bytes, length));
      case 'judging':
      case 'over':
        assert(false, 'a frame that nobody waits for');
    }
  }

  /** What became of credentials that were judged later. */
  settle(isRight: boolean, sink: Socks5ServerSink): void {
    assert(this.#state === 'judging', 'credentials are settled once');
    this.#settle(isRight, sink);
  }

  #chooseMethod(offered: Uint8Array, sink: Socks5ServerSink): void {
    if (this.#authentication !== 'none' && offered.includes(methods.password)) {
      this.#state = 'credentials';
      return sink.onSend(Uint8Array.of(socks5Version, methods.password));
    }
    if (this.#authentication !== 'required' && offered.includes(methods.none)) {
      this.#state = 'request';
      return sink.onSend(Uint8Array.of(socks5Version, methods.none));
    }
    this.#state = 'over';
    sink.onSend(Uint8Array.of(socks5Version, methods.unacceptable));
    sink.onRefused();
  }

  #judgeCredentials(bytes: Uint8Array, sink: Socks5ServerSink): void {
    const nameEnd = 2 + bytes[1]!;
    const username = latin1Text(bytes, 2, nameEnd);
    const password = latin1Text(bytes, nameEnd + 1, nameEnd + 1 + bytes[nameEnd]!);
    const verdict = sink.onCredentials(username, password);
    if (verdict === 'later') this.#state = 'judging';
    else this.#settle(verdict, sink);
  }

  #settle(isRight: boolean, sink: Socks5ServerSink): void {
    this.#state = isRight ? 'request' : 'over';
    sink.onSend(Uint8Array.of(credentialsVersion, isRight ? 0 : 1));
    if (!isRight) sink.onRefused();
  }
}

/** The answer to a request. The bound address is of no use to a client of CONNECT, and tells about our network. */
export function encodeSocks5Reply(reply: number): Uint8Array {
  return Uint8Array.of(socks5Version, reply, 0, addressTypes.ipv4, 0, 0, 0, 0, 0, 0);
}

export interface Socks5ClientOptions {
  /** An address, or a name in ASCII, 1–255 characters. */
  readonly host: string;
  readonly port: number;
  /** Latin1, 1–255 characters each. */
  readonly credentials: { readonly username: string; readonly password: string } | null;
}

export interface Socks5ClientSink {
  onSend(bytes: Uint8Array): void;
  /** What the server answered: 0 is success, and the channel is the target's. 255: it takes none of our methods. */
  onReply(reply: number): void;
}

type ClientState = 'method' | 'verdict' | 'reply' | 'over';

export class Socks5Client {
  readonly #options: Socks5ClientOptions;
  readonly #frame = new Frame('upstream');
  #state: ClientState = 'method';

  constructor(options: Socks5ClientOptions) {
    this.#options = options;
  }

  /** Sent first. */
  opening(): Uint8Array {
    const method = this.#options.credentials === null ? methods.none : methods.password;
    return Uint8Array.of(socks5Version, 1, method);
  }

  /** Answers how many bytes it took: fewer than given only when the handshake ended within them. */
  receive(bytes: Uint8Array, sink: Socks5ClientSink): number {
    for (let at = 0; at < bytes.length; at++) {
      if (this.#state === 'over') return at;
      if (this.#frame.add(bytes[at]!, lengths[this.#state])) this.#complete(sink);
    }
    return bytes.length;
  }

  #complete(sink: Socks5ClientSink): void {
    const { bytes } = this.#frame;
    this.#frame.length = 0;
    switch (this.#state) {
      case 'method':
        return this.#answerMethod(bytes[1]!, sink);
      case 'verdict':
        if (bytes[1] !== 0) return this.#end(methods.unacceptable, sink);
        return this.#request(sink);
      case 'reply':
        return this.#end(bytes[1]!, sink);
      case 'over':
        assert(false, 'a frame after the handshake');
    }
  }

  #answerMethod(method: number, sink: Socks5ClientSink): void {
    const { credentials } = this.#options;
    if (method === methods.unacceptable) return this.#end(method, sink);
    if (method !== (credentials === null ? methods.none : methods.password)) {
      throw new ProtocolError(
        codecCodes.socksMalformed,
        'the server chose a method that was not offered',
        'upstream',
      );
    }
    if (credentials === null) return this.#request(sink);
    this.#state = 'verdict';
    sink.onSend(encodeCredentials(credentials.username, credentials.password));
  }

  #request(sink: Socks5ClientSink): void {
    this.#state = 'reply';
    sink.onSend(encodeRequest(this.#options.host, this.#options.port));
  }

  #end(reply: number, sink: Socks5ClientSink): void {
    this.#state = 'over';
    sink.onReply(reply);
  }
}

export function encodeRequest(host: string, port: number, command: number = socks5Connect): Uint8Array {
  const ip = parseIp(host);
  const head = [socks5Version, command, 0];
  const tail = [port >> 8, port & 0xff];
  if (ip === undefined) return Uint8Array.from([...head, addressTypes.name, ...text(host), ...tail]);
  const address = new Uint8Array(ip.family === 4 ? 4 : 16);
  writeIp(ip, address, 0);
  const type = ip.family === 4 ? addressTypes.ipv4 : addressTypes.ipv6;
  return Uint8Array.from([...head, type, ...address, ...tail]);
}

export function encodeCredentials(username: string, password: string): Uint8Array {
  return Uint8Array.from([credentialsVersion, ...text(username), ...text(password)]);
}

const methods = { none: 0, password: 2, unacceptable: 0xff } as const;
const addressTypes = { ipv4: 1, name: 3, ipv6: 4 } as const;
const credentialsVersion = 1;
const frameBytesMax = 513;

/** One message while it is incomplete. */
class Frame {
  readonly bytes = new Uint8Array(frameBytesMax);
  readonly #source: ErrorSource;
  length = 0;

  constructor(source: ErrorSource) {
    this.#source = source;
  }

  /** True when the message is complete. `lengthOf` answers its length, 0 while unknown, or what is wrong with it. */
  add(byte: number, lengthOf: (bytes: Uint8Array, length: number) => number | string): boolean {
    this.bytes[this.length++] = byte;
    const expected = lengthOf(this.bytes, this.length);
    if (typeof expected === 'string')
      throw new ProtocolError(codecCodes.socksMalformed, expected, this.#source);
    return expected === this.length;
  }
}

/** How long the message of each state is, as soon as its bytes tell. */
const lengths = {
  methods(bytes: Uint8Array, length: number): number | string {
    if (bytes[0] !== socks5Version) return 'a version other than 5';
    if (length < 2) return 0;
    return bytes[1] === 0 ? 'no method is offered' : 2 + bytes[1]!;
  },
  credentials(bytes: Uint8Array, length: number): number | string {
    if (bytes[0] !== credentialsVersion) return 'a version of the credentials other than 1';
    if (length < 2) return 0;
    if (bytes[1] === 0) return 'an empty user name';
    const nameEnd = 2 + bytes[1]!;
    return length <= nameEnd ? 0 : nameEnd + 1 + bytes[nameEnd]!;
  },
  request(bytes: Uint8Array, length: number): number | string {
    if (bytes[0] !== socks5Version) return 'a version other than 5';
    return addressedLength(bytes, length);
  },
  method(bytes: Uint8Array): number | string {
    return bytes[0] === socks5Version ? 2 : 'a version other than 5';
  },
  verdict(bytes: Uint8Array): number | string {
    return bytes[0] === credentialsVersion ? 2 : 'a version of the credentials other than 1';
  },
  reply(bytes: Uint8Array, length: number): number | string {
    if (bytes[0] !== socks5Version) return 'a version other than 5';
    return addressedLength(bytes, length);
  },
} as const;

/** Requests and replies: four bytes, an address by its type, a port. */
function addressedLength(bytes: Uint8Array, length: number): number | string {
  if (length >= 3 && bytes[2] !== 0) return 'a reserved byte that is not zero';
  if (length < 4) return 0;
  if (bytes[3] === addressTypes.ipv4) return 10;
  if (bytes[3] === addressTypes.ipv6) return 22;
  if (bytes[3] !== addressTypes.name) return 'an unknown type of address';
  if (length < 5) return 0;
  return bytes[4] === 0 ? 'an empty name' : 7 + bytes[4]!;
}

function readRequest(bytes: Uint8Array, length: number): Socks5Request {
  const port = (bytes[length - 2]! << 8) | bytes[length - 1]!;
  const type = bytes[3]!;
  const host =
    type === addressTypes.name
      ? latin1Text(bytes, 5, length - 2)
      : formatIp(bytesToIp(bytes, 4, type === addressTypes.ipv4 ? 4 : 16));
  return { command: bytes[1]!, host, port };
}

/** A length and as many bytes. */
function text(value: string): number[] {
  assert(value.length >= 1 && value.length <= 255, 'a text of SOCKS5 has 1–255 characters');
  return [value.length, ...Array.from(value, (character) => character.charCodeAt(0) & 0xff)];
}
