/**
 * Two channels joined in memory: what one writes the other reads. Like sockets they begin paused, deliver from the
 * event loop only, lend memory that is overwritten after each read, and say false to a write the other side has
 * no room for.
 */
import type { HostBytes } from '../../core/bytes.ts';
import { parseIp } from '../../core/ip.ts';
import { deafSink, type Channel, type ChannelSink, type Endpoint } from '../../net/channel.ts';

export interface ChannelPairOptions {
  /** The longest piece one read brings; 1 delivers byte by byte. */
  readonly readBytesMax?: number;
  /** How much may wait on its way before a write answers false. */
  readonly roomBytes?: number;
  /** False: nothing moves until `pump`. Default: everything moves by itself, turn by turn. */
  readonly isAutomatic?: boolean;
}

export interface ChannelPair {
  readonly client: JoinedChannel;
  readonly server: JoinedChannel;
  /** Delivers what is on its way, and what that causes, until nothing moves. Answers how many calls were made. */
  pump(): number;
}

export function channelPair(options: ChannelPairOptions = {}): ChannelPair {
  const client = new JoinedChannel('192.0.2.1', options);
  const server = new JoinedChannel('192.0.2.254', options);
  client.join(server);
  return {
    client,
    server,
    pump() {
      let calls = 0;
      for (let made = -1; made !== 0; calls += made) made = client.deliver() + server.deliver();
      return calls;
    },
  };
}

export class JoinedChannel implements Channel {
  sink: ChannelSink = deafSink;
  isClosed = false;
  /** Everything that was written, for tests that look at the wire. */
  written = '';
  /** How many writes there were. */
  writeCount = 0;
  isPaused = true;
  isHalfClosed = false;
  wasReset = false;
  /** What this side's `write` gave and the other side has not read. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #owesDrain = false;
  #isEndDelivered = false;
  #isScheduled = false;
  #other!: JoinedChannel;
  readonly #address: string;
  readonly #readBytesMax: number;
  readonly #roomBytes: number;
  readonly #isAutomatic: boolean;

  constructor(address: string, options: ChannelPairOptions) {
    this.#address = address;
    this.#readBytesMax = options.readBytesMax ?? 64 * 1024;
    this.#roomBytes = options.roomBytes ?? 1024 * 1024;
    this.#isAutomatic = options.isAutomatic ?? true;
  }

  join(other: JoinedChannel): void {
    this.#other = other;
    other.#other = this;
  }

  get isBacklogged(): boolean {
    return this.#waitingBytes > this.#roomBytes;
  }

  peer(): Endpoint | undefined {
    return { ip: parseIp(this.#other.#address)!, port: 40_000 };
  }

  local(): Endpoint | undefined {
    return { ip: parseIp(this.#address)!, port: 443 };
  }

  write(bytes: HostBytes): boolean {
    if (this.isClosed || this.isHalfClosed) return true;
    const copy = Buffer.from(bytes);
    this.written += copy.toString('latin1');
    this.writeCount++;
    if (copy.length > 0) this.#waiting.push(copy);
    this.#waitingBytes += copy.length;
    this.#other.#schedule();
    if (!this.isBacklogged) return true;
    this.#owesDrain = true;
    return false;
  }

  writeLatin1(text: string): boolean {
    return this.write(Buffer.from(text, 'latin1') as unknown as HostBytes);
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.#schedule();
  }

  halfClose(): void {
    this.isHalfClosed = true;
    this.#other.#schedule();
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.isHalfClosed = true;
    this.#other.#schedule();
  }

  reset(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.wasReset = true;
    this.#other.#schedule();
  }

  /** Makes the calls that are due on this side now. Answers how many. */
  deliver(): number {
    let calls = 0;
    while (this.#deliverOne()) calls++;
    return calls;
  }

  #deliverOne(): boolean {
    if (this.isClosed) return false;
    const other = this.#other;
    if (other.wasReset) {
      this.isClosed = true;
      return this.#call(() => this.sink.onError(this, 'ECONNRESET'));
    }
    if (this.#owesDrain && !this.isBacklogged) {
      this.#owesDrain = false;
      return this.#call(() => this.sink.onDrain(this));
    }
    if (this.isPaused) return false;
    const bytes = other.#take(this.#readBytesMax);
    if (bytes !== undefined) {
      this.#call(() => this.sink.onData(this, bytes as unknown as HostBytes));
      // The memory belongs to the transport again.
      bytes.fill(0xee);
      other.#schedule();
      return true;
    }
    if (!other.isHalfClosed || this.#isEndDelivered) return false;
    this.#isEndDelivered = true;
    return this.#call(() => this.sink.onEnd(this));
  }

  #take(bytesMax: number): Buffer | undefined {
    const first = this.#waiting[0];
    if (first === undefined) return undefined;
    if (first.length <= bytesMax) this.#waiting.shift();
    else this.#waiting[0] = first.subarray(bytesMax);
    const bytes = Buffer.from(first.subarray(0, bytesMax));
    this.#waitingBytes -= bytes.length;
    return bytes;
  }

  #schedule(): void {
    if (!this.#isAutomatic || this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#deliverOne()) this.#schedule();
    });
  }

  #call(call: () => void): true {
    const { sink } = this;
    try {
      call();
    } catch (error) {
      sink.onFault(this, error);
    }
    return true;
  }
}
