/**
 * The public transport: channels on `net.Socket`, with nothing but documented API. It serves wherever the fast
 * one can not, and passes the same tests.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { HostBytes } from '../core/bytes.ts';
import { parseIp } from '../core/ip.ts';
import {
  deafSink,
  type Acceptor,
  type Channel,
  type ChannelSink,
  type ConnectAttempt,
  type ConnectObserver,
  type ConnectTarget,
  type Endpoint,
  type Transport,
} from './channel.ts';
import { adoptServer, bindServer, descriptorOf } from './listen.ts';

export class PublicTransport implements Transport {
  readonly name = 'public';

  async listen(host: string, port: number, onAccept: (channel: Channel) => void): Promise<Acceptor> {
    const server = acceptingServer(onAccept);
    return acceptorOf(server, await bindServer(server, host, port));
  }

  async adopt(fd: number, onAccept: (channel: Channel) => void): Promise<Acceptor> {
    const server = acceptingServer(onAccept);
    return acceptorOf(server, await adoptServer(server, fd));
  }

  connect(target: ConnectTarget, observer: ConnectObserver): ConnectAttempt {
    return new SocketConnect(target, observer);
  }
}

function acceptingServer(onAccept: (channel: Channel) => void): Server {
  return createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    onAccept(new SocketChannel(socket));
  });
}

function acceptorOf(server: Server, port: number): Acceptor {
  // A failed accept (no descriptors, a client that left) is that connection's end and nobody else's.
  server.on('error', () => {});
  return { port, fd: descriptorOf(server), close: () => void server.close() };
}

class SocketChannel implements Channel {
  sink: ChannelSink = deafSink;
  isClosed = false;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.pause();
    socket.on('data', (chunk: Buffer) =>
      this.#guard(() => this.sink.onData(this, chunk as unknown as HostBytes)),
    );
    socket.on('end', () => this.#guard(() => this.sink.onEnd(this)));
    socket.on('drain', () => this.#guard(() => this.sink.onDrain(this)));
    socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(error.code ?? 'EUNKNOWN'));
    // 'data' starts the flow; a channel begins paused.
    socket.pause();
  }

  get isBacklogged(): boolean {
    return this.#socket.writableLength > 0;
  }

  peer(): Endpoint | undefined {
    return endpoint(this.#socket.remoteAddress, this.#socket.remotePort);
  }

  local(): Endpoint | undefined {
    return endpoint(this.#socket.localAddress, this.#socket.localPort);
  }

  write(bytes: HostBytes): boolean {
    if (this.isClosed) return true;
    // Node hands out fresh memory for every read, so these bytes stay as they are while they wait.
    this.#socket.write(bytes);
    return this.#written();
  }

  writeLatin1(text: string): boolean {
    if (this.isClosed) return true;
    this.#socket.write(text, 'latin1');
    return this.#written();
  }

  #written(): boolean {
    if (this.#socket.writableLength === 0) return true;
    // 'drain' comes only after the high-water mark was passed; the contract wants it after every wait.
    if (!this.#socket.writableNeedDrain) this.#socket.write('', () => this.#drained());
    return false;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.isClosed) this.#socket.resume();
  }

  halfClose(): void {
    if (!this.isClosed) this.#socket.end();
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#socket.destroy();
  }

  reset(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    const { writableEnded, writableFinished } = this.#socket;
    // libuv refuses a reset while a shutdown is under way, and Node.js then leaves the handle open for ever.
    if (writableEnded && !writableFinished) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  #drained(): void {
    if (this.#socket.writableLength === 0) this.#guard(() => this.sink.onDrain(this));
  }

  #fail(code: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#socket.destroy();
    try {
      this.sink.onError(this, code);
    } catch (error) {
      this.sink.onFault(this, error);
    }
  }

  #guard(call: () => void): void {
    if (this.isClosed) return;
    try {
      call();
    } catch (error) {
      this.sink.onFault(this, error);
    }
  }
}

class SocketConnect implements ConnectAttempt {
  readonly #socket: Socket;
  #observer: ConnectObserver | undefined;

  constructor(target: ConnectTarget, observer: ConnectObserver) {
    this.#observer = observer;
    const address =
      target.kind === 'unix'
        ? { path: target.path }
        : { host: target.text, port: target.port, noDelay: true };
    this.#socket = connect({ ...address, allowHalfOpen: true });
    this.#socket.once('connect', () =>
      this.#settle((found) => found.onConnected(new SocketChannel(this.#socket))),
    );
    this.#socket.once('error', (error: NodeJS.ErrnoException) => {
      this.#settle((found) => found.onConnectFailed(error.code ?? 'EUNKNOWN'));
    });
  }

  cancel(): void {
    this.#observer = undefined;
    this.#socket.destroy();
  }

  #settle(tell: (observer: ConnectObserver) => void): void {
    const observer = this.#observer;
    this.#observer = undefined;
    if (observer !== undefined) tell(observer);
  }
}

function endpoint(address: string | undefined, port: number | undefined): Endpoint | undefined {
  const ip = address === undefined ? undefined : parseIp(address);
  return ip === undefined || port === undefined ? undefined : { ip, port };
}
