/**
 * Everything that Portcullis uses and Node does not promise, in this one file.
 *
 * Two things: libuv's TCP and pipe handles without a `net.Socket` around them (`process.binding`), and three
 * system calls on their descriptors (`node:ffi`). `loadNative` tries each piece once at start; when one is
 * missing or behaves differently, it answers why, and the public transport serves instead.
 *
 * Why `send` by FFI rather than the handle's own write: all sockets of a worker read into one shared buffer.
 * A handle's write that can not finish keeps pointing into that buffer until the kernel has room, while the next
 * read overwrites it. `send` answers how much the kernel took, so that only the rest is copied out. Short pieces
 * go as strings, which the handle copies by itself where it must (docs/decisions/0001-fast-sockets.md).
 */
import { getSystemErrorName } from 'node:util';
import type { HostBytes } from '../core/bytes.ts';
import { bytesToIp, type IpAddress } from '../core/ip.ts';

/** Size of the read buffer that all sockets of a worker share. 64 KiB halves bulk throughput, 1 MiB adds nothing. */
export const sharedBufferBytes = 256 * 1024;

/** A libuv stream handle as Node's C++ side exposes it. */
export interface Handle {
  readonly fd: number;
  readonly writeQueueSize: number;
  onread: () => void;
  /** Set on listening handles: called with a status and, when that is 0, an accepted handle. */
  onconnection: ((status: number, handle: Handle) => void) | undefined;
  /** Ours: the channel that owns the handle. */
  channel: unknown;
  readStart(): number;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  writeLatin1String(request: WriteRequest, text: string): number;
  shutdown(request: ShutdownRequest): number;
  close(callback?: () => void): void;
  reset?(callback?: () => void): number;
  setNoDelay?(on: boolean): number;
  connect(request: ConnectRequest, address: string, port?: number): number;
  connect6?(request: ConnectRequest, address: string, port: number): number;
}

export interface WriteRequest {
  oncomplete: ((this: WriteRequest, status: number) => void) | undefined;
  /** Ours: keeps the bytes alive while libuv writes them. */
  held: Uint8Array | undefined;
  /** Ours: finds the channel again. */
  channel: unknown;
}

export interface ShutdownRequest {
  oncomplete: ((status: number) => void) | undefined;
}

export interface ConnectRequest {
  oncomplete: ((this: ConnectRequest, status: number) => void) | undefined;
  attempt: unknown;
}

export interface Native {
  /** Held for as long as its functions may be called: Node frees a library that nothing refers to. */
  readonly library: object;
  readonly shared: HostBytes;
  /** After `onread`: the bytes read, or a negative libuv error. */
  readBytesOrError(): number;
  /** After a write of the handle: true when libuv queued some of the bytes, and the request with them. */
  lastWriteWasAsync(): boolean;
  newTcp(): Handle;
  newPipe(): Handle;
  newTcpConnect(): ConnectRequest;
  newPipeConnect(): ConnectRequest;
  newWrite(): WriteRequest;
  newShutdown(): ShutdownRequest;
  /** Sends bytes of the shared buffer. Answers how many the kernel took, or -1. */
  sendShared(fd: number, offset: number, length: number): number;
  /** Ends the writing direction at once. Answers 0 or -1. */
  shutdownWrite(fd: number): number;
  /** Address and port of the other (`isPeer`) or this side; undefined when there is none. */
  endpoint(fd: number, isPeer: boolean): { readonly ip: IpAddress; readonly port: number } | undefined;
  errorName(status: number): string;
}

/** What `readBytesOrError` answers at the end of a stream (libuv's UV_EOF). */
export const endOfFile = -4095;

/** Linux: MSG_DONTWAIT | MSG_NOSIGNAL. */
const sendFlags = 0x4040;
const shutWrite = 1;
const sockaddrBytesMax = 128;
const familyInet = 2;
const familyInet6 = 10;

interface TcpBinding {
  TCP: new (type: number) => Handle;
  TCPConnectWrap: new () => ConnectRequest;
  constants: { SOCKET: number };
}
interface PipeBinding {
  Pipe: new (type: number) => Handle;
  PipeConnectWrap: new () => ConnectRequest;
  constants: { SOCKET: number };
}
interface StreamBinding {
  WriteWrap: new () => WriteRequest;
  ShutdownWrap: new () => ShutdownRequest;
  kReadBytesOrError: number;
  kLastWriteWasAsync: number;
  streamBaseState: Int32Array;
}
interface SystemCalls {
  readonly send: (fd: number, address: bigint, length: number, flags: number) => number;
  readonly shutdown: (fd: number, how: number) => number;
  readonly getpeername: (fd: number, address: bigint, length: bigint) => number;
  readonly getsockname: (fd: number, address: bigint, length: bigint) => number;
}

