/** What was acknowledged survives the program's sudden death; what could not be kept is refused and not served. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Home, ipRule, refusal, soakOr, type AdminClient } from '../support/admin.ts';
import { PeerServer } from '../support/peer.ts';
import type { Portcullis } from '../support/portcullis.ts';
import { greeting, visit, visitEveryWorker } from '../support/visit.ts';

const listenerAddr = '127.0.0.1:0';
const traffic = `[[listeners]]\naddr = "${listenerAddr}"`;
const rounds = soakOr(200, 5);

test(`${rounds} times killed under a writer, every acknowledged change is there again and served`, async (t) => {
  using home = new Home();
  await using backend = await startGreeter();
  const writer = new Writer(`127.0.0.1:${backend.port}`);
  let arrivedUnanswered = 0;
  let server = await home.start(traffic);
  await using last = new AsyncDisposableStack();
  last.defer(() => server[Symbol.asyncDispose]());
  for (let round = 0; round < rounds; round++) {
    const killAfterMs = Math.random() * 400;
    const writing = writer.writeUntilLost(server.admin);
    await sleep(killAfterMs);
    await server.kill();
    await writing;

    server = await home.start(traffic);
    const detail = `round ${round}, killed after ${killAfterMs} ms`;
    assertWhole(home.database);
    if (await writer.settle(server.admin, detail)) arrivedUnanswered++;
    await assertServed(server.portcullis, writer);
  }
  t.diagnostic(`version ${writer.version}; ${arrivedUnanswered} changes arrived without being answered`);
});

/** Adds routes one by one, and removes each third again; knows what was acknowledged. */
class Writer {
  readonly #backend: string;
  /** Acknowledged, in the order they were added. */
  readonly routes = new Set<string>();
  readonly removed: string[] = [];
  version = 1;
  #next = 0;
  /** Sent, and not answered. */
  #inFlight: (() => void) | null = null;

  constructor(backend: string) {
    this.#backend = backend;
  }

  async writeUntilLost(admin: AdminClient): Promise<void> {
    try {
      for (;;) await this.#write(admin);
    } catch (error) {
      assert.match(String(error), /unavailable|aborted|canceled|unknown|internal/i);
    }
  }

