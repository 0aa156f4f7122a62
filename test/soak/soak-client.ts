/** What every kind of traffic is made of: a client that opens, exchanges and checks, and leaves. See traffic.ts. */
import type { Random } from '../fuzz/mutation.ts';

export interface SoakClient {
  /** `127.0.0.1:4711` once open: what the server's log calls this client. */
  readonly address: string;
  open(): Promise<void>;
  /** Throws `Failed` when it can tell how it failed, anything else when the connection broke. */
  exchange(): Promise<void>;
  /** In order. */
  close(): Promise<void>;
  /** At once, whatever is under way. */
  vanish(): void;
}

export interface ClientContext {
  /** The listener's. */
  readonly address: string;
  readonly port: number;
  /** The port is that of a proxy, which is asked for a tunnel to `host`. */
  readonly isEgress: boolean;
  readonly host: string;
  /** Certificates to trust, in PEM. */
  readonly ca: string;
  /** Tells this client's requests from all others in the server's log. */
  readonly tag: string;
  readonly random: Random;
}

/** Random bytes that every kind sends parts of. */
export function payload(random: Random, bytesMax: number): Buffer {
  const bytes = Buffer.allocUnsafe(1 + random.below(bytesMax));
  for (let at = 0; at < bytes.length; at++)
    bytes[at] = at % 64 === 0 ? random.below(256) : bytes[at - 1]! * 5 + 1;
  return bytes;
}
