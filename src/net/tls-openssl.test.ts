/** `openssl s_client` as the client: another implementation of the state machine than Node's glue, if not of TLS. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Authority, temporaryDirectory } from '../../test/support/authority.ts';
import { Daemon, lacks } from '../../test/support/tools.ts';
import type { Transport } from './channel.ts';
import { TlsServer, transports, type Conversation } from './testing/tls-server.ts';
import type { TlsIdentity } from './tls.ts';

const skip = lacks('openssl');
const authority = skip === false ? new Authority('openssl') : undefined!;
const leaf = skip === false ? authority.issue() : undefined!;
const client = skip === false ? authority.issue({ subject: '/CN=alice' }) : undefined!;

function identity(key: string): TlsIdentity {
  return {
    ...{ key, cert: leaf.cert, privateKey: leaf.key, clientCa: authority.cert },
    ...{ clientAuth: 'request', minVersion: '1.2', alpn: ['h2', 'http/1.1'] },
  };
}

function dial(server: TlsServer, ...args: string[]): Daemon {
  const trust = ['-CAfile', authority.certPath, '-verify_return_error', '-servername', 'localhost'];
  return Daemon.start('openssl', ['s_client', '-connect', `127.0.0.1:${server.port}`, ...trust, ...args]);
}

/** Says hello both ways. */
async function greet(it: Conversation, daemon: Daemon): Promise<void> {
  it.say('hello from the server\n');
  await daemon.says(/hello from the server/);
  daemon.process.stdin!.write('hello from the client\n');
  await it.until(() => it.text.includes('hello from the client'));
}

if (skip === false)
  for (const transport of await transports()) describe(transport.name, () => suite(transport));
else test('openssl s_client', { skip }, () => undefined);

function suite(transport: Transport): void {
  for (const version of ['-tls1_2', '-tls1_3']) {
    test(`${version}: a conversation by ALPN, a session in another worker, and none under another identity`, async () => {
      await using one = await TlsServer.start(transport, identity('a'));
      await using two = await TlsServer.start(transport, identity('a'));
      const session = join(temporaryDirectory(), 'session.pem');
      {
        await using daemon = dial(one, version, '-alpn', 'http/1.1', '-sess_out', session);
        const it = await one.outcomes.secure();
        assert.equal(it.facts?.alpn, 'http/1.1');
        await greet(it, daemon);
        it.channel.close();
        await daemon.ended;
        assert.match(daemon.output, /Verification: OK|Verify return code: 0/);
        assert.doesNotMatch(daemon.output, /unexpected eof/);
      }
      for (const [key, isResumed] of [
        ['a', true],
        ['b', false],
      ] as const) {
        two.identity = identity(key);
        await using daemon = dial(two, version, '-sess_in', session);
        const it = await two.outcomes.secure();
        assert.equal(it.facts?.isResumed, isResumed);
        await greet(it, daemon);
        assert.match(daemon.output, isResumed ? /Reused, / : /New, /);
        it.channel.close();
      }
    });

    test(`${version}: a certificate of the client, and its key updates`, async () => {
      await using server = await TlsServer.start(transport, identity('a'));
      await using daemon = dial(server, version, '-cert', client.certPath, '-key', client.keyPath);
      const it = await server.outcomes.secure();
      assert.equal(it.facts?.clientSubject, 'CN=alice');
      await greet(it, daemon);
      // s_client's commands: K asks both sides for new keys, R for a new handshake, which nobody gets.
      // It eats what comes in one read with the command.
      const [command, done] = version === '-tls1_3' ? ['K\n', /KEYUPDATE/] : ['R\n', /RENEGOTIATING/];
      daemon.process.stdin!.write(command);
      await daemon.says(done);
      daemon.process.stdin!.write('after\n');
      if (version === '-tls1_3') {
        await it.until(() => it.text.includes('after'));
        assert.equal(it.error, null);
      } else {
        await it.until(() => it.hasEnded || it.error !== null);
        assert.doesNotMatch(it.text, /after/);
      }
      it.channel.close();
    });
  }

  test('versions and ciphers of the past get an alert', async () => {
    await using server = await TlsServer.start(transport, identity('a'));
    const past = [
      ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'],
      ['-tls1_2', '-cipher', 'AES128-SHA:@SECLEVEL=0'],
      ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA'],
    ];
    for (const args of past) {
      await using daemon = dial(server, ...args);
      assert.equal((await server.outcomes.failure()).reason, 'tls-handshake-failed');
      await daemon.ended;
      assert.match(daemon.output, /alert (protocol version|handshake failure)/);
    }
  });
}
