/** Changes while workers die or fall silent: whoever lives serves each version, whoever is replaced the committed one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusal, soakOr, Home } from '../support/admin.ts';
import { Store } from '../../src/store/store.ts';
import { crashStore, InProcess, silence } from '../support/in-process.ts';
import { PeerServer } from '../support/peer.ts';
import { greeting, visit, workerOf } from '../support/visit.ts';

const listenerAddr = '127.0.0.1:0';
const traffic = `[[listeners]]\naddr = "${listenerAddr}"`;

/** Visits until each worker has served one; what a dying worker resets is not held against the others. */
async function visitBothWorkers(server: InProcess, name: string, port = server.port): Promise<void> {
  const workers = new Set<string>();
  for (let round = 0; workers.size < 2; round++) {
    assert.ok(round < 50, `${name} is served by worker ${[...workers].join()} alone`);
    const visits = await Promise.all([0, 1, 2, 3].map(() => visit(port, name)));
    for (const { outcome } of visits) assert.equal(outcome, greeting, name);
    await new Promise((resolve) => setTimeout(resolve, 60));
    for (const { id, sni } of server.ended) if (sni === name) workers.add(workerOf(String(id)));
  }
}

const crashes = soakOr(30, 3);
const changesPerCrash = 40;

test(`${crashes} workers die among changes: no acknowledged one is missing anywhere`, async () => {
  using home = new Home();
  await using backend = await PeerServer.start({}, (peer) => peer.end(greeting));
  await using server = await InProcess.start(home, traffic);
  const { admin } = server;
  const route = (index: number): { hostname: string; backend: string } => ({
    hostname: `host-${index}.example`,
    backend: `127.0.0.1:${backend.port}`,
  });
  let index = 0;
  for (let crash = 0; crash < crashes; crash++) {
    const crashAt = Math.floor(Math.random() * changesPerCrash);
    for (let step = 0; step < changesPerCrash; step++, index++) {
      const dying = step === crashAt ? server.crash(crash % 2) : null;
      await admin.addRoute({ listenerAddr, route: route(index) });
      await Promise.all([0, 1].map(() => visit(server.port, `host-${index}.example`)));
      await dying;
    }
    await server.whole();
    await visitBothWorkers(server, `host-${index - 1}.example`);
    await visitBothWorkers(server, `host-${index - changesPerCrash + crashAt}.example`);
  }
  // A reset by a dying worker leaves no summary; a worker that lacks the route would say so.
  const reasons = new Set(server.ended.map(({ reason }) => reason));
  assert.ok(!reasons.has('no-route'), 'a worker served an older version');
  assert.equal((await admin.getConfig({})).version, BigInt(index + 1));
});

test('a listener that is added while a worker dies is bound by its replacement', async () => {
  using home = new Home();
  await using backend = await PeerServer.start({}, (peer) => peer.end(greeting));
  await using server = await InProcess.start(home, traffic);
  for (let round = 0; round < soakOr(40, 4); round++) {
    const addr = `127.0.0.1:${await freePort()}`;
    const hostname = `listener-${round}.example`;
    // The replacement comes 100 ms after the first death, and starts in the midst of these changes.
    const churn = new AbortController();
    const churning = addAndRemove(server, churn.signal);
    await server.crash(round % 2);
    await new Promise((resolve) => setTimeout(resolve, 80 + Math.random() * 60));
    await server.admin.addListener({
      listener: { addr, routes: [{ hostname, backend: `127.0.0.1:${backend.port}` }] },
    });
    churn.abort();
    await churning;
    await server.whole();
    await visitBothWorkers(server, hostname, Number(addr.split(':')[1]));
  }
});

test('a worker that falls silent is replaced, and the change it missed is served by its replacement', async () => {
  using home = new Home();
  await using backend = await PeerServer.start({}, (peer) => peer.end(greeting));
  await using server = await InProcess.start(home, traffic);
  const route = { hostname: 'late.example', backend: `127.0.0.1:${backend.port}` };
  await silence(1, 30_000);
  const startMs = performance.now();
  await server.admin.addRoute({ listenerAddr, route });
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs > 4_900 && tookMs < 8_000, `acknowledged after ${tookMs} ms`);
  assert.ok(server.log.some(({ msg }) => msg.startsWith('worker silent')));
  await server.whole();
  await visitBothWorkers(server, 'late.example');
});

test('the thread of the database dies among changes: each is kept and served, or refused and neither', async () => {
  using home = new Home();
  let served: string[] = [];
  const acknowledged: string[] = [];
  const refused: string[] = [];
  {
    await using server = await InProcess.start(home, traffic);
    for (let index = 0; index < 160; index++) {
      const hostname = `host-${index}.example`;
      const crashing = index % 50 === 10 ? crashStore() : null;
      try {
        await server.admin.addRoute({ listenerAddr, route: { hostname, backend: '10.0.0.1:1' } });
        acknowledged.push(hostname);
      } catch (error) {
        assert.match(String(error), /unavailable/);
        refused.push(hostname);
      }
      await crashing;
    }
    const { config, version } = await server.admin.getConfig({});
    served = config!.listeners[0]!.routes.map(({ hostname }) => hostname);
    assert.deepEqual(served, acknowledged);
    assert.equal(version, BigInt(acknowledged.length + 1));
  }
  assert.ok(refused.length <= 4, `${refused.length} refused`);
  const store = await Store.open(home.database);
  const stored = await store.load();
  await store.close();
  assert.deepEqual(
    stored!.traffic.listeners[0]!.routes.map(({ hostname }) => hostname),
    served,
  );
});

test('a listener that one worker can not bind is refused, and nothing of it is left', async () => {
  using home = new Home();
  await using backend = await PeerServer.start({}, (peer) => peer.end(greeting));
  await using server = await InProcess.start(home, traffic);
  const listener = {
    addr: `127.0.0.1:${backend.port}`,
    routes: [{ hostname: 'a.example', backend: '10.0.0.1:1' }],
  };
  const answer = await refusal(server.admin.addListener({ listener }));
  assert.equal(answer.code, 'FailedPrecondition');
  assert.match(answer.message, /address already in use/);
  assert.equal((await server.admin.listListeners({})).listeners.length, 1);
  assert.equal((await server.admin.getConfig({})).version, 1n);
});

async function addAndRemove({ admin }: InProcess, signal: AbortSignal): Promise<void> {
  const hostname = 'churn.example';
  while (!signal.aborted) {
    await admin.addRoute({ listenerAddr, route: { hostname, backend: '10.0.0.1:1' } });
    await admin.removeRoute({ listenerAddr, hostname });
  }
}

async function freePort(): Promise<number> {
  await using server = await PeerServer.start();
  return server.port;
}
