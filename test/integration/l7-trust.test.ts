/** What a client says of itself, of its method and of its path, and what it wins by saying it in another way. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Authority } from '../support/authority.ts';
import { fieldOf, Http1Client, Http2Client, raw, seenIn } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { isRequestLine, listener, route, tls } from '../support/layer7.ts';
import { Peer } from '../support/peer.ts';
import { Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { lacks } from '../support/tools.ts';

const host = 'app.example.com';
const guarded = 'guarded.example.com';
const plain = 'backend_protocol = "http1"';

describe('trust', { skip: lacks('openssl'), timeout: 60_000 }, () => {
  const suite = new Suite();
  let portcullis: Portcullis;
  let origin: HttpOrigin;
  let guardedOrigin: HttpOrigin;

  before(async () => {
    origin = suite.use(await HttpOrigin.start('http1'));
    guardedOrigin = suite.use(await HttpOrigin.start('http1'));
    const identity = tls(new Authority('trust').issue({ altNames: ['DNS:*.example.com'] }));
    const policies = `policies = [
      { type = "block_user_agent", value = "BadBot" },
      { type = "allow_methods", value = "GET,POST" },
      { type = "require_header", value = "x-key" },
      { type = "max_body", value = "1KiB" },
    ]`;
    const routes = [
      route(
        host,
        origin.port,
        identity,
        plain,
        'request_headers = { set = { x-user = "nobody" }, remove = ["x-role"] }',
      ),
      route(guarded, guardedOrigin.port, identity, plain, policies),
      route(
        guarded,
        guardedOrigin.port,
        identity,
        plain,
        'path_prefix = "/admin"',
        'policies = [{ type = "require_header", value = "x-admin" }]',
      ),
    ];
    portcullis = await suite.portcullis(listener(['addr = "127.0.0.1:0"', 'protocol = "auto"'], routes), {
      server: { workers: 1 },
    });
  });

  test('names with underscores say nothing that the proxy says', async () => {
    const claims = [
      'X_Forwarded_For',
      'X-Forwarded_Proto',
      'x_real_ip',
      'X_User',
      'X_Role',
      'X-Original-URL',
    ];
    const fields = claims.map((name) => `${name}: spoofed\r\n`).join('');
    const answer = await raw(
      portcullis.port(),
      `GET /echo HTTP/1.1\r\nHost: ${host}\r\n${fields}X_Own: kept\r\nConnection: close\r\n\r\n`,
    );
    assert.doesNotMatch(answer, /spoofed/);
    assert.match(answer, /\["x_own","kept"\]/);
    assert.match(answer, /\["x-user","nobody"\]/);
  });

  test('the scheme is that of the connection, whatever the target says', async () => {
    const absolute = `GET https://${host}/echo HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    assert.match(await raw(portcullis.port(), absolute), /\["x-forwarded-proto","http"\]/);
    using client = await Http2Client.connect(portcullis.port(), host);
    const request = client.session.request({ ':path': '/echo', ':authority': host, ':scheme': 'https' });
    let body = '';
    for await (const chunk of request) body += String(chunk);
    assert.match(body, /\["x-forwarded-proto","http"\]/);
    using secure = new Http1Client(portcullis.port(), host, { rejectUnauthorized: false });
    assert.deepEqual(fieldOf(seenIn(await secure.ask()), 'x-forwarded-proto'), ['https']);
  });

  const refusals: Record<string, [fields: string, status: number, line?: string]> = {
    'a second User-Agent': ['User-Agent: nice\r\nUser-Agent: BadBot\r\nX-Key: a\r\n', 403],
    'a field with an underscore for the one required': ['X_Key: a\r\n', 403],
    'an empty field for the one required': ['X-Key: \r\n', 403],
    'the required field, named by Connection': ['X-Key: a\r\nConnection: X-Key\r\n', 403],
    'a method in lower case': ['X-Key: a\r\n', 405, 'get / HTTP/1.1'],
    TRACE: ['X-Key: a\r\n', 405, 'TRACE / HTTP/1.1'],
    'OPTIONS *': ['X-Key: a\r\n', 405, 'OPTIONS * HTTP/1.1'],
    'a method behind X-HTTP-Method-Override': ['X-Key: a\r\nX-HTTP-Method-Override: DELETE\r\n', 405],
    'the same with underscores, in lower case': ['X-Key: a\r\nx_http_method_override: delete\r\n', 405],
    'a policy of another host, by an absolute target': ['', 403, `GET http://${guarded}/ HTTP/1.1`],
    'a large body by its length': ['X-Key: a\r\nContent-Length: 1025\r\n', 413, 'POST / HTTP/1.1'],
    'a large body by chunks': ['X-Key: a\r\nTransfer-Encoding: chunked\r\n', 413, 'POST / HTTP/1.1'],
  };
  for (const [what, [fields, status, line = 'GET / HTTP/1.1']] of Object.entries(refusals)) {
    test(`${what}: ${status}`, async () => {
      const body = line.startsWith('POST') ? `401\r\n${'a'.repeat(1025)}\r\n0\r\n\r\n` : '';
      const close = fields.includes('Connection:') ? '' : 'Connection: close\r\n';
      const request = `${line}\r\nHost: ${guarded}\r\n${fields}${close}\r\n${body}`;
      const answer = await firstLine(request);
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
    });
  }

  for (const path of [
    '/admin',
    '/admin/',
    '//admin',
    '/./admin',
    '/x/../admin',
    '/%61dmin',
    '/admin;a=b',
    '/admin%2fx',
    '/%2e/admin',
    '/x/%2e%2e/admin',
    '/admin?x',
    '/admin%00',
    '/\\admin',
    '/x%2f..%2fadmin',
  ]) {
    test(`${path} does not get around the rules of /admin`, async () => {
      using client = await Http2Client.connect(portcullis.port(), guarded);
      const answer = await client.ask({ path, headers: { 'x-key': 'a' } });
      // What has two readings, of which one is another route's, has none (404).
      assert.ok(answer.status === 403 || answer.status === 404, String(answer.status));
      assert.ok(!guardedOrigin.requests.includes(`GET ${path}`));
    });
  }

  test('plain CONNECT is 405 in both versions', async () => {
    assert.match(
      await firstLine(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`),
      /^HTTP\/1\.1 405 /,
    );
    using client = await Http2Client.connect(portcullis.port(), host);
    const request = client.session.request({ ':method': 'CONNECT', ':authority': `${host}:443` });
    request.on('error', () => undefined);
    const status = await new Promise((resolve) =>
      request.on('response', (fields) => resolve(fields[':status'])),
    );
    assert.equal(status, 405);
  });

  test('Max-Forwards counts down, and 0 goes no further', async () => {
    const ask = (left: string, method = 'OPTIONS'): Promise<string> =>
      raw(
        portcullis.port(),
        `${method} /echo HTTP/1.1\r\nHost: ${host}\r\nMax-Forwards: ${left}\r\nConnection: close\r\n\r\n`,
      );
    assert.match(await ask('3'), /\["max-forwards","2"\]/);
    const count = origin.requests.length;
    assert.match(await ask('0'), /^HTTP\/1\.1 204 /);
    assert.match(await ask('0', 'TRACE'), /^HTTP\/1\.1 405 /);
    assert.match(await ask('-1'), /^HTTP\/1\.1 400 /);
    assert.equal(origin.requests.length, count);
  });

  test('two listeners that point at each other end a request with 508, and start no storm', async () => {
    await using reserved = await HttpOrigin.start('http1');
    const { port } = reserved;
    await reserved[Symbol.asyncDispose]();
    const both =
      listener([`addr = "127.0.0.3:${port}"`, 'protocol = "http"'], [loop('127.0.0.2', port)]) +
      listener([`addr = "127.0.0.2:${port}"`, 'protocol = "http"'], [loop('127.0.0.3', port)]);
    await using looping = await Portcullis.start(both, { server: { workers: 1 } });
    const answer = await raw(
      port,
      `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      '127.0.0.3',
    );
    assert.match(answer, /^HTTP\/1\.1 508 /);
    await looping.until('all lines', () => looping.lines.filter(isRequestLine).length === 3);
  });

  /** Of the answer; the connection may stay open. */
  async function firstLine(request: string): Promise<string> {
    const peer = await Peer.connect(portcullis.port());
    await peer.write(Buffer.from(request, 'latin1'));
    const line = (await peer.read(13)).toString('latin1');
    peer.close();
    return line;
  }
});

function loop(address: string, port: number): string {
  return route(host, port, plain).replace('127.0.0.1', address);
}
