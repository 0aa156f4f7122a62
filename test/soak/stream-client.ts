/** TLS from end to end through a route of mode l4: bytes go out, the same must come back. */
import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { dialTls } from './dial.ts';
import { Failed } from './ledger.ts';
import { payload, type ClientContext, type SoakClient } from './soak-client.ts';

const payloadBytesMax = 48 * 1024;

export class TlsStreamClient implements SoakClient {
  address = '';
  readonly #context: ClientContext;
  #socket: TLSSocket | null = null;

  constructor(context: ClientContext) {
    this.#context = context;
  }

  async open(): Promise<void> {
    const { socket, address } = await dialTls(this.#context, []);
    this.#socket = socket;
    this.address = address;
    socket.on('error', () => undefined);
  }

  async exchange(): Promise<void> {
    const sent = payload(this.#context.random, payloadBytesMax);
    const socket = this.#socket!;
    const chunks: Buffer[] = [];
    let missing = sent.length;
    socket.write(sent);
    await new Promise<void>((resolve, reject) => {
      const done = (error: Error | null): void => {
        socket.off('data', take).off('close', lost).off('error', done);
        if (error === null) resolve();
        else reject(error);
      };
      const lost = (): void => done(new Error('closed in the midst'));
      const take = (chunk: Buffer): void => {
        chunks.push(chunk);
        missing -= chunk.length;
        if (missing <= 0) done(null);
      };
      if (socket.closed) return lost();
      socket.on('data', take).on('close', lost).on('error', done);
    });
    if (!Buffer.concat(chunks).equals(sent))
      throw new Failed('damaged', `${sent.length} bytes came back different`);
  }

  async close(): Promise<void> {
    const socket = this.#socket!;
    socket.resume();
    const closed = socket.closed ? null : once(socket, 'close');
    socket.end();
    await closed;
  }

  vanish(): void {
    this.#socket?.destroy();
  }
}
