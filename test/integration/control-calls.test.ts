/** What each call of the admin API does to traffic, and how calls that come together are put in order. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchEventsResponse } from '../../src/admin/gen/portcullis/v1/admin_pb.ts';
import { cidrRule, Home, ipRule, refusal, type AdminClient, type Controlled } from '../support/admin.ts';
import { clientHello } from '../support/hello.ts';
import { Peer, PeerServer } from '../support/peer.ts';
import type { Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { greeting, visit, visitEveryWorker } from '../support/visit.ts';

const listenerAddr = '127.0.0.1:0';

describe('the admin API of a running server', () => {
  const suite = new Suite();
  let backend: PeerServer;
  let admin: AdminClient;
  let portcullis: Portcullis;
  /** Of the backend that greets each connection and ends it. */
  let greets: string;

  before(async () => {
    const home = suite.use(asyncDisposable(new Home()));
    backend = await suite.backend((peer) => {
      void peer.read(1).then(() => peer.end(greeting));
    });
    greets = `127.0.0.1:${backend.port}`;
    const server: Controlled = suite.use(
      await home.start(`[[listeners]]\naddr = "${listenerAddr}"\nproxy_protocol = false`),
    );
    ({ admin, portcullis } = server);
  });

  const version = async (): Promise<number> => Number((await admin.getConfig({})).version);

  test('UpdateRoute moves the next connection to another backend, and leaves those that are open', async () => {
    const hostname = 'moves.example';
    await using first = await PeerServer.start();
    await using second = await PeerServer.start();
    await admin.addRoute({ listenerAddr, route: { hostname, backend: `127.0.0.1:${first.port}` } });
    const old = await Peer.connect(portcullis.port());
    await old.write(clientHello(hostname));
    const oldUpstream = await first.next();
    await oldUpstream.read(clientHello(hostname).length);

    await admin.updateRoute({
      listenerAddr,
      route: { hostname, backend: `127.0.0.1:${second.port}`, sendProxyProtocol: true },
    });
    const next = await Peer.connect(portcullis.port());
    await next.write(clientHello(hostname));
    const header = await (await second.next()).read(12);
    assert.equal(
      header.toString('latin1'),
      '\r\n\r\n\0\r\nQUIT\n',
      'a PROXY header, as the update asked for',
    );
    await old.write('still here');
    assert.equal((await oldUpstream.read(10)).toString(), 'still here');
    for (const peer of [old, next]) peer.close();

    const stale = await refusal(
      admin.updateRoute({ listenerAddr, route: { hostname, backend: greets }, ifVersion: 1n }),
    );
    assert.equal(stale.code, 'Aborted');
    const listed = await admin.listRoutes({ listenerAddr: '[::ffff:127.0.0.1]:0' });
    assert.deepEqual([listed.listenerAddr, listed.version], [listenerAddr, BigInt(await version())]);
    assert.deepEqual((await admin.listL7Policies({ listenerAddr, hostname: 'Moves.Example.' })).policies, []);

    const missing = await refusal(
      admin.updateRoute({ listenerAddr, route: { hostname: 'missing.example', backend: greets } }),
    );
    assert.equal(missing.code, 'NotFound');
  });

  test('AddFirewallRule ends open connections of those it names when asked to, and of nobody else', async () => {
    const hostname = 'open.example';
    await using quiet = await PeerServer.start();
    await admin.addRoute({ listenerAddr, route: { hostname, backend: `127.0.0.1:${quiet.port}` } });
    const open = async (localAddress: string): Promise<Peer> => {
      const peer = await Peer.connect(portcullis.port(), { localAddress });
      await peer.write(clientHello(hostname));
      await quiet.next();
      return peer;
    };
    const sources = ['127.7.0.1', '127.7.0.2', '127.7.1.1', '127.8.0.1'];
    const peers = new Map<string, Peer[]>();
    for (const source of sources) {
      peers.set(source, await Promise.all([1, 2, 3, 4].map(() => open(source))));
    }
    const open4 = (source: string): number => peers.get(source)!.filter(({ isOpen }) => isOpen).length;

    const spared = await admin.addFirewallRule({ rule: ipRule('127.7.1.1') });
    assert.equal(spared.disconnected, 0n);
    assert.equal(
      (await visit(portcullis.port(), hostname, { localAddress: '127.7.1.1' })).outcome,
      'ECONNRESET',
    );
    assert.equal(open4('127.7.1.1'), 4, 'not asked to');

    const ended = await admin.addFirewallRule({ rule: cidrRule('127.7.0.0/24'), disconnect: true });
    assert.equal(ended.disconnected, 8n);
    for (const source of ['127.7.0.1', '127.7.0.2']) {
      for (const peer of peers.get(source)!) {
        assert.equal(await peer.closed, 'ECONNRESET');
        const line = await portcullis.connection(peer.address);
        assert.deepEqual([line.reason, line.rule?.includes('127.7.0.0/24')], ['blocked-cidr', true]);
      }
    }
    assert.deepEqual([open4('127.7.1.1'), open4('127.8.0.1')], [4, 4]);
    assert.equal((await refusal(admin.addFirewallRule({ rule: ipRule('127.7.1.1') }))).code, 'AlreadyExists');

    await admin.removeFirewallRule({ rule: cidrRule('127.7.0.0/24') });
    await admin.removeFirewallRule({ rule: ipRule('127.7.1.1') });
    (await open('127.7.0.1')).close();
    for (const each of peers.values()) for (const peer of each) peer.close();
  });

  test('SetRateLimit holds at once, exactly over all workers, and is lifted at once', async () => {
    const hostname = 'rated.example';
    await admin.addRoute({ listenerAddr, route: { hostname, backend: greets } });
    const visits = async (localAddress: string): Promise<number> => {
      const all = Array.from({ length: 12 }, () => visit(portcullis.port(), hostname, { localAddress }));
      return (await Promise.all(all)).filter(({ outcome }) => outcome === greeting).length;
    };
    assert.equal(await visits('127.6.0.1'), 12);
    await admin.setRateLimit({ rateLimit: { connections: 5, window: '1h' } });
    assert.equal(await visits('127.6.0.1'), 5);
    assert.equal(await visits('127.6.0.2'), 5);
    await admin.setRateLimit({ rateLimit: { connections: 0 } });
    assert.equal(await visits('127.6.0.1'), 12);
  });

  test('SetListenerMaxConnections refuses beyond a new limit, and lets go on what is open', async () => {
    const hostname = 'limited.example';
    await using quiet = await PeerServer.start();
    await admin.addRoute({ listenerAddr, route: { hostname, backend: `127.0.0.1:${quiet.port}` } });
    await idle(admin);
    const peers = await Promise.all([1, 2, 3].map(() => Peer.connect(portcullis.port())));
    for (const peer of peers) {
      await peer.write(clientHello(hostname));
      await quiet.next();
    }
    await admin.setListenerMaxConnections({ listenerAddr, maxConnections: 2 });
    const beyond = await visit(portcullis.port(), hostname);
    assert.equal((await portcullis.connection(beyond.client)).reason, 'listener-limit');
    assert.ok(peers.every(({ isOpen }) => isOpen));
    await admin.setListenerMaxConnections({ listenerAddr, maxConnections: 4 });
    const fourth = await Peer.connect(portcullis.port());
    await fourth.write(clientHello(hostname));
    await quiet.next();
    await admin.setListenerMaxConnections({ listenerAddr, maxConnections: 0 });
    for (const peer of [...peers, fourth]) peer.close();
  });

  test('a listener comes with its routes, serves at once, and is gone at once', async () => {
    const addr = '127.0.0.3:0';
    const at = { host: '127.0.0.3' };
    await admin.addListener({ listener: { addr, routes: [{ hostname: 'a.example', backend: greets }] } });
    const status = (await admin.getStatus({})).listeners.find((each) => each.addr === addr);
    const port = status!.boundPort;
    assert.ok(port > 0);
    for (let count = 0; count < 8; count++) {
      assert.equal((await visit(port, 'a.example', at)).outcome, greeting);
    }
    await admin.removeListener({ listenerAddr: addr });
    assert.equal((await visit(port, 'a.example', at)).outcome, 'ECONNREFUSED');
  });

  test('AddListener on an address in use changes nothing', async () => {
    const versionBefore = await version();
    const listener = { addr: greets, routes: [{ hostname: 'a.example', backend: greets }] };
    const { code, message } = await refusal(admin.addListener({ listener }));
    assert.equal(code, 'FailedPrecondition');
    assert.match(message, /address already in use/);
    const { listeners } = await admin.listListeners({});
    assert.deepEqual(
      listeners.map((each) => each.addr),
      [listenerAddr],
    );
    assert.equal(await version(), versionBefore);
    const [last] = (await admin.listAuditLog({ limit: 1 })).entries;
    assert.equal(Number(last!.version), versionBefore);
  });

  test('twenty writers at once are put in order: each gets a version of its own, and all are served', async () => {
    const versionBefore = await version();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        admin.addRoute({ listenerAddr, route: { hostname: `writer-${index}.example`, backend: greets } }),
      ),
    );
    const versions = answers.map((answer) => Number(answer.version)).toSorted((a, b) => a - b);
    assert.deepEqual(
      versions,
      versions.map((_, index) => versionBefore + 1 + index),
    );
    await visitEveryWorker(portcullis, 'writer-0.example', 'served');
    await visitEveryWorker(portcullis, 'writer-19.example', 'served');

    const same = { listenerAddr, route: { hostname: 'contended.example', backend: greets } };
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => admin.addRoute(same)));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    assert.equal(await version(), versionBefore + 21);
  });

  test('ApplyConfig is for the version it was made from, shows what it would do, and does it in one step', async () => {
    const { version: versionBefore, config } = await admin.getConfig({});
    const [listener] = config!.listeners;
    const kept = listener!.routes.slice(0, 2).map(({ hostname }) => hostname);
    const routes = [
      ...listener!.routes.slice(0, 2),
      { hostname: '*.applied.example', backend: greets },
      { hostname: 'a.applied.example', backend: greets },
    ];
    const wanted = {
      listeners: [{ addr: listenerAddr, routes }],
      firewall: { rules: [cidrRule('203.0.113.0/24')] },
    };

    const stale = await refusal(admin.applyConfig({ config: wanted, ifVersion: versionBefore - 1n }));
    assert.equal(stale.code, 'Aborted');
    const dry = await admin.applyConfig({ config: wanted, dryRun: true });
    assert.equal(dry.version, versionBefore);
    assert.ok(dry.changes.some((line) => line.startsWith('+ ') && line.includes('*.applied.example')));
    assert.ok(dry.warnings.some((line) => line.includes('a.applied.example') && line.includes('shadows')));
    assert.equal(await version(), Number(versionBefore));

    const done = await admin.applyConfig({ config: wanted, ifVersion: versionBefore });
    assert.equal(done.version, versionBefore + 1n);
    assert.deepEqual(done.changes, dry.changes);
    await visitEveryWorker(portcullis, 'b.applied.example', 'served');
    await visitEveryWorker(portcullis, 'writer-0.example', 'no-route');
    const { routes: now } = await admin.listRoutes({ listenerAddr });
    assert.deepEqual(
      now.map(({ hostname }) => hostname),
      [...kept, '*.applied.example', 'a.applied.example'],
    );
    const invalid = await refusal(
      admin.applyConfig({ config: { listeners: [{ addr: 'nonsense' }], firewall: {} } }),
    );
    assert.equal(invalid.code, 'InvalidArgument');
    assert.equal(await version(), Number(versionBefore) + 1);
  });

  test('WatchEvents tells of changes and verdicts, and a watcher that leaves costs nothing', async () => {
    const events: WatchEventsResponse[] = [];
    const leave = new AbortController();
    const watching = collect(admin.watchEvents({}, { signal: leave.signal }), events);
    await sleep(200);
    const hostname = 'watched.example';
    const { version: added } = await admin.addRoute({ listenerAddr, route: { hostname, backend: greets } });
    await visit(portcullis.port(), hostname);
    await visit(portcullis.port(), 'unknown.example');
    await until(() => events.length >= 3);
    leave.abort();
    await watching;
    const change = events.find(({ event }) => event.case === 'change')?.event;
    assert.ok(change?.case === 'change');
    assert.deepEqual(
      [change.value.version, change.value.actor, change.value.action],
      [added, 'unix', 'AddRoute'],
    );
    assert.match(change.value.changes[0]!, /^\+ route\/127\.0\.0\.1:0\/watched\.example/);
    const verdicts = events.flatMap(({ event }) => (event.case === 'connection' ? [event.value] : []));
    const verdictOf = new Map(verdicts.map(({ sni, verdict, reason }) => [sni, `${verdict}: ${reason}`]));
    assert.equal(verdictOf.get('unknown.example'), 'refused: no-route');
    assert.match(verdictOf.get(hostname)!, /^served: (client|backend)-closed$/);
    assert.equal(verdicts.length, 2);
  });

  test('the audit log tells who did what, old → new, the newest first', async () => {
    const hostname = 'audited.example';
    const policy = { type: 'block_user_agent', value: 'curl' };
    await admin.addRoute({ listenerAddr, route: { hostname, backend: '10.0.0.1:443' } });
    await admin.updateRoute({ listenerAddr, route: { hostname, backend: '10.0.0.2:443' } });
    await admin.addL7Policy({ listenerAddr, hostname, policy });
    await admin.setRateLimit({ rateLimit: { connections: 7, window: '30s' } });
    await admin.setRateLimit({ rateLimit: { connections: 0 } });
    await admin.setListenerMaxConnections({ listenerAddr, maxConnections: 9 });
    await admin.setListenerMaxConnections({ listenerAddr, maxConnections: 0 });
    await admin.removeRoute({ listenerAddr, hostname });
    await refusal(admin.removeRoute({ listenerAddr, hostname }));
    const { entries } = await admin.listAuditLog({ limit: 8 });
    const last = await version();
    assert.deepEqual(
      entries.map((entry) => [Number(entry.version), entry.actor]),
      entries.map((_, index) => [last - index, 'unix']),
    );
    const id = `route/${listenerAddr}/${hostname}`;
    assert.deepEqual(
      entries.toReversed().map(({ action, changes }) => [action, ...changes]),
      [
        ['AddRoute', `+ ${id}: l4 10.0.0.1:443`],
        ['UpdateRoute', `~ ${id}: l4 10.0.0.1:443 → l4 10.0.0.2:443`],
        ['AddL7Policy', `~ ${id}: l4 10.0.0.2:443 → l4 10.0.0.2:443, block_user_agent "curl"`],
        ['SetRateLimit', '~ rate-limit/-/source: none → 7 in 30 s'],
        ['SetRateLimit', '~ rate-limit/-/source: 7 in 30 s → none'],
        ['SetListenerMaxConnections', `~ listener/${listenerAddr}/max_connections: 0 → 9`],
        ['SetListenerMaxConnections', `~ listener/${listenerAddr}/max_connections: 9 → 0`],
        ['RemoveRoute', `- ${id} (l4 10.0.0.2:443, block_user_agent "curl")`],
      ],
    );
    const all = (await admin.listAuditLog({ limit: 1_000 })).entries;
    assert.deepEqual([all.at(-1)!.actor, all.at(-1)!.action], ['file', 'Seed']);
    const times = all.map(({ at }) => Number(at!.seconds));
    assert.deepEqual(
      times,
      times.toSorted((a, b) => b - a),
    );
  });
});

async function collect(
  stream: AsyncIterable<WatchEventsResponse>,
  events: WatchEventsResponse[],
): Promise<void> {
  try {
    for await (const event of stream) events.push(event);
  } catch (error) {
    assert.match(String(error), /canceled|aborted/);
  }
}

async function until(isReached: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1_000 && !isReached(); turn++) await sleep(5);
  assert.ok(isReached());
}

/** Resolves when no connection is being served. */
async function idle(admin: AdminClient): Promise<void> {
  for (let turn = 0; turn < 200; turn++) {
    if ((await admin.getStatus({})).activeConnections === 0n) return;
    await sleep(10);
  }
  assert.fail('connections of the tests before are still there');
}

function asyncDisposable<T extends Disposable>(resource: T): T & AsyncDisposable {
  return Object.assign(resource, {
    [Symbol.asyncDispose]: async (): Promise<void> => resource[Symbol.dispose](),
  });
}
