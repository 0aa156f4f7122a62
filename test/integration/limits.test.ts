/** Every limit on connections and every timeout, reached. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { startBlackhole, type Blackhole } from '../support/blackhole.ts';
import { clientHello } from '../support/hello.ts';
import { Peer, type PeerServer } from '../support/peer.ts';
import { allSockets, type ConnectionLine, type Portcullis, type Sockets } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

for (const sockets of allSockets) {
  describe(`limits on ${sockets} sockets`, () => {
    describe('connections', () => connections(sockets));
    describe('time', () => timeouts(sockets));
  });
}

const hello = clientHello('a.example');

function connections(sockets: Sockets): void {
  const suite = new Suite();
  const listenerLimit = 40;
  const totalLimit = 60;
  let portcullis: Portcullis;

  before(async () => {
    const backend = await suite.backend((peer) => {
      void peer.write('welcome');
      peer.socket.on('end', () => peer.end());
    });
    portcullis = await suite.portcullis(
      `
      [[listeners]]
      addr = "127.0.0.1:0"
      max_connections = ${listenerLimit}
      default_backend = "127.0.0.1:${backend.port}"
      [[listeners]]
      addr = "127.0.0.2:0"
      default_backend = "127.0.0.1:${backend.port}"
      `,
      { sockets, server: { workers: 3, max_connections: totalLimit } },
    );
  });

  /** Opens so many at once; answers those that were welcomed. Every other has been ended by then. */
  async function open(count: number, host: string): Promise<Peer[]> {
    const port = portcullis.port(`${host}:0`);
    const peers = await Promise.all(Array.from({ length: count }, () => Peer.connect(port, { host })));
    for (const peer of peers) void peer.write(hello);
    const welcomed = await Promise.all(peers.map(async (peer) => (await peer.read(7)).length === 7));
    for (const peer of peers) if (!welcomed[peers.indexOf(peer)]) peer.close();
    return peers.filter((_, index) => welcomed[index]);
  }

  /** Ends them and waits until their places are free. */
  async function leave(peers: readonly Peer[]): Promise<void> {
    const addresses = new Set(peers.map(({ address }) => address));
    const from = portcullis.connections.length;
    for (const peer of peers) peer.close();
    await portcullis.until('their log lines', () => {
      const ended = portcullis.connections.slice(from).filter(({ client }) => addresses.has(client));
      return ended.length === addresses.size;
    });
  }

  function refused(reason: string): ConnectionLine[] {
    return portcullis.connections.filter((line) => line.reason === reason);
  }

  test('max_connections is exact over all workers, and freed places are used again', async () => {
    for (let round = 1; round <= 3; round++) {
      const peers = await open(listenerLimit + 35, '127.0.0.1');
      assert.equal(peers.length, listenerLimit);
      await portcullis.until('refusals', () => refused('listener-limit').length === 35 * round);
      await leave(peers);
    }
    assert.equal(refused('listener-limit')[0]!.rule, 'listener/127.0.0.1:0/max_connections');
  });

  test('one place freed is one place to be had', async () => {
    const peers = await open(listenerLimit, '127.0.0.1');
    assert.equal(peers.length, listenerLimit);
    await leave(peers.splice(7, 1));
    const [successor, ...others] = await open(5, '127.0.0.1');
    assert.ok(successor);
    assert.deepEqual(others, []);
    await leave([...peers, successor]);
  });

  test('a connection over the limit is closed right after accept, before it says anything', async () => {
    const peers = await open(listenerLimit, '127.0.0.1');
    const late = await Peer.connect(portcullis.port());
    assert.equal((await late.readToEnd()).length, 0);
    late.close();
    assert.equal(await late.closed, 'end');
    await leave(peers);
  });

  test('the limit in all holds over listeners', async () => {
    const first = await open(listenerLimit, '127.0.0.1');
    const second = await open(40, '127.0.0.2');
    assert.equal(first.length + second.length, totalLimit);
    await portcullis.until('refusals', () => refused('total-limit').length === 40 - second.length);
    await leave([...first, ...second]);
  });
}

