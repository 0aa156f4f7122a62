/** WebSocket over HTTP/1.1 and over HTTP/2, to a backend that speaks HTTP/1.1 and sends every message back. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import { request } from 'node:https';
import type { Duplex } from 'node:stream';
import { WebSocketPeer, webSocketHandshake } from '../support/websocket.ts';
import { dialTls } from './dial.ts';
import { closeHttp2, openHttp2 } from './http-clients.ts';
import { Failed } from './ledger.ts';
import { payload, type ClientContext, type SoakClient } from './soak-client.ts';

/** Of a frame that the tests' WebSocket speaks. */
const messageBytesMax = 30 * 1024;
const closeOpcode = 8;

/** What both have in common once the handshake is over. */
class Conversation {
  readonly #peer: WebSocketPeer;
  readonly #lost: Promise<never>;

  constructor(stream: Duplex, head?: Buffer) {
    this.#peer = new WebSocketPeer(stream, head);
    this.#lost = new Promise((_, reject) =>
      stream.on('close', () => reject(new Error('closed in the midst'))),
    );
    this.#lost.catch(() => undefined);
  }

  async exchange(random: ClientContext['random']): Promise<void> {
    const sent = payload(random, messageBytesMax);
    this.#peer.send(sent);
    const frame = await Promise.race([this.#peer.next(), this.#lost]);
    if (!frame.payload.equals(sent)) throw new Failed('damaged', `${sent.length} bytes came back different`);
  }

  async close(): Promise<void> {
    this.#peer.close(1000);
    const { opcode } = await Promise.race([this.#peer.next(), this.#lost]);
    if (opcode !== closeOpcode) throw new Failed('damaged', 'no frame of the end came back');
  }
}

function checkStatus(status: number, expected: number): void {
  if (status === expected) return;
  const what = `handshake answered ${status}`;
  if (status === 502 || status === 503 || status === 504) throw new Failed('unavailable', what);
  throw new Failed(status === 404 || status === 421 ? 'unrouted' : 'wrong', what);
}

export class WebSocketHttp1Client implements SoakClient {
  address = '';
  readonly #context: ClientContext;
  #socket: Duplex | null = null;
  #conversation: Conversation | null = null;

  constructor(context: ClientContext) {
    this.#context = context;
  }

  async open(): Promise<void> {
    const { host, tag } = this.#context;
    const { socket: dialed, address } = await dialTls(this.#context, ['http/1.1']);
    this.#socket = dialed;
    this.address = address;
    const { fields, accept } = webSocketHandshake();
    const upgrade = request({
      ...{ host, path: '/socket', createConnection: () => dialed },
      headers: { host, 'user-agent': tag, ...fields },
    });
    upgrade.end();
    const answered = once(upgrade, 'response') as Promise<[IncomingMessage]>;
    answered.catch(() => undefined);
    const upgraded = once(upgrade, 'upgrade') as Promise<[IncomingMessage, Duplex, Buffer]>;
    upgraded.catch(() => undefined);
    const [answer, socket, head] = await Promise.race([upgraded, answered]);
    upgrade.on('error', () => undefined);
    checkStatus(answer.statusCode ?? 0, 101);
    if (answer.headers['sec-websocket-accept'] !== accept)
      throw new Failed('wrong', 'the accept key differs');
    this.#conversation = new Conversation(socket!, head);
  }

  exchange(): Promise<void> {
    return this.#conversation!.exchange(this.#context.random);
  }

  async close(): Promise<void> {
    await this.#conversation!.close();
    this.#socket!.end();
  }

  vanish(): void {
    this.#socket?.destroy();
  }
}

export class WebSocketHttp2Client implements SoakClient {
  address = '';
  readonly #context: ClientContext;
  #session: ClientHttp2Session | null = null;
  #stream: Duplex | null = null;
  #conversation: Conversation | null = null;

  constructor(context: ClientContext) {
    this.#context = context;
  }

  async open(): Promise<void> {
    const { host, tag } = this.#context;
    const { session, address } = await openHttp2(this.#context);
    this.#session = session;
    this.address = address;
    if (session.remoteSettings?.enableConnectProtocol !== true) await once(session, 'remoteSettings');
    const stream = session.request({
      ...{ ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/socket' },
      ...{ ':authority': host, 'sec-websocket-version': '13', 'user-agent': tag },
    });
    const head = await new Promise<IncomingHttpHeaders>((resolve, reject) => {
      stream.on('response', resolve);
      stream.on('error', reject);
      stream.on('close', () => reject(new Error('closed before the answer')));
    });
    checkStatus(Number(head[':status']), 200);
    this.#stream = stream;
    this.#conversation = new Conversation(stream);
  }

  exchange(): Promise<void> {
    return this.#conversation!.exchange(this.#context.random);
  }

  async close(): Promise<void> {
    await this.#conversation!.close();
    this.#stream!.end();
    await closeHttp2(this.#session!);
  }

  vanish(): void {
    this.#session?.destroy();
  }
}
