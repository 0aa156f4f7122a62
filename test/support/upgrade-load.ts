/** Clients that go on all through an upgrade: each visits again and again, and remembers what failed. */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Http1Client, Http2Client } from './http-client.ts';
import type { Generations } from './generations.ts';
import { clientHello } from './hello.ts';

/** Null: it went well. */
type Visit = () => Promise<string | null>;

export class Load implements AsyncDisposable {
  readonly failures: string[] = [];
  readonly #served: number[];
  readonly #loops: Promise<void>[];
  readonly #pauseMs: number;
  #isOver = false;

  /** One client for each, which pauses this long between two visits: the program is to start meanwhile. */
  constructor(visits: readonly Visit[], pauseMs = 0) {
    this.#pauseMs = pauseMs;
    this.#served = visits.map(() => 0);
    this.#loops = visits.map((visit, index) => this.#run(visit, index));
  }

  get served(): number {
    return this.#served.reduce((sum, each) => sum + each, 0);
  }

  /** Resolves when every client was served so many times more. */
  async servedMore(generations: Generations, count: number): Promise<void> {
    const before = [...this.#served];
    await generations.until('clients to be served', () =>
      this.#served.every((served, index) => served >= before[index]! + count),
    );
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(visit: Visit, index: number): Promise<void> {
    while (!this.#isOver) {
      const failure = await visit();
      if (failure === null) this.#served[index]!++;
      else this.failures.push(failure);
      if (this.#pauseMs > 0) await delay(this.#pauseMs);
    }
  }
}

/** Connects, says hello, reads it back and leaves. */
export function relayVisit(port: number, serverName: string): Visit {
  const hello = clientHello(serverName);
  return () =>
    new Promise((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' });
      let bytes = 0;
      socket.setTimeout(visitMsMax, () => {
        socket.destroy();
        resolve('timeout');
      });
      socket.on('connect', () => socket.end(hello));
      socket.on('data', (chunk) => (bytes += chunk.length));
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.on('end', () => {
        socket.destroy();
        resolve(bytes === hello.length ? null : `${bytes} bytes`);
      });
    });
}

/** A request on a connection that is kept until a response says otherwise. Nothing is tried again. */
export function keepAliveVisit(client: Http1Client): Visit {
  return () => outcome('HTTP/1.1', client.ask({ path: '/bytes/1000' }));
}

/**
 * A request on one connection of HTTP/2, and on the next one when that has been told to go. A request that a client of
 * nghttp2 has in hand when the GOAWAY comes it does not send but refuses itself; as for any refused stream (RFC 9113
 * §8.7) nothing was processed, and it is asked again. Nothing else is.
 */
export class MultiplexedVisits implements Disposable {
  readonly #connect: () => Promise<Http2Client>;
  #client: Http2Client | null = null;

  constructor(connectAgain: () => Promise<Http2Client>) {
    this.#connect = connectAgain;
  }

  readonly visit: Visit = async () => {
    const failure = await this.#ask();
    return failure === null || !failure.includes('NGHTTP2_REFUSED_STREAM') ? failure : this.#ask();
  };

  async #ask(): Promise<string | null> {
    if (this.#client === null || this.#client.session.closed || this.#client.session.destroyed) {
      this.#client = await this.#connect();
    }
    return outcome('HTTP/2', this.#client.ask({ path: '/bytes/1000' }));
  }

  [Symbol.dispose](): void {
    this.#client?.[Symbol.dispose]();
  }
}

async function outcome(
  version: string,
  answer: Promise<{ readonly status: number; readonly body: Buffer }>,
): Promise<string | null> {
  try {
    const { status, body } = await answer;
    return status === 200 && body.length === 1_000 ? null : `${version}: ${status}, ${body.length} bytes`;
  } catch (error) {
    return `${version}: ${String(error)}`;
  }
}

const visitMsMax = 5_000;
