import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Authority } from '../../test/support/authority.ts';
import { lacks } from '../../test/support/tools.ts';
import type { HostBytes } from '../core/bytes.ts';
import { parseIp } from '../core/ip.ts';
import type { Channel, ConnectTarget, Transport } from './channel.ts';
import { Conversation, Outcomes, TlsServer, newNetwork, transports } from './testing/tls-server.ts';
import { OpenSslConnector } from './tls-connector.ts';
import type { TlsIdentity, UpstreamTls } from './tls.ts';

const skip = lacks('openssl');
const authority = skip === false ? new Authority('channel') : undefined!;
const leaf = skip === false ? authority.issue() : undefined!;

const chunkBytes = 256 * 1024;
const mebibyte = 1024 * 1024;

function identity(): TlsIdentity {
  return {
    ...{ key: 'a', cert: leaf.cert, privateKey: leaf.key, clientCa: null },
    ...{ clientAuth: 'none', minVersion: '1.2', alpn: [] },
  };
}

/** Stays open for writing after the other side's end, as our channels do. */
function dial(port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
  const tls = connect({ socket, servername: 'localhost', ca: authority.cert, ...options });
  for (const one of [socket, tls]) one.on('error', () => undefined);
  return tls;
}

if (skip === false)
  for (const transport of await transports()) describe(transport.name, () => suite(transport));
else test('TLS channels', { skip }, () => undefined);

