/**
 * A new process takes over from the running one under load, and no client notices. Binding again with SO_REUSEPORT
 * reset 66 of 101,000 connections in three upgrades; inherited sockets lose none.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Code, type ConnectError } from '@connectrpc/connect';
import { FirewallRuleType } from '../../src/admin/gen/portcullis/v1/admin_pb.ts';
import { connectAdmin } from '../support/admin.ts';
import { Authority } from '../support/authority.ts';
import { Generations } from '../support/generations.ts';
import { clientHello } from '../support/hello.ts';
import { Http1Client, Http2Client } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { listener, route, tls } from '../support/layer7.ts';
import { Peer } from '../support/peer.ts';
import { allSockets } from '../support/portcullis.ts';
import { keepAliveVisit, Load, MultiplexedVisits, relayVisit } from '../support/upgrade-load.ts';
import { WebSocketPeer, webSocketHandshake } from '../support/websocket.ts';

const relayed = 'a.example';
const host = 'app.example';
const hello = clientHello(relayed);
const isSoak = process.env['RUN_SOAK'] !== undefined;
const rounds = isSoak ? 10 : 1;
/** The new process serves; the old one has then told it to go on. Between them nothing is said. */
const afterServing = isSoak ? ['serving', 'told'] : ['told'];
const rule = { type: FirewallRuleType.IP, value: '192.0.2.1' };

/** Most of the time is waited: for drains, and for moments in which to kill. */
describe('an upgrade', { concurrency: 2 }, () => {
  let traffic: string;
  let origin: HttpOrigin;
  let secure: { readonly ca: string };
  const echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });

  before(async () => {
    origin = await HttpOrigin.start('http1');
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const { port } = echo.address() as AddressInfo;
    const authority = new Authority('upgrade');
    secure = { ca: authority.cert };
    traffic = listener(
      ['addr = "127.0.0.1:0"'],
      [
        `[[listeners.routes]]\nhostname = "${relayed}"\nbackend = "127.0.0.1:${port}"`,
        route(
          host,
          origin.port,
          'backend_protocol = "http1"',
          tls(authority.issue({ altNames: [`DNS:${host}`] })),
        ),
      ],
    );
  });
  after(async () => {
    echo.close();
    await origin[Symbol.asyncDispose]();
  });

  function visit(port: number): Promise<string | null> {
    return relayVisit(port, relayed)();
  }

  describe('under load', { concurrency: false }, () => {
    for (const sockets of allSockets) {
      test(`fails no connection and no request, on ${sockets} sockets`, async (context) => {
        const shutdownTimeout = isSoak ? '5m' : '30s';
        await using generations = await Generations.start(traffic, { sockets, shutdownTimeout });
        const { port } = generations;
        using kept = new Http1Client(port, host, secure);
        using busy = new Http1Client(port, host, secure);
        using multiplexed = new MultiplexedVisits(() => Http2Client.connect(port, host, secure));
        using lasting = await Lasting.begin(port, secure);
        const visits = [relayVisit(port, relayed), relayVisit(port, relayed), multiplexed.visit];
        await using load = new Load([...visits, keepAliveVisit(kept), keepAliveVisit(busy)], isSoak ? 0 : 5);
        for (let round = 0; round < rounds; round++) {
          await load.servedMore(generations, 20);
          const old = generations.pid;
          await generations.upgrade();
          await load.servedMore(generations, 20);
          await lasting.goesOn(origin);
          // The first one still has what lasts.
          if (round > 0) await generations.gone(old);
        }
        await load.stop();
        assert.deepEqual(load.failures, []);
        await lasting.end(origin);
        await generations.gone(generations.pids[0]!);
        assert.equal(generations.pids.length, rounds + 1);
        context.diagnostic(`${load.served} connections and requests through ${rounds} upgrades`);
      });
    }

    test(
      'to fewer workers leaves no socket without one',
      { skip: isSoak ? false : 'with RUN_SOAK' },
      async () => {
        await using generations = await Generations.start(traffic, { workers: 3 });
        generations.configure((text) => text.replace('workers = 3', 'workers = 1'));
        await using load = new Load(Array.from({ length: 4 }, () => relayVisit(generations.port, relayed)));
        await load.servedMore(generations, 20);
        await generations.upgrade();
        await load.servedMore(generations, 50);
        await load.stop();
        assert.deepEqual(load.failures, []);
      },
    );
  });

  describe('that goes wrong', { concurrency: false }, () => {
    test('because the new process fails, at whatever step, leaves the old process serving and taking changes', async () => {
      await using generations = await Generations.start(traffic);
      const old = generations.pid;
      const serves = async (): Promise<void> => {
        await takesChanges(generations);
        assert.equal(await visit(generations.port), null);
      };
      await refused(generations);
      await serves();
      const asked = generations.post('/upgrade');
      process.kill(await generations.child(old), 'SIGKILL');
      assert.equal((await asked).status, 503);
      await serves();
      for (const step of afterServing) {
        const { successor, isTold } = await handOver(generations);
        process.kill(successor, 'SIGSTOP');
        if (step === 'told') await isTold;
        process.kill(successor, 'SIGKILL');
        await serves();
      }
      assert.deepEqual(generations.pids, [old]);
      await asksByCommand(generations);
      await serves();
    });

    test('because the old process is killed, at whatever step, leaves the new one, with the database', async () => {
      await using generations = await Generations.start(traffic);
      for (const step of ['starting', ...afterServing]) {
        const { length } = generations.pids;
        const old = generations.pid;
        if (step === 'starting') {
          void generations.post('/upgrade').catch(() => null);
          await generations.child(old);
          process.kill(old, 'SIGKILL');
        } else {
          const { successor, isTold } = await handOver(generations);
          process.kill(successor, 'SIGSTOP');
          if (step === 'told') await isTold;
          process.kill(old, 'SIGKILL');
          process.kill(successor, 'SIGCONT');
        }
        await generations.serving(length + 1);
        assert.notEqual(generations.pid, old);
        assert.equal(await visit(generations.port), null);
        await takesChanges(generations);
      }
    });
  });
});