  /** Compares with what is stored, and takes over what was in flight if it arrived: answers whether it did. */
  async settle(admin: AdminClient, detail: string): Promise<boolean> {
    const { version, config } = await admin.getConfig({});
    const hasArrived = Number(version) === this.version + 1;
    assert.ok(hasArrived || Number(version) === this.version, `${detail}: ${this.version} → ${version}`);
    if (hasArrived) {
      assert.ok(this.#inFlight !== null, detail);
      this.#inFlight();
    }
    this.#inFlight = null;
    const stored = config!.listeners[0]!.routes.map(({ hostname }) => hostname);
    assert.deepEqual(stored, [...this.routes], detail);
    return hasArrived;
  }

  async #write(admin: AdminClient): Promise<void> {
    const number = this.#next++;
    const old = `host-${number - 2}.example`;
    if (number % 3 === 2 && this.routes.has(old)) {
      this.#inFlight = () => this.#keep(() => (this.routes.delete(old), this.removed.push(old)));
      await admin.removeRoute({ listenerAddr, hostname: old });
    } else {
      const hostname = `host-${number}.example`;
      this.#inFlight = () => this.#keep(() => this.routes.add(hostname));
      await admin.addRoute({ listenerAddr, route: { hostname, backend: this.#backend } });
    }
    this.#inFlight();
    this.#inFlight = null;
  }

  #keep(change: () => void): void {
    change();
    this.version++;
  }
}

async function assertServed(portcullis: Portcullis, { routes, removed }: Writer): Promise<void> {
  for (const hostname of [...routes].slice(-2)) await visitEveryWorker(portcullis, hostname, 'served');
  for (const hostname of removed.slice(-1)) await visitEveryWorker(portcullis, hostname, 'no-route');
}

function assertWhole(path: string): void {
  const database = new DatabaseSync(path, { readOnly: true });
  assert.deepEqual({ ...database.prepare('PRAGMA integrity_check').get() }, { integrity_check: 'ok' });
  assert.deepEqual(database.prepare('PRAGMA foreign_key_check').all(), []);
  database.close();
}

const unshare = ['unshare', '--user', '--map-root-user', '--mount'];
const [command, ...unshareArgs] = unshare;
const canMount = spawnSync(command!, [...unshareArgs, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;
const skip = canMount ? false : 'needs a mount namespace (unshare)';

/** The program in a mount namespace of its own, after a shell line that mounts something on `$1`. */
function mounted(mount: string, directory: string): readonly string[] {
  return [...unshare, 'sh', '-c', `set -e; ${mount}; shift; exec "$@"`, 'sh', directory];
}

describe('what can not be kept', { skip }, () => {
  test('a full disk: the caller is told, nothing changes, and there is a next time', async () => {
    using home = new Home();
    await using backend = await startGreeter();
    const wrapper = mounted(
      'mount -t tmpfs -o size=1500k tmpfs "$1" && head -c 300000 /dev/zero > "$1/ballast"',
      home.databaseDirectory,
    );
    await using server = await home.start(traffic, { wrapper });
    const { portcullis, admin } = server;

    const add = (index: number): Promise<unknown> => {
      const route = { hostname: `host-${index}.example`, backend: `127.0.0.1:${backend.port}` };
      return admin.addRoute({ listenerAddr, route });
    };
    let index = 0;
    const answer = await refusal(
      (async () => {
        for (; index < 10_000; index++) await add(index);
      })(),
    );
    assert.ok(index > 10, `${index} routes fitted`);
    assert.equal(answer.code, 'FailedPrecondition');
    assert.match(answer.message, /full|space/);
    assert.equal((await admin.getConfig({})).version, BigInt(index + 1));
    await visitEveryWorker(portcullis, `host-${index - 1}.example`, 'served');
    await visitEveryWorker(portcullis, `host-${index}.example`, 'no-route');
    assert.equal((await admin.listRoutes({ listenerAddr })).routes.length, index);

    rmSync(join(`/proc/${portcullis.pid}/root`, home.databaseDirectory, 'ballast'));
    await add(index);
    await visitEveryWorker(portcullis, `host-${index}.example`, 'served');
  });

  test('a read-only file system: it is served, every change is refused', async () => {
    using home = new Home();
    await using backend = await startGreeter();
    const route = { hostname: 'old.example', backend: `127.0.0.1:${backend.port}` };
    {
      await using writable = await home.start(traffic);
      await writable.admin.addRoute({ listenerAddr, route });
    }
    const wrapper = mounted(
      'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"',
      home.databaseDirectory,
    );
    await using server = await home.start(traffic, { wrapper });
    const { portcullis, admin } = server;
    await visitEveryWorker(portcullis, 'old.example', 'served');
    assert.ok(
      portcullis.lines.some(({ level, msg }) => level === 'warn' && msg.includes('can not be written')),
    );

    const refusals = await Promise.all([
      refusal(admin.addRoute({ listenerAddr, route: { ...route, hostname: 'new.example' } })),
      refusal(admin.removeRoute({ listenerAddr, hostname: 'old.example' })),
      refusal(admin.addFirewallRule({ rule: ipRule('127.0.0.1') })),
      refusal(admin.addListener({ listener: { addr: '127.0.0.2:0', routes: [route] } })),
    ]);
    for (const { code, message } of refusals) {
      assert.equal(code, 'FailedPrecondition');
      assert.match(message, /read-only|can not be written|cannot be written/);
    }
    await visitEveryWorker(portcullis, 'old.example', 'served');
    await visitEveryWorker(portcullis, 'new.example', 'no-route');
    assert.equal((await admin.listListeners({})).listeners.length, 1);
    assert.equal((await visit(portcullis.port(), 'old.example')).outcome, greeting);
  });
});

function startGreeter(): Promise<PeerServer> {
  return PeerServer.start({}, (peer) => peer.end(greeting));
}
