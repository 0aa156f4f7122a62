/** An acknowledged change is live in every worker at once, and disturbs nobody whom it does not name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Home, ipRule, soakOr, type AdminClient, type Controlled } from '../support/admin.ts';
import { EchoStream, startEcho } from '../support/echo-stream.ts';
import { PeerServer } from '../support/peer.ts';
import { greeting, visitEveryWorker } from '../support/visit.ts';

const listenerAddr = '127.0.0.1:0';
/** Goes away while connections that came through it go on. */
const doomedAddr = '127.0.0.2:0';

const rounds = soakOr(1_000, 100);

test(`${rounds} times a route is added, served by each worker at once, removed, and refused by each at once`, async () => {
  using home = new Home();
  await using backend = await PeerServer.start({}, (peer) => peer.end(greeting));
  await using server = await home.start(`[[listeners]]\naddr = "${listenerAddr}"`);
  const { portcullis, admin } = server;
  for (let round = 0; round < rounds; round++) {
    const hostname = `host-${round}.example`;
    await admin.addRoute({ listenerAddr, route: { hostname, backend: `127.0.0.1:${backend.port}` } });
    await visitEveryWorker(portcullis, hostname, 'served');
    await admin.removeRoute({ listenerAddr, hostname });
    await visitEveryWorker(portcullis, hostname, 'no-route');
  }
});

const streamCount = soakOr(500, 50);
const mutationCount = soakOr(10_000, 300);
const writers = 4;

test(`${mutationCount} changes disturb none of ${streamCount} connections`, async (t) => {
  using home = new Home();
  await using echo = await startEcho();
  const backend = `127.0.0.1:${echo.port}`;
  const routes = `routes = [{ hostname = "stays.example", backend = "${backend}" }, { hostname = "goes.example", backend = "${backend}" }]`;
  await using server = await home.start(
    [listenerAddr, doomedAddr].map((addr) => `[[listeners]]\naddr = "${addr}"\n${routes}\n`).join(''),
  );
  const { portcullis, admin } = server;

  const places = [listenerAddr, doomedAddr].map((addr) => ({
    listener: addr,
    port: portcullis.port(addr),
    host: addr.slice(0, -2),
  }));
  const streams: EchoStream[] = [];
  const listeners: string[] = [];
  for (let index = 0; index < streamCount; index++) {
    const { listener, port, host } = places[index % 2]!;
    listeners.push(listener);
    const name = index % 4 < 2 ? 'stays.example' : 'goes.example';
    streams.push(await EchoStream.open(port, name, streamCount, { host }));
  }

  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      for (let step = 0; step < mutationCount / writers; step++) await mutate(admin, writer, step, backend);
    }),
  );
  // And those that name what the connections came by.
  await admin.removeRoute({ listenerAddr, hostname: 'goes.example' });
  await admin.removeListener({ listenerAddr: doomedAddr });
  const tookMs = performance.now() - startMs;

  await new Promise((resolve) => setTimeout(resolve, 2 * streamCount));
  const before = streams.reduce((sum, { exchanges }) => sum + exchanges, 0);
  await Promise.all(streams.map((stream) => stream.end()));
  await assertAccounts(server, streams, listeners);
  t.diagnostic(
    `${(mutationCount / (tookMs / 1000)).toFixed(0)} changes a second; ${before} exchanges on the connections`,
  );
  assert.equal((await admin.getConfig({})).version, BigInt(mutationCount + 3));
});

/** Ten changes make a round after which everything is as before. */
async function mutate(admin: AdminClient, writer: number, step: number, backend: string): Promise<unknown> {
  const round = Math.floor(step / 10);
  const hostname = `w${writer}-${round}.example`;
  const policy = { type: 'require_header', value: `x-${round}` };
  const rule = ipRule(`198.18.${writer}.${round & 255}`);
  const addr = `127.9.${writer}.${(round & 127) + 1}:0`;
  switch (step % 10) {
    case 0:
      return admin.addRoute({ listenerAddr, route: { hostname, backend } });
    case 1:
      return admin.addL7Policy({ listenerAddr, hostname, policy });
    case 2:
      return admin.addFirewallRule({ rule, disconnect: true });
    case 3:
      return admin.setListenerMaxConnections({ listenerAddr, maxConnections: 100_000 + step });
    case 4:
      return admin.addListener({ listener: { addr, routes: [{ hostname, backend }] } });
    case 5:
      return admin.updateRoute({ listenerAddr, route: { hostname, backend, sendProxyProtocol: true } });
    case 6:
      return admin.removeL7Policy({ listenerAddr, hostname, policy });
    case 7:
      return admin.removeListener({ listenerAddr: addr });
    case 8:
      return admin.removeFirewallRule({ rule });
    default:
      return admin.removeRoute({ listenerAddr, hostname });
  }
}

/** The log tells of each connection that it was served, and every byte of it. */
async function assertAccounts(
  { portcullis }: Controlled,
  streams: readonly EchoStream[],
  listeners: readonly string[],
): Promise<void> {
  for (const [index, { peer, bytes }] of streams.entries()) {
    const line = await portcullis.connection(peer.address, listeners[index]);
    assert.deepEqual([line.reason, line.bytes_in, line.bytes_out], ['client-closed', bytes, bytes]);
  }
  const unexpected = portcullis.lines.filter(({ level }) => level === 'error' || level === 'fatal');
  assert.deepEqual(unexpected, []);
}
