/** The process from start to end: its name, its errors, its signals, its log. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { browserHello, helloMessage, records } from '../../src/codec/testing/client-hello-builder.ts';
import { clientHello } from '../support/hello.ts';
import { Peer, PeerServer } from '../support/peer.ts';
import { allSockets, Portcullis, program, type Sockets } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

for (const sockets of allSockets) {
  describe(`lifecycle on ${sockets} sockets`, () => {
    describe('drain', () => draining(sockets));
  });
}
describe('start', starting);
describe('log', logging);

const hello = clientHello('a.example');

function config(backendPort: number, address = '127.0.0.1:0'): string {
  return `[[listeners]]\naddr = "${address}"\nroutes = [{ hostname = "a.example", backend = "127.0.0.1:${backendPort}" }]`;
}

function draining(sockets: Sockets): void {
  test('under load: what has begun is finished whole, new connections are refused, exit code 0', async () => {
    const body = randomBytes(128 * 1024);
    const parts = 16;
    const expected = createHash('sha256');
    for (let part = 0; part < parts; part++) expected.update(body);
    // Each transfer lasts well beyond the signal.
    await using backend = await PeerServer.start({}, (peer) => {
      void peer.read(hello.length).then(async () => {
        for (let part = 0; part < parts; part++) {
          if (!(await peer.write(body))) return;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        peer.end();
      });
    });
    const portcullis = await Portcullis.start(config(backend.port), {
      sockets,
      server: { shutdown_timeout: '20s' },
    });
    const port = portcullis.port();
    const clients = await Promise.all(Array.from({ length: 60 }, () => Peer.connect(port)));
    const digests = clients.map(async (client) => {
      client.end(hello);
      return createHash('sha256')
        .update(await client.readToEnd())
        .digest('hex');
    });
    await Promise.all(clients.map((client) => arrival(client)));
    portcullis.kill('SIGTERM');
    await portcullis.line(({ msg }) => msg === 'draining');
    await untilRefused(port);
    const digest = expected.digest('hex');
    assert.deepEqual([...new Set(await Promise.all(digests))], [digest]);
    assert.deepEqual(await portcullis.exited, { code: 0, signal: null });
    assert.equal(portcullis.connections.filter(({ verdict }) => verdict === 'served').length, clients.length);
    assert.ok(portcullis.lines.some(({ msg }) => msg === 'drained'));
  });

  test('shutdown_timeout ends what is left, and the exit code is still 0', async () => {
    await using backend = await PeerServer.start();
    const portcullis = await Portcullis.start(config(backend.port), {
      sockets,
      server: { shutdown_timeout: '300ms' },
    });
    const relayed = await Peer.connect(portcullis.port());
    await relayed.write(hello);
    await (await backend.next()).read(hello.length);
    const silent = await Peer.connect(portcullis.port());
    const began = performance.now();
    portcullis.kill('SIGINT');
    assert.deepEqual(await Promise.all([relayed.closed, silent.closed]), ['ECONNRESET', 'ECONNRESET']);
    assert.deepEqual(await portcullis.exited, { code: 0, signal: null });
    assert.ok(performance.now() - began >= 299);
    assert.equal((await lastLine(portcullis, relayed)).reason, 'drained');
    assert.equal((await lastLine(portcullis, silent)).reason, 'draining');
  });

  test('a second signal ends at once', async () => {
    await using backend = await PeerServer.start();
    const portcullis = await Portcullis.start(config(backend.port), {
      sockets,
      server: { shutdown_timeout: '1h' },
    });
    const client = await Peer.connect(portcullis.port());
    await client.write(hello);
    await backend.next();
    portcullis.kill('SIGTERM');
    await portcullis.line(({ msg }) => msg === 'draining');
    portcullis.kill('SIGTERM');
    assert.notEqual((await portcullis.exited).code, 0);
    assert.ok(portcullis.lines.some(({ msg }) => msg === 'ending at once'));
    await client.readToEnd();
    client.close();
  });
}

function starting(): void {
  test('the process is named portcullis and has the id that was started', async () => {
    await using portcullis = await Portcullis.start(config(1));
    assert.equal(readFileSync(`/proc/${portcullis.pid}/comm`, 'utf8'), 'portcullis\n');
    assert.match(readFileSync(`/proc/${portcullis.pid}/cmdline`, 'latin1'), /^portcullis\b/);
    assert.equal(portcullis.lines.find(({ msg }) => msg === 'ready')!['pid'], portcullis.pid);
  });

  test('a second instance on the address fails, and the first goes on', async () => {
    await using backend = await PeerServer.start({}, (peer) => peer.end('served'));
    await using first = await Portcullis.start(config(backend.port));
    const address = `127.0.0.1:${first.port()}`;
    const second = Portcullis.launch(config(backend.port, address));
    assert.deepEqual(await second.exited, { code: 1, signal: null });
    const line = second.lines.find(({ level }) => level === 'error')!;
    assert.equal(line['reason'], `listener ${address}: address already in use`);
    const client = await Peer.connect(first.port());
    client.end(hello);
    assert.equal((await client.readToEnd()).toString(), 'served');
  });

  test('an address of another machine is a clear error', async () => {
    const portcullis = Portcullis.launch(config(1, '192.0.2.1:8443'));
    assert.deepEqual(await portcullis.exited, { code: 1, signal: null });
    assert.match(portcullis.stdout, /this machine does not have that address/);
  });

  test('a bad configuration names each problem with its place, and the exit code is 3', async () => {
    const portcullis = Portcullis.launch(
      '[server]\nidle_timeout = "soon"\n[[listeners]]\nadr = ":0"\nroutes = [{ hostname = "a b", backend = "x" }]\n',
    );
    assert.deepEqual(await portcullis.exited, { code: 3, signal: null });
    assert.equal(portcullis.stdout, '');
    for (const part of [
      'portcullis.toml:2:16',
      'idle_timeout',
      'portcullis.toml:4:1',
      'did you mean',
      'hostname',
    ]) {
      assert.ok(portcullis.stderr.includes(part), `${part} is not in:\n${portcullis.stderr}`);
    }
  });

  test('a file that is not there is exit code 3, an unknown flag 2', async () => {
    assert.deepEqual((await runProgram(['serve', '-c', '/nonexistent/portcullis.toml'])).code, 3);
    assert.deepEqual((await runProgram(['serve', '--nonsense'])).code, 2);
  });
}

function logging(): void {
  const suite = new Suite();
  let backend: PeerServer;
  let portcullis: Portcullis;

  before(async () => {
    backend = await suite.backend((peer) => void peer.read(hello.length).then(() => peer.end('12345')));
    portcullis = await suite.portcullis(config(backend.port), {});
  });

  test('one line for each connection, with the documented fields', async () => {
    const client = await Peer.connect(portcullis.port());
    client.end(hello);
    await client.readToEnd();
    const line = await portcullis.connection(client.address);
    const { time, id, duration_ms: durationMs, ...rest } = line;
    assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(id, /^\S+$/);
    assert.ok(Number.isInteger(durationMs) && durationMs >= 0);
    assert.deepEqual(rest, {
      level: 'info',
      msg: 'connection',
      client: client.address,
      listener: '127.0.0.1:0',
      sni: 'a.example',
      route: 'route/127.0.0.1:0/a.example',
      backend: `127.0.0.1:${backend.port}`,
      bytes_in: hello.length,
      bytes_out: 5,
      verdict: 'served',
      reason: rest.reason,
    });
    assert.match(rest.reason, /^(client|backend)-closed$/);
  });

  test('ids differ over workers and connections', async () => {
    const clients = await Promise.all(Array.from({ length: 40 }, () => Peer.connect(portcullis.port())));
    for (const client of clients) client.end(hello);
    await Promise.all(clients.map((client) => client.readToEnd()));
    for (const client of clients) await portcullis.connection(client.address);
    const ids = portcullis.connections.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
  });

  for (const [what, name] of [
    ['an escape sequence', '\x1b]0;owned\x07\x1b[2Jevil'],
    ['a line break', 'a\n{"level":"error","msg":"forged"}'],
    ['bytes beyond ASCII', 'caf\xe9\x9b31m'],
  ] as const) {
    test(`${what} in a server name does not reach the log raw`, async () => {
      const client = await Peer.connect(portcullis.port());
      client.end(records(helloMessage(browserHello(name))));
      assert.equal(await client.closed, 'ECONNRESET');
      const line = await portcullis.connection(client.address);
      assert.equal(line.verdict, 'refused');
      assert.doesNotMatch(portcullis.stdout, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
      assert.ok(!portcullis.lines.some(({ msg }) => msg === 'forged'));
    });
  }

  test('under the journal every line carries its priority', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'portcullis-journal-'));
    const file = join(directory, 'journal');
    const configFile = join(directory, 'portcullis.toml');
    writeFileSync(configFile, config(1));
    const descriptor = openSync(file, 'w');
    const { dev, ino } = fstatSync(descriptor);
    const child = spawn(program, ['serve', '-c', configFile], {
      stdio: ['ignore', descriptor, 'inherit'],
      env: { ...process.env, JOURNAL_STREAM: `${dev}:${ino}`, PORTCULLIS_SERVER_WORKERS: '1' },
    });
    const exited = new Promise<number | null>((resolve) => child.on('close', resolve));
    const read = (): string => readFileSync(file, 'utf8');
    const client = await Peer.connect(await portIn(read));
    await client.write(hello);
    assert.equal(await client.closed, 'ECONNRESET');
    child.kill('SIGTERM');
    assert.equal(await exited, 0);
    closeSync(descriptor);
    const lines = read().trimEnd().split('\n');
    for (const line of lines) assert.match(line, /^<[3-7]>\{"level"/);
    assert.ok(lines.some((line) => line.startsWith('<6>') && line.includes('"ready"')));
    assert.ok(lines.some((line) => line.startsWith('<4>') && line.includes('dial-refused')));
    rmSync(directory, { recursive: true });
  });
}

async function lastLine(portcullis: Portcullis, client: Peer): Promise<{ reason: string }> {
  await portcullis.exited;
  return portcullis.connections.find((line) => line.client === client.address)!;
}

async function arrival(client: Peer): Promise<void> {
  while (client.receivedBytes === 0) await new Promise((resolve) => setImmediate(resolve));
}

/** The listener closes a moment after the signal: once the kernel's queue is empty. */
async function untilRefused(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const peer = await Peer.connect(port);
    if (!peer.isOpen && (await peer.closed) === 'ECONNREFUSED') return;
    peer.close();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail('new connections are still accepted');
}

async function portIn(read: () => string): Promise<number> {
  for (let tries = 0; tries < 500; tries++) {
    if (read().includes('"ready"')) return Number(/"port":(\d+)/.exec(read())![1]);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return assert.fail(`did not start: ${read()}`);
}

function runProgram(args: readonly string[]): Promise<{ code: number | null }> {
  const child = spawn(program, args, { stdio: 'ignore' });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code })));
}
