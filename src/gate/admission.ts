/**
 * Admission: the gate's part of one connection's life, as a sink of its channel.
 *
 * One deadline, client_hello_timeout, bounds all of it: whoever trickles bytes gets no more time than whoever
 * is silent. A refused connection is reset.
 */
import { ClientHelloReader } from '../codec/client-hello.ts';
import { ProxyHeaderReader, type ProxyAddress, type ProxyHeader } from '../codec/proxy-protocol.ts';
import type { HostBytes } from '../core/bytes.ts';
import { ProtocolError } from '../core/errors.ts';
import { parseIp } from '../core/ip.ts';
import { isReason, type Reason } from '../core/reason.ts';
import { TimerEntry } from '../core/timer-wheel.ts';
import type { FirewallRefusal } from '../firewall/firewall.ts';
import type { ListenerOptions } from '../model/snapshot.ts';
import { deafSink, type Channel, type ChannelSink, type Endpoint } from '../net/channel.ts';
import { refusal, type Connection, type ConnectionOwner } from './connection.ts';
import type { Gate } from './gate.ts';

export class Admission extends TimerEntry implements ChannelSink, ConnectionOwner {
  readonly #gate: Gate;
  readonly #connection: Connection;
  /** Present until the header that the listener demands has been read. */
  #proxyReader: ProxyHeaderReader | null;
  readonly #helloReader = new ClientHelloReader();
  /** Whether the listener lets these first bytes be something else than TLS; undefined before the first byte. */
  #isPlain: boolean | undefined = undefined;

  constructor(gate: Gate, connection: Connection) {
    super();
    this.#gate = gate;
    this.#connection = connection;
    this.#proxyReader = connection.listener.settings.proxyProtocol ? new ProxyHeaderReader() : null;
    connection.owner = this;
    connection.channel.sink = this;
  }

  start(): void {
    const { network, server } = this.#gate.context;
    const { listener, peer } = this.#connection;
    if (this.#isBlocked()) return;
    if (this.#proxyReader === null) {
      if (this.#isOverRate()) return;
    } else if (listener.proxyPeers !== null && listener.proxyPeers.lookup(peer) === undefined) {
      return this.#refuse('proxy-header-untrusted', listener.proxyPeersRuleId);
    }
    network.timers.arm(this, network.nowMs + server.clientHelloTimeoutMs);
    this.#connection.channel.resume();
  }

  onData(_channel: Channel, bytes: HostBytes): void {
    try {
      this.#receive(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError) || !isReason(error.code)) throw error;
      this.#refuse(error.code, null, error.message);
    }
  }

  onEnd(): void {
    this.#refuse('hello-incomplete', null, 'end of stream');
  }

  onError(_channel: Channel, code: string): void {
    this.#refuse('hello-incomplete', null, code);
  }

  onDrain(): void {}

  onFault(_channel: Channel, error: unknown): void {
    // The fault may lie in a session that had taken over already: whoever owns the connection ends it.
    this.#gate.fail(this.#connection, error);
  }

  abort(reason: Reason, ruleId: string | null, detail?: string): void {
    // Nothing was relayed yet, so a drain refuses here what it would end later.
    this.#refuse(reason === 'drained' ? 'draining' : reason, ruleId, detail);
  }

  override expire(): void {
    this.#refuse(this.#proxyReader === null ? 'hello-timeout' : 'proxy-header-timeout', null);
  }

  #receive(bytes: HostBytes): void {
    let rest = bytes;
    if (this.#proxyReader !== null) {
      const read = this.#proxyReader.receive(bytes);
      if (read === undefined) return;
      this.#proxyReader = null;
      this.#adopt(read.header);
      if (this.#connection.client !== this.#connection.peer && this.#isBlocked()) return;
      if (this.#isOverRate()) return;
      rest = bytes.subarray(read.consumed);
      if (rest.length === 0) return;
    }
    if (this.#isPlain === undefined) this.#isPlain = isPlain(this.#connection.listener.settings, rest);
    if (this.#isPlain) {
      this.#gate.context.network.timers.disarm(this);
      return this.#gate.handler.servePlain(this.#connection, rest);
    }
    const hello = this.#helloReader.receive(rest);
    if (hello === undefined) return;
    this.#gate.context.network.timers.disarm(this);
    this.#connection.serverName = hello.serverName ?? null;
    // Parts of a hello stand in the reader's own memory, a whole one in the worker's shared buffer.
    const opening = (this.#helloReader.buffered as HostBytes | undefined) ?? rest;
    this.#gate.handler.serveTls(this.#connection, hello, opening);
  }

  /** A LOCAL or UNKNOWN header names nobody: the peer speaks for itself, a health check say. */
  #adopt(header: ProxyHeader): void {
    const source = parseEndpoint(header.source);
    if (source === null) return;
    this.#connection.client = source.ip;
    this.#connection.clientPort = source.port;
    this.#connection.destination = parseEndpoint(header.destination);
  }

  #isBlocked(): boolean {
    const { firewall, client } = this.#connection;
    return this.#refuseBy(firewall.judgeBlocked(client));
  }

  #isOverRate(): boolean {
    const { firewall, client } = this.#connection;
    return this.#refuseBy(firewall.judgeRate(client, this.#gate.context.network.nowMs));
  }

  #refuseBy(rule: FirewallRefusal | null): boolean {
    if (rule === null) return false;
    this.#refuse(rule.reason, rule.ruleId);
    return true;
  }

  #refuse(reason: Reason, ruleId: string | null, detail?: string): void {
    const { channel } = this.#connection;
    this.#gate.context.network.timers.disarm(this);
    channel.sink = deafSink;
    channel.reset();
    this.#gate.end(this.#connection, refusal(reason, ruleId, detail));
  }
}

/** A TLS connection begins with a handshake record (RFC 8446 §5.1), which begins no other protocol served here. */
const handshakeRecord = 0x16;

function isPlain({ kind, protocol, tls }: ListenerOptions, bytes: HostBytes): boolean {
  if (kind === 'egress') return tls === null || bytes[0] !== handshakeRecord;
  return protocol === 'http' || (protocol === 'auto' && bytes[0] !== handshakeRecord);
}

function parseEndpoint(address: ProxyAddress | undefined): Endpoint | null {
  const ip = address === undefined ? undefined : parseIp(address.address);
  return ip === undefined ? null : { ip, port: address!.port };
}
