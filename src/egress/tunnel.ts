/**
 * A tunnel that was allowed: its first bytes, then a relay or TLS that ends here.
 *
 * It must begin with a ClientHello that names its target; else an allowed name would carry anything anywhere. Who
 * passes through is relayed from the hello on; `allow_raw` relays whatever comes.
 */
import { ClientHelloReader } from '../codec/client-hello.ts';
import type { HostBytes } from '../core/bytes.ts';
import { ProtocolError } from '../core/errors.ts';
import { normaliseHostname } from '../core/hostname.ts';
import { parseIp, sameIp } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import { Relay, type RelayObserver } from '../net/relay.ts';
import type { TlsAttempt, TlsFacts, TlsObserver } from '../net/tls.ts';
import type { Verdict } from './decision.ts';
import type { ClientFacts, EgressHost } from './http-face.ts';
import { InnerConnection, type InnerObserver } from './inner-connection.ts';
import type { EgressRuntime } from './runtime.ts';
import type { Target } from './target.ts';

export interface TunnelPlan {
  readonly target: Target;
  readonly verdict: Verdict;
  readonly runtime: EgressRuntime;
  /** Where to relay to; null: TLS ends here. */
  readonly upstream: Channel | null;
  readonly clientName: string | null;
}

/** Told once, when the tunnel's channels are closed. */
export interface TunnelObserver {
  onTunnelEnd(reason: Reason, detail: string | undefined, bytesIn: number, bytesOut: number): void;
}

/** A fatal alert `unrecognized_name` (RFC 8446 §6.2): a client that waits for a handshake learns that there is none. */
const unrecognizedName = Buffer.from([0x15, 3, 1, 0, 2, 2, 112]) as unknown as HostBytes;
const nothing = Buffer.alloc(0) as unknown as HostBytes;

export class Tunnel extends TimerEntry implements ChannelSink, TlsObserver, RelayObserver, InnerObserver {
  readonly #host: EgressHost;
  readonly #facts: ClientFacts;
  readonly #channel: Channel;
  readonly #plan: TunnelPlan;
  readonly #observer: TunnelObserver;
  readonly #reader = new ClientHelloReader();
  #attempt: TlsAttempt | null = null;
  #relay: Relay | null = null;
  #inner: InnerConnection | null = null;
  #isOver = false;

  constructor(
    host: EgressHost,
    facts: ClientFacts,
    channel: Channel,
    plan: TunnelPlan,
    observer: TunnelObserver,
  ) {
    super();
    this.#host = host;
    this.#facts = facts;
    this.#channel = channel;
    this.#plan = plan;
    this.#observer = observer;
  }

