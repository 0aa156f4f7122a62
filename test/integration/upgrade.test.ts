/**
 * A new process takes over from the running one under load, and no client notices. Binding again with SO_REUSEPORT
 * reset 66 of 101,000 connections in three upgrades; inherited sockets lose none.
 */
import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Code, type ConnectError } from '@connectrpc/connect';
import { FirewallRuleType } from '../../src/admin/gen/portcullis/v1/admin_pb.ts';
import { connectAdmin } from '../support/admin.ts';
import { Generations } from '../support/generations.ts';
import { clientHello } from '../support/hello.ts';
import { Peer } from '../support/peer.ts';
import { allSockets } from '../support/portcullis.ts';

const hello = clientHello('a.example');
const upgrades = process.env['RUN_SOAK'] === undefined ? 2 : 10;
const clients = 4;

describe('an upgrade', () => {
  let traffic: string;
  const echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });

  before(async () => {
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const { port } = echo.address() as AddressInfo;
    traffic = `[[listeners]]\naddr = "127.0.0.1:0"\nroutes = [{ hostname = "a.example", backend = "127.0.0.1:${port}" }]\n`;
  });
  after(() => echo.close());

  for (const sockets of allSockets) {
    test(`${upgrades} times under load loses no connection, on ${sockets} sockets`, async () => {
      await using generations = await Generations.start(traffic, { sockets });
      const load = new Load(generations.port);
      const lasting = await Peer.connect(generations.port);
      await lasting.write(hello);
      assert.deepEqual(await lasting.read(hello.length), hello);
      for (let round = 0; round < upgrades; round++) {
        await load.servedMore(generations, 50);
        const old = generations.pid;
        await generations.upgrade();
        await load.servedMore(generations, 50);
        if (round > 0) await generations.gone(old);
      }
      await load.stop();
      assert.deepEqual(load.failures, []);
      // Relayed by the first process all the while, which ends with it.
      await lasting.write(hello);
      assert.deepEqual(await lasting.read(hello.length), hello);
      lasting.end();
      await lasting.readToEnd();
      await generations.gone(generations.pids[0]!);
      assert.equal(generations.pids.length, upgrades + 1);
    });
  }

  test('is asked for with `portcullis upgrade`, which says when it can not be', async () => {
    await using generations = await Generations.start(traffic);
    generations.configure((text) =>
      text.replace('http_addr = "127.0.0.1:0"', `http_addr = "${new URL(generations.url('')).host}"`),
    );
    const done = await generations.command('upgrade');
    assert.deepEqual([done.code, done.stderr], [0, '']);
    await generations.serving(2);
    assert.equal(done.stdout, `process ${generations.pid} serves\n`);
    generations.configure((text) => text.replace(/http_addr = "[^"]*"/, 'http_addr = "127.0.0.1:1"'));
    const unreachable = await generations.command('upgrade');
    assert.equal(unreachable.code, 4);
    assert.match(unreachable.stderr, /no server answers at 127\.0\.0\.1:1/);
  });

  test('to fewer workers leaves no socket without one', async () => {
    await using generations = await Generations.start(traffic, { workers: 3 });
    generations.configure((text) => text.replace('workers = 3', 'workers = 1'));
    const load = new Load(generations.port);
    await load.servedMore(generations, 50);
    await generations.upgrade();
    await load.servedMore(generations, 200);
    await load.stop();
    assert.deepEqual(load.failures, []);
  });

  test('that fails leaves the old process serving and taking changes, and during it changes are unavailable', async () => {
    await using generations = await Generations.start(traffic);
    const { admin, close } = connectAdmin(generations.socket);
    generations.configure((text) => `${text}\nnonsense = true\n`);
    const asked = generations.post('/upgrade');
    await generations.until('the upgrade to begin', () => generations.has('upgrade: handing over'));
    const rule = { type: FirewallRuleType.IP, value: '192.0.2.1' };
    await assert.rejects(
      admin.addFirewallRule({ rule }),
      (error: ConnectError) => error.code === Code.Unavailable,
    );
    const { status, body } = await asked;
    assert.equal(status, 503);
    assert.match(body, /does not serve: it ended with code \d/);
    await generations.until('changes to be taken again', () =>
      admin.addFirewallRule({ rule }).then(
        () => true,
        () => false,
      ),
    );
    assert.equal(await visit(generations.port), null);
    close();
  });

  test('whose new process is killed while it starts leaves the old one serving', async () => {
    await using generations = await Generations.start(traffic);
    const asked = generations.post('/upgrade');
    process.kill(await generations.child(generations.pid), 'SIGKILL');
    assert.equal((await asked).status, 503);
    assert.equal(await visit(generations.port), null);
    await generations.upgrade();
    assert.equal(await visit(generations.port), null);
  });

  test('whose old process is killed while the new one starts leaves the new one, with the database', async () => {
    await using generations = await Generations.start(traffic);
    const old = generations.pid;
    const asked = generations.post('/upgrade').catch(() => null);
    await generations.child(old);
    process.kill(old, 'SIGKILL');
    await asked;
    await generations.serving(2);
    assert.notEqual(generations.pid, old);
    assert.equal(await visit(generations.port), null);
    const { admin, close } = connectAdmin(generations.socket);
    await admin.addFirewallRule({ rule: { type: FirewallRuleType.IP, value: '192.0.2.1' } });
    close();
  });
});

/** Clients that connect, say hello, read it back and leave, again and again. */
class Load {
  readonly failures: string[] = [];
  served = 0;
  readonly #port: number;
  readonly #loops: Promise<void>[];
  #isOver = false;

  constructor(port: number) {
    this.#port = port;
    this.#loops = Array.from({ length: clients }, () => this.#run());
  }

  async servedMore(generations: Generations, count: number): Promise<void> {
    const before = this.served;
    await generations.until('connections to be served', () => this.served > before + count);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const failure = await visit(this.#port);
      if (failure === null) this.served++;
      else this.failures.push(failure);
    }
  }
}

/** Null when the hello came back whole. */
function visit(port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let bytes = 0;
    socket.setTimeout(5_000, () => {
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
