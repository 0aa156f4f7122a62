/**
 * One end of a TCP or Unix socket connection that a test scripts step by step: send, read so many bytes, half-close,
 * reset, and see how the other side ended.
 */
import { once } from 'node:events';
import {
  connect,
  createServer,
  type AddressInfo,
  type NetConnectOpts,
  type Server,
  type Socket,
} from 'node:net';

/** How a connection ended, seen from here. `end`: the other side closed in order. Else the system's error code. */
export type PeerEnding = 'end' | (string & {});

/** Nothing a test waits for takes longer on the slowest machine. */
const patienceMs = 20_000;

export class Peer {
  readonly socket: Socket;
  /** `127.0.0.1:4711`, as the connection's log line names a client. Known once connected. */
  address = '';
  /** Resolves when the connection is over. A reset is `ECONNRESET`. */
  readonly closed: Promise<PeerEnding>;
  /** Bytes that have arrived since the start. */
  receivedBytes = 0;
  #chunks: Buffer[] = [];
  #waiting: (() => void)[] = [];
  #isEnded = false;
  #ending: PeerEnding | undefined;

  static async connect(port: number, options: Partial<NetConnectOpts> = {}): Promise<Peer> {
    const peer = new Peer(
      connect({ port, host: '127.0.0.1', allowHalfOpen: true, ...options } as NetConnectOpts),
    );
    // A proxy at its limit may reset so soon that the connect itself seems to fail.
    await Promise.race([once(peer.socket, 'connect').catch(() => undefined), peer.closed]);
    return peer;
  }

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    // A socket forgets its address when it closes.
    socket.once('connect', () => (this.address = localAddress(socket)));
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      this.#chunks.push(chunk);
      this.#wake();
    });
    socket.on('end', () => {
      this.#isEnded = true;
      this.#wake();
    });
    const { promise, resolve } = Promise.withResolvers<PeerEnding>();
    this.closed = promise;
    socket.on('error', (error: NodeJS.ErrnoException) => (this.#ending ??= error.code ?? 'EUNKNOWN'));
    socket.on('close', () => {
      this.#ending ??= 'end';
      this.#isEnded = true;
      resolve(this.#ending);
      this.#wake();
    });
  }

  /** What arrived and was not read. */
  get bufferedBytes(): number {
    return this.#buffered();
  }

  get isOpen(): boolean {
    return this.#ending === undefined;
  }

  /** Resolves when the kernel has taken everything; false when the connection ended first. */
  async write(bytes: Uint8Array | string): Promise<boolean> {
    const taken = new Promise<boolean>((resolve) => {
      this.socket.write(bytes, (error) => resolve(error === null || error === undefined));
    });
    return Promise.race([taken, this.closed.then(() => false)]);
  }

  /** The next `length` bytes; fewer when the stream ended. */
  async read(length: number): Promise<Buffer> {
    while (!this.#isEnded && this.#buffered() < length) await this.#arrival();
    const all = Buffer.concat(this.#chunks);
    this.#chunks = length < all.length ? [all.subarray(length)] : [];
    return all.subarray(0, length);
  }

  /** Everything up to the other side's end. */
  async readToEnd(): Promise<Buffer> {
    while (!this.#isEnded) await this.#arrival();
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [];
    return all;
  }

  end(bytes?: Uint8Array | string): void {
    if (bytes === undefined) this.socket.end();
    else this.socket.end(bytes);
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }

  #buffered(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  #arrival(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`nothing arrived for ${patienceMs} ms; ${this.receivedBytes} bytes before`)),
        patienceMs,
      );
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** A backend that hands its connections to the test, one after the other. */
export class PeerServer implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #accepted: Peer[];
  readonly #waiting: ((peer: Peer) => void)[];
  readonly #open: Set<Peer>;

  /** On 127.0.0.1 and a free port unless told otherwise. With `serve` the server handles its connections itself. */
  static async start(
    options: { host?: string; path?: string; backlog?: number } = {},
    serve?: (peer: Peer) => void,
  ): Promise<PeerServer> {
    const accepted: Peer[] = [];
    const waiting: ((peer: Peer) => void)[] = [];
    const open = new Set<Peer>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const peer = new Peer(socket);
      open.add(peer);
      void peer.closed.then(() => open.delete(peer));
      if (serve !== undefined) return serve(peer);
      const next = waiting.shift();
      if (next === undefined) accepted.push(peer);
      else next(peer);
    });
    const where =
      options.path === undefined ? { host: options.host ?? '127.0.0.1', port: 0 } : { path: options.path };
    server.listen({ ...where, backlog: options.backlog ?? 4096 });
    await once(server, 'listening');
    return new PeerServer(server, accepted, waiting, open);
  }

  private constructor(server: Server, accepted: Peer[], waiting: ((peer: Peer) => void)[], open: Set<Peer>) {
    this.#server = server;
    this.#accepted = accepted;
    this.#waiting = waiting;
    this.#open = open;
    const address = server.address();
    this.port = typeof address === 'string' ? 0 : (address as AddressInfo).port;
  }

  /** The next connection, in the order of arrival. */
  async next(): Promise<Peer> {
    return this.#accepted.shift() ?? new Promise((resolve) => this.#waiting.push(resolve));
  }

  get connections(): number {
    return this.#open.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#open) peer.close();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function localAddress({ localAddress: ip, localPort, localFamily }: Socket): string {
  return localFamily === 'IPv6' ? `[${ip}]:${localPort}` : `${ip}:${localPort}`;
}
