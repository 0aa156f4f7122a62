/** Thousands of connections at once with nothing lost, and a worker that dies among them. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { loadSettings } from '../../src/config/load.ts';
import { Supervisor } from '../../src/server/supervisor.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { LogWriter } from '../../src/telemetry/log-writer.ts';
import { clientHello } from '../support/hello.ts';
import { Peer, PeerServer } from '../support/peer.ts';
import { allSockets, type Portcullis, type Sockets } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

for (const sockets of allSockets) {
  describe(`load on ${sockets} sockets`, () => {
    describe('many connections', () => many(sockets));
    describe('a worker that dies', () => dying(sockets));
  });
}

const hello = clientHello('a.example');
const rounds = process.env['RUN_SOAK'] === undefined ? 1 : 50;

function many(sockets: Sockets): void {
  const suite = new Suite();
  const payloadBytes = 12_000;
  /** 5,000, or what the descriptors of this process allow: a connection takes two here and two in the proxy. */
  const connections = Math.min(5_000, Math.floor((descriptorsMax() - 500) / 2));
  let portcullis: Portcullis;

  before(async () => {
    const echo = await suite.backend((peer) => {
      peer.socket.removeAllListeners('data');
      peer.socket.pipe(peer.socket);
    });
    portcullis = await suite.portcullis(
      `[[listeners]]
       addr = "127.0.0.1:0"
       routes = [{ hostname = "a.example", backend = "127.0.0.1:${echo.port}" }]`,
      { sockets },
    );
  });

  test(`${connections} connections at once: every byte comes back`, async () => {
    for (let round = 0; round < rounds; round++) {
      const from = portcullis.connections.length;
      const clients = await openAll(portcullis.port(), connections);
      // All of them are relayed at the same time before any may end.
      await Promise.all(clients.map((client) => client.write(hello)));
      await Promise.all(
        clients.map(async (client) => assert.deepEqual(await client.read(hello.length), hello)),
      );
      const payload = randomBytes(payloadBytes * 2);
      await Promise.all(
        clients.map(async (client, index) => {
          const part = payload.subarray(index, index + payloadBytes);
          client.end(part);
          assert.equal(digest(await client.readToEnd()), digest(part));
        }),
      );
      await portcullis.until('every line', () => portcullis.connections.length === from + connections);
      const lines = portcullis.connections.slice(from);
      const expected = hello.length + payloadBytes;
      assert.deepEqual(
        lines.filter(
          (line) => line.verdict !== 'served' || line.bytes_in !== expected || line.bytes_out !== expected,
        ),
        [],
      );
      assert.equal(new Set(lines.map(({ id }) => id)).size, connections);
    }
  });
}

function dying(sockets: Sockets): void {
  const connections = 200;
  let directory: string;
  let descriptor: number;
  let backend: PeerServer;
  let supervisor: Supervisor;
  let logWriter: LogWriter;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'portcullis-dying-'));
    backend = await PeerServer.start({}, (peer) => {
      peer.socket.removeAllListeners('data');
      peer.socket.pipe(peer.socket);
    });
    const file = join(directory, 'portcullis.toml');
    writeFileSync(
      file,
      `[[listeners]]
       addr = "127.0.0.1:0"
       max_connections = ${connections}
       routes = [{ hostname = "a.example", backend = "127.0.0.1:${backend.port}" }]`,
    );
    const { settings } = loadSettings(file, {
      PORTCULLIS_SERVER_WORKERS: '3',
      PORTCULLIS_SERVER_SOCKETS: sockets,
    });
    descriptor = openSync(join(directory, 'log'), 'w');
    logWriter = new LogWriter(descriptor, { format: 'json', journald: false });
    const logger = createLogger({ level: 'info', output: logWriter });
    const { process, traffic } = settings!;
    supervisor = await Supervisor.start({
      ...{ process, traffic, version: 1, programVersion: '1', ledger: null, logger, logWriter },
    });
  });
  after(async () => {
    await supervisor.drain();
    logWriter.close();
    closeSync(descriptor);
    await backend[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  const log = (): string => readFileSync(join(directory, 'log'), 'utf8');
  const serving = (): boolean => supervisor.fleet.workers.every(({ state }) => state === 'serving');

  test('takes its own connections with it and no other; it is replaced and every place is free again', async () => {
    const port = supervisor.listeners[0]!.port;
    for (let round = 0; round < 3; round++) {
      const clients = await openAll(port, connections);
      await Promise.all(clients.map((client) => client.write(hello)));
      await Promise.all(clients.map((client) => client.read(hello.length)));
      assert.equal(supervisor.activeConnections, connections);

      const traffic = clients.map((client) => converse(client));
      const victim = supervisor.fleet.workers[round % 3]!;
      const generation = victim.generation;
      await victim.crash();
      // Its sockets are closed by the kernel; everybody else goes on talking.
      await reached(() => clients.some((client) => !client.isOpen), 'connections of the dead worker end');
      await reached(() => victim.generation === generation + 1 && serving(), 'it is replaced');
      await reached(
        () => supervisor.activeConnections === clients.filter((client) => client.isOpen).length,
        'the gauge agrees with the connections that are left',
      );
      const survivors = clients.filter((client) => client.isOpen);
      assert.ok(survivors.length > connections / 4, `${survivors.length} survive`);

      // Every place of the dead is to be had again, and not one more.
      const successors = await openAll(port, connections - survivors.length);
      await Promise.all(successors.map((client) => client.write(hello)));
      await Promise.all(successors.map((client) => client.read(hello.length)));
      assert.equal(supervisor.activeConnections, connections);
      const surplus = await Peer.connect(port);
      assert.equal((await surplus.readToEnd()).length, 0);
      surplus.close();

      for (const client of [...survivors, ...successors]) client.end();
      const failures = (await Promise.all(traffic)).filter((result) => result === 'damaged');
      assert.deepEqual(failures, []);
      await reached(() => supervisor.activeConnections === 0, 'every place is free');
    }
    assert.equal(log().match(/worker died, starting another/g)?.length, 3);
    assert.equal(log().match(/worker replaced/g)?.length, 3);
  });
}

/** Says something again and again, and holds every echo to it, until the connection ends. */
async function converse(client: Peer): Promise<'ended' | 'damaged'> {
  for (let turn = 0; !client.socket.writableEnded; turn++) {
    const words = Buffer.from(`turn ${turn} `.repeat(20));
    if (!(await client.write(words))) break;
    const echo = await client.read(words.length);
    if (echo.length < words.length) break;
    if (!echo.equals(words)) return 'damaged';
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  client.close();
  return 'ended';
}

/** Connects in batches that the kernel's queues take without a retry. */
async function openAll(port: number, count: number): Promise<Peer[]> {
  const peers: Peer[] = [];
  while (peers.length < count) {
    const batch = Math.min(500, count - peers.length);
    peers.push(...(await Promise.all(Array.from({ length: batch }, () => Peer.connect(port)))));
  }
  return peers;
}

async function reached(isReached: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!isReached()) {
    assert.ok(performance.now() < deadline, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function descriptorsMax(): number {
  const limits = readFileSync('/proc/self/limits', 'latin1');
  return Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? 1024);
}
