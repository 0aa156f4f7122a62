/**
 * Which clients a host lets in is decided by the handshake, and nothing gets around it: no other host's handshake,
 * no plain connection, no ticket of another identity, host, listener or time.
 */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { Authority, temporaryDirectory, type Issued } from '../support/authority.ts';
import { Http1Client, raw } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { listener, route, tls } from '../support/layer7.ts';
import { allSockets, type Portcullis, type Sockets } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { lacks, run } from '../support/tools.ts';

const open = 'open.example.com';
const asking = 'asking.example.com';
const closed = 'closed.example.com';
const vault = 'vault.example.com';
type Version = '-tls1_2' | '-tls1_3';
/** Tickets are the business of contexts that both ways of driving sockets share: one of them shows both versions. */
const versionsOf: Readonly<Record<Sockets, readonly Version[]>> = {
  fast: ['-tls1_2', '-tls1_3'],
  public: ['-tls1_3'],
};

for (const sockets of allSockets) {
  describe(`TLS identity on ${sockets} sockets`, { skip: lacks('openssl'), timeout: 60_000 }, () => {
    const suite = new Suite();
    const versions = versionsOf[sockets];
    const directory = temporaryDirectory();
    const authority = new Authority('identity');
    const identity = authority.issue({ altNames: ['DNS:*.example.com'] });
    const staff = new Authority('staff');
    const guests = new Authority('guests');
    const caFile = join(directory, 'current-ca.pem');
    const client = staff.issue({ subject: '/CN=somebody' });
    let portcullis: Portcullis;

    before(async () => {
      const origin = suite.use(await HttpOrigin.start('http1'));
      copyFileSync(staff.certPath, caFile);
      const plain = 'backend_protocol = "http1"';
      const serve = (name: string, ...lines: readonly string[]): string =>
        route(name, origin.port, tls(identity), plain, ...lines);
      const requires = [`client_ca = "${caFile}"`, 'client_auth = "require"'];
      const routes = [
        serve(open),
        serve(asking, `client_ca = "${caFile}"`, 'client_auth = "request"'),
        serve(closed, ...requires),
        serve(vault, `client_ca = "${guests.certPath}"`, 'client_auth = "require"'),
      ];
      const config =
        listener(['addr = "127.0.0.1:0"', 'protocol = "auto"'], routes) +
        listener(['addr = "127.0.0.2:0"'], [serve(closed), serve(open, ...requires)]);
      portcullis = await suite.portcullis(config, { sockets, server: { workers: 2 } });
    });

    test('a host that requires a certificate is not reached without a good one', async () => {
      const strangers = guests.issue({ subject: '/CN=stranger' });
      const expired = staff.issue({ subject: '/CN=gone', days: -1 });
      for (const version of versions) {
        assert.equal((await visit(version, closed, {})).status, 0);
        assert.equal((await visit(version, closed, { cert: strangers })).status, 0);
        assert.equal((await visit(version, closed, { cert: expired })).status, 0);
        assert.equal((await visit(version, closed, { cert: client })).status, 200);
        assert.equal((await visit(version, asking, {})).status, 200);
        assert.equal((await visit(version, asking, { cert: client })).status, 200);
      }
    });

    test('nor by the handshake of another host: 421', async () => {
      for (const [name, host, cert] of [
        [open, closed, undefined],
        [asking, closed, undefined],
        [asking, closed, client],
        [closed, vault, client],
        [closed, open, client],
      ] as const) {
        const { status } = await visit('-tls1_3', name, { host, ...(cert !== undefined && { cert }) });
        assert.equal(status, 421, `${name} asked for ${host}`);
      }
    });

    test('nor by its name in another spelling', async () => {
      for (const host of [`${closed}.`, closed.toUpperCase(), `${closed}:443`, `http://${closed}`]) {
        const { status } = await visit('-tls1_3', open, { host });
        assert.ok(status === 421 || status === 400, `${host}: ${status}`);
      }
    });

    test('nor by a plain connection to a listener that takes both', async () => {
      const ask = (host: string): Promise<string> =>
        raw(portcullis.port(), `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      assert.match(await ask(closed), /^HTTP\/1\.1 421 /);
      assert.match(await ask(open), /^HTTP\/1\.1 200 /);
      using kept = new Http1Client(portcullis.port(), open);
      await kept.ask();
      assert.equal((await kept.ask({ headers: { host: vault } })).status, 421);
    });

    for (const version of versions) {
      test(`a ticket is good for its own identity alone (${version.slice(1)})`, async () => {
        const ticket = join(directory, `${sockets}${version}`);
        const second = portcullis.port('127.0.0.2:0');
        assert.equal((await visit(version, open, { save: ticket })).isResumed, false);
        assert.ok(existsSync(ticket));
        for (let i = 0; i < 3; i++) {
          const again = await visit(version, open, { ticket });
          assert.ok(again.isResumed, 'both workers resume it');
          assert.equal(again.status, 200);
        }
        // A host that requires a certificate, the same host with other rules on another listener, another one there.
        for (const [name, port] of [
          [closed, portcullis.port()],
          [asking, portcullis.port()],
          [open, second],
        ] as const) {
          const visited = await visit(version, name, { ticket, port });
          assert.equal(visited.isResumed, false, `${name} on ${port}`);
          assert.equal(visited.status, name === asking ? 200 : 0);
        }
      });

      test(`a ticket of a client with a certificate opens no other host (${version.slice(1)})`, async () => {
        const ticket = join(directory, `${sockets}${version}-client`);
        await visit(version, closed, { cert: client, save: ticket });
        const again = await visit(version, closed, { ticket });
        assert.deepEqual([again.isResumed, again.status], [true, 200]);
        const other = await visit(version, vault, { ticket });
        assert.deepEqual([other.isResumed, other.status], [false, 0]);
      });

      test(`nor its own once client_ca has changed (${version.slice(1)})`, async () => {
        const ticket = join(directory, `${sockets}${version}-before`);
        assert.equal((await visit(version, closed, { cert: client, save: ticket })).status, 200);
        assert.ok((await visit(version, closed, { ticket })).isResumed);
        await changeCa(guests, 'refused');
        for (let i = 0; i < 3; i++) {
          const visited = await visit(version, closed, { ticket });
          assert.deepEqual([visited.isResumed, visited.status], [false, 0]);
        }
        // In TLS 1.3 who is refused may have a ticket before that is decided: it is worth nothing either.
        await visit(version, closed, { cert: client, save: ticket });
        assert.equal((await visit(version, closed, { ticket })).status, 0);
        await changeCa(staff, 'served');
      });
    }

    interface Visit {
      /** Asked for; else the server name. */
      readonly host?: string;
      readonly port?: number;
      readonly cert?: Issued;
      readonly ticket?: string;
      readonly save?: string;
    }

    /** One request by openssl. Status 0: no answer. */
    async function visit(
      version: Version,
      name: string,
      { host = name, port = portcullis.port(), cert, ticket, save }: Visit,
    ): Promise<{ isResumed: boolean; status: number }> {
      const address = port === portcullis.port() ? '127.0.0.1' : '127.0.0.2';
      const args = ['s_client', '-connect', `${address}:${port}`, '-servername', name, version, '-ign_eof'];
      if (cert !== undefined) args.push('-cert', cert.certPath, '-key', cert.keyPath);
      if (ticket !== undefined) args.push('-sess_in', ticket);
      if (save !== undefined) args.push('-sess_out', save);
      const request = `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      const { stdout } = await run('openssl', args, request);
      const status = Number(/HTTP\/1\.1 (\d{3}) /.exec(stdout)?.[1] ?? 0);
      return { isResumed: /^Reused, /m.test(stdout), status };
    }

    /** Replaces the file, and waits until each worker has judged a client by it. */
    async function changeCa(ca: Authority, verdict: 'served' | 'refused'): Promise<void> {
      const start = portcullis.connections.length;
      writeFileSync(caFile, ca.cert);
      portcullis.kill('SIGHUP');
      const deadline = performance.now() + 10_000;
      for (const workers = new Set<string>(); workers.size < 2;) {
        assert.ok(performance.now() < deadline, 'the change did not come');
        await visit('-tls1_2', closed, { cert: client });
        for (const line of portcullis.connections.slice(start)) {
          // The number of the worker stands in the middle of the id.
          if (line.sni === closed && line.verdict === verdict) workers.add(line.id.split('-')[1]!);
        }
      }
    }
  });
}
