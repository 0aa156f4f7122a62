/** Who owns the configuration: with a database that, once seeded; without one file and environment. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Home, ipRule, refusal, type Controlled } from '../support/admin.ts';
import { EchoStream, startEcho } from '../support/echo-stream.ts';
import { Peer, PeerServer } from '../support/peer.ts';
import type { LogLine } from '../support/portcullis.ts';
import { greeting, visit, visitEveryWorker } from '../support/visit.ts';

const listenerAddr = '127.0.0.1:0';

function listener(addr: string, routes: Readonly<Record<string, number>>): string {
  const rows = Object.entries(routes).map(
    ([hostname, port]) => `{ hostname = "${hostname}", backend = "127.0.0.1:${port}" }`,
  );
  return `[[listeners]]\naddr = "${addr}"\nroutes = [${rows.join(', ')}]\n`;
}

function isDifference({ msg }: LogLine): boolean {
  return msg.startsWith('the configuration file differs');
}

function greeter(): Promise<PeerServer> {
  return PeerServer.start({}, (peer) => peer.end(greeting));
}

describe('with a database', () => {
  test('the first start takes the file, later ones the database, and say in one line when they differ', async () => {
    using home = new Home();
    await using backend = await greeter();
    const file = listener(listenerAddr, { 'file.example': backend.port });
    {
      await using server = await home.start(file);
      assert.ok(server.portcullis.lines.some(({ msg }) => msg.startsWith('database seeded')));
      await visitEveryWorker(server.portcullis, 'file.example', 'served');
    }
    {
      await using server = await home.start(file);
      assert.equal(server.portcullis.lines.filter(isDifference).length, 0, 'nothing differs yet');
      const { admin } = server;
      const route = { hostname: 'database.example', backend: `127.0.0.1:${backend.port}` };
      await admin.addRoute({ listenerAddr, route });
      await admin.removeRoute({ listenerAddr, hostname: 'file.example' });
      await admin.addFirewallRule({ rule: ipRule('203.0.113.7') });
      await admin.addListener({ listener: { addr: '127.0.0.2:0', defaultBackend: route.backend } });
      await admin.addL7Policy({
        listenerAddr,
        hostname: 'database.example',
        policy: { type: 'require_header', value: 'x-a' },
      });
    }
    await using server = await home.start(file);
    const lines = server.portcullis.lines.filter(isDifference);
    assert.equal(lines.length, 1);
    assert.equal(lines[0]!['differences'], 4);
    const text = JSON.stringify(lines[0]!['first']);
    for (const id of ['file.example', 'database.example', '203.0.113.7', 'listener/127.0.0.2:0', 'x-a']) {
      assert.ok(text.includes(id), `${id} in ${text}`);
    }
    await visitEveryWorker(server.portcullis, 'database.example', 'served');
    await visitEveryWorker(server.portcullis, 'file.example', 'no-route');
  });

  test('the environment acts on listeners and rules at seeding alone', async () => {
    using home = new Home();
    await using backend = await greeter();
    const file = listener(listenerAddr, { 'a.example': backend.port });
    const variable = 'PORTCULLIS_LISTENERS_0_ROUTES_0_HOSTNAME';
    {
      await using server = await home.start(file, { env: { [variable]: 'seeded.example' } });
      await visitEveryWorker(server.portcullis, 'seeded.example', 'served');
    }
    await using server = await home.start(file, { env: { [variable]: 'later.example' } });
    await visitEveryWorker(server.portcullis, 'seeded.example', 'served');
    await visitEveryWorker(server.portcullis, 'later.example', 'no-route');
  });

  test('SIGHUP leaves the database in charge', async () => {
    using home = new Home();
    await using backend = await greeter();
    await using server = await home.start(listener(listenerAddr, { 'a.example': backend.port }));
    const { portcullis, admin } = server;
    await rewrite(server, home.config(listener(listenerAddr, { 'b.example': backend.port })));
    await portcullis.line(({ msg }) => msg.startsWith('no GeoIP database'));
    await visitEveryWorker(portcullis, 'a.example', 'served');
    await visitEveryWorker(portcullis, 'b.example', 'no-route');
    assert.equal((await admin.getConfig({})).version, 1n);
  });
});

describe('without a database', () => {
  test('every call that would change something answers FAILED_PRECONDITION, and reading works', async () => {
    using home = new Home();
    await using server = await home.start(listener(listenerAddr, { 'a.example': 1 }), { hasDatabase: false });
    const { admin } = server;
    const hostname = 'a.example';
    const route = { hostname, backend: '10.0.0.1:1' };
    const policy = { type: 'require_header', value: 'x-a' };
    const rule = ipRule('203.0.113.7');
    const { config, version } = await admin.getConfig({});
    const refusals = await Promise.all([
      refusal(admin.addListener({ listener: { addr: '127.0.0.2:0', routes: [route] } })),
      refusal(admin.removeListener({ listenerAddr })),
      refusal(admin.setListenerMaxConnections({ listenerAddr, maxConnections: 5 })),
      refusal(admin.addRoute({ listenerAddr, route: { ...route, hostname: 'b.example' } })),
      refusal(admin.updateRoute({ listenerAddr, route })),
      refusal(admin.removeRoute({ listenerAddr, hostname })),
      refusal(admin.addL7Policy({ listenerAddr, hostname, policy })),
      refusal(admin.removeL7Policy({ listenerAddr, hostname, policy })),
      refusal(admin.addFirewallRule({ rule })),
      refusal(admin.removeFirewallRule({ rule })),
      refusal(admin.setRateLimit({ rateLimit: { connections: 5 } })),
      refusal(admin.applyConfig({ config: config! })),
      refusal(admin.snapshot({})),
    ]);
    for (const { code, message } of refusals) {
      assert.deepEqual([code, /without a database/.test(message)], ['FailedPrecondition', true], message);
    }
    assert.equal(config?.listeners[0]?.routes[0]?.hostname, hostname);
    assert.deepEqual([version, (await admin.getConfig({})).version], [1n, 1n]);
  });

  test('SIGHUP applies the file: what it adds is live, what it lacks is closed, connections go on', async () => {
    using home = new Home();
    await using backend = await greeter();
    await using echo = await startEcho();
    const names = { 'echo.example': echo.port, 'old.example': backend.port };
    const before = listener(listenerAddr, names) + listener('127.0.0.2:0', names);
    await using server = await home.start(before, { hasDatabase: false });
    const { portcullis } = server;
    const [port, doomedPort] = [portcullis.port(listenerAddr), portcullis.port('127.0.0.2:0')];
    const streams = [
      await EchoStream.open(port, 'echo.example', 10),
      await EchoStream.open(doomedPort, 'echo.example', 10, { host: '127.0.0.2' }),
    ];

    await rewrite(server, home.config(listener(listenerAddr, { 'new.example': backend.port }), false));
    await portcullis.line(({ msg }) => msg === 'configuration file applied');
    await visitEveryWorker(portcullis, 'new.example', 'served', port);
    await visitEveryWorker(portcullis, 'old.example', 'no-route', port);
    const refused = await Peer.connect(doomedPort, { host: '127.0.0.2' });
    assert.equal(await refused.closed, 'ECONNREFUSED');

    await rewrite(server, `${home.config(before, false)}\n[[listeners]]\naddr = "nonsense"\n`);
    const line = await portcullis.line(({ msg }) => msg.startsWith('configuration file not applied'));
    assert.equal(line.level, 'error');
    assert.ok(portcullis.lines.some(({ msg, problem }) => msg === 'configuration file' && problem !== ''));
    await visitEveryWorker(portcullis, 'new.example', 'served', port);
    await visitEveryWorker(portcullis, 'old.example', 'no-route', port);
    await Promise.all(streams.map((stream) => stream.end()));
  });

  test('SIGHUP with an address that is in use changes nothing', async () => {
    using home = new Home();
    await using backend = await greeter();
    const file = listener(listenerAddr, { 'a.example': backend.port });
    await using server = await home.start(file, { hasDatabase: false });
    const { portcullis } = server;
    const wanted =
      listener(listenerAddr, { 'b.example': backend.port }) +
      listener(`127.0.0.1:${backend.port}`, { 'b.example': 1 });
    await rewrite(server, home.config(wanted, false));
    const line = await portcullis.line(({ msg }) => msg.startsWith('configuration file not applied'));
    assert.match(String(line['reason']), /address already in use/);
    await visitEveryWorker(portcullis, 'a.example', 'served');
    await visitEveryWorker(portcullis, 'b.example', 'no-route');
    assert.equal((await visit(portcullis.port(), 'a.example')).outcome, greeting);
  });
});

async function rewrite({ portcullis, admin }: Controlled, text: string): Promise<void> {
  writeFileSync(portcullis.configFile, text);
  // A server that answers is past its start, and takes signals.
  await admin.getStatus({});
  portcullis.kill('SIGHUP');
}
