import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { lacks, run } from '../../test/support/tools.ts';
import type { AdminSettings } from '../model/settings.ts';
import { ProxyAdminService } from './gen/portcullis/v1/admin_pb.ts';
import { Authority, Fixture, TemporaryDirectory } from './testing/fixture.ts';

const skip = lacks('openssl') || lacks('curl');
const path = 'portcullis.v1.ProxyAdminService';

interface Identities {
  readonly directory: TemporaryDirectory;
  readonly servers: Authority;
  readonly clients: Authority;
  readonly settings: AdminSettings;
}

function identities(directory: TemporaryDirectory): Identities {
  const servers = new Authority(directory, 'servers');
  const clients = new Authority(directory, 'clients');
  const { cert, key } = servers.issue('server', '/CN=localhost');
  const settings: AdminSettings = {
    address: { kind: 'tcp', host: '', port: 0 },
    tlsCert: cert,
    tlsKey: key,
    clientCa: clients.certificate,
    insecureLoopback: false,
  };
  return { directory, servers, clients, settings };
}

async function curl(
  fixture: Fixture,
  ca: string,
  identity: { cert: string; key: string } | null,
  ...args: string[]
): Promise<string> {
  const shown = identity === null ? [] : ['--cert', identity.cert, '--key', identity.key];
  const json = ['-H', 'content-type: application/json', '-d', '{"listener_addr":":443"}'];
  const url = `https://localhost:${fixture.port}/${path}/RemoveListener`;
  const { stdout, stderr } = await run('curl', [
    '-sS',
    '-m',
    '5',
    '--cacert',
    ca,
    ...shown,
    ...json,
    ...args,
    url,
  ]);
  return stdout + stderr;
}

test('a client is known by its certificate, over HTTP/1.1 and HTTP/2', { skip }, async () => {
  using directory = new TemporaryDirectory();
  const { servers, clients, settings } = identities(directory);
  await using fixture = await Fixture.start(settings);
  const ops = clients.issue('ops', '/O=Example/CN=ops');
  assert.match(await curl(fixture, servers.certificate, ops, '--http1.1'), /"version":"2"/);
  const transport = createGrpcTransport({
    baseUrl: `https://localhost:${fixture.port}`,
    nodeOptions: {
      ca: readFileSync(servers.certificate),
      cert: readFileSync(ops.cert),
      key: readFileSync(ops.key),
    },
  });
  await createClient(ProxyAdminService, transport).addListener({ listener: { addr: ':444' } });
  assert.deepEqual(
    fixture.control.log.map(({ actor }) => actor),
    ['ops (O=Example, CN=ops)', 'ops (O=Example, CN=ops)'],
  );
});

test('a certificate that is wrong, expired or missing is refused', { skip }, async () => {
  using directory = new TemporaryDirectory();
  const { servers, clients, settings } = identities(directory);
  await using fixture = await Fixture.start(settings);
  const stranger = new Authority(directory, 'strangers').issue('stranger', '/CN=ops');
  const expired = clients.issue('expired', '/CN=ops', -1);
  for (const [identity, reason] of [
    [null, /ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE/],
    [stranger, /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
    [expired, /CERT_HAS_EXPIRED/],
  ] as const) {
    const said = await curl(fixture, servers.certificate, identity);
    assert.match(said, /^curl: /, 'no answer');
    assert.match(fixture.logLines.at(-1)!, reason);
  }
  assert.equal(fixture.control.log.length, 0, 'nothing reached the server');
});

test('names of the certificate are names of the server, others are not', { skip }, async () => {
  using directory = new TemporaryDirectory();
  const { servers, clients, settings } = identities(directory);
  await using fixture = await Fixture.start(settings);
  const ops = clients.issue('ops', '/CN=ops');
  const withHost = (host: string): Promise<string> =>
    curl(fixture, servers.certificate, ops, '-H', `Host: ${host}`);
  assert.match(await withHost('admin.example.com'), /"version"/);
  assert.match(await withHost('evil.example.com'), /permission_denied/);
});

/** The serial number that a new client is shown. */
async function shownName(fixture: Fixture): Promise<string> {
  const socket = connect({ port: fixture.port, host: '127.0.0.1', rejectUnauthorized: false });
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  const subject = socket.getPeerX509Certificate()!.subject;
  socket.on('error', () => undefined).destroy();
  return subject;
}

test('a changed certificate is taken up, and an unusable one is not', { skip }, async () => {
  using directory = new TemporaryDirectory();
  const { servers, settings } = identities(directory);
  await using fixture = await Fixture.start(settings, { reloadIntervalMs: 10 });
  const said = async (pattern: RegExp): Promise<void> => {
    while (!fixture.logLines.some((line) => pattern.test(line)))
      await new Promise((resolve) => setTimeout(resolve, 5));
  };
  assert.equal(await shownName(fixture), 'CN=localhost');

  writeFileSync(settings.tlsCert!, 'half a certifi');
  await said(/unusable; the old one goes on serving/);
  assert.equal(await shownName(fixture), 'CN=localhost');

  const renewed = servers.issue('renewed', '/CN=renewed');
  copyFileSync(renewed.cert, settings.tlsCert!);
  copyFileSync(renewed.key, settings.tlsKey!);
  await said(/admin certificate reloaded/);
  assert.equal(await shownName(fixture), 'CN=renewed');
});

test(
  'a loopback address may ask for no client certificate, and its key may be a variable',
  { skip },
  async () => {
    using directory = new TemporaryDirectory();
    const { servers, settings } = identities(directory);
    const loopback = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
    process.env['PORTCULLIS_TEST_KEY'] = readFileSync(settings.tlsKey!, 'utf8');
    const open = { ...settings, address: loopback, clientCa: null, tlsKey: 'env:PORTCULLIS_TEST_KEY' };
    await using fixture = await Fixture.start(open);
    assert.match(await curl(fixture, servers.certificate, null, '--http2'), /"version"/);
    assert.equal(fixture.control.log[0]?.actor, 'loopback');
    await assert.rejects(
      Fixture.start({ ...open, tlsKey: 'env:PORTCULLIS_TEST_NONE' }),
      /TEST_NONE is not set/,
    );
    const other = servers.issue('other', '/CN=other');
    await assert.rejects(Fixture.start({ ...open, tlsKey: other.key }), /key values mismatch/);
  },
);