function suite(transport: Transport): void {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    describe(maxVersion, () => {
      test('each side may end first, and the other goes on', async () => {
        await using server = await TlsServer.start(transport, identity());
        const socket = dial(server.port, { maxVersion });
        const it = await server.outcomes.secure();
        socket.end('last words of the client');
        await it.until(() => it.hasEnded);
        assert.equal(it.text, 'last words of the client');
        assert.equal(it.isTruncated, false);
        it.say('answer after its end');
        assert.equal(await text(socket, 20), 'answer after its end');
        it.channel.halfClose();
        await closed(socket);
        it.channel.close();

        const second = dial(server.port, { maxVersion });
        const other = await server.outcomes.secure();
        other.say('last words of the server');
        other.channel.halfClose();
        assert.equal(await text(second), 'last words of the server');
        second.end('answer after our end');
        await other.until(() => other.hasEnded);
        assert.equal(other.text, 'answer after our end');
        assert.equal(other.endings, 1);
        other.channel.close();
      });

      test('ending while more plaintext is on the way loses none of it', async () => {
        await using server = await TlsServer.start(transport, identity());
        const socket = dial(server.port, { maxVersion });
        const it = await server.outcomes.secure();
        let isFirst = true;
        it.onBytes = () => {
          if (isFirst) it.channel.halfClose();
          isFirst = false;
        };
        socket.end(Buffer.alloc(mebibyte));
        await it.until(() => it.hasEnded);
        assert.equal(it.received, mebibyte);
        it.channel.close();
      });

      test('an end of TCP without close_notify is told from a true one', async () => {
        await using server = await TlsServer.start(transport, identity());
        await using middle = await Middle.start(server.port);
        const socket = dial(middle.port, { maxVersion });
        const it = await server.outcomes.secure();
        socket.write('cut sho');
        await it.until(() => it.text === 'cut sho');
        middle.cut();
        await it.until(() => it.hasEnded);
        assert.equal(it.isTruncated, true);
        it.channel.close();
      });

      test('close says close_notify, also straight after a write', async () => {
        await using server = await TlsServer.start(transport, identity());
        for (const [first, rest] of [
          ['', ''],
          ['one', ''],
          ['one', 'two'],
        ] as const) {
          const socket = dial(server.port, { maxVersion });
          const it = await server.outcomes.secure();
          const ended = once(socket, 'end');
          const heard = text(socket);
          if (first !== '') it.say(first);
          // What waits behind another write is lost in a close; whoever wants it heard looks at isBacklogged.
          if (rest !== '' && !it.channel.isBacklogged) it.say(rest);
          it.channel.close();
          it.channel.close();
          assert.equal(it.say('into the void'), true);
          await ended;
          assert.ok((await heard).startsWith(transport.name === 'fast' ? first : ''));
          socket.destroy();
        }
      });
    });
  }

  test('a paused channel hands out nothing, and everything in order when it resumes', async () => {
    await using server = await TlsServer.start(transport, identity());
    const socket = dial(server.port);
    const it = await server.outcomes.secure();
    const { sent, digest } = pattern(mebibyte);
    const hash = createHash('sha256');
    let isPaused = false;
    it.onBytes = (bytes) => {
      assert.equal(isPaused, false, 'data while paused');
      hash.update(bytes);
      isPaused = true;
      it.channel.pause();
      setImmediate(() => {
        isPaused = false;
        it.channel.resume();
      });
    };
    socket.end(sent);
    await it.until(() => it.hasEnded);
    assert.equal(hash.digest('hex'), digest);
    assert.equal(it.endings, 1);
    it.channel.close();
  });

  const bulkBytes = (transport.name === 'fast' ? 100 : 16) * mebibyte;
  test(`${bulkBytes / mebibyte} MiB each way arrive whole, at the pace of a slow reader, in flat memory`, async () => {
    await using server = await TlsServer.start(transport, identity());
    const socket = dial(server.port);
    const it = await server.outcomes.secure();
    const { sent, digest } = pattern(chunkBytes, bulkBytes / chunkBytes);
    const hash = createHash('sha256');
    it.onBytes = (bytes) => void hash.update(bytes);
    await feed(socket, sent, bulkBytes);
    await it.until(() => it.received === bulkBytes);
    assert.equal(hash.digest('hex'), digest);

    // Down: the client sleeps first, and what waits must stay with the sender.
    socket.pause();
    const down = createHash('sha256');
    let heard = 0;
    let waiting = 0;
    const source = new Source(it, sent, bulkBytes);
    source.run();
    await it.until(() => it.channel.isBacklogged);
    const before = process.memoryUsage().rss;
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
    waiting = source.written;
    assert.ok(waiting < bulkBytes, `${waiting} bytes left for a reader that sleeps`);
    socket.on('data', (bytes: Buffer) => {
      down.update(bytes);
      heard += bytes.length;
    });
    socket.resume();
    while (heard < bulkBytes) await once(socket, 'data');
    assert.equal(down.digest('hex'), digest);
    const growth = process.memoryUsage().rss - before;
    assert.ok(growth < 64 * mebibyte, `grew by ${growth >> 20} MiB`);
    await it.until(() => !it.channel.isBacklogged);
    it.channel.close();
    await closed(socket);
  });

  test('many small writes of one turn arrive in order, and drain once', async () => {
    await using server = await TlsServer.start(transport, identity());
    const socket = dial(server.port);
    const it = await server.outcomes.secure();
    let expected = '';
    for (let index = 0; index < 1_000; index++) {
      const piece = `${index};`;
      expected += piece;
      if (index % 3 === 0) it.channel.writeLatin1(piece);
      else it.say(piece);
    }
    assert.equal(it.channel.isBacklogged, true);
    assert.equal(await text(socket, expected.length), expected);
    await it.until(() => it.drains > 0);
    assert.equal(it.channel.isBacklogged, false);
    it.channel.close();
    await closed(socket);
  });

  test('a reset in the middle reaches the client as one, and ours as an error', async () => {
    await using server = await TlsServer.start(transport, identity());
    await using middle = await Middle.start(server.port);
    const client = dial(server.port);
    const it = await server.outcomes.secure();
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => client.once('error', resolve));
    client.write('x');
    await it.until(() => it.text === 'x');
    it.channel.reset();
    assert.equal((await failed).code, 'ECONNRESET');

    const second = dial(middle.port);
    const other = await server.outcomes.secure();
    second.write('x');
    await other.until(() => other.text === 'x');
    middle.reset();
    await other.until(() => other.error !== null);
    assert.equal(other.error, 'ECONNRESET');
    assert.equal(other.channel.isClosed, true);
    second.destroy();
  });

  test('a record that was tampered with is an error', async () => {
    await using server = await TlsServer.start(transport, identity());
    await using middle = await Middle.start(server.port);
    const socket = dial(middle.port);
    const it = await server.outcomes.secure();
    socket.write('good');
    await it.until(() => it.text === 'good');
    middle.inject(Buffer.concat([Buffer.from([0x17, 3, 3, 0, 40]), Buffer.alloc(40, 1)]));
    await it.until(() => it.error !== null);
    assert.match(it.error!, /^ERR_SSL_/);
    await closed(socket);
  });

  test('what a sink throws ends its own connection only', async () => {
    await using server = await TlsServer.start(transport, identity());
    const socket = dial(server.port);
    const it = await server.outcomes.secure();
    it.onBytes = () => {
      throw new Error('sink');
    };
    socket.write('x');
    await assert.rejects(
      it.until(() => false),
      /the sink failed/,
    );
    it.channel.reset();
    await closed(socket);
  });

  test('TLS within TLS, and over channels of other kinds', async () => {
    await using server = await TlsServer.start(transport, identity());
    const socket = dial(server.port);
    const outer = await server.outcomes.secure();
    const inner = new Outcomes();
    outer.onBytes = (bytes) => {
      outer.channel.pause();
      const deadlineMs = server.network.refresh() + 5_000;
      server.terminator.accept(outer.channel, bytes, identity(), deadlineMs, inner);
    };
    const within = connect({ socket, servername: 'localhost', ca: authority.cert });
    within.on('error', () => undefined);
    const it = await inner.secure();
    within.write('two layers down');
    await it.until(() => it.text === 'two layers down');
    it.say('and up');
    it.channel.halfClose();
    assert.equal(await text(within), 'and up');
    within.end();
    await it.until(() => it.hasEnded);
    assert.equal(it.isTruncated, false);
    it.channel.close();
    socket.destroy();
  });

  test('both roles of ours, over a connection of ours', async () => {
    await using server = await TlsServer.start(transport, identity());
    const network = newNetwork(transport);
    const connector = new OpenSslConnector(network);
    const tls: UpstreamTls = {
      ...{
        serverName: '127.0.0.1',
        ca: authority.cert,
        crl: null,
        insecure: false,
        alpn: [],
        clientCert: null,
      },
    };
    const { sent, digest } = pattern(4 * mebibyte);
    const down = new Outcomes();
    connector.connect(await tcp(transport, server.port), tls, network.refresh() + 5_000, down);
    const [near, far] = await Promise.all([down.secure(), server.outcomes.secure()]);
    const hash = createHash('sha256');
    far.onBytes = (bytes) => void hash.update(bytes);
    near.channel.write(sent as unknown as HostBytes);
    await near.until(() => !near.channel.isBacklogged);
    near.channel.halfClose();
    await far.until(() => far.hasEnded);
    assert.equal(hash.digest('hex'), digest);
    far.channel.close();
    await near.until(() => near.hasEnded);
    assert.equal(near.isTruncated, false);
    near.channel.close();
    network.close();
  });

  const handshakes = transport.name === 'fast' ? 1_000 : 200;
  test(`${handshakes} handshakes leave nothing behind`, async () => {
    await using server = await TlsServer.start(transport, identity());
    let session: Buffer | undefined;
    const visit = async (): Promise<void> => {
      const socket = dial(server.port, { maxVersion: 'TLSv1.2', ...(session !== undefined && { session }) });
      socket.on('session', (given: Buffer) => (session ??= given));
      const it = await server.outcomes.secure();
      it.say('x');
      it.channel.close();
      await closed(socket);
    };
    const round = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index += 8) await Promise.all(Array.from({ length: 8 }, visit));
    };
    await round(handshakes / 4);
    collectGarbage();
    const before = process.memoryUsage();
    await round(handshakes);
    collectGarbage();
    const after = process.memoryUsage();
    const growth = after.rss - before.rss + Math.max(0, after.external - before.external);
    // A connection that stayed would keep some 50 KiB.
    assert.ok(growth < handshakes * 20 * 1024, `grew by ${growth >> 10} KiB`);
    assert.equal(server.terminator.underWay, 0);
  });
}

