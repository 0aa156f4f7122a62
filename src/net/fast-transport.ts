/**
 * The fast transport: channels on libuv's own handles. It costs half of what `net.Socket` costs per connection
 * and a third of the memory per idle one (`npm run bench`, figures "connection" and "idle").
 *
 * Everything Node does not promise comes through `native.ts`.
 */
import { createServer, type Server } from 'node:net';
import type { HostBytes } from '../core/bytes.ts';
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
import { endOfFile, type ConnectRequest, type Handle, type Native, type WriteRequest } from './native.ts';

/**
 * Up to this length bytes are written as a string: making one and the handle's write of it cost less than a call
 * through FFI, and what can not be sent at once is copied on the way (bench: exchange).
 */
const stringBytesMax = 2048;

/** Views of the shared buffer are kept for reads up to this long: making one costs as much as a small system call. */
const viewBytesMax = 2048;

export class FastTransport implements Transport {
  readonly name = 'fast';
  readonly native: Native;
  readonly #views: (HostBytes | undefined)[] = Array.from({ length: viewBytesMax + 1 });
  /** Nearly every write finishes at once; one request serves them all. */
  #request: WriteRequest | undefined;

  constructor(native: Native) {
    this.native = native;
  }

  async listen(host: string, port: number, onAccept: (channel: Channel) => void): Promise<Acceptor> {
    const server = createServer();
    return this.#acceptOn(server, await bindServer(server, host, port), onAccept);
  }

  async adopt(fd: number, onAccept: (channel: Channel) => void): Promise<Acceptor> {
    const server = createServer();
    return this.#acceptOn(server, await adoptServer(server, fd), onAccept);
  }

  #acceptOn(server: Server, port: number, onAccept: (channel: Channel) => void): Acceptor {
    const handle = (server as Server & { _handle: Handle })._handle;
    // Linux copies the option to every accepted socket: one system call less for each connection.
    handle.setNoDelay?.(true);
    handle.onconnection = (status, accepted) => {
      if (status === 0) onAccept(new HandleChannel(this, accepted));
    };
    return { port, fd: descriptorOf(server), close: () => void server.close() };
  }

  connect(target: ConnectTarget, observer: ConnectObserver): ConnectAttempt {
    return new HandleConnect(this, target, observer);
  }

  /** A request for one write of a handle, which keeps it only when the write must wait. */
  takeRequest(): WriteRequest {
    const request = this.#request ?? this.native.newWrite();
    this.#request = undefined;
    request.oncomplete = onHandleWritten;
    return request;
  }

  returnRequest(request: WriteRequest): void {
    request.held = undefined;
    this.#request = request;
  }

  /** The first `length` bytes of the shared buffer. */
  view(length: number): HostBytes {
    if (length > viewBytesMax) return this.native.shared.subarray(0, length);
    return (this.#views[length] ??= this.native.shared.subarray(0, length));
  }
}

export class HandleChannel implements Channel {
  sink: ChannelSink = deafSink;
  isClosed = false;
  readonly transport: FastTransport;
  readonly #handle: Handle;
  #fd: number;
  #isReading = false;
  /** Writes that libuv holds because the kernel had no room. */
  #writesQueued = 0;

  constructor(transport: FastTransport, handle: Handle) {
    this.transport = transport;
    this.#handle = handle;
    this.#fd = handle.fd;
    handle.channel = this;
    handle.onread = onHandleRead;
    handle.useUserBuffer(transport.native.shared);
  }

  get isBacklogged(): boolean {
    return this.#writesQueued > 0;
  }

