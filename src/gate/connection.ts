/** One accepted connection: who it is, what it holds, and who serves it now. */
import type { IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import type { Firewall } from '../firewall/firewall.ts';
import type { ListenerSnapshot } from '../model/snapshot.ts';
import type { Channel } from '../net/channel.ts';

/** Whoever serves the connection at the moment: the gate, then a session. */
export interface ConnectionOwner {
  /** Ends everything that belongs to the connection and reports it to the gate. `ruleId` is the rule that decided it. */
  abort(reason: Reason, ruleId: string | null, detail?: string): void;
  /** Finishes what has begun and takes nothing new. Absent where nothing new can come: a relay, a handshake. */
  drain?(): void;
}

export class Connection {
  /** Counts up from 1 in each worker. */
  readonly sequence: number;
  readonly channel: Channel;
  /** The listener and the firewall of the snapshot it started with; a later version does not touch it. */
  readonly listener: ListenerSnapshot;
  readonly firewall: Firewall;
  /** The listener's slot in the shared gauges and counters. */
  readonly slot: number;
  readonly startedMs: number;
  /** The socket's other side. */
  readonly peer: IpAddress;
  readonly peerPort: number;
  /** The real client: the peer, or whom a PROXY header names. */
  client: IpAddress;
  clientPort: number;
  /** The side the client connected to, when a PROXY header names it. */
  destination: { readonly ip: IpAddress; readonly port: number } | null = null;
  serverName: string | null = null;
  owner: ConnectionOwner | null = null;
  /** Told once, when its account is closed; null where nobody asks. */
  onEnded: (() => void) | null = null;
  /** Its account is closed: nobody ends it again. */
  isEnded = false;
  /** Links of the gate's list of live connections. */
  previous: Connection | null = null;
  next: Connection | null = null;

  constructor(
    sequence: number,
    channel: Channel,
    listener: ListenerSnapshot,
    firewall: Firewall,
    slot: number,
    startedMs: number,
    peer: IpAddress,
    peerPort: number,
  ) {
    this.sequence = sequence;
    this.channel = channel;
    this.listener = listener;
    this.firewall = firewall;
    this.slot = slot;
    this.startedMs = startedMs;
    this.peer = peer;
    this.peerPort = peerPort;
    this.client = peer;
    this.clientPort = peerPort;
  }
}

/** How a connection ended, for the account and the log. */
export interface ConnectionEnd {
  readonly reason: Reason;
  /** The id of the rule that decided, when one refused. */
  readonly ruleId: string | null;
  /** The id of the route that was taken. */
  readonly routeId: string | null;
  readonly backendName: string | null;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly detail: string | undefined;
}

/** The end of a connection that was turned away before a route was taken. */
export function refusal(reason: Reason, ruleId: string | null, detail?: string): ConnectionEnd {
  return { reason, ruleId, routeId: null, backendName: null, bytesIn: 0, bytesOut: 0, detail };
}
