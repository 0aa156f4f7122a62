/**
 * Clients that take without giving: slow in every phase, deaf to answers, busy for nothing. Each is ended by a limit
 * that names it, costs nobody else their service, and leaves nothing behind.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { before, describe, test } from 'node:test';
import { abuseKinds, type AbuseKind } from '../../src/codec/http2/abuse.ts';
import { flags, frameTypes, preface } from '../../src/codec/http2/protocol.ts';
import {
  data,
  emptySettings,
  frame,
  headers,
  literals,
  resetStream,
  settings,
  windowUpdate,
} from '../../src/codec/http2/testing/frames.ts';
import { Authority } from '../support/authority.ts';
import { FramesClient, pseudoBlock, requestBlock } from '../support/frames-client.ts';
import { clientHello } from '../support/hello.ts';
import { Http1Client, Http2Client } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { listener, route, tls } from '../support/layer7.ts';
import { Peer, PeerServer } from '../support/peer.ts';
import { allSockets, type LogLine, type Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { lacks } from '../support/tools.ts';

const host = 'app.example.com';
const modern = 'modern.example.com';
const limits = `
[metrics]
addr = "127.0.0.1:0"
[http]
tls_handshake_timeout = "400ms"
head_timeout = "400ms"
body_idle_timeout = "1s"
body_rate_min = "1KiB"
keep_alive_timeout = "500ms"
response_timeout = "1s"
upstream_idle_timeout = "1s"
streams_max = 100
pipelined_max = 4
`;

const head = `POST /echo HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000\r\n\r\n`;
const dropsBlock = pseudoBlock({ ':method': 'POST', ':path': '/echo/drops', ':authority': host });

/** What a slow client sends at once; then it drips `drop`, if anything. */
interface Slow {
  readonly first: string;
  readonly drop: string;
  /** How its connection or its request is called in the log. */
  readonly reason: string;
  /** Of the request, where it ends and not its connection. */
  readonly path?: string;
}
const slowClients: Record<string, Slow> = {
  'that says nothing': { first: '', drop: '', reason: 'hello-timeout' },
  'in its ClientHello': { first: latin1(clientHello(host)).slice(0, 20), drop: '', reason: 'hello-timeout' },
  'in the preface': { first: preface.slice(0, 3), drop: '', reason: 'request-timeout' },
  'in a request line': { first: 'GET /', drop: 'a', reason: 'request-timeout' },
  'in a head (slowloris)': {
    first: `GET / HTTP/1.1\r\nHost: ${host}\r\n`,
    drop: 'X: a\r\n',
    reason: 'request-timeout',
  },
  'in a body': { first: head, drop: '', reason: 'request-timeout' },
  'in a body, by drops': { first: head, drop: 'a', reason: 'request-timeout' },
  'in a chunk, by drops': {
    first: head.replace('Content-Length: 1000', 'Transfer-Encoding: chunked'),
    drop: '1\r\na\r\n',
    reason: 'request-timeout',
  },
  'between requests': {
    first: `GET /status/204 HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    drop: '',
    reason: 'keep-alive-timeout',
  },
  'with its SETTINGS': { first: preface, drop: '', reason: 'request-timeout' },
  'with the acknowledgement of ours': { first: preface + emptySettings, drop: '', reason: 'request-timeout' },
  'in a header block': {
    first:
      preface +
      emptySettings +
      frame(frameTypes.settings, flags.ack, 0) +
      frame(frameTypes.headers, 0, 1, ''),
    drop: '',
    reason: 'request-timeout',
  },
  'in an HTTP/2 body, by drops': {
    first: preface + emptySettings + frame(frameTypes.settings, flags.ack, 0) + headers(1, dropsBlock, false),
    drop: data(1, 'a'),
    reason: 'request-timeout',
    path: '/echo/drops',
  },
};

for (const sockets of allSockets) {
  describe(`limits on ${sockets} sockets`, { skip: lacks('openssl'), timeout: 60_000 }, () => {
    const suite = new Suite();
    let portcullis: Portcullis;
    let origin: HttpOrigin;
    let modernOrigin: HttpOrigin;

    before(async () => {
      origin = suite.use(await HttpOrigin.start('http1'));
      modernOrigin = suite.use(await HttpOrigin.start('h2c'));
      const identity = new Authority('limits').issue({ altNames: ['DNS:*.example.com'] });
      const routes = [
        route(host, origin.port, tls(identity), 'backend_protocol = "http1"'),
        route(modern, modernOrigin.port, tls(identity)),
      ];
      const config = limits + listener(['addr = "127.0.0.1:0"', 'protocol = "auto"'], routes);
      const server = { workers: 1, client_hello_timeout: '400ms' };
      portcullis = await suite.portcullis(config, { sockets, server });
    });

    describe('a client that is slow', { concurrency: true }, () => {
      for (const [phase, slow] of Object.entries(slowClients)) {
        test(phase, () => endsSlow(slow));
      }
    });

    test('a client that is slow behind its ClientHello', async () => {
      await endsSlow({ first: latin1(await realHello()), drop: '', reason: 'tls-handshake-timeout' });
    });

    for (const kind of abuseKinds.filter((each) => each !== 'zero-window-stall')) {
      test(`HTTP/2 ${kind} over TLS: GOAWAY ENHANCE_YOUR_CALM, and a count`, async () => {
        using client = await FramesClient.open(portcullis.port(), {
          tls: { servername: host, rejectUnauthorized: false },
        });
        await client.send(abuse(kind));
        assert.match((await client.line(/^GOAWAY/))!, /^GOAWAY \d+ 11$/);
        await portcullis.line((line) => line['reason'] === 'http2-abuse' && line['detail'] === kind);
        await counted(kind);
      });
    }

    test('a client that opens no window is calmed', async () => {
      const noWindow = settings([4, 0]);
      using client = await FramesClient.open(portcullis.port(), { settings: noWindow });
      const ids = Array.from({ length: 40 }, (_, index) => 2 * index + 1);
      const block = pseudoBlock({ ':path': '/bytes/100', ':authority': host });
      await client.send(ids.map((id) => headers(id, block)).join(''));
      assert.match((await client.line(/^GOAWAY/))!, /^GOAWAY \d+ 11$/);
      await portcullis.line(
        (line) => line['reason'] === 'http2-abuse' && line['detail'] === 'zero-window-stall',
      );
      await counted('zero-window-stall');
    });

    test('streams beyond streams_max are refused, and the others served', async () => {
      using client = await FramesClient.open(portcullis.port());
      const block = pseudoBlock({ ':method': 'POST', ':path': '/echo', ':authority': host });
      const ids = Array.from({ length: 101 }, (_, index) => 2 * index + 1);
      await client.send(ids.map((id) => headers(id, block, false)).join(''));
      assert.equal(await client.line(/^RST_STREAM 201 /), 'RST_STREAM 201 7');
      await client.send(data(1, 'a', true));
      assert.ok(await client.line(/^HEADERS 1/));
    });

    test('downloads that nobody reads do not hold up other clients of the same backend', async () => {
      using idle = await FramesClient.open(portcullis.port(), { settings: settings([4, 1]) });
      const block = pseudoBlock({ ':path': '/bytes/8000000', ':authority': modern });
      await idle.send([1, 3, 5, 7, 9, 11].map((id) => headers(id, block)).join(''));
      for (const id of [1, 3, 5, 7, 9, 11]) assert.ok(await idle.line(new RegExp(`^DATA ${id} 1$`)));
      using other = await Http2Client.connect(portcullis.port(), modern);
      const answer = await other.ask({ path: '/bytes/3000000' });
      assert.equal(answer.body.length, 3_000_000);
    });

    test('pipelined requests beyond pipelined_max wait unread', async () => {
      const peer = await Peer.connect(portcullis.port());
      const request = `GET /hang HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
      const before = origin.requests.length;
      // More than the kernel's buffers take: the write completes only if it were all read.
      const isTaken = peer.write(request.repeat(400_000));
      await portcullis.until('the first request', () => true);
      const winner = await Promise.race([isTaken.then(() => 'taken'), tick(300).then(() => 'waiting')]);
      assert.equal(winner, 'waiting');
      assert.ok(origin.requests.length - before <= 1);
      peer.reset();
      await isTaken;
    });

    test('an upload that the backend does not take is not taken either', async () => {
      const before = portcullis.residentBytes();
      const peer = await Peer.connect(portcullis.port());
      const piece = Buffer.alloc(1024 * 1024);
      // The first bytes already fill what is kept for a stream.
      const head = `POST /hang HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 900000000\r\n\r\n`;
      await peer.write(Buffer.concat([Buffer.from(head), piece]));
      let takenBytes = 0;
      const upload = (async () => {
        while (peer.isOpen && takenBytes < 64 * piece.length && (await peer.write(piece))) {
          takenBytes += piece.length;
        }
      })();
      await Promise.race([upload, tick(400)]);
      assert.ok(takenBytes < 40 * piece.length, `${takenBytes} bytes went somewhere`);
      assert.ok(portcullis.residentBytes() - before < 48 * piece.length, 'memory grew');
      peer.reset();
      await upload;
    });

    test('clients that leave in every phase leave nothing behind', async () => {
      const port = portcullis.port();
      const leave = async (bytes: string, ending: 'reset' | 'close'): Promise<void> => {
        const peer = await Peer.connect(port);
        await peer.write(Buffer.from(bytes, 'latin1'));
        peer[ending]();
      };
      const openings = Object.values(slowClients).map(({ first }) => first);
      openings.push(
        `GET /hang HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
        `GET /bytes/90000000 HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
        `GET /hang HTTP/1.1\r\nHost: ${modern}\r\n\r\n`,
        `GET /bytes/90000000 HTTP/1.1\r\nHost: ${modern}\r\n\r\n`,
      );
      for (const bytes of openings) await Promise.all([leave(bytes, 'reset'), leave(bytes, 'close')]);
      await atRest();
    });

    test('1,000 streams, most of them reset, leave nothing behind', async () => {
      for (const name of [host, modern]) {
        using client = await FramesClient.open(portcullis.port());
        const block = pseudoBlock({ ':path': '/hang', ':authority': name });
        for (let round = 0; round < 10; round++) {
          const ids = Array.from({ length: 40 }, (_, index) => 2 * (round * 50 + index) + 1);
          await client.send(ids.map((id) => headers(id, block)).join(''));
          await client.send(ids.map((id) => resetStream(id, 8)).join(''));
          const id = 2 * (round * 50 + 49) + 1;
          await client.send(headers(id, requestBlock(name)));
          if ((await client.line(new RegExp(`^HEADERS ${id}`))) === undefined) break;
        }
      }
      await atRest();
      using client = new Http1Client(portcullis.port(), modern);
      assert.equal((await client.ask()).status, 200);
    });

    test('handshakes beyond handshakes_max are refused', { skip: sockets === 'public' }, async () => {
      const config = `[http]\nhandshakes_max = 2\n${listener(
        ['addr = "127.0.0.1:0"'],
        [route(host, 1, tls(new Authority('few').issue({ altNames: [`DNS:${host}`] })))],
      )}`;
      const few = await suite.portcullis(config, { server: { workers: 1 } });
      const hello = await realHello();
      const stuck = await Promise.all([0, 1].map(() => Peer.connect(few.port())));
      for (const peer of stuck) {
        await peer.write(hello);
        await peer.read(1);
      }
      const refused = await Peer.connect(few.port());
      await refused.write(hello);
      assert.equal((await few.connection(refused.address)).reason, 'tls-handshake-limit');
      for (const peer of stuck) peer.close();
      await few.until('their ends', () => few.connections.length === 3);
      const socket = connectTls({ port: few.port(), servername: host, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      socket.destroy();
    });

    test('none of it was a fault of ours', () => {
      assert.deepEqual(
        portcullis.lines.filter(({ level }) => level === 'error'),
        [],
      );
      assert.ok(!portcullis.lines.some((line) => line['reason'] === 'internal-error'));
    });

    async function endsSlow({ first, drop, reason, path }: Slow): Promise<void> {
      const peer = await Peer.connect(portcullis.port());
      if (first !== '') await peer.write(Buffer.from(first, 'latin1'));
      const drip = setInterval(() => void (drop !== '' && peer.write(Buffer.from(drop, 'latin1'))), 50);
      peer.socket.resume();
      peer.socket.once('end', () => peer.end());
      const isIt = (line: LogLine): boolean =>
        path === undefined ? line['client'] === peer.address : line['path'] === path;
      await portcullis.line((line) => isIt(line) && line['reason'] === reason);
      clearInterval(drip);
      peer.close();
    }

    /** The log and the metrics come to the supervisor by ways of their own. */
    async function counted(kind: AbuseKind): Promise<void> {
      const count = new RegExp(`portcullis_http2_abuse_total\\{kind="${kind}"\\} [1-9]`);
      const deadline = performance.now() + 8000;
      while (!count.test(await metrics())) assert.ok(performance.now() < deadline, `${kind} is not counted`);
    }

    async function metrics(): Promise<string> {
      const line = portcullis.lines.find(({ msg }) => msg === 'metrics HTTP listening');
      return (await fetch(`http://${String(line!['address'])}/metrics`)).text();
    }

    /** No connection of a client is counted any more, and none to a backend is open. */
    async function atRest(): Promise<void> {
      const deadline = performance.now() + 8000;
      for (;;) {
        const gauges = /^portcullis_(?:connections_active|upstream_connections)\{[^}]*\} (\d+)$/gm;
        const left = [...(await metrics()).matchAll(gauges)].map(([, count]) => Number(count));
        assert.ok(left.length >= 3);
        if (left.every((count) => count === 0)) return;
        assert.ok(performance.now() < deadline, `connections, of clients and to backends: ${left.join()}`);
        await tick(50);
      }
    }
  });
}