  peer(): Endpoint | undefined {
    return this.isClosed ? undefined : this.transport.native.endpoint(this.#fd, true);
  }

  local(): Endpoint | undefined {
    return this.isClosed ? undefined : this.transport.native.endpoint(this.#fd, false);
  }

  write(bytes: HostBytes): boolean {
    if (this.isClosed) return true;
    const native = this.transport.native;
    if (bytes.buffer !== native.shared.buffer) return this.#enqueue(bytes);
    if (bytes.length <= stringBytesMax) {
      const request = this.transport.takeRequest();
      return this.#finish(request, this.#handle.writeLatin1String(request, bytes.latin1Slice()));
    }
    let sent = 0;
    if (this.#writesQueued === 0) {
      sent = native.sendShared(this.#fd, bytes.byteOffset, bytes.length);
      if (sent === bytes.length) return true;
      // No room or an error: libuv tries again, and is the one to tell which.
      if (sent < 0) sent = 0;
    }
    return this.#enqueue(Buffer.from(bytes.subarray(sent)) as unknown as HostBytes);
  }

  writeLatin1(text: string): boolean {
    if (this.isClosed) return true;
    const request = this.transport.takeRequest();
    return this.#finish(request, this.#handle.writeLatin1String(request, text));
  }

  pause(): void {
    if (!this.#isReading || this.isClosed) return;
    this.#isReading = false;
    this.#handle.readStop();
  }

  resume(): void {
    if (this.#isReading || this.isClosed) return;
    this.#isReading = true;
    this.#handle.readStart();
  }

  halfClose(): void {
    if (this.isClosed) return;
    if (this.#writesQueued === 0) {
      this.transport.native.shutdownWrite(this.#fd);
      return;
    }
    const request = this.transport.native.newShutdown();
    request.oncomplete = ignore;
    this.#handle.shutdown(request);
  }

  close(): void {
    if (this.#release()) this.#handle.close();
  }

  reset(): void {
    if (!this.#release()) return;
    // A pipe has no reset, and libuv refuses one while a shutdown waits behind queued writes.
    if (this.#handle.reset === undefined || this.#handle.reset() !== 0) this.#handle.close();
  }

  /**
   * Lets go of the handle, for TLS to be put on it: this channel is closed from here on, the connection is not.
   * Undefined when it is closed already. Only of a channel that is not backlogged.
   */
  takeHandle(): Handle | undefined {
    this.pause();
    return this.#release() ? this.#handle : undefined;
  }

  /** The handle read into the shared buffer, came to the end, or failed. */
  onRead(): void {
    const status = this.transport.native.readBytesOrError();
    const sink = this.sink;
    try {
      if (status > 0) sink.onData(this, this.transport.view(status));
      else if (status === endOfFile) this.#onEnd();
      else if (status < 0) this.#fail(status);
    } catch (error) {
      sink.onFault(this, error);
    }
  }

  onWritten(status: number): void {
    this.#writesQueued--;
    if (this.isClosed) return;
    const sink = this.sink;
    try {
      if (status < 0) this.#fail(status);
      else if (this.#writesQueued === 0) sink.onDrain(this);
    } catch (error) {
      sink.onFault(this, error);
    }
  }

  #onEnd(): void {
    this.#isReading = false;
    this.#handle.readStop();
    this.sink.onEnd(this);
  }

  /** Gives memory that stays unchanged to libuv, which writes now what it can. */
  #enqueue(bytes: HostBytes): boolean {
    const request = this.transport.takeRequest();
    request.held = bytes;
    return this.#finish(request, this.#handle.writeBuffer(request, bytes));
  }

  /** After a write of the handle. True when nothing of it waits: the request is free again then. */
  #finish(request: WriteRequest, status: number): boolean {
    if (status === 0 && !this.transport.native.lastWriteWasAsync()) {
      this.transport.returnRequest(request);
      return true;
    }
    this.#writesQueued++;
    request.channel = this;
    // A failure is reported from the event loop, like every other: not from inside the caller's call.
    if (status !== 0) setImmediate(failWrite, this, status);
    return false;
  }

  #fail(status: number): void {
    const sink = this.sink;
    if (this.#release()) this.#handle.close();
    sink.onError(this, this.transport.native.errorName(status));
  }

  /** True for the first caller, who closes the handle. From here on the descriptor may belong to somebody else. */
  #release(): boolean {
    if (this.isClosed) return false;
    this.isClosed = true;
    this.#fd = -1;
    this.#handle.channel = undefined;
    return true;
  }
}

class HandleConnect implements ConnectAttempt {
  readonly #transport: FastTransport;
  readonly #handle: Handle;
  #observer: ConnectObserver | undefined;

  constructor(transport: FastTransport, target: ConnectTarget, observer: ConnectObserver) {
    this.#transport = transport;
    this.#observer = observer;
    const native = transport.native;
    this.#handle = target.kind === 'unix' ? native.newPipe() : native.newTcp();
    const request = target.kind === 'unix' ? native.newPipeConnect() : native.newTcpConnect();
    request.attempt = this;
    request.oncomplete = onHandleConnected;
    const status = startConnect(this.#handle, request, target);
    if (status !== 0) setImmediate(() => this.onConnected(status));
  }

  cancel(): void {
    if (this.#observer === undefined) return;
    this.#observer = undefined;
    this.#handle.close();
  }

  onConnected(status: number): void {
    const observer = this.#observer;
    if (observer === undefined) return;
    this.#observer = undefined;
    if (status !== 0) {
      this.#handle.close();
      observer.onConnectFailed(this.#transport.native.errorName(status));
      return;
    }
    this.#handle.setNoDelay?.(true);
    observer.onConnected(new HandleChannel(this.#transport, this.#handle));
  }
}

function startConnect(handle: Handle, request: ConnectRequest, target: ConnectTarget): number {
  if (target.kind === 'unix') return handle.connect(request, target.path) ?? 0;
  if (target.ip.family === 6) return handle.connect6!(request, target.text, target.port);
  return handle.connect(request, target.text, target.port);
}

/** One function for all handles: libuv calls it with the handle as `this`. */
function onHandleRead(this: Handle): void {
  const channel = this.channel as HandleChannel | undefined;
  if (channel !== undefined) channel.onRead();
}

function onHandleWritten(this: WriteRequest, status: number): void {
  this.held = undefined;
  (this.channel as HandleChannel).onWritten(status);
}

function onHandleConnected(this: ConnectRequest, status: number): void {
  (this.attempt as HandleConnect).onConnected(status);
}

function failWrite(channel: HandleChannel, status: number): void {
  channel.onWritten(status);
}

function ignore(): void {}