/** The native pieces, or in one sentence why this Node.js can not give them. */
export async function loadNative(): Promise<Native | string> {
  if (process.platform !== 'linux') return `the fast sockets are written for Linux, not ${process.platform}`;
  try {
    const tcp = binding('tcp_wrap') as TcpBinding;
    const pipe = binding('pipe_wrap') as PipeBinding;
    const stream = binding('stream_wrap') as StreamBinding;
    const probe = new tcp.TCP(tcp.constants.SOCKET);
    const missing = (
      ['useUserBuffer', 'readStart', 'writeBuffer', 'writeLatin1String', 'shutdown', 'reset'] as const
    ).filter((method) => typeof probe[method] !== 'function');
    probe.close();
    if (missing.length > 0) return `this Node.js has TCP handles without ${missing.join(', ')}`;
    return assemble(tcp, pipe, stream, await import('node:ffi'));
  } catch (error) {
    return `this Node.js refuses them: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function binding(name: string): unknown {
  return (process as unknown as { binding(name: string): unknown }).binding(name);
}

type Ffi = typeof import('node:ffi');

function assemble(tcp: TcpBinding, pipe: PipeBinding, stream: StreamBinding, ffi: Ffi): Native {
  const library = ffi.dlopen('libc.so.6', {
    send: { arguments: ['i32', 'u64', 'u32', 'i32'], return: 'i32' },
    shutdown: { arguments: ['i32', 'i32'], return: 'i32' },
    getpeername: { arguments: ['i32', 'u64', 'u64'], return: 'i32' },
    getsockname: { arguments: ['i32', 'u64', 'u64'], return: 'i32' },
  });
  const calls = library.functions as unknown as SystemCalls;

  // Both buffers live as long as the worker: their addresses are given to system calls.
  const shared = Buffer.from(new ArrayBuffer(sharedBufferBytes)) as unknown as HostBytes;
  const sharedAddress = ffi.getRawPointer(shared as unknown as Buffer);
  // A number, not a bigint, is added for every send; user-space addresses are below 2^47.
  const sharedBase = Number(sharedAddress);
  const name = Buffer.from(new ArrayBuffer(sockaddrBytesMax + 8));
  const nameAddress = ffi.getRawPointer(name);
  const nameLengthAddress = nameAddress + BigInt(sockaddrBytesMax);
  const { streamBaseState, kReadBytesOrError, kLastWriteWasAsync } = stream;

  return {
    library,
    shared,
    readBytesOrError: () => streamBaseState[kReadBytesOrError]!,
    lastWriteWasAsync: () => streamBaseState[kLastWriteWasAsync] !== 0,
    newTcp: () => new tcp.TCP(tcp.constants.SOCKET),
    newPipe: () => new pipe.Pipe(pipe.constants.SOCKET),
    newTcpConnect: () => new tcp.TCPConnectWrap(),
    newPipeConnect: () => new pipe.PipeConnectWrap(),
    newWrite: () => new stream.WriteWrap(),
    newShutdown: () => new stream.ShutdownWrap(),
    sendShared: (fd, offset, length) =>
      calls.send(fd, offset === 0 ? sharedAddress : BigInt(sharedBase + offset), length, sendFlags),
    shutdownWrite: (fd) => calls.shutdown(fd, shutWrite),
    endpoint(fd, isPeer) {
      name.writeUInt32LE(sockaddrBytesMax, sockaddrBytesMax);
      const call = isPeer ? calls.getpeername : calls.getsockname;
      if (call(fd, nameAddress, nameLengthAddress) !== 0) return undefined;
      const family = name.readUInt16LE(0);
      if (family === familyInet) return { ip: bytesToIp(name, 4, 4), port: name.readUInt16BE(2) };
      if (family === familyInet6) return { ip: bytesToIp(name, 8, 16), port: name.readUInt16BE(2) };
      return undefined;
    },
    errorName: (status) => getSystemErrorName(status),
  };
}
