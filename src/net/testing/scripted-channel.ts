/** A channel without a socket: tests say what arrives and see what was asked of it. */
import type { HostBytes } from '../../core/bytes.ts';
import { parseIp } from '../../core/ip.ts';
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
} from '../channel.ts';

export class ScriptedChannel implements Channel {
  sink: ChannelSink = deafSink;
  isBacklogged = false;
  isClosed = false;
  /** Everything asked of the channel, in order: `write:text`, `pause`, `halfClose`. */
  readonly calls: string[] = [];
  /** While false, writes are kept waiting until `drain`. */
  hasRoom = true;
  readonly #peer: Endpoint | undefined;

  constructor(peer = '192.0.2.1') {
    const ip = parseIp(peer);
    this.#peer = ip === undefined ? undefined : { ip, port: 40_000 };
  }

  peer(): Endpoint | undefined {
    return this.#peer;
  }

  local(): Endpoint | undefined {
    return { ip: parseIp('192.0.2.254')!, port: 443 };
  }

  write(bytes: HostBytes): boolean {
    return this.writeLatin1(Buffer.from(bytes).toString('latin1'));
  }

  writeLatin1(text: string): boolean {
    this.calls.push(`write:${text}`);
    if (!this.hasRoom) this.isBacklogged = true;
    return this.hasRoom;
  }

  pause(): void {
    this.calls.push('pause');
  }

  resume(): void {
    this.calls.push('resume');
  }

  halfClose(): void {
    this.calls.push('halfClose');
  }

  close(): void {
    this.#end('close');
  }

  reset(): void {
    this.#end('reset');
  }

  // --- what the other side does ---

  send(text: string | Uint8Array): void {
    const bytes = Buffer.from(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
    this.#deliver(() => this.sink.onData(this, bytes as unknown as HostBytes));
    // The memory belongs to the transport again.
    bytes.fill(0xee);
  }

  end(): void {
    this.#deliver(() => this.sink.onEnd(this));
  }

  drain(): void {
    this.hasRoom = true;
    this.isBacklogged = false;
    this.#deliver(() => this.sink.onDrain(this));
  }

  break(code: string): void {
    const { sink } = this;
    this.isClosed = true;
    sink.onError(this, code);
  }

  #deliver(call: () => void): void {
    const { sink } = this;
    try {
      call();
    } catch (error) {
      sink.onFault(this, error);
    }
  }

  #end(call: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.calls.push(call);
  }
}

/** A transport whose attempts succeed or fail when the test says so. */
export class ScriptedTransport implements Transport {
  readonly name = 'public';
  readonly attempts: { target: ConnectTarget; observer: ConnectObserver; isCancelled: boolean }[] = [];

  listen(): Promise<Acceptor> {
    return Promise.resolve({ port: 0, fd: -1, close: () => undefined });
  }

  adopt(): Promise<Acceptor> {
    return this.listen();
  }

  connect(target: ConnectTarget, observer: ConnectObserver): ConnectAttempt {
    const attempt = { target, observer, isCancelled: false };
    this.attempts.push(attempt);
    return { cancel: () => void (attempt.isCancelled = true) };
  }

  /** Where the attempts went, `10.0.0.1:443`. */
  get targets(): string[] {
    return this.attempts.map(({ target }) => {
      return target.kind === 'unix' ? target.path : `${target.text}:${target.port}`;
    });
  }
}