function timeouts(sockets: Sockets): void {
  const suite = new Suite();
  let backend: PeerServer;
  let blackhole: Blackhole;
  let portcullis: Portcullis;

  before(async () => {
    backend = await suite.backend();
    blackhole = suite.use(await startBlackhole());
    portcullis = await suite.portcullis(
      `
      [[listeners]]
      addr = "127.0.0.1:0"
      routes = [
        { hostname = "a.example", backend = "127.0.0.1:${backend.port}" },
        { hostname = "blackhole.example", backend = "127.0.0.1:${blackhole.port}" },
      ]
      `,
      { sockets, server: { client_hello_timeout: '300ms', connect_timeout: '400ms', idle_timeout: '1s' } },
    );
  });

  /** A deadline may fire one tick of the wheel late, and later on a busy machine; never early. */
  function assertTook(line: ConnectionLine, leastMs: number): void {
    assert.ok(line.duration_ms >= leastMs - 1, `${line.duration_ms} ms`);
    assert.ok(line.duration_ms < leastMs + 2000, `${line.duration_ms} ms`);
  }

  test('client_hello_timeout ends a silent client', async () => {
    const peer = await Peer.connect(portcullis.port());
    assert.equal(await peer.closed, 'ECONNRESET');
    const line = await portcullis.connection(peer.address);
    assert.equal(line.reason, 'hello-timeout');
    assertTook(line, 300);
  });

  test('client_hello_timeout ends a client that trickles, however busy it is', async () => {
    const peer = await Peer.connect(portcullis.port());
    let at = 0;
    const trickle = setInterval(() => peer.socket.write(hello.subarray(at, ++at)), 10);
    assert.notEqual(await peer.closed, 'end');
    clearInterval(trickle);
    const line = await portcullis.connection(peer.address);
    assert.equal(line.reason, 'hello-timeout');
    assertTook(line, 300);
  });

  test('connect_timeout gives up on a backend that swallows connections', async () => {
    const peer = await Peer.connect(portcullis.port());
    await peer.write(clientHello('blackhole.example'));
    assert.equal(await peer.closed, 'ECONNRESET');
    const line = await portcullis.connection(peer.address);
    assert.deepEqual([line.level, line.verdict, line.reason], ['warn', 'failed', 'dial-timeout']);
    assertTook(line, 400);
  });

  test('a client that leaves while the backend is dialled is noticed at once', async () => {
    const peer = await Peer.connect(portcullis.port());
    await peer.write(clientHello('blackhole.example'));
    // Nothing tells from outside that the dial has begun; it lasts 400 ms.
    await setTimeout(100);
    peer.reset();
    const line = await portcullis.connection(peer.address);
    assert.deepEqual([line.verdict, line.reason], ['failed', 'client-gone']);
    assert.ok(line.duration_ms < 390, `${line.duration_ms} ms`);
  });

  test('idle_timeout ends a connection over which nothing moves, and no other', async () => {
    const idle = await Peer.connect(portcullis.port());
    await idle.write(hello);
    const upstream = await backend.next();
    await upstream.read(hello.length);
    const busy = await Peer.connect(portcullis.port());
    await busy.write(hello);
    const busyUpstream = await backend.next();
    const chatter = setInterval(() => busyUpstream.socket.write('.'), 50);
    assert.equal(await idle.closed, 'ECONNRESET');
    assert.equal(await upstream.closed, 'ECONNRESET');
    const line = await portcullis.connection(idle.address);
    assert.deepEqual([line.verdict, line.reason], ['served', 'idle-timeout']);
    assertTook(line, 1000);
    await busy.read(30);
    assert.ok(busy.isOpen);
    clearInterval(chatter);
    busy.close();
    busyUpstream.close();
  });
}
