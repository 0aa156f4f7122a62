/** The program in an operator's hands: metrics, log files, signals, and what the service manager is told. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { clientHello } from '../support/hello.ts';
import { Portcullis } from '../support/portcullis.ts';

const traffic = `[[listeners]]
addr = "127.0.0.1:0"
routes = [{ hostname = "a.example", backend = "127.0.0.1:1" }]
`;

function doorOf(portcullis: Portcullis, name: 'metrics' | 'admin'): string {
  const line = portcullis.lines.find(({ msg }) => msg === `${name} HTTP listening`);
  return `http://${String(line!['address'])}`;
}

async function text(url: string): Promise<string> {
  return (await fetch(url)).text();
}

describe('metrics of a running program', () => {
  test('tell what became of connections, dials and workers', async () => {
    await using portcullis = await Portcullis.start(`[metrics]\naddr = "127.0.0.1:0"\n${traffic}`);
    const socket = createConnection(portcullis.port(), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(clientHello('a.example'));
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    await portcullis.line(({ msg }) => msg === 'connection');
    const metrics = await text(`${doorOf(portcullis, 'metrics')}/metrics`);
    for (const line of [
      'portcullis_connections_total{listener="127.0.0.1:0",verdict="failed"} 1',
      'portcullis_dial_errors_total{backend="127.0.0.1:1",reason="dial-refused"} 1',
      'portcullis_connection_duration_seconds_count 1',
      'portcullis_workers{state="serving"} 2',
      'portcullis_config_version 1',
    ]) {
      assert.ok(metrics.includes(`${line}\n`), `${line}\n${metrics}`);
    }
    assert.match(metrics, /^portcullis_worker_heap_bytes\{worker="0"\} [1-9]\d+$/m);
  });

  test('readiness falls before the drain begins, for prestop_grace', async () => {
    await using portcullis = await Portcullis.start(`[metrics]\naddr = "127.0.0.1:0"\n${traffic}`, {
      server: { prestop_grace: '500ms' },
    });
    const url = `${doorOf(portcullis, 'metrics')}/readyz`;
    assert.equal((await fetch(url)).status, 200);
    portcullis.kill('SIGTERM');
    await portcullis.line(({ msg }) => msg.startsWith('leaving'));
    assert.deepEqual([(await fetch(url)).status, await text(url)], [503, 'leaving\n']);
    // Everything is served all the while.
    const socket = createConnection(portcullis.port(), '127.0.0.1');
    await once(socket, 'connect');
    socket.destroy();
    assert.deepEqual(await portcullis.exited, { code: 0, signal: null });
    assert.ok(
      portcullis.lines.findIndex(({ msg }) => msg.startsWith('leaving')) <
        portcullis.lines.findIndex(({ msg }) => msg === 'draining'),
    );
  });
});

describe('the log', () => {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-log-'));
  after(() => rmSync(directory, { recursive: true }));

  test('is a file that SIGUSR2 opens again, and SIGUSR1 opens no inspector', async () => {
    const file = join(directory, 'a.log');
    const config = `[log]\nfile = "${file}"\n[admin]\nhttp_addr = "unix:${directory}/http.sock"\n${traffic}`;
    await using portcullis = Portcullis.launch(config);
    await eventually(() => existsSync(file) && readFileSync(file, 'utf8').includes('"msg":"ready"'));
    assert.equal(portcullis.stdout, '');
    renameSync(file, `${file}.1`);
    portcullis.kill('SIGUSR1');
    portcullis.kill('SIGUSR2');
    await eventually(() => existsSync(file) && readFileSync(file, 'utf8').includes('SIGUSR2'));
    await portcullis.stop();
    assert.match(readFileSync(file, 'utf8'), /"msg":"drained"\}\n$/);
    assert.ok(!portcullis.stderr.includes('Debugger listening'));
  });

  test('changes its level on SIGHUP and through the admin pages', async () => {
    const config = `[admin]\nhttp_addr = "127.0.0.1:0"\n${traffic}`;
    await using portcullis = await Portcullis.start(config);
    writeFileSync(portcullis.configFile, `[log]\nlevel = "warn"\n${config}`);
    portcullis.kill('SIGHUP');
    await portcullis.line(({ msg, to }) => msg === 'log level changed' && to === 'warn');
    const headers = { 'x-portcullis': '1' };
    const admin = doorOf(portcullis, 'admin');
    await fetch(`${admin}/logging?level=debug`, { method: 'POST', headers });
    await portcullis.line(({ msg, to }) => msg === 'log level changed' && to === 'debug');
    assert.equal(
      (JSON.parse(await text(`${admin}/server_info`)) as { log_level: string }).log_level,
      'debug',
    );
  });

  test('a drain that is asked for over HTTP ends the process in order', async () => {
    await using portcullis = await Portcullis.start(`[admin]\nhttp_addr = "127.0.0.1:0"\n${traffic}`);
    await fetch(`${doorOf(portcullis, 'admin')}/drain`, { method: 'POST', headers: { 'x-portcullis': '1' } });
    assert.deepEqual(await portcullis.exited, { code: 0, signal: null });
  });
});

const missing = ['python3', 'systemd-notify'].find(
  (tool) => spawnSync(tool, ['--version']).error !== undefined,
);

describe('the service manager', { skip: missing === undefined ? false : `${missing} is missing` }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-notify-'));
  const socket = join(directory, 'notify.sock');
  let heard = '';
  let receiver: ReturnType<typeof spawn>;

  before(async () => {
    const script = join(import.meta.dirname, '../support/notify_receiver.py');
    receiver = spawn('python3', [script, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    receiver.stdout!.setEncoding('utf8').on('data', (part: string) => (heard += part));
    await eventually(() => heard.includes('listening'));
  });
  after(() => {
    receiver.kill();
    rmSync(directory, { recursive: true });
  });

  test('hears of readiness, signs of life, reloads and the end', async () => {
    await using portcullis = await Portcullis.start(traffic, {
      env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '400000' },
    });
    await eventually(() => heard.includes(`READY=1 MAINPID=${portcullis.pid}`));
    await eventually(() => heard.includes('WATCHDOG=1'));
    portcullis.kill('SIGHUP');
    await eventually(() => /RELOADING=1 MONOTONIC_USEC=\d+/.test(heard) && heard.split('READY=1').length > 2);
    await portcullis.stop();
    assert.match(heard, /STOPPING=1/);
  });
});

async function eventually(isReached: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!isReached()) {
    assert.ok(performance.now() < deadline, 'waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
