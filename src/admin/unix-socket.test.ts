import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { lacks, run } from '../../test/support/tools.ts';
import type { AdminSettings } from '../model/settings.ts';
import { Fixture, TemporaryDirectory } from './testing/fixture.ts';

function at(path: string): AdminSettings {
  const noTls = { tlsCert: null, tlsKey: null, clientCa: null };
  return { address: { kind: 'unix', path }, ...noTls, insecureLoopback: false };
}

const url = 'http://localhost/portcullis.v1.ProxyAdminService/GetStatus';
const statusCall = ['-sS', '-m', '5', '-H', 'content-type: application/json', '-d', '{}', url];

test('curl speaks JSON over a Unix socket of mode 0600', { skip: lacks('curl') }, async () => {
  using directory = new TemporaryDirectory();
  const path = directory.file('admin.sock');
  {
    await using fixture = await Fixture.start(at(path));
    assert.equal(fixture.server.address, `unix:${path}`);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const { stdout } = await run('curl', ['--unix-socket', path, ...statusCall]);
    assert.equal(JSON.parse(stdout).version, '0.1.0');
  }
  assert.equal(existsSync(path), false, 'the socket file is gone with the server');
});

test(
  'another user is refused by the system',
  { skip: process.getuid?.() === 0 ? lacks('setpriv') : 'needs root' },
  async () => {
    using directory = new TemporaryDirectory();
    chmodSync(directory.path, 0o755);
    const path = directory.file('admin.sock');
    await using fixture = await Fixture.start(at(path));
    const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', 'curl', '--unix-socket', path];
    const refused = await run('setpriv', [...asNobody, ...statusCall]);
    assert.match(refused.stderr, /[Cc]ouldn't connect|[Pp]ermission|Failed to connect/);
    assert.equal(refused.stdout, '');
    chmodSync(path, 0o666);
    const allowed = await run('setpriv', [...asNobody, ...statusCall]);
    assert.match(allowed.stdout, /"version":"0.1.0"/, 'it is the mode that refused');
    assert.ok(fixture);
  },
);

test('a socket that a killed process left is replaced', async () => {
  using directory = new TemporaryDirectory();
  const path = directory.file('admin.sock');
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(existsSync(path), 'the file is left');
  await using fixture = await Fixture.start(at(path));
  assert.equal(fixture.server.address, `unix:${path}`);
});

test('a socket that is answered is left alone, and so is any other file', async () => {
  using directory = new TemporaryDirectory();
  const path = directory.file('admin.sock');
  const other = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => other.listen(path, resolve));
  await assert.rejects(Fixture.start(at(path)), /address already in use: another process listens on/);
  assert.ok(existsSync(path));
  other.close();

  const file = directory.file('notes.txt');
  writeFileSync(file, 'keep me');
  await assert.rejects(Fixture.start(at(file)), /exists and is no socket/);
  assert.ok(existsSync(file));
});
