/** The egress gateway in an operator's hands: reloads, logs, drains, its environment, and memory under slow clients. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { Authority } from '../support/authority.ts';
import { egressPort, EgressWorld, metric, metricsUrl, openTunnel } from '../support/egress.ts';
import { HttpOrigin, pattern, patternDigest, type Seen } from '../support/http-origin.ts';
import { isRequestLine } from '../support/layer7.ts';
import { Portcullis } from '../support/portcullis.ts';
import { lacks } from '../support/tools.ts';

const mebibyte = 1024 * 1024;
const bulkBytes = (process.env['RUN_SOAK'] === undefined ? 128 : 1024) * mebibyte;
/** What a process may grow by, whatever it carries: a few buffers for each connection, and the garbage collector's slack. */
const slackBytes = 96 * mebibyte;
/** The same with twenty gibibytes on offer. */
const deafSlackBytes = 192 * mebibyte;

let world: EgressWorld;
before(async () => {
  world = await EgressWorld.start();
});
after(() => world[Symbol.asyncDispose]());

/** Of a request on an open connection, by what comes next on it. */
async function status(socket: TLSSocket, host: string): Promise<number> {
  socket.write(`GET /status/204 HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  const head = await received(socket, /^HTTP\/1\.1 \d{3} [^]*\r\n\r\n/);
  return Number(head.slice(9, 12));
}

/** What comes from now on, until it matches. */
function received(socket: TLSSocket, wanted: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let got = '';
    const take = (chunk: Buffer): void => {
      got += chunk.toString('latin1');
      if (!wanted.test(got)) return;
      socket.off('data', take);
      resolve(got);
    };
    socket.on('data', take).once('close', () => reject(new Error(`closed after ${got}`)));
  });
}

function reloads(through: Portcullis): Promise<number> {
  return metric(through, 'proxy_config_reloads_total');
}

describe('SIGHUP', () => {
  it('applies new rules to connections that are open, and cuts no transfer', async () => {
    await using through = await Portcullis.start(world.config());
    const open = await world.secured(through, 'h2.test');
    assert.equal(await status(open, 'h2.test'), 204);
    const events = await world.secured(through, 'https.test');
    events.write('GET /events HTTP/1.1\r\nHost: https.test\r\n\r\n');
    await received(events, /data: first/);
    const before = await reloads(through);

    writeFileSync(through.configFile, world.config({ egress: ['blacklist = ["*.test"]'] }));
    through.kill('SIGHUP');
    await until(async () => (await reloads(through)) === before + 1);
    await until(async () => (await status(open, 'h2.test')) === 403);
    await assert.rejects(openTunnel(egressPort(through), 'h2.test:443'), /403/);
    const released = received(events, /data: released/);
    world.https.release();
    await released;
    world.https.finish();
    open.destroy();
    events.destroy();
  });

  it('refuses a bad file whole, counts it, and the old rules stay', async () => {
    await using through = await Portcullis.start(world.config());
    const blocksAll = world.config({ egress: ['blacklist = ["*.test"]'] });
    for (const [index, bad] of [
      `${blocksAll}\n[[egress.rewrites]]\npattern = "~("\n`,
      `${blocksAll}colour = "red"\n`,
      blocksAll.replace(world.caFile, join(world.folder, 'none.crt')),
      '[[[',
    ].entries()) {
      writeFileSync(through.configFile, bad);
      through.kill('SIGHUP');
      await until(async () => (await metric(through, 'proxy_config_load_errors_total')) === index + 1);
      const open = await world.secured(through, 'h2.test');
      assert.equal(await status(open, 'h2.test'), 204);
      open.destroy();
    }
  });

  it('opens the log of what was refused again, where a rotator moved it away', async () => {
    const path = join(world.folder, 'blocked.json');
    await using through = await Portcullis.start(world.config({ egress: [`blocked_log = "${path}"`] }));
    const refused = (host: string) => assert.rejects(openTunnel(egressPort(through), `${host}:443`), /403/);
    await refused('first.example');
    await until(() => readFileSync(path, 'utf8').includes('first.example'));
    renameSync(path, `${path}.1`);
    through.kill('SIGHUP');
    await until(async () => {
      await refused('second.example');
      return linesOf(path).some(({ host }) => host === 'second.example');
    });
    assert(linesOf(`${path}.1`).some(({ host }) => host === 'first.example'));
    assert(linesOf(path).every(({ host }) => host === 'second.example'));
  });
});

function linesOf(path: string): Record<string, unknown>[] {
  try {
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>);
  } catch {
    return [];
  }
}

/** Asks until it is so. */
async function until(isReached: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await isReached())) {
    assert(performance.now() < deadline, `in vain: ${isReached.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('readiness', () => {
  it('/readyz tells 503 while draining, /healthz 200, and requests are served on', async () => {
    const through = await Portcullis.start(world.config(), { server: { prestop_grace: '3s' } });
    const get = async (path: string) => (await fetch(metricsUrl(through) + path)).status;
    assert.deepEqual([await get('/readyz'), await get('/healthz')], [200, 200]);
    const open = await world.secured(through, 'h2.test');
    through.kill('SIGTERM');
    await until(async () => (await get('/readyz')) === 503);
    assert.equal(await get('/healthz'), 200);
    assert.equal(await status(open, 'h2.test'), 204);
    open.destroy();
    assert.equal((await through.exited).code, 0);
  });
});

describe('the environment of the gateway', { skip: lacks('curl') }, () => {
  it('changes neither where it dials nor what it verifies', async () => {
    const stranger = new Authority('stranger', world.folder).issue({ altNames: ['DNS:bad.test'] });
    await using bad = await HttpOrigin.start('https', stranger);
    const dead = 'http://127.0.0.1:1';
    const proxies = {
      HTTPS_PROXY: dead,
      https_proxy: dead,
      HTTP_PROXY: dead,
      http_proxy: dead,
      ALL_PROXY: dead,
    };
    const env = { ...proxies, NODE_USE_ENV_PROXY: '1', NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    const config = world.config({ tables: [world.rewrite('bad.test', bad.port)] });
    await using through = await Portcullis.start(config, { env });
    assert.equal((await world.curl(through, 'https://h2.test/echo')).status, 200);
    const refused = await world.curl(through, 'https://bad.test/echo');
    assert.equal(refused.status, 502);
    assert.match(refused.body, /^upstream-tls-failed: .*(ISSUER|VERIFY)/);
    assert.equal(bad.requests.length, 0);
    assert.equal(await metric(through, 'proxy_upstream_errors_total{type="upstream-tls-failed"}'), 1);
  });
});

describe('memory', () => {
  it(`stays flat while ${bulkBytes / mebibyte} MiB pass each way, and the bytes are the same`, async () => {
    await using through = await Portcullis.start(world.config());
    await carryBothWays(through, 24 * mebibyte);
    const watch = new MemoryWatch(through);
    await carryBothWays(through, bulkBytes);
    watch.assertFlat();
  });

  it('stays flat when clients stop reading: the origin waits', async () => {
    await using through = await Portcullis.start(world.config());
    const clients = () => Promise.all(Array.from({ length: 20 }, () => world.secured(through, 'https.test')));
    const warm = await clients();
    for (const socket of warm) {
      socket.write(`GET /bytes/${mebibyte} HTTP/1.1\r\nHost: https.test\r\n\r\n`);
      assert.equal(await bodyDigest(socket, mebibyte), patternDigest(mebibyte));
    }
    const watch = new MemoryWatch(through);
    const deaf = await clients();
    for (const socket of deaf) {
      socket.pause().write(`GET /bytes/${1024 * mebibyte} HTTP/1.1\r\nHost: https.test\r\n\r\n`);
    }
    const asked = () =>
      world.https.requests.filter((each) => each === `GET /bytes/${1024 * mebibyte}`).length;
    await until(() => asked() === deaf.length);
    // What may pile up does so within this second: twenty answers at loopback's speed.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    watch.assertFlat(deafSlackBytes);
    for (const socket of [...warm, ...deaf]) socket.destroy();
    const ended = () =>
      through.lines.filter(isRequestLine).filter(({ path }) => path === `/bytes/${1024 * mebibyte}`);
    await until(() => ended().length === deaf.length);
    // The buffers of the system on the client's side are in this, too.
    for (const { bytes_out: sent } of ended()) assert(sent < 16 * mebibyte, `${sent} bytes were taken`);
  });
});

/** A download and an upload through MITM, each compared by its digest. */
async function carryBothWays(through: Portcullis, bytes: number): Promise<void> {
  const down = await world.secured(through, 'https.test');
  down.write(`GET /bytes/${bytes} HTTP/1.1\r\nHost: https.test\r\n\r\n`);
  assert.equal(await bodyDigest(down, bytes), patternDigest(bytes));
  down.destroy();
  const up = await world.secured(through, 'https.test');
  up.write(`POST /echo HTTP/1.1\r\nHost: https.test\r\nContent-Length: ${bytes}\r\n\r\n`);
  for (let sent = 0; sent < bytes; sent += pattern.length) {
    if (!up.write(pattern.subarray(0, bytes - sent))) await once(up, 'drain');
  }
  const text = await received(up, /\}\r\n|\}$/);
  const seen = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)) as Seen;
  assert.deepEqual([seen.bodyBytes, seen.bodyDigest], [bytes, patternDigest(bytes)]);
  up.destroy();
}

