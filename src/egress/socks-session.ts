/** A client that speaks SOCKS5: one CONNECT, judged like any other, and then its tunnel. */
import type { HostBytes } from '../core/bytes.ts';
import { ProtocolError } from '../core/errors.ts';
import { formatIp } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import {
  encodeSocks5Reply,
  Socks5Server,
  socks5Connect,
  socks5Replies,
  type Socks5Authentication,
  type Socks5Request,
  type Socks5ServerSink,
} from '../codec/socks5.ts';
import { refusal, type Connection, type ConnectionOwner } from '../gate/connection.ts';
import { makeRequestId } from '../http/request-id.ts';
import { deafSink, type Channel, type ChannelSink } from '../net/channel.ts';
import type { Admission } from './authentication.ts';
import type { Subject, Verdict } from './decision.ts';
import { HttpFace, type EgressHost } from './http-face.ts';
import { wayOf, type EgressRuntime } from './runtime.ts';
import { hostPort, TargetRefusal, targetOfHost, type Target } from './target.ts';
import { openTunnel, type Opening, type OpeningObserver } from './tunnel-opening.ts';
import { TunnelRecord } from './tunnel-record.ts';
import { Tunnel, type TunnelObserver } from './tunnel.ts';

export class SocksSession
  extends HttpFace
  implements ConnectionOwner, ChannelSink, Socks5ServerSink, OpeningObserver, TunnelObserver
{
  readonly #connection: Connection;
  readonly #channel: Channel;
  readonly #runtime: EgressRuntime;
  readonly #server: Socks5Server;
  readonly #timer: SocksTimer;
  readonly #admission: Admission;
  /** What came while credentials were judged, or behind the request: at most one read, for the channel is paused then. */
  #rest: HostBytes | null = null;
  #target: Target | null = null;
  #verdict: Verdict | null = null;
  #record: TunnelRecord | null = null;
  #opening: Opening | null = null;
  #tunnel: Tunnel | null = null;
  #ruleId: string | null = null;

  constructor(host: EgressHost, connection: Connection, channel: Channel, subject: string | null) {
    super(host, {
      clientIp: connection.client,
      client: formatIp(connection.client),
      listener: connection.listener.settings.name,
      serverName: connection.serverName,
    });
    this.#connection = connection;
    this.#channel = channel;
    this.#runtime = host.runtime;
    const { authenticator } = this.#runtime;
    this.#admission = authenticator.admit(connection.client, subject);
    this.#server = new Socks5Server(authenticationOf(this.#admission, authenticator.hasPasswords));
    this.#timer = new SocksTimer(() => this.#fail('request-timeout', undefined));
    connection.owner = this;
  }

  start(opening: HostBytes): void {
    if (this.#admission === 'client-denied') return this.#fail('client-denied', undefined);
    if (typeof this.#admission !== 'string') this.clientName = this.#admission.name;
    this.#channel.sink = this;
    this.network.timers.arm(this.#timer, this.network.refresh() + this.http.headTimeoutMs);
    this.onData(this.#channel, opening);
    if (this.#channel.sink === this && this.#rest === null) this.#channel.resume();
  }

  // --- the gate's calls ---

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    this.#ruleId = ruleId;
    if (this.#tunnel !== null) this.#tunnel.abort(reason, detail);
    else this.#fail(reason === 'drained' ? 'draining' : reason, detail);
  }

  drain(): void {
    this.#tunnel?.drain();
  }

  // --- the handshake ---

  onData(_channel: Channel, bytes: HostBytes): void {
    if (this.#rest !== null) {
      this.#rest = Buffer.concat([this.#rest, bytes]) as unknown as HostBytes;
      return;
    }
    try {
      const taken = this.#server.receive(bytes, this);
      if (taken < bytes.length) this.#keep(bytes.subarray(taken));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#fail('socks-malformed', error.message);
    }
  }

  onEnd(): void {
    this.#fail('client-gone', undefined);
  }

  onError(_channel: Channel, code: string): void {
    this.#fail('client-gone', code);
  }

  onDrain(): void {}

  /** A channel names itself first, everybody else only the fault. */
  override onFault(channelOrError: unknown, error: unknown = channelOrError): void {
    super.onFault(error);
    this.#fail('internal-error', undefined);
  }

  onSend(bytes: Uint8Array): void {
    this.#channel.write(Buffer.from(bytes) as unknown as HostBytes);
  }

  onCredentials(username: string, password: string): boolean | 'later' {
    const judged = this.#runtime.authenticator.admitPassword(utf8(username), utf8(password));
    if (!(judged instanceof Promise)) return this.#adopt(judged);
    this.#keep(Buffer.alloc(0) as unknown as HostBytes);
    judged.then(
      (admission) => this.#settle(this.#adopt(admission)),
      (error: unknown) => this.onFault(this.#channel, error),
    );
    return 'later';
  }

  onRefused(): void {
    // What was sent says why; it needs a moment to leave.
    setImmediate(() => this.#fail('proxy-auth-required', undefined, true));
  }

  onRequest({ command, host, port }: Socks5Request): void {
    const { commandUnsupported, addressUnsupported, notAllowed } = socks5Replies;
    if (command !== socks5Connect) return this.#refuse(commandUnsupported, 'socks-refused', null);
    const target = targetOfHost(host, port);
    if (target instanceof TargetRefusal) {
      return this.#refuse(addressUnsupported, 'target-malformed', null, `the target ${target.fault}`);
    }
    this.#keep(Buffer.alloc(0) as unknown as HostBytes);
    const id = makeRequestId();
    const subject: Subject = {
      host: target.host,
      port: target.port,
      kind: 'tunnel',
      method: null,
      path: null,
      client: this.clientName,
    };
    const verdict = this.judge(id, subject);
    const { destination } = wayOf(target, verdict, false);
    const facts = {
      id,
      client: this.client,
      listener: this.listener,
      version: 'SOCKS5',
      userAgent: undefined,
    };
    const record = new TunnelRecord(
      { ...facts, startMs: this.network.refresh() },
      target,
      verdict,
      hostPort(destination.host, destination.port),
    );
    this.#target = target;
    this.#verdict = verdict;
    this.#record = record;
    if (!verdict.isAllowed) {
      const reason = verdict.reason === 'allowed' ? 'host-blocked' : verdict.reason;
      return this.#refuse(notAllowed, reason, verdict.ruleId);
    }
    this.network.timers.disarm(this.#timer);
    this.#opening = openTunnel(this.host, this.#runtime, target, subject, verdict, this);
  }

  // --- the tunnel ---

  onOpen(upstream: Channel | null): void {
    setImmediate(() => this.#accept(upstream));
  }

  onNotOpened(reason: Reason, detail: string | undefined): void {
    if (this.#connection.isEnded) return;
    this.#refuse(replies[reason] ?? socks5Replies.failed, reason, null, detail);
  }

  onTunnelEnd(reason: Reason, detail: string | undefined, bytesIn: number, bytesOut: number): void {
    this.bytesIn += bytesIn;
    this.bytesOut += bytesOut;
    this.#end(reason, detail);
  }

  #accept(upstream: Channel | null): void {
    if (this.#connection.isEnded) return upstream?.reset();
    this.onSend(encodeSocks5Reply(socks5Replies.succeeded));
    const plan = {
      target: this.#target!,
      verdict: this.#verdict!,
      runtime: this.#runtime,
      upstream,
      clientName: this.clientName,
    };
    this.#tunnel = new Tunnel(this.host, this, this.#channel, plan, this);
    this.#tunnel.start(this.#rest);
    this.#rest = null;
  }

  /** From here on nothing is read until somebody takes it. */
  #keep(bytes: HostBytes): void {
    const before = this.#rest;
    const parts = before === null ? [bytes] : [before, bytes];
    this.#rest = Buffer.concat(parts) as unknown as HostBytes;
    this.#channel.pause();
  }

  #adopt(admission: Admission): boolean {
    if (typeof admission === 'string') return false;
    this.clientName = admission.name;
    return true;
  }

  #settle(isRight: boolean): void {
    if (this.#connection.isEnded) return;
    const rest = this.#rest;
    this.#rest = null;
    this.#server.settle(isRight, this);
    if (!isRight) return;
    if (rest !== null && rest.length > 0) this.onData(this.#channel, rest);
    if (this.#rest === null) this.#channel.resume();
  }

  #refuse(reply: number, reason: Reason, ruleId: string | null, detail?: string): void {
    this.#ruleId = ruleId;
    this.onSend(encodeSocks5Reply(reply));
    this.#fail(reason, detail, true);
  }

  #fail(reason: Reason, detail: string | undefined, isPolite = false): void {
    if (this.#connection.isEnded) return;
    this.#opening?.cancel();
    this.#channel.sink = deafSink;
    if (isPolite) {
      this.#channel.halfClose();
      this.#channel.close();
    } else this.#channel.reset();
    this.#end(reason, detail);
  }

  #end(reason: Reason, detail: string | undefined): void {
    if (this.#connection.isEnded) return;
    this.network.timers.disarm(this.#timer);
    if (this.#record !== null) {
      this.#record.end(reason, detail, this.bytesIn, this.bytesOut, this.network.refresh());
      this.#record.ruleId = this.#ruleId;
      this.host.services.onRequestEnd(this.#record, this.#verdict?.action ?? null);
    }
    const { bytesIn, bytesOut } = this;
    const end = refusal(reason, this.#ruleId, detail);
    this.host.gate.end(this.#connection, { ...end, bytesIn, bytesOut });
  }
}

class SocksTimer extends TimerEntry {
  readonly #expired: () => void;

  constructor(expired: () => void) {
    super();
    this.#expired = expired;
  }

  override expire(): void {
    this.#expired();
  }
}

const replies: Partial<Record<Reason, number>> = {
  'address-denied': socks5Replies.notAllowed,
  'dial-refused': socks5Replies.refused,
  'dial-unreachable': socks5Replies.networkUnreachable,
  'dial-timeout': socks5Replies.expired,
  'name-not-found': socks5Replies.hostUnreachable,
  'name-failed': socks5Replies.hostUnreachable,
  'name-timeout': socks5Replies.hostUnreachable,
};

function authenticationOf(admission: Admission, hasPasswords: boolean): Socks5Authentication {
  if (typeof admission === 'string') return 'required';
  return hasPasswords ? 'offered' : 'none';
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
