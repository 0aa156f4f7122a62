/**
 * The independent implementation: nghttp2, as node:http2 and as its own client. Random requests, bodies and
 * trailers go both ways; both sides must see the same.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import type { FieldList, RequestHead } from '../codec/http-message.ts';
import type { HostBytes } from '../core/bytes.ts';
import { httpDefaults } from '../model/http-settings.ts';
import type { Channel } from '../net/channel.ts';
import { Network } from '../net/network.ts';
import { PublicTransport } from '../net/public-transport.ts';
import { Resolver } from '../net/resolver.ts';
import { parseIp } from '../core/ip.ts';
import { FlushQueue } from './flush-queue.ts';
import { Http2ClientSession } from './http2-client-session.ts';
import { Http2ServerSession } from './http2-server-session.ts';
import type { DownstreamStream, Stream, StreamFailure } from './stream.ts';

const network = new Network(new PublicTransport(), new Resolver());
const flushes = new FlushQueue();
const faults: unknown[] = [];
after(() => {
  network.close();
  assert.deepEqual(faults, []);
});

interface Message {
  readonly fields: FieldList;
  readonly pieces: readonly Buffer[];
  readonly trailers: FieldList;
}

const name = fc.stringMatching(/^x-[a-z0-9]{1,10}$/);
const value = fc.stringMatching(/^[!-~]([ -~\x80-\xff]{0,60}[!-~])?$/);
const fieldList = fc
  .uniqueArray(fc.tuple(name, value), { maxLength: 12, selector: ([text]) => text })
  .map((pairs) => pairs.flat());
const piece = fc
  .tuple(fc.oneof(fc.nat(100), fc.nat(150_000)), fc.nat(255))
  .map(([length, seed]) => Buffer.alloc(length, Buffer.from([seed, seed ^ 0x55, 1, 2, 3])));
const message = fc.record({
  fields: fieldList,
  pieces: fc.array(piece, { maxLength: 4 }),
  trailers: fc.oneof(fc.constant<FieldList>([]), fieldList),
});
const exchanges = fc.array(fc.record({ path: fc.webPath(), request: message, response: message }), {
  minLength: 1,
  maxLength: 6,
});

/** What one side saw of the other's message. */
interface Seen {
  fields: FieldList;
  /** Its length and its digest: a difference between long bodies would take minutes to print. */
  body: string;
  trailers: FieldList;
}

function expectation({ fields, pieces, trailers }: Message): Seen {
  return { fields: byName(fields), body: digest(pieces), trailers: byName(trailers) };
}

function digest(parts: readonly Buffer[]): string {
  const whole = Buffer.concat(parts);
  return `${whole.length} ${createHash('sha1').update(whole).digest('hex')}`;
}

function byName(fields: FieldList): FieldList {
  const pairs: [string, string][] = [];
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at]!.startsWith('x-')) pairs.push([fields[at]!, fields[at + 1]!]);
  return pairs.toSorted(([one], [other]) => (one < other ? -1 : 1)).flat();
}

function headersOf(fields: FieldList): http2.OutgoingHttpHeaders {
  const headers: http2.OutgoingHttpHeaders = {};
  for (let at = 0; at < fields.length; at += 2) headers[fields[at]!] = fields[at + 1]!;
  return headers;
}

function fieldsOf(headers: http2.IncomingHttpHeaders): FieldList {
  return Object.entries(headers).flatMap(([key, text]) => [key, String(text)]);
}

/** Sends a message on one of our streams, stopping where it is told to. */
class Sender {
  readonly #message: Message;
  readonly #stream: Stream;
  #next = 0;

  constructor(stream: Stream, sent: Message) {
    this.#message = sent;
    this.#stream = stream;
  }

