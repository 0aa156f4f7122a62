/** What goes wrong on either side of a connection, and that it goes wrong for that connection alone. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { clientHello } from '../support/hello.ts';
import { Peer, PeerServer } from '../support/peer.ts';
import { allSockets, type Portcullis, type Sockets } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

for (const sockets of allSockets) {
  describe(`faults on ${sockets} sockets`, () => {
    describe('of backends and clients', () => faults(sockets));
    describe('of speed', () => backPressure(sockets));
  });
}

const hello = clientHello('a.example');

interface Pair {
  readonly client: Peer;
  readonly upstream: Peer;
}

/** A connection through the proxy, both ends in the test's hands, the hello read. */
async function connectThrough(portcullis: Portcullis, backend: PeerServer): Promise<Pair> {
  const client = await Peer.connect(portcullis.port());
  await client.write(hello);
  const upstream = await backend.next();
  assert.deepEqual(await upstream.read(hello.length), hello);
  return { client, upstream };
}

function faults(sockets: Sockets): void {
  const suite = new Suite();
  let backend: PeerServer;
  let portcullis: Portcullis;

  before(async () => {
    backend = await suite.backend();
    const refusing = await PeerServer.start();
    await refusing[Symbol.asyncDispose]();
    portcullis = await suite.portcullis(
      `
      [[listeners]]
      addr = "127.0.0.1:0"
      routes = [
        { hostname = "a.example", backend = "127.0.0.1:${backend.port}" },
        { hostname = "refusing.example", backend = "127.0.0.1:${refusing.port}" },
        { hostname = "gone.example", backend = "unix:/nonexistent/portcullis.sock" },
        { hostname = "nowhere.example", backend = "no-such-host.invalid:443" },
      ]
      `,
      { sockets },
    );
  });

  for (const [name, reasons] of [
    ['refusing.example', ['dial-refused']],
    ['gone.example', ['dial-failed']],
    ['nowhere.example', ['name-not-found', 'name-failed', 'name-timeout']],
  ] as const) {
    test(`${name}: the client is reset, and a warning says why`, async () => {
      const client = await Peer.connect(portcullis.port());
      await client.write(clientHello(name));
      assert.equal(await client.closed, 'ECONNRESET');
      const line = await portcullis.connection(client.address);
      assert.deepEqual([line.level, line.verdict], ['warn', 'failed']);
      assert.ok((reasons as readonly string[]).includes(line.reason), line.reason);
      assert.deepEqual([line.bytes_in, line.bytes_out], [0, 0]);
      assert.ok(line.route !== null && line.backend !== null);
    });
  }

  test('a backend that resets in the middle resets the client', async () => {
    const { client, upstream } = await connectThrough(portcullis, backend);
    await upstream.write('half an ans');
    await client.read(11);
    upstream.reset();
    assert.equal(await client.closed, 'ECONNRESET');
    assert.equal((await portcullis.connection(client.address)).reason, 'backend-reset');
  });

  test('a client that resets in the middle resets the backend', async () => {
    const { client, upstream } = await connectThrough(portcullis, backend);
    client.reset();
    assert.equal(await upstream.closed, 'ECONNRESET');
    assert.equal((await portcullis.connection(client.address)).reason, 'client-reset');
  });

  test('a client that has half-closed still gets the whole answer', async () => {
    const { client, upstream } = await connectThrough(portcullis, backend);
    client.end('question');
    assert.equal((await upstream.readToEnd()).toString(), 'question');
    const answer = randomBytes(3_000_000);
    upstream.end(answer);
    assert.deepEqual(await client.readToEnd(), answer);
    const line = await portcullis.connection(client.address);
    assert.deepEqual(
      [line.reason, line.bytes_in, line.bytes_out],
      ['client-closed', hello.length + 8, answer.length],
    );
  });

  test('a backend that has half-closed still gets the whole request', async () => {
    const { client, upstream } = await connectThrough(portcullis, backend);
    upstream.end('early answer');
    assert.equal((await client.readToEnd()).toString(), 'early answer');
    const request = randomBytes(3_000_000);
    client.end(request);
    assert.deepEqual(await upstream.readToEnd(), request);
    assert.equal((await portcullis.connection(client.address)).reason, 'backend-closed');
  });

  test('a client that half-closes with its hello still gets the answer', async () => {
    const client = await Peer.connect(portcullis.port());
    client.end(hello);
    const upstream = await backend.next();
    assert.deepEqual(await upstream.readToEnd(), hello);
    upstream.end('answer');
    assert.equal((await client.readToEnd()).toString(), 'answer');
    await portcullis.connection(client.address);
  });

  test('what follows the hello in one segment arrives behind it', async () => {
    const client = await Peer.connect(portcullis.port());
    const early = randomBytes(200_000);
    client.end(Buffer.concat([hello, early]));
    const upstream = await backend.next();
    assert.deepEqual(await upstream.readToEnd(), Buffer.concat([hello, early]));
    upstream.end();
    await portcullis.connection(client.address);
  });

  test('a client that vanishes in the middle of its hello leaves nothing behind', async () => {
    const client = await Peer.connect(portcullis.port());
    await client.write(hello.subarray(0, 50));
    client.close();
    const line = await portcullis.connection(client.address);
    assert.deepEqual([line.reason, line.sni, line.backend], ['hello-incomplete', null, null]);
  });

  test('garbage in any shape is reset, and the next client is served', async () => {
    for (const garbage of [randomBytes(1), randomBytes(5), randomBytes(5000), Buffer.alloc(100_000, 0x16)]) {
      const client = await Peer.connect(portcullis.port());
      void client.write(garbage);
      client.end();
      assert.equal((await client.readToEnd()).length, 0);
    }
    const { client, upstream } = await connectThrough(portcullis, backend);
    upstream.end();
    client.end();
    await portcullis.connection(client.address);
  });
}

