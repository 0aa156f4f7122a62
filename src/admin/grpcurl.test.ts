/** grpcurl as a client that knows no proto file. It comes from `go install`, not from Debian: skipped without. */

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { routeDefaults } from '../model/settings.ts';
import { Authority, Fixture, TemporaryDirectory } from './testing/fixture.ts';

const gobin = process.env['GOBIN'] ?? join(process.env['GOPATH'] ?? join(homedir(), 'go'), 'bin');
const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:${gobin}` };
const isThere = spawnSync('grpcurl', ['-version'], { env }).error === undefined;
const skip = isThere
  ? false
  : 'grpcurl is missing: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest';

async function run(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { env, timeout: 10_000 });
  return stdout;
}

test('scripts written for mc_proxy.v1 run unchanged', { skip }, async () => {
  await using fixture = await Fixture.start();
  const script = join(import.meta.dirname, 'testing/drop-in.sh');
  const output = await run(script, fixture.server.address);
  const { listeners, firewall } = fixture.control.traffic;
  const [listener] = listeners;
  assert.equal(listener?.maxConnections, 500);
  const backend = { kind: 'tcp', host: '10.0.0.5', port: 8443 };
  assert.deepEqual(listener.routes[0], { ...routeDefaults, hostname: 'old.example.com', backend });
  assert.deepEqual(
    listener.routes.slice(1).map(({ hostname, mode, tls, policies }) => [hostname, mode, tls?.key, policies]),
    [['new.example.com', 'l7', '/etc/tls/new.key', [{ type: 'block_user_agent', value: 'BadBot' }]]],
  );
  assert.deepEqual(
    [firewall.blockedIps, firewall.blockedCidrs, firewall.blockedCountries],
    [[], ['198.51.100.0/24'], ['KP']],
  );
  assert.match(output, /"type": "FIREWALL_RULE_TYPE_COUNTRY",\s+"value": "KP"/);
  assert.match(output, /"totalConnections": "1247"/);
});

test('errors arrive with their code, message and field', { skip }, async () => {
  await using fixture = await Fixture.start();
  const body = '{"listener_addr": ":443", "route": {"hostname": "a b", "backend": "10.0.0.1:1"}}';
  const call = run(
    ...(['grpcurl', '-plaintext', '-d', body, fixture.server.address] as const),
    'portcullis.v1.ProxyAdminService/AddRoute',
  );
  await assert.rejects(call, (error: { stderr: string }) => {
    assert.match(error.stderr, /Code: InvalidArgument\s+Message: route.hostname: must be a host name/);
    assert.match(error.stderr, /"field": "route.hostname"/);
    return true;
  });
});

test('over mutual TLS, and over a Unix socket', { skip }, async () => {
  using directory = new TemporaryDirectory();
  const authority = new Authority(directory, 'ca');
  const server = authority.issue('server', '/CN=localhost');
  const client = authority.issue('client', '/CN=ops');
  const tls = { tlsCert: server.cert, tlsKey: server.key, clientCa: authority.certificate };
  const call = 'grpc.health.v1.Health/Check';
  {
    const address = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
    await using fixture = await Fixture.start({ address, ...tls, insecureLoopback: false });
    const shown = ['-cacert', authority.certificate, '-cert', client.cert, '-key', client.key];
    assert.match(await run('grpcurl', ...shown, fixture.server.address, call), /"SERVING"/);
  }
  const path = directory.file('admin.sock');
  const noTls = { tlsCert: null, tlsKey: null, clientCa: null, insecureLoopback: false };
  await using fixture = await Fixture.start({ address: { kind: 'unix', path }, ...noTls });
  assert.match(await run('grpcurl', '-plaintext', '-unix', path, call), /"SERVING"/);
  assert.ok(fixture);
});
