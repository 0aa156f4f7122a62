/** A browser that trusts the gateway's authority: a page over HTTP/2 and a WebSocket, both opened on the way. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { it } from 'node:test';
import { egressPort, EgressWorld } from '../support/egress.ts';
import { Daemon, lacks, run } from '../support/tools.ts';

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find((name) => lacks(name) === false);
const missing = chromium === undefined ? lacks('chromium') : lacks('certutil');

/** Tells what came of it by asking for /result, so that nothing of the page need be read. */
const page = `<!doctype html><title>page</title><script>
const socket = new WebSocket('wss://https.test/socket');
socket.onopen = () => socket.send('hello');
socket.onerror = () => fetch('/result?failed');
socket.onmessage = ({ data }) => {
  const { nextHopProtocol } = performance.getEntriesByType('navigation')[0];
  fetch('/result?' + nextHopProtocol + '-' + data);
};
</script>`;

const quiet = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'].concat([
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
  '--disable-dev-shm-usage',
]);

it('Chromium loads a page over h2 and talks by WebSocket', { skip: missing, timeout: 60_000 }, async () => {
  await using world = await EgressWorld.start();
  const result = Promise.withResolvers<string>();
  const identity = world.originCa.issue({ altNames: ['DNS:page.test'] });
  const server = createSecureServer({ cert: identity.cert, key: identity.key }, (request, response) => {
    if (request.url.startsWith('/result?')) result.resolve(request.url.slice('/result?'.length));
    response.setHeader('content-type', 'text/html');
    response.end(page);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const rewrite = world.rewrite('page.test', (server.address() as AddressInfo).port);
  const through = await world.gateway({ tables: [rewrite] });
  const home = await trustingHome(world);
  const proxy = [`--proxy-server=http://127.0.0.1:${egressPort(through)}`, `--user-data-dir=${home}/profile`];
  const command = [
    `HOME=${home}`,
    chromium!,
    ...quiet,
    ...proxy,
    '--remote-debugging-port=0',
    'https://page.test/',
  ];
  await using browser = Daemon.start('env', command);
  const ended = browser.ended.then(() => `the browser ended:\n${browser.output}`);
  assert.equal(await Promise.race([result.promise, ended]), 'h2-hello');
  server.close();
});

/** A home whose certificate store, which browsers on Linux read, trusts the gateway. */
async function trustingHome({ folder, caFile }: EgressWorld): Promise<string> {
  const home = join(folder, 'home');
  const store = join(home, '.pki/nssdb');
  mkdirSync(store, { recursive: true });
  for (const args of [
    ['-N', '--empty-password'],
    ['-A', '-t', 'C,,', '-n', 'gateway', '-i', caFile],
  ]) {
    const { code, stderr } = await run('certutil', ['-d', `sql:${store}`, ...args]);
    assert.equal(code, 0, stderr);
  }
  return home;
}