function backPressure(sockets: Sockets): void {
  const suite = new Suite();
  const streams = 20;
  const streamBytes = 24 * 1024 * 1024;
  const chunk = randomBytes(1024 * 1024);
  /**
   * How much the process may grow while 480 MiB pass through stuck streams. Kernel buffers are not in it. Public
   * sockets read into fresh memory each time, which lies about until it is collected.
   */
  const growthMax = (sockets === 'fast' ? 64 : 192) * 1024 * 1024;
  let backend: PeerServer;
  let portcullis: Portcullis;

  before(async () => {
    backend = await suite.backend();
    portcullis = await suite.portcullis(
      `[[listeners]]
       addr = "127.0.0.1:0"
       routes = [{ hostname = "a.example", backend = "127.0.0.1:${backend.port}" }]`,
      { sockets },
    );
  });

  for (const direction of ['client to backend', 'backend to client'] as const) {
    test(`a slow reader holds a fast writer back, ${direction}: memory stays flat and no byte is lost`, async () => {
      const pairs: Pair[] = [];
      for (let index = 0; index < streams; index++) pairs.push(await connectThrough(portcullis, backend));
      const ends = pairs.map(({ client, upstream }) =>
        direction === 'client to backend' ? { from: client, to: upstream } : { from: upstream, to: client },
      );
      const before = portcullis.residentBytes();
      for (const { to } of ends) to.socket.pause();
      const writes = ends.map(({ from }) => writeAll(from, chunk, streamBytes));
      await untilStill(() =>
        ends.reduce((sum, { from }) => sum + from.socket.bytesWritten - from.socket.writableLength, 0),
      );
      const growth = portcullis.residentBytes() - before;
      assert.ok(growth < growthMax, `grew by ${Math.round(growth / 1024 / 1024)} MiB`);

      const digests = ends.map(({ to }) => digestToEnd(to));
      for (const { to } of ends) to.socket.resume();
      await Promise.all(writes);
      const expected = createHash('sha256');
      for (let sent = 0; sent < streamBytes; sent += chunk.length) expected.update(chunk);
      const digest = expected.digest('hex');
      for (const actual of await Promise.all(digests)) assert.equal(actual, digest);
      for (const { to } of ends) to.end();
      const after = portcullis.residentBytes() - before;
      assert.ok(after < growthMax, `grew by ${Math.round(after / 1024 / 1024)} MiB in all`);
      await Promise.all(pairs.map(({ client }) => portcullis.connection(client.address)));
    });
  }
}

async function writeAll(peer: Peer, chunk: Buffer, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += chunk.length) assert.ok(await peer.write(chunk));
  peer.end();
}

/** Resolves when a number has stopped growing: everything between writer and reader is full. */
async function untilStill(read: () => number): Promise<void> {
  for (let before = -1, same = 0; same < 5;) {
    const now = read();
    same = now === before ? same + 1 : 0;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
}

/** Reads without keeping. */
function digestToEnd(peer: Peer): Promise<string> {
  const hash = createHash('sha256');
  return new Promise((resolve, reject) => {
    peer.socket.removeAllListeners('data');
    peer.socket.on('data', (bytes: Buffer) => hash.update(bytes));
    peer.socket.on('end', () => resolve(hash.digest('hex')));
    void peer.closed.then((ending) => {
      if (ending !== 'end') reject(new Error(ending));
    });
  });
}