/** Writes when the channel has room, as a relay does. */
class Source {
  written = 0;
  readonly #it: Conversation;
  readonly #chunk: Buffer;
  readonly #total: number;

  constructor(it: Conversation, chunk: Buffer, total: number) {
    this.#it = it;
    this.#chunk = chunk;
    this.#total = total;
    const onDrain = it.onDrain.bind(it);
    it.onDrain = () => {
      onDrain();
      this.run();
    };
  }

  run(): void {
    while (this.written < this.#total) {
      this.written += this.#chunk.length;
      if (!this.#it.channel.write(Buffer.from(this.#chunk) as unknown as HostBytes)) return;
    }
  }
}

/** Stands between client and server and does what TLS must survive. */
class Middle implements AsyncDisposable {
  readonly port: number;
  readonly #close: () => void;
  #near: Socket | undefined;
  #far: Socket | undefined;

  static async start(target: number): Promise<Middle> {
    const server = createServer({ allowHalfOpen: true });
    const middle: { it?: Middle } = {};
    server.on('connection', (near) => {
      const far = connectTcp({ port: target, host: '127.0.0.1', allowHalfOpen: true });
      for (const socket of [near, far]) socket.on('error', () => near.destroy());
      near.pipe(far, { end: false }).pipe(near);
      middle.it!.#near = near;
      middle.it!.#far = far;
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (middle.it = new Middle((server.address() as AddressInfo).port, () => server.close()));
  }

  private constructor(port: number, close: () => void) {
    this.port = port;
    this.#close = close;
  }

  cut(): void {
    this.#far!.end();
  }

  reset(): void {
    this.#far!.resetAndDestroy();
  }

  inject(bytes: Buffer): void {
    this.#far!.write(bytes);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    this.#near?.destroy();
    this.#far?.destroy();
    return Promise.resolve();
  }
}

function tcp(transport: Transport, port: number): Promise<Channel> {
  const target: ConnectTarget = { kind: 'ip', ip: parseIp('127.0.0.1')!, text: '127.0.0.1', port };
  return new Promise((resolve, reject) => {
    transport.connect(target, {
      onConnected: resolve,
      onConnectFailed: (code) => reject(new Error(code)),
    });
  });
}

/** What a socket says to its end, or its first `length` characters. */
function text(socket: TLSSocket, length = Infinity): Promise<string> {
  return new Promise((resolve) => {
    let heard = '';
    socket.on('data', (bytes: Buffer) => {
      heard += bytes.toString('latin1');
      if (heard.length >= length) resolve(heard);
    });
    socket.once('end', () => resolve(heard));
    socket.once('close', () => resolve(heard));
  });
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else
      socket
        .end()
        .resume()
        .once('close', () => resolve());
  });
}

/** Bytes that do not repeat within any record, and the digest of `times` of them. */
function pattern(length: number, times = 1): { sent: Buffer; digest: string } {
  const sent = Buffer.alloc(length);
  for (let index = 0; index < length; index++) sent[index] = (index * 31 + (index >> 8)) & 0xff;
  const hash = createHash('sha256');
  for (let index = 0; index < times; index++) hash.update(sent);
  return { sent, digest: hash.digest('hex') };
}

async function feed(socket: TLSSocket, chunk: Buffer, total: number): Promise<void> {
  for (let sent = 0; sent < total; sent += chunk.length) {
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
