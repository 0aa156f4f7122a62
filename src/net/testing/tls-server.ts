/** A server of TLS on a transport, and channels whose conversation a test reads like a script. */
import type { HostBytes } from '../../core/bytes.ts';
import type { Channel, ChannelSink, Transport } from '../channel.ts';
import { FastTransport } from '../fast-transport.ts';
import { loadNative } from '../native.ts';
import { Network } from '../network.ts';
import { PublicTransport } from '../public-transport.ts';
import { Resolver } from '../resolver.ts';
import { OpenSslTerminator, type TerminatorOptions } from '../tls-terminator.ts';
import type { SecureChannel } from '../tls-engine.ts';
import type { TlsFacts, TlsIdentity, TlsObserver } from '../tls.ts';

/** Every transport this machine can run: TLS on handles over the fast one, on Node's sockets over the other. */
export async function transports(): Promise<readonly Transport[]> {
  const native = await loadNative();
  const fast = typeof native === 'string' ? [] : [new FastTransport(native)];
  return [...fast, new PublicTransport()];
}

/** One side of a connection: keeps what arrives, and lets a test wait for it. */
export class Conversation implements ChannelSink {
  readonly channel: Channel;
  readonly facts: TlsFacts | null;
  received = 0;
  /** Kept only while small. */
  text = '';
  hasEnded = false;
  endings = 0;
  error: string | null = null;
  drains = 0;
  isGreedy = true;
  fault: unknown = null;
  /** Instead of keeping. */
  onBytes: ((bytes: HostBytes) => void) | null = null;
  #changed = Promise.withResolvers<void>();

  constructor(channel: Channel, facts: TlsFacts | null = null) {
    this.channel = channel;
    this.facts = facts;
    channel.sink = this;
  }

  get isTruncated(): boolean {
    return (this.channel as SecureChannel).isTruncated;
  }

  onData(_channel: Channel, bytes: HostBytes): void {
    this.received += bytes.length;
    if (this.onBytes !== null) this.onBytes(bytes);
    else if (this.text.length < 1 << 20) this.text += bytes.latin1Slice();
    this.#change();
  }

  onEnd(): void {
    this.hasEnded = true;
    this.endings++;
    this.#change();
  }

  onDrain(): void {
    this.drains++;
    this.#change();
  }

  onError(_channel: Channel, code: string): void {
    this.error = code;
    this.#change();
  }

  onFault(_channel: Channel, error: unknown): void {
    this.fault = error;
    this.#change();
  }

  say(text: string): boolean {
    return this.channel.write(Buffer.from(text, 'latin1') as unknown as HostBytes);
  }

  async until(holds: (it: this) => boolean): Promise<void> {
    while (!holds(this)) {
      if (this.fault !== null) throw new Error('the sink failed', { cause: this.fault });
      await this.#changed.promise;
    }
  }

  #change(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve();
  }
}

/** How one handshake ended. */
export type Outcome =
  | { readonly kind: 'secure'; readonly it: Conversation }
  | { readonly kind: 'failed'; readonly reason: string; readonly detail: string }
  | { readonly kind: 'fault'; readonly error: unknown };

/** Collects outcomes, in order. */
export class Outcomes implements TlsObserver {
  /** Every channel that came out, for the end of a test that did not get to its own. */
  readonly channels: Channel[] = [];
  readonly #outcomes: Outcome[] = [];
  readonly #waiting: ((outcome: Outcome) => void)[] = [];

  onSecure(channel: Channel, facts: TlsFacts): void {
    const it = new Conversation(channel, facts);
    this.channels.push(channel);
    channel.resume();
    this.#put({ kind: 'secure', it });
  }

  onTlsFailed(reason: string, detail: string): void {
    this.#put({ kind: 'failed', reason, detail });
  }

  onTlsFault(error: unknown): void {
    this.#put({ kind: 'fault', error });
  }

  next(): Promise<Outcome> {
    const ready = this.#outcomes.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async secure(): Promise<Conversation> {
    const outcome = await this.next();
    if (outcome.kind !== 'secure') throw new Error(`no handshake: ${JSON.stringify(outcome)}`);
    return outcome.it;
  }

  async failure(): Promise<{ reason: string; detail: string }> {
    const outcome = await this.next();
    if (outcome.kind !== 'failed') throw new Error(`no failure: ${outcome.kind}`);
    return { reason: outcome.reason, detail: outcome.detail };
  }

  get pending(): number {
    return this.#outcomes.length;
  }

  #put(outcome: Outcome): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#outcomes.push(outcome);
    else waiting(outcome);
  }
}

export function newNetwork(transport: Transport): Network {
  return new Network(transport, new Resolver());
}

/** Hands the first bytes of every connection to a terminator, as routing does. */
export class TlsServer implements AsyncDisposable {
  readonly outcomes = new Outcomes();
  /** Who is told; a benchmark puts its own in this place. */
  observer: TlsObserver = this.outcomes;
  readonly network: Network;
  readonly terminator: OpenSslTerminator;
  readonly port: number;
  identity: TlsIdentity;
  timeoutMs = 10_000;
  readonly #close: () => void;

  static async start(
    transport: Transport,
    identity: TlsIdentity,
    options: Partial<TerminatorOptions> = {},
  ): Promise<TlsServer> {
    const acceptor = await transport.listen('127.0.0.1', 0, (channel) => server.accept(channel));
    const server = new TlsServer(transport, identity, options, acceptor.port, () => acceptor.close());
    return server;
  }

  private constructor(
    transport: Transport,
    identity: TlsIdentity,
    options: Partial<TerminatorOptions>,
    port: number,
    close: () => void,
  ) {
    this.network = newNetwork(transport);
    const given = { secret: Buffer.alloc(32, 7), handshakesMax: 64, ...options };
    this.terminator = new OpenSslTerminator(this.network, given);
    this.identity = identity;
    this.port = port;
    this.#close = close;
  }

  accept(channel: Channel): void {
    const first = new Conversation(channel);
    first.onBytes = (bytes) => {
      channel.pause();
      const deadlineMs = this.network.refresh() + this.timeoutMs;
      this.terminator.accept(channel, bytes, this.identity, deadlineMs, this.observer);
    };
    channel.resume();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    this.network.close();
    for (const channel of this.outcomes.channels) channel.reset();
    return Promise.resolve();
  }
}
