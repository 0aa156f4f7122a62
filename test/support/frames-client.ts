/** A client of HTTP/2 that writes its frames by hand, over plain TCP or TLS, and reads what comes back as lines. */
import { once } from 'node:events';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { preface } from '../../src/codec/http2/protocol.ts';
import { emptySettings, literals, settingsAck, summary } from '../../src/codec/http2/testing/frames.ts';
import { Peer } from './peer.ts';

export class FramesClient implements Disposable {
  readonly peer: Peer;
  #received = '';

  /** Preface and SETTINGS are sent; what the server says to them comes first in `lines`. */
  static async open(
    port: number,
    { tls, settings = emptySettings }: { tls?: ConnectionOptions; settings?: string } = {},
  ): Promise<FramesClient> {
    let peer: Peer;
    if (tls === undefined) peer = await Peer.connect(port);
    else {
      const socket = connectTls({ host: '127.0.0.1', port, ALPNProtocols: ['h2'], ...tls });
      peer = new Peer(socket);
      await Promise.race([once(socket, 'secureConnect').catch(() => undefined), peer.closed]);
    }
    const client = new FramesClient(peer);
    await client.send(preface + settings + settingsAck);
    return client;
  }

  private constructor(peer: Peer) {
    this.peer = peer;
  }

  /** False when the connection has ended. */
  async send(frames: string): Promise<boolean> {
    return this.peer.write(Buffer.from(frames, 'latin1'));
  }

  /** Frames so far, as `summary` writes them. */
  get lines(): string[] {
    return summary(this.#received);
  }

  /** The first line that matches, from the beginning on; undefined when the server ends the connection without. */
  async line(pattern: RegExp): Promise<string | undefined> {
    for (;;) {
      const found = this.lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      const more = await this.peer.read(1);
      if (more.length === 0) return undefined;
      this.#received +=
        more.toString('latin1') + (await this.peer.read(this.peer.bufferedBytes)).toString('latin1');
    }
  }

  [Symbol.dispose](): void {
    this.peer.close();
  }
}

/** The block of a request as a browser would send it. */
export function requestBlock(authority: string, ...fields: readonly string[]): string {
  return pseudoBlock({ ':authority': authority }, ...fields);
}

/** The same with other pseudo-headers, in this order behind the usual ones; an empty value leaves one out. */
export function pseudoBlock(pseudo: Readonly<Record<string, string>>, ...fields: readonly string[]): string {
  const all = { ':method': 'GET', ':scheme': 'http', ':path': '/', ...pseudo };
  return literals(...Object.entries(all).flat(), ...fields);
}
