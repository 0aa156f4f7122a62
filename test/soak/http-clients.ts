/** HTTP/1.1 and HTTP/2 over TLS: bodies both ways, held to their digests. */
import { once } from 'node:events';
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import { connect as connectHttp2 } from 'node:http2';
import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { digestOf } from '../support/http-client.ts';
import { patternDigest, type Seen } from '../support/http-origin.ts';
import { dialTls } from './dial.ts';
import { Failed } from './ledger.ts';
import { payload, type ClientContext, type SoakClient } from './soak-client.ts';

const bodyBytesMax = 96 * 1024;
const concurrentStreams = 3;

/** What is asked for, and what the answer must be. */
interface Question {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body: Buffer | undefined;
  readonly isRight: (body: Buffer) => boolean;
}

interface Reply {
  readonly status: number;
  readonly body: Buffer;
}

function ask({ random, tag }: ClientContext): Question {
  if (random.below(2) === 0) {
    const sent = payload(random, bodyBytesMax);
    const digest = digestOf(sent);
    // The tag shows an answer that belongs to another request.
    const path = `/echo/${tag}/${random.below(1e9)}`;
    const isRight = (body: Buffer): boolean => {
      const seen = JSON.parse(body.toString()) as Seen;
      return seen.bodyDigest === digest && seen.target === path && seen.method === 'POST';
    };
    return { method: 'POST', path, body: sent, isRight };
  }
  const length = random.below(bodyBytesMax);
  const shape = random.below(2) === 0 ? 'bytes' : 'chunked';
  const isRight = (body: Buffer): boolean =>
    body.length === length && digestOf(body) === patternDigest(length);
  return { method: 'GET', path: `/${shape}/${length}`, body: undefined, isRight };
}

/** Throws unless the answer is the right one. */
function check({ method, path, isRight }: Question, { status, body }: Reply): void {
  const what = `${method} ${path}: ${status}, ${body.length} bytes`;
  if (status === 502 || status === 503 || status === 504) throw new Failed('unavailable', what);
  if (status === 404 || status === 421) throw new Failed('unrouted', what);
  if (status !== 200) throw new Failed('wrong', what);
  let right = false;
  try {
    right = isRight(body);
  } catch {
    // Not JSON: it is damaged as well.
  }
  if (!right) throw new Failed('damaged', what);
}

type OnConnection = (error: Error | null, socket: Duplex) => void;

/** One connection at a time, kept between requests. */
class DialAgent extends Agent {
  readonly #context: ClientContext;
  readonly #onDialed: (address: string) => void;
  #isDestroyed = false;

  constructor(context: ClientContext, onDialed: (address: string) => void) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#context = context;
    this.#onDialed = onDialed;
  }

  override createConnection(_options: unknown, callback: OnConnection): null {
    void this.#dial(callback);
    return null;
  }

  override destroy(): void {
    this.#isDestroyed = true;
    super.destroy();
  }

  async #dial(callback: OnConnection): Promise<void> {
    let dialed;
    try {
      dialed = await dialTls(this.#context, ['http/1.1']);
    } catch (error) {
      // What the callback takes beside an error is not looked at.
      return callback(error as Error, undefined as unknown as Duplex);
    }
    const { socket, address } = dialed;
    this.#onDialed(address);
    // The client vanished meanwhile, and its agent would keep this one for the next request.
    if (this.#isDestroyed) socket.destroy();
    callback(null, socket);
  }
}

export class Http1TlsClient implements SoakClient {
  address = '';
  readonly #context: ClientContext;
  readonly #agent: DialAgent;

  constructor(context: ClientContext) {
    this.#context = context;
    this.#agent = new DialAgent(context, (address) => (this.address = address));
  }

  /** The first exchange does. */
  async open(): Promise<void> {}

  async exchange(): Promise<void> {
    const question = ask(this.#context);
    check(question, await this.#send(question));
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  vanish(): void {
    this.#agent.destroy();
  }

  async #send({ method, path, body }: Question): Promise<Reply> {
    const { host, tag } = this.#context;
    const outgoing = request({
      ...{ host, method, path, agent: this.#agent },
      headers: { host, 'user-agent': tag, ...(body === undefined ? {} : { 'content-length': body.length }) },
    });
    outgoing.end(body);
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    outgoing.on('error', () => undefined);
    const chunks: Buffer[] = [];
    for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
    return { status: answer.statusCode ?? 0, body: Buffer.concat(chunks) };
  }
}

/** An HTTP/2 connection through TLS; other kinds build on it. */
export async function openHttp2(
  context: ClientContext,
): Promise<{ readonly session: ClientHttp2Session; readonly address: string }> {
  const { socket, address } = await dialTls(context, ['h2']);
  const session = connectHttp2(`https://${context.host}`, { createConnection: () => socket });
  await once(session, 'connect');
  session.on('error', () => undefined);
  return { session, address };
}

/** Resolves when the connection is closed, after GOAWAY and what was under way. */
export async function closeHttp2(session: ClientHttp2Session): Promise<void> {
  if (session.destroyed) return;
  const closed = once(session, 'close');
  session.close();
  await closed;
}

export class Http2TlsClient implements SoakClient {
  address = '';
  readonly #context: ClientContext;
  #session: ClientHttp2Session | null = null;

  constructor(context: ClientContext) {
    this.#context = context;
  }

  async open(): Promise<void> {
    const { session, address } = await openHttp2(this.#context);
    this.#session = session;
    this.address = address;
  }

  /** A few streams at once. */
  async exchange(): Promise<void> {
    const questions = Array.from({ length: 1 + this.#context.random.below(concurrentStreams) }, () =>
      ask(this.#context),
    );
    const ends = await Promise.allSettled(
      questions.map(async (question) => check(question, await this.#send(question))),
    );
    const failed = ends.filter((end) => end.status === 'rejected').map(({ reason }) => reason as Error);
    // Of several failures the one that says most.
    if (failed.length > 0) throw failed.find((error) => error instanceof Failed) ?? failed[0]!;
  }

  close(): Promise<void> {
    return closeHttp2(this.#session!);
  }

  vanish(): void {
    this.#session?.destroy();
  }

  #send({ method, path, body }: Question): Promise<Reply> {
    const { host, tag } = this.#context;
    const stream = this.#session!.request({
      ...{ ':method': method, ':path': path, ':authority': host, ':scheme': 'https', 'user-agent': tag },
    });
    stream.end(body);
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let status = 0;
      let isWhole = false;
      stream.on('response', (headers: IncomingHttpHeaders) => (status = Number(headers[':status'])));
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => (isWhole = true));
      stream.on('error', reject);
      stream.on('close', () => {
        if (status === 0 || !isWhole || stream.rstCode !== 0)
          reject(new Error(`stream ended by ${stream.rstCode}`));
        else resolve({ status, body: Buffer.concat(chunks) });
      });
    });
  }
}
