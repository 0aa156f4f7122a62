/**
 * A wire between the program and one backend, which a test cuts, blocks or bends: a relay in the test's own process.
 *
 * It has a loopback address of its own, so that nobody takes its port while it plays dead.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Random } from '../fuzz/mutation.ts';

/** While bytes are bent, one chunk in so many has one bit changed. */
const bentChunksEvery = 3;

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
}

export class Link implements AsyncDisposable {
  readonly name: string;
  /** What passes is TLS: whatever is bent must be noticed by whoever ends that. */
  readonly isProtected: boolean;
  readonly host: string;
  readonly port: number;
  readonly #targetPort: number;
  readonly #pairs = new Set<Pair>();
  #server: Server;
  #isStalled = false;
  #bender: Random | null = null;

  static async start(name: string, isProtected: boolean, host: string, targetPort: number): Promise<Link> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, host);
    await once(server, 'listening');
    return new Link(name, isProtected, host, targetPort, server);
  }

  private constructor(name: string, isProtected: boolean, host: string, targetPort: number, server: Server) {
    this.name = name;
    this.isProtected = isProtected;
    this.host = host;
    this.#targetPort = targetPort;
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (near) => this.#accept(near));
  }

  get address(): string {
    return `${this.host}:${this.port}`;
  }

  /** What the program has open here. One that it has ended may wait for a backend that has not. */
  get openCount(): number {
    return [...this.#pairs].filter(({ near }) => !near.readableEnded).length;
  }

  /** Connections are reset and new ones refused, as when the backend's process is killed. */
  die(): void {
    this.#server.close();
    this.reset();
  }

  async revive(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (near) => this.#accept(near));
    server.listen(this.port, this.host);
    await once(server, 'listening');
    this.#server = server;
  }

  reset(): void {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  /** Nothing passes, either way; connections are still taken. */
  stall(): void {
    this.#isStalled = true;
    for (const { near, far } of this.#pairs) {
      near.pause();
      far.pause();
    }
  }

  resume(): void {
    this.#isStalled = false;
    for (const { near, far } of this.#pairs) {
      near.resume();
      far.resume();
    }
  }

  bend(random: Random): void {
    this.#bender = random;
  }

  /** Connections that carried bent bytes end: neither side knows any more where in a message it stands. */
  straighten(): void {
    this.#bender = null;
    this.reset();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(near: Socket): void {
    const far = connect({ port: this.#targetPort, host: '127.0.0.1', allowHalfOpen: true });
    const pair = { near, far };
    this.#pairs.add(pair);
    this.#carry(near, far);
    this.#carry(far, near);
    near.on('close', () => this.#pairs.delete(pair));
    if (this.#isStalled) {
      near.pause();
      far.pause();
    }
  }

  #carry(from: Socket, to: Socket): void {
    from.setNoDelay(true);
    from.on('data', (chunk: Buffer) => {
      if (this.#bender !== null) bendOne(chunk, this.#bender);
      if (to.write(chunk)) return;
      from.pause();
      to.once('drain', () => {
        if (!this.#isStalled) from.resume();
      });
    });
    from.on('end', () => to.end());
    from.on('error', () => to.resetAndDestroy());
    from.on('close', () => to.destroySoon());
  }
}

function bendOne(chunk: Buffer, random: Random): void {
  if (random.below(bentChunksEvery) !== 0) return;
  chunk[random.below(chunk.length)]! ^= 1 << random.below(8);
}