  /** `opening` is what came behind the request; a view. */
  start(opening: HostBytes | null): void {
    const { upstream, verdict } = this.#plan;
    if (upstream !== null && verdict.allowRaw) return this.#startRelay(upstream, opening ?? nothing);
    const { network, server } = this.#host.gate.context;
    this.#channel.sink = this;
    network.timers.arm(this, network.refresh() + server.clientHelloTimeoutMs);
    if (opening !== null && opening.length > 0) this.#receive(opening);
    if (!this.#isOver && this.#channel.sink === this) this.#channel.resume();
  }

  drain(): void {
    this.#inner?.drain();
  }

  abort(reason: Reason, detail?: string): void {
    if (this.#inner !== null) this.#inner.abort(reason, detail);
    else if (this.#relay !== null) this.#relay.abort(reason, detail);
    else this.#fail(reason, detail);
  }

  // --- the first bytes ---

  onData(_channel: Channel, bytes: HostBytes): void {
    this.#receive(bytes);
  }

  onEnd(): void {
    this.#fail('hello-incomplete', 'end of stream');
  }

  onError(_channel: Channel, code: string): void {
    this.#fail('hello-incomplete', code);
  }

  onDrain(): void {}

  onFault(_channel: Channel, error: unknown): void {
    this.#host.gate.reportFault(error);
    this.#fail('internal-error', undefined);
  }

  override expire(): void {
    this.#fail('hello-timeout', undefined);
  }

  #receive(bytes: HostBytes): void {
    let serverName: string | undefined;
    try {
      const hello = this.#reader.receive(bytes);
      if (hello === undefined) return;
      ({ serverName } = hello);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#fail('sni-mismatch', error.message);
    }
    const { target, upstream, runtime } = this.#plan;
    if (!isNamed(serverName, target))
      return this.#refuse(serverName === undefined ? 'no SNI' : 'another SNI');
    const opening = (this.#reader.buffered as HostBytes | undefined) ?? bytes;
    const { network } = this.#host.gate.context;
    network.timers.disarm(this);
    if (upstream !== null) return this.#startRelay(upstream, opening);
    const identity = runtime.authority!.identityFor(target.host);
    const deadlineMs = network.nowMs + this.#host.gate.context.http.tlsHandshakeTimeoutMs;
    this.#attempt = this.#host.services.terminator.accept(this.#channel, opening, identity, deadlineMs, this);
  }

  // --- TLS that ends here ---

  onSecure(channel: Channel, { alpn }: TlsFacts): void {
    this.#attempt = null;
    const { clientName, target } = this.#plan;
    this.#inner = new InnerConnection(this.#host, this.#facts, clientName, target, this);
    this.#inner.start(channel, alpn, null);
  }

  onTlsFailed(reason: Reason, detail: string): void {
    this.#attempt = null;
    this.#end(reason, detail, 0, 0);
  }

  onTlsFault(error: unknown): void {
    this.#host.gate.reportFault(error);
    this.#fail('internal-error', undefined);
  }

  onInnerClosed(reason: Reason, detail: string | undefined): void {
    this.#end(reason, detail, this.#inner!.bytesIn, this.#inner!.bytesOut);
  }

  // --- a relay ---

  onRelayEnd(reason: Reason, detail: string | undefined): void {
    this.#end(reason, detail, this.#relay!.bytesIn, this.#relay!.bytesOut);
  }

  onRelayFault(error: unknown): void {
    this.#host.gate.reportFault(error);
    this.#end('internal-error', undefined, this.#relay?.bytesIn ?? 0, this.#relay?.bytesOut ?? 0);
  }

  #startRelay(upstream: Channel, opening: HostBytes): void {
    const { network, http } = this.#host.gate.context;
    this.#relay = new Relay(network, this.#channel, upstream, http.tunnelIdleTimeoutMs, this);
    this.#relay.start(null, opening, false);
  }

  /** The client hears of it in its own protocol, and then the connection ends. */
  #refuse(detail: string): void {
    this.#channel.write(unrecognizedName);
    this.#channel.halfClose();
    this.#release(false);
    this.#end('sni-mismatch', detail, 0, 0);
  }

  #fail(reason: Reason, detail: string | undefined): void {
    if (this.#isOver) return;
    this.#attempt?.cancel();
    this.#release(true);
    this.#end(reason, detail, 0, 0);
  }

  #release(isReset: boolean): void {
    this.#channel.sink = deafSink;
    if (isReset) this.#channel.reset();
    else this.#channel.close();
    this.#plan.upstream?.reset();
  }

  #end(reason: Reason, detail: string | undefined, bytesIn: number, bytesOut: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#host.gate.context.network.timers.disarm(this);
    this.#observer.onTunnelEnd(reason, detail, bytesIn, bytesOut);
  }
}

/** SNI names the target; to an address it says nothing (RFC 6066 §3), or the address. */
function isNamed(serverName: string | undefined, target: Target): boolean {
  if (target.ip === null) return serverName !== undefined && normaliseHostname(serverName) === target.host;
  if (serverName === undefined) return true;
  const ip = parseIp(serverName);
  return ip !== undefined && sameIp(ip, target.ip);
}
