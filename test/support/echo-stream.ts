/** A long-lived connection that sends random bytes to a backend which returns them, and compares every one. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { NetConnectOpts } from 'node:net';
import { clientHello } from './hello.ts';
import { Peer, PeerServer } from './peer.ts';

const pool = randomBytes(256 * 1024);
const chunkBytesMax = 8 * 1024;

/** A backend that returns what it gets, the hello included. */
export function startEcho(): Promise<PeerServer> {
  return PeerServer.start({}, ({ socket }) => {
    socket.pipe(socket);
  });
}

export class EchoStream {
  readonly peer: Peer;
  exchanges = 0;
  /** With the hello. */
  bytes = 0;
  #done: Promise<void> = Promise.resolve();
  #isEnding = false;

  /** One exchange per `paceMs` from now on. */
  static async open(
    port: number,
    name: string,
    paceMs: number,
    options: Partial<NetConnectOpts> = {},
  ): Promise<EchoStream> {
    const peer = await Peer.connect(port, options);
    const stream = new EchoStream(peer);
    await stream.#exchange(clientHello(name));
    stream.#done = stream.#run(paceMs);
    // Whoever calls `end` hears of a failure.
    stream.#done.catch(() => {});
    return stream;
  }

  private constructor(peer: Peer) {
    this.peer = peer;
  }

  /** Throws when the connection was disturbed; ends it in order otherwise. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#done;
    this.peer.end();
    assert.equal((await this.peer.readToEnd()).length, 0, 'nothing was left over');
    assert.equal(await this.peer.closed, 'end');
  }

  async #run(paceMs: number): Promise<void> {
    await pause(Math.random() * paceMs + 1);
    while (!this.#isEnding) {
      const start = Math.floor(Math.random() * (pool.length - chunkBytesMax));
      await this.#exchange(pool.subarray(start, start + 1 + Math.floor(Math.random() * chunkBytesMax)));
      await pause(paceMs);
    }
  }

  async #exchange(bytes: Buffer): Promise<void> {
    assert.ok(await this.peer.write(bytes), `${this.peer.address} ended after ${this.exchanges} exchanges`);
    const echo = await this.peer.read(bytes.length);
    assert.ok(echo.equals(bytes), `${this.peer.address}: ${echo.length} of ${bytes.length} bytes, or others`);
    this.exchanges++;
    this.bytes += bytes.length;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