/** The most that a process was resident with since. */
class MemoryWatch {
  readonly #through: Portcullis;
  readonly #before: number;
  readonly #timer: NodeJS.Timeout;
  #most = 0;

  constructor(through: Portcullis) {
    this.#through = through;
    this.#before = through.residentBytes();
    this.#timer = setInterval(() => this.#look(), 50).unref();
  }

  assertFlat(slack = slackBytes): void {
    clearInterval(this.#timer);
    this.#look();
    const grown = this.#most - this.#before;
    assert(grown < slack, `grown by ${Math.round(grown / mebibyte)} MiB`);
  }

  #look(): void {
    this.#most = Math.max(this.#most, this.#through.residentBytes());
  }
}

/** Of the body of the answer that comes, which is this long. */
async function bodyDigest(socket: TLSSocket, length: number): Promise<string> {
  const hash = createHash('sha256');
  let head = Buffer.alloc(0);
  let left = length;
  let isBody = false;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const take = (chunk: Buffer): void => {
    hash.update(chunk);
    left -= chunk.length;
    if (left === 0) resolve(hash.digest('hex'));
  };
  socket.on('close', () => reject(new Error(`${left} bytes are missing`)));
  socket.on('data', (chunk: Buffer) => {
    if (isBody) return take(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    isBody = true;
    if (head.length > end + 4) take(head.subarray(end + 4));
  });
  return promise;
}