/** What a TLS client sends first: complete, so that the handshake waits for its next flight. */
async function realHello(): Promise<Buffer> {
  await using server = await PeerServer.start();
  const socket = connectTls({ port: server.port, servername: host });
  socket.on('error', () => undefined);
  const peer = await server.next();
  const header = await peer.read(5);
  const hello = Buffer.concat([header, await peer.read(header.readUInt16BE(3))]);
  socket.destroy();
  return hello;
}

function tick(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

/** More of it than is free. */
function abuse(kind: AbuseKind): string {
  const block = requestBlock(host);
  const many = (count: number, piece: (id: number) => string): string =>
    Array.from({ length: count }, (_, index) => piece(2 * index + 1)).join('');
  switch (kind) {
    case 'rapid-reset':
      return many(600, (id) => headers(id, block) + resetStream(id, 8));
    case 'made-you-reset':
      return many(300, (id) => headers(id, block) + windowUpdate(id, 0));
    case 'continuation-flood':
      return (
        frame(frameTypes.headers, 0, 1, block) + many(100, () => frame(frameTypes.continuation, 0, 1, 'x'))
      );
    case 'settings-flood':
      return many(300, () => settings([3, 100]));
    case 'ping-flood':
      return many(2000, () => frame(frameTypes.ping, 0, 0, '12345678'));
    case 'hpack-bomb': {
      // One large field into the table, then a list that names it again and again.
      const big = '\x40' + literals('a', 'b'.repeat(3900)).slice(1);
      return many(30, (id) => headers(id, id === 1 ? requestBlock(host) + big : block + '\xbe'.repeat(200)));
    }
    case 'empty-frames':
      return headers(1, block, false) + many(500, () => data(1, ''));
    case 'window-update-flood':
      return many(4000, () => windowUpdate(0, 1));
    case 'priority-flood':
      return many(2000, (id) => frame(frameTypes.priority, 0, id, '\0\0\0\0\x10'));
    case 'reset-flood':
      return headers(1, block) + many(1000, () => resetStream(1, 8));
    case 'zero-window-stall':
      return '';
  }
}
