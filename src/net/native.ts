/**
 * Everything that Portcullis uses and Node does not promise, in this one file.
 *
 * Three things: libuv's TCP and pipe handles without a `net.Socket` around them, TLS on such a handle without a
 * `TLSSocket` around it (both `process.binding`), and system calls on their descriptors (`node:ffi`). `loadNative`
 * tries each piece once at start; when one is missing or behaves differently, it answers why, and the public
 * transport serves instead. Without the TLS piece alone, TLS takes the public way on the fast sockets.
 *
 * Why `send` by FFI rather than the handle's own write: all sockets of a worker read into one shared buffer.
 * A handle's write that can not finish keeps pointing into that buffer until the kernel has room, while the next
 * read overwrites it. `send` answers how much the kernel took, so that only the rest is copied out. Short pieces
 * go as strings, which the handle copies by itself where it must (docs/decisions/0001-fast-sockets.md).
 */
import type { SecureContext } from 'node:tls';
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

/**
 * OpenSSL on a handle (Node's TLSWrap): ciphertext goes between the two in C++, plaintext comes and goes here.
 *
 * Two of its rules end the process when broken, so `tls-handle-channel.ts` keeps them: one write at a time, also
 * when the kernel took it at once (`oncomplete` comes in the check phase of the loop), and no `destroySSL` from
 * inside one of its callbacks.
 */
export interface TlsHandle {
  onread: () => void;
  onerror: (error: NodeJS.ErrnoException) => void;
  onhandshakestart: () => void;
  onhandshakedone: () => void;
  onnewsession: (id: Buffer, session: Buffer) => void;
  /** Ours: the channel that owns the handle. */
  channel: unknown;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  /** Takes ciphertext as if it had been read. */
  receive(bytes: Uint8Array): void;
  /** Begins a client's handshake. */
  start(): void;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  writeLatin1String(request: WriteRequest, text: string): number;
  shutdown(request: ShutdownRequest): number;
  destroySSL(): void;
  /** A server's own list, or what a client offers, in the form of the wire. */
  setALPNProtocols(wire: Uint8Array): void;
  setServername(name: string): void;
  setSession(session: Buffer): void;
  enableSessionCallbacks(): void;
  setVerifyMode(requestsCertificate: boolean, demandsCertificate: boolean): void;
  getALPNNegotiatedProtocol(): string | false | undefined;
  getProtocol(): string;
  getCipher(): { readonly name: string };
  isSessionReused(): boolean;
  hasPeerCertificate(): boolean;
  verifyError(): NodeJS.ErrnoException | null;
  /** `raw` is the certificate in DER; absent without a certificate. */
  getPeerCertificate(isDetailed: boolean): { readonly raw?: Buffer } | undefined;
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
  /** Puts TLS on a handle; undefined when this Node.js can not. From then on the handle is only closed or reset. */
  readonly wrapTls: ((handle: Handle, context: SecureContext, isServer: boolean) => TlsHandle) | undefined;
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
    wrapTls: loadTls(),
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

/** Majors of Node.js with which the tests of TLS on handles have passed. */
const tlsMajors: readonly string[] = ['26'];

interface TlsBinding {
  wrap(handle: Handle, context: unknown, isServer: boolean, hasActiveWrite: boolean): TlsHandle;
  TLSWrap: { prototype: TlsHandle };
}

/**
 * Wrong arguments to `wrap` end the process where another missing piece would throw: besides looking at the methods
 * this asks for a version that was tried.
 */
function loadTls(): Native['wrapTls'] {
  if (!tlsMajors.includes(process.versions.node.split('.')[0]!)) return undefined;
  const tls = binding('tls_wrap') as TlsBinding;
  const needed = [
    'useUserBuffer',
    'receive',
    'start',
    'writeBuffer',
    'shutdown',
    'destroySSL',
    'verifyError',
  ];
  const { prototype } = tls.TLSWrap as unknown as { prototype: Record<string, unknown> };
  if (typeof tls.wrap !== 'function' || needed.some((method) => !(method in prototype))) return undefined;
  return (handle, context, isServer) => {
    // The public SecureContext holds OpenSSL's under this name; Node's own sockets take it from there too.
    const { context: inner } = context as unknown as { context: unknown };
    return tls.wrap(handle, inner, isServer, false);
  };
}