  goOn(): void {
    const { pieces, trailers } = this.#message;
    while (this.#next < pieces.length) {
      const isLast = this.#next === pieces.length - 1 && trailers.length === 0;
      const copy = Buffer.from(pieces[this.#next++]!);
      const mayGoOn = this.#stream.sendData(copy as unknown as HostBytes, isLast);
      copy.fill(0xee);
      if (!mayGoOn) return;
    }
    if (trailers.length > 0) this.#stream.sendTrailers(trailers);
    else this.#stream.sendEnd();
  }
}

/** Collects a message on one of our streams, and lets `sender` go on. */
function collector(fields: FieldList, settle: (seen: Seen | StreamFailure) => void, goOn: () => void) {
  const parts: Buffer[] = [];
  const finish = (trailers: FieldList): void =>
    settle({ fields: byName(fields), body: digest(parts), trailers: byName(trailers) });
  return {
    onInformational() {},
    onHead(_stream: Stream, head: { fields: FieldList }, isEnd: boolean) {
      fields.push(...head.fields);
      if (isEnd) finish([]);
    },
    onData(stream: Stream, bytes: HostBytes, isEnd: boolean) {
      parts.push(Buffer.from(bytes));
      stream.consume(bytes.length);
      if (isEnd) finish([]);
    },
    onTrailers: (_stream: Stream, trailers: FieldList) => finish(trailers),
    onEnd: () => finish([]),
    onDrain: goOn,
    onReset: (_stream: Stream, failure: StreamFailure) => settle(failure),
  };
}

describe('our client and the server of node:http2', () => {
  it('agree on random exchanges', async () => {
    let script: { request: Message; response: Message }[] = [];
    let seen: PromiseWithResolvers<unknown>[] = [];
    const server = http2.createServer();
    server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
      const index = Number(headers['x-index']);
      const { response } = script[index]!;
      const parts: Buffer[] = [];
      let trailers: FieldList = [];
      stream.on('trailers', (received: http2.IncomingHttpHeaders) => (trailers = fieldsOf(received)));
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () => {
        delete headers['x-index'];
        const fields = byName(fieldsOf(headers));
        seen[index]!.resolve({ fields, body: digest(parts), trailers: byName(trailers) });
      });
      const hasTrailers = response.trailers.length > 0;
      stream.respond({ ':status': 200, ...headersOf(response.fields) }, { waitForTrailers: hasTrailers });
      stream.on('wantTrailers', () => stream.sendTrailers(headersOf(response.trailers)));
      for (const part of response.pieces) stream.write(part);
      stream.end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const session = await connect((server.address() as AddressInfo).port);
    await fc.assert(
      fc.asyncProperty(exchanges, async (items) => {
        script = items;
        seen = items.map(() => Promise.withResolvers());
        const answers = await Promise.all(
          items.map(({ path, request }, index) => ask(session, path, request, index)),
        );
        assert.deepEqual(
          answers,
          items.map(({ response }) => expectation(response)),
        );
        assert.deepEqual(
          await Promise.all(seen.map(({ promise }) => promise)),
          items.map(({ request }) => expectation(request)),
        );
      }),
      { numRuns: 25 },
    );
    session.drain();
    server.close();
    await once(server, 'close');
  });
});

describe('the client of node:http2 and our server', () => {
  it('agree on random exchanges', async () => {
    let script: { request: Message; response: Message }[] = [];
    let seen: PromiseWithResolvers<unknown>[] = [];
    const acceptor = await network.transport.listen('127.0.0.1', 0, (channel) => {
      serve(channel, (stream, head, isEnd) => {
        const index = Number(/\d+$/.exec(head.path)![0]);
        const sender = new Sender(stream, script[index]!.response);
        const settle = (result: Seen | StreamFailure): void => seen[index]!.resolve(result);
        stream.sink = collector(head.fields, settle, () => sender.goOn());
        if (isEnd) stream.sink.onEnd(stream);
        stream.sendHead({ status: 200, fields: script[index]!.response.fields }, false);
        sender.goOn();
      });
    });
    const client = http2.connect(`http://127.0.0.1:${acceptor.port}`);
    await fc.assert(
      fc.asyncProperty(exchanges, async (items) => {
        script = items;
        seen = items.map(() => Promise.withResolvers());
        const answers = await Promise.all(items.map((item, index) => askNode(client, item.request, index)));
        assert.deepEqual(
          answers,
          items.map(({ response }) => expectation(response)),
        );
        assert.deepEqual(
          await Promise.all(seen.map(({ promise }) => promise)),
          items.map(({ request }) => expectation(request)),
        );
      }),
      { numRuns: 25 },
    );
    client.close();
    await once(client, 'close');
    acceptor.close();
  });
});

async function connect(port: number): Promise<Http2ClientSession> {
  const channel = await new Promise<Channel>((resolve, reject) => {
    const target = { kind: 'ip', ip: parseIp('127.0.0.1')!, text: '127.0.0.1', port } as const;
    network.transport.connect(target, {
      onConnected: resolve,
      onConnectFailed: (code) => reject(new Error(code)),
    });
  });
  const session = new Http2ClientSession(
    { channel, network, settings: httpDefaults, flushes },
    { onAvailability() {}, onClosed() {}, onFault: (error) => void faults.push(error) },
  );
  session.start();
  return session;
}

function ask(session: Http2ClientSession, path: string, sent: Message, index: number): Promise<unknown> {
  const head: RequestHead = {
    method: 'POST',
    scheme: 'http',
    authority: 'a.test',
    path: path === '' ? '/' : path,
    protocol: null,
    fields: ['x-index', String(index), ...sent.fields],
  };
  const answer = Promise.withResolvers<unknown>();
  const go: { sender?: Sender } = {};
  const stream = session.request(
    head,
    false,
    collector([], answer.resolve, () => go.sender?.goOn()),
  );
  go.sender = new Sender(stream, sent);
  go.sender.goOn();
  return answer.promise;
}

function serve(
  channel: Channel,
  onRequest: (stream: DownstreamStream, head: RequestHead, isEnd: boolean) => void,
): void {
  new Http2ServerSession(
    { channel, network, settings: httpDefaults, flushes, scheme: 'http' },
    {
      onRequest,
      onRefused: (reason) => void faults.push(reason),
      onClosed() {},
      onFault: (error) => void faults.push(error),
    },
  ).start();
}

async function askNode(client: http2.ClientHttp2Session, sent: Message, index: number): Promise<Seen> {
  const hasTrailers = sent.trailers.length > 0;
  const stream = client.request(
    { ':method': 'POST', ':path': `/${index}`, ...headersOf(sent.fields) },
    { waitForTrailers: hasTrailers },
  );
  stream.on('wantTrailers', () => stream.sendTrailers(headersOf(sent.trailers)));
  let fields: FieldList = [];
  let trailers: FieldList = [];
  const parts: Buffer[] = [];
  stream.on('response', (headers) => (fields = fieldsOf(headers)));
  stream.on('trailers', (headers) => (trailers = fieldsOf(headers)));
  stream.on('data', (part: Buffer) => parts.push(part));
  for (const part of sent.pieces) stream.write(part);
  stream.end();
  await once(stream, 'end');
  // Trailers are told before the end, but for an empty body's.
  await once(stream, 'close');
  return { fields: byName(fields), body: digest(parts), trailers: byName(trailers) };
}