/** By the new process, which can not read the configuration; meanwhile changes are unavailable. */
async function refused(generations: Generations): Promise<void> {
  const { admin, close } = connectAdmin(generations.socket);
  generations.configure((text) => `${text}\nnonsense = true\n`);
  const asked = generations.post('/upgrade');
  await generations.until('the upgrade to begin', () => generations.has('upgrade: handing over'));
  await assert.rejects(
    admin.addFirewallRule({ rule }),
    (error: ConnectError) => error.code === Code.Unavailable,
  );
  const { status, body } = await asked;
  assert.equal(status, 503);
  assert.match(body, /does not serve: it ended with code \d/);
  generations.configure((text) => text.replace('\nnonsense = true\n', ''));
  close();
}

/** With `portcullis upgrade`, which says when it can not be. */
async function asksByCommand(generations: Generations): Promise<void> {
  const { host: address } = new URL(generations.url(''));
  generations.configure((text) => text.replace('http_addr = "127.0.0.1:0"', `http_addr = "${address}"`));
  const { length } = generations.pids;
  const done = await generations.command('upgrade');
  assert.deepEqual([done.code, done.stderr], [0, '']);
  await generations.serving(length + 1);
  assert.equal(done.stdout, `process ${generations.pid} serves\n`);
  generations.configure((text) => text.replace(/http_addr = "[^"]*"/, 'http_addr = "127.0.0.1:1"'));
  const unreachable = await generations.command('upgrade');
  assert.equal(unreachable.code, 4);
  assert.match(unreachable.stderr, /no server answers at 127\.0\.0\.1:1/);
}

/**
 * An upgrade up to the moment at which the new process serves and the old one has yet to close its admin API: a client
 * that says nothing there holds that up for a second. `isTold`: the old process has closed it, and says `go`.
 */
async function handOver(
  generations: Generations,
): Promise<{ readonly successor: number; readonly isTold: Promise<unknown> }> {
  const silent = connect(generations.socket);
  silent.on('error', () => undefined).resume();
  await once(silent, 'connect');
  const isTold = new Promise((resolve) => silent.once('close', resolve));
  const { status, body } = await generations.post('/upgrade');
  assert.equal(status, 200, body);
  return { successor: Number(/process (\d+) serves/.exec(body)![1]), isTold };
}

async function takesChanges(generations: Generations): Promise<void> {
  await generations.until('changes to be taken', async () => {
    const { admin, close } = connectAdmin(generations.socket);
    try {
      await admin.addFirewallRule({ rule });
      await admin.removeFirewallRule({ rule });
      return true;
    } catch {
      return false;
    } finally {
      close();
    }
  });
}

/** What begins before the first upgrade and ends after the last: a relayed connection, a WebSocket and a long response. */
class Lasting implements Disposable {
  readonly #peer: Peer;
  readonly #socket: WebSocketPeer;
  readonly #events: IncomingMessage;
  readonly #tunnel: Socket;
  #heard = '';

  static async begin(port: number, secure: { readonly ca: string }): Promise<Lasting> {
    const peer = await Peer.connect(port);
    const ask = { host: '127.0.0.1', port, servername: host, agent: false, ...secure } as const;
    const upgrade = requestTls({
      ...ask,
      path: '/socket',
      headers: { host, ...webSocketHandshake().fields },
    });
    upgrade.end();
    const [, socket, head] = (await once(upgrade, 'upgrade')) as [unknown, Socket, Buffer];
    const stream = requestTls({ ...ask, path: '/events', headers: { host } });
    stream.end();
    const [events] = (await once(stream, 'response')) as [IncomingMessage];
    socket.on('error', () => undefined);
    return new Lasting(peer, new WebSocketPeer(socket, head), events, socket);
  }

  private constructor(peer: Peer, socket: WebSocketPeer, events: IncomingMessage, tunnel: Socket) {
    this.#peer = peer;
    this.#socket = socket;
    this.#events = events;
    this.#tunnel = tunnel;
    events.setEncoding('utf8').on('data', (text: string) => (this.#heard += text));
    events.on('error', () => undefined);
  }

  async goesOn(origin: HttpOrigin): Promise<void> {
    await this.#peer.write(hello);
    assert.deepEqual(await this.#peer.read(hello.length), hello);
    this.#socket.send('still there?');
    assert.equal((await this.#socket.next()).payload.toString(), 'still there?');
    const heard = this.#heard.length;
    origin.release();
    while (this.#heard.length === heard) await once(this.#events, 'data');
  }

  async end(origin: HttpOrigin): Promise<void> {
    this.#peer.end();
    await this.#peer.readToEnd();
    this.#socket.close(1000);
    await this.#socket.next();
    const ended = once(this.#events, 'end');
    origin.finish();
    await ended;
    assert.ok(this.#events.complete);
  }

  [Symbol.dispose](): void {
    this.#peer.close();
    this.#events.destroy();
    this.#tunnel.destroy();
  }
}
