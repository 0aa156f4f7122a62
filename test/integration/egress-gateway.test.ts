/** The egress gateway with real clients and origins: what it forwards, refuses, rewrites, and never lets through. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { inspect } from 'node:util';
import { after, before, describe, it } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { pemOf } from '../../src/egress/pki/certificate.ts';
import { generateAuthority } from '../../src/egress/pki/generate.ts';
import { ProxyFixture, type FixtureOptions } from '../../src/egress/testing/proxy-fixture.ts';
import { egressSettings, type WrittenSettings } from '../../src/egress/testing/settings.ts';
import { egressDefaults } from '../../src/model/egress-settings.ts';
import { Authority, temporaryDirectory } from '../support/authority.ts';
import { HttpOrigin, type Seen } from '../support/http-origin.ts';
import { lacks, run } from '../support/tools.ts';

const folder = temporaryDirectory();
const originCa = new Authority('origin', folder);
const otherCa = new Authority('other', folder);
const name = { commonName: 'Egress CA', organization: null, country: null };
const proxyCa = generateAuthority(
  { name, algorithm: 'ecdsa-p256', validityDays: 10, pathLength: null, constraints: null, issuer: null },
  Date.now(),
);
const caFile = join(folder, 'egress-ca.pem');
const keyFile = join(folder, 'egress-ca.key');
writeFileSync(caFile, pemOf(proxyCa.certificate.raw));
writeFileSync(keyFile, proxyCa.key.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });

const authority = { kind: 'pem', cert: caFile, key: keyFile } as const;
const outgoing = { ...egressDefaults.outgoing, ca: originCa.certPath };

let origin: HttpOrigin;
let plain: HttpOrigin;
let second: HttpOrigin;
before(async () => {
  const identity = originCa.issue({ altNames: ['DNS:origin.test', 'DNS:*.origin.test'] });
  origin = await HttpOrigin.start('h2', identity);
  second = await HttpOrigin.start('https', identity);
  plain = await HttpOrigin.start('http1');
});
after(() => Promise.all([origin, plain, second].map((each) => each[Symbol.asyncDispose]())));

/** A proxy that knows where `origin.test` and `plain.test` really are. */
function proxy(
  written: WrittenSettings = {},
  rest: Omit<FixtureOptions, 'settings'> = {},
): Promise<ProxyFixture> {
  const settings = egressSettings({
    authority,
    outgoing,
    ...written,
    rewrites: [
      ...(written.rewrites ?? []),
      { pattern: 'origin.test', targetIp: '127.0.0.1', targetPort: origin.port },
      { pattern: '*.origin.test', targetIp: '127.0.0.1', targetPort: origin.port },
      { pattern: 'plain.test', targetIp: '127.0.0.1', targetPort: plain.port },
    ],
  });
  return ProxyFixture.start({ settings, ...rest });
}

interface Curled {
  readonly code: number | null;
  readonly status: number;
  readonly connectStatus: number;
  readonly body: string;
  readonly error: string;
}

async function curl(through: ProxyFixture, ...args: readonly string[]): Promise<Curled> {
  const format = '\\n%{http_code} %{http_connect}';
  const all = ['-sS', '--max-time', '10', '-x', through.url, '--cacert', caFile, '-w', format, ...args];
  const { code, stdout, stderr } = await run('curl', all);
  const [, body = '', status, connectStatus] = /^([^]*)\n(\d+) (\d+)$/.exec(stdout) ?? [];
  return { code, status: Number(status), connectStatus: Number(connectStatus), body, error: stderr };
}

function seen({ body }: { readonly body: string }): Seen {
  return JSON.parse(body) as Seen;
}

function fieldOf({ fields }: Seen, wanted: string): string | undefined {
  return fields.find(([name]) => name === wanted)?.[1];
}

/** Sends `text` on a new connection and answers everything until the proxy closes it, or `enough` has come. */
function converse(port: number, text: string, enough = /^$/): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text, 'latin1'));
    let got = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      got += chunk;
      if (enough.test(got)) socket.destroy();
    });
    socket.on('close', () => resolve(got));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' ? resolve(got) : reject(error),
    );
  });
}

/** A tunnel to `authority`, open. */
function tunnel(port: number, authority: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`),
    );
    socket.once('error', reject);
    socket.once('data', (head) => {
      if (head.toString().startsWith('HTTP/1.1 200')) resolve(socket);
      else reject(new Error(head.toString()));
    });
  });
}

function secured(socket: Socket, servername: string, ALPNProtocols: string[] = []): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const options = { socket, servername, ALPNProtocols, ca: readFileSync(caFile) };
    const tls = connectTls(options, () => resolve(tls));
    tls.once('error', reject);
  });
}

/** Sends a request and answers the whole response to it. */
function ask(socket: Duplex, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let got = '';
    const onData = (chunk: Buffer): void => {
      got += chunk.toString('latin1');
      const head = got.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = /\r\ncontent-length: (\d+)/i.exec(got.slice(0, head));
      const isChunked = /\r\ntransfer-encoding: chunked/i.test(got.slice(0, head));
      const isWhole =
        length !== null
          ? got.length >= head + 4 + Number(length[1])
          : isChunked && got.endsWith('\r\n0\r\n\r\n');
      if (!isWhole) return;
      socket.off('data', onData);
      resolve(got);
    };
    socket.on('data', onData).once('close', () => reject(new Error(`closed after ${got}`)));
    socket.write(text, 'latin1');
  });
}

describe('curl through the proxy', { skip: lacks('curl') }, () => {
  it('reads https with the proxy’s CA, over HTTP/2 and HTTP/1.1', async () => {
    await using through = await proxy();
    for (const version of ['--http2', '--http1.1']) {
      const answer = await curl(through, version, 'https://origin.test/echo');
      assert.equal(answer.status, 200, answer.error);
      const request = seen(answer);
      assert.match(fieldOf(request, 'x-request-id') ?? '', /^[\w.-]{8,}$/);
      assert.match(fieldOf(request, 'via') ?? '', /portcullis-test/);
    }
    const actions = through.judged.map(({ verdict, method }) => `${method} ${verdict.action}`);
    assert.deepEqual(actions, ['CONNECT REWRITTEN', 'GET REWRITTEN', 'CONNECT REWRITTEN', 'GET REWRITTEN']);
    assert.deepEqual(through.faults, []);
  });

  it('reads plain http in absolute form', async () => {
    await using through = await proxy();
    const answer = await curl(through, 'http://plain.test/echo?a=b');
    assert.equal(answer.status, 200, answer.error);
    assert.equal(seen(answer).target, '/echo?a=b');
    assert.equal(fieldOf(seen(answer), 'proxy-connection'), undefined);
  });

  it('uploads and downloads through MITM', async () => {
    await using through = await proxy();
    const file = join(folder, 'upload');
    writeFileSync(file, Buffer.alloc(3_000_000, 'x'));
    const up = await curl(through, '-T', file, 'https://origin.test/echo');
    assert.equal(seen(up).bodyBytes, 3_000_000);
    const down = await curl(through, 'https://origin.test/bytes/5000000');
    assert.equal(down.body.length, 5_000_000);
  });

  it('goes through SOCKS5 on the same port', async () => {
    await using through = await proxy();
    const answer = await curl(
      through,
      '-x',
      `socks5h://127.0.0.1:${through.port}`,
      'https://origin.test/echo',
    );
    assert.equal(answer.status, 200, answer.error);
    const blocked = await curl(through, '-x', `socks5h://127.0.0.1:${through.port}`, 'https://evil.test/');
    assert.notEqual(blocked.code, 0);
    assert.equal(through.judged.at(-1)!.verdict.action, 'BLOCKED');
  });

  it('is refused with a page that names the rule’s reason', async () => {
    await using through = await proxy({ blacklist: ['evil.test'] });
    const plainly = await curl(through, 'http://evil.test/');
    assert.equal(plainly.status, 403);
    assert.match(plainly.body, /host-blacklisted/);
    assert.equal((await curl(through, 'https://evil.test/')).connectStatus, 403);
    assert.equal((await curl(through, 'http://other.test/')).status, 403);
  });

  it('passes pinned hosts through, their own certificate and all', async () => {
    await using through = await proxy({ passthrough: ['origin.test'] });
    const pinned = await curl(through, '--cacert', originCa.certPath, 'https://origin.test/echo');
    assert.equal(pinned.status, 200, pinned.error);
    assert.equal((await curl(through, 'https://origin.test/echo')).code, 60);
    assert.equal(through.judged[0]!.verdict.action, 'PASSTHROUGH');
  });

  it('relays without a CA, where no rule wants to look inside', async () => {
    await using through = await proxy({ authority: null });
    const answer = await curl(through, '--cacert', originCa.certPath, 'https://origin.test/echo');
    assert.equal(answer.status, 200, answer.error);
    through.adopt(
      egressSettings({ whitelist: [{ pattern: 'origin.test', methods: ['GET'] }], authority: null }),
    );
    assert.equal((await curl(through, 'https://origin.test/echo')).connectStatus, 502);
  });

  it('shows its credentials, and then has rules of its own', async () => {
    const client = { name: 'agent', password: null, secret: 'env:PW', subject: null };
    const rest = { environment: { PW: 's3cret' } };
    const whitelist = [{ pattern: 'nothing.test', clients: ['agent'] }];
    await using through = await proxy({ clients: [client], allowedClients: [], whitelist }, rest);
    assert.equal((await curl(through, 'http://plain.test/echo')).status, 407);
    assert.equal((await curl(through, '-U', 'agent:wrong', 'https://origin.test/echo')).connectStatus, 407);
    const right = await curl(through, '-U', 'agent:s3cret', 'https://origin.test/echo');
    assert.equal(right.status, 200, right.error);
    assert.equal(fieldOf(seen(right), 'proxy-authorization'), undefined);
    assert.equal(through.judged.at(-1)!.clientName, 'agent');
    const socks = `socks5h://agent:s3cret@127.0.0.1:${through.port}`;
    assert.equal((await curl(through, '-x', socks, 'https://origin.test/echo')).status, 200);
  });

  it('is no open proxy', async () => {
    await using through = await proxy({ allowedClients: ['192.0.2.0/24'] });
    assert.equal((await curl(through, 'http://plain.test/echo')).status, 403);
    assert.equal((await curl(through, 'https://origin.test/echo')).connectStatus, 403);
    assert.notEqual(
      (await curl(through, '-x', `socks5h://127.0.0.1:${through.port}`, 'https://origin.test/')).code,
      0,
    );
    assert.equal(through.judged.length, 0);
  });
});

describe('upstream certificates', { skip: lacks('curl') }, () => {
  async function through(identity: Parameters<Authority['issue']>[0], issuer = originCa, crl = false) {
    const issued = issuer.issue(identity);
    await using bad = await HttpOrigin.start('https', issued);
    const path = join(folder, 'revoked.pem');
    if (crl) writeFileSync(path, originCa.revocationList(issued));
    await using via = await proxy({
      outgoing: { ...outgoing, crl: crl ? path : null },
      rewrites: [{ pattern: 'bad.test', targetIp: '127.0.0.1', targetPort: bad.port }],
    });
    return await curl(via, 'https://bad.test/echo');
  }

  const good = { altNames: ['DNS:bad.test'] };
  for (const [what, ask, expected] of [
    ['expired', () => through({ ...good, days: -1 }), /EXPIRED/],
    ['for another host', () => through({ altNames: ['DNS:other.test'] }), /ALTNAME|HOST|NAME/i],
    ['of an unknown CA', () => through(good, otherCa), /ISSUER|SELF_SIGNED|VERIFY/],
    ['revoked', () => through(good, originCa, true), /REVOKED/],
  ] as const) {
    it(`${what}: a 502 page that names it`, async () => {
      const answer = await ask();
      assert.equal(answer.status, 502);
      assert.match(answer.body, /^upstream-tls-failed: /);
      assert.match(answer.body, expected);
    });
  }

  it('is verified whatever the environment of the process says', async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      assert.equal((await through(good, otherCa)).status, 502);
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    }
  });

  it('is not looked at where a rewrite says insecure, and only there', async () => {
    await using bad = await HttpOrigin.start('https', otherCa.issue(good));
    const place = { targetIp: '127.0.0.1', targetPort: bad.port };
    await using via = await proxy({
      rewrites: [
        { pattern: 'lax.test', ...place, insecure: true },
        { pattern: 'strict.test', ...place },
      ],
    });
    assert.equal((await curl(via, 'https://lax.test/echo')).status, 200);
    assert.equal((await curl(via, 'https://strict.test/echo')).status, 502);
  });
});

describe('regressions of others', { skip: lacks('curl') }, () => {
  it('the pool key holds the rewrite: two rules for one host never share a connection', async () => {
    await using through = await proxy({
      rewrites: [
        {
          pattern: 'origin.test',
          pathPattern: '^/echo\\?second',
          targetIp: '127.0.0.1',
          targetPort: second.port,
        },
      ],
    });
    const socket = await secured(await tunnel(through.port, 'origin.test:443'), 'origin.test');
    const before = second.requests.length;
    const paths = ['/echo?first', '/echo?second', '/echo?first', '/echo?second'];
    for (const path of paths) {
      await ask(socket, `GET ${path} HTTP/1.1\r\nHost: origin.test\r\n\r\n`);
    }
    socket.destroy();
    assert.equal(second.requests.length - before, 2);
    await through.until(() => through.connections.length > 0);
  });

  it('an injected Host is not lost, and target_scheme takes its own port', async () => {
    await using through = await proxy({
      rewrites: [
        {
          pattern: 'headers.test',
          targetIp: '127.0.0.1',
          targetPort: plain.port,
          targetScheme: 'http',
          headers: [
            ['host', 'inside.example:8080'],
            ['x-proxy-source', 'egress-gateway'],
          ],
          dropHeaders: ['x-secret'],
        },
      ],
    });
    const answer = await curl(through, '-H', 'X-Secret: 1', 'https://headers.test/echo');
    assert.equal(answer.status, 200, answer.error);
    assert.equal(fieldOf(seen(answer), 'host'), 'inside.example:8080');
    assert.equal(fieldOf(seen(answer), 'x-proxy-source'), 'egress-gateway');
    assert.equal(fieldOf(seen(answer), 'x-secret'), undefined);
  });

  it('HTTPS_PROXY in the proxy’s own environment changes nothing', async () => {
    process.env['HTTPS_PROXY'] = 'http://127.0.0.1:1';
    process.env['https_proxy'] = 'http://127.0.0.1:1';
    try {
      await using through = await proxy();
      assert.equal((await curl(through, 'https://origin.test/echo')).status, 200);
    } finally {
      delete process.env['HTTPS_PROXY'];
      delete process.env['https_proxy'];
    }
  });

  it('a client that offers strange protocols by ALPN gets HTTP/1.1 and no alert', async () => {
    await using through = await proxy();
    const socket = await secured(await tunnel(through.port, 'origin.test:443'), 'origin.test', [
      'spdy/3.1',
      'grpc-exp',
    ]);
    socket.write('GET /echo HTTP/1.1\r\nHost: origin.test\r\n\r\n');
    const head = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
    assert.match(head.toString(), /^HTTP\/1\.1 200/);
    socket.destroy();
  });
});

describe('one target, decided once', () => {
  it('a request inside a tunnel that names another gets 421, before any rule is asked', async () => {
    await using through = await proxy({ blacklist: ['evil.test'] });
    const socket = await secured(await tunnel(through.port, 'origin.test:443'), 'origin.test');
    const judgedBefore = through.judged.length;
    for (const request of [
      'GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: origin.test:8443\r\n\r\n',
      'GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n',
      'GET https://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n',
    ]) {
      assert.match(await ask(socket, request), /^HTTP\/1\.1 421/, request);
    }
    assert.equal(through.judged.length, judgedBefore);
    assert.match(
      await ask(socket, 'GET /echo HTTP/1.1\r\nHost: ORIGIN.test.:443\r\n\r\n'),
      /^HTTP\/1\.1 200/,
    );
    socket.destroy();
  });

  it('each request inside is judged again, by the rules of that moment', async () => {
    await using through = await proxy();
    const socket = await secured(await tunnel(through.port, 'origin.test:443'), 'origin.test');
    assert.match(await ask(socket, 'GET /echo HTTP/1.1\r\nHost: origin.test\r\n\r\n'), /^HTTP\/1\.1 200/);
    through.adopt(egressSettings({ authority, blacklist: ['origin.test'] }));
    assert.match(await ask(socket, 'GET /echo HTTP/1.1\r\nHost: origin.test\r\n\r\n'), /^HTTP\/1\.1 403/);
    socket.destroy();
  });

  it('a tunnel whose hello names another host, or none, or is no hello, is closed', async () => {
    await using through = await proxy({ passthrough: ['pass.origin.test'] });
    for (const host of ['origin.test', 'pass.origin.test']) {
      await assert.rejects(
        tunnel(through.port, `${host}:443`).then((socket) => secured(socket, 'evil.test')),
      );
      await assert.rejects(tunnel(through.port, `${host}:443`).then((socket) => secured(socket, '')));
      const socket = await tunnel(through.port, `${host}:443`);
      socket.write('SSH-2.0-x\r\n');
      await new Promise((resolve) => socket.on('error', resolve).on('close', resolve));
    }
    await through.until(() => through.connections.length === 6);
    assert.deepEqual(new Set(through.connections.map(({ reason }) => reason)), new Set(['sni-mismatch']));
  });

  it('allow_raw lets a rule carry what is no TLS', async () => {
    await using through = await proxy({
      passthrough: [{ pattern: 'plain.test', allowRaw: true, ports: [80] }],
    });
    const socket = await tunnel(through.port, 'plain.test:80');
    assert.match(
      await ask(socket, 'GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1\.1 200/,
    );
    socket.destroy();
  });
});

describe('the network behind the proxy', () => {
  const everything: WrittenSettings = { defaultPolicy: 'ALLOW', connectPorts: [443, 22, 80] };

  for (const host of [
    '127.0.0.1',
    '2130706433',
    '0x7f.1',
    '127.1',
    '017700000001',
    '0.0.0.0',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[2002:7f00:1::]',
    '[64:ff9b::7f00:1]',
    '169.254.169.254',
    '[fd00:ec2::254]',
    '10.0.0.1',
    'localhost',
    'localhost.',
    'LOCALHOST',
    'sub.localhost',
  ]) {
    it(`does not reach ${host}, by request or tunnel`, async () => {
      await using through = await proxy(everything);
      const asked = await converse(
        through.port,
        `GET http://${host}:${plain.port}/echo HTTP/1.1\r\nHost: ${host}:${plain.port}\r\nConnection: close\r\n\r\n`,
      );
      assert.match(asked, /^HTTP\/1\.1 40[03] /, asked);
      through.adopt(egressSettings({ ...everything, authority: null }));
      const tunnelled = await converse(
        through.port,
        `CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\nConnection: close\r\n\r\n`,
      );
      assert.match(tunnelled, /^HTTP\/1\.1 40[03] /, tunnelled);
    });
  }

  it('and never itself, though a rewrite says so', async () => {
    await using through = await proxy();
    through.adopt(
      egressSettings({
        rewrites: [{ pattern: 'loop.test', targetIp: '127.0.0.1', targetPort: through.port }],
      }),
    );
    const answer = await converse(
      through.port,
      'GET http://loop.test/ HTTP/1.1\r\nHost: loop.test\r\nConnection: close\r\n\r\n',
    );
    assert.match(answer, /^HTTP\/1\.1 403 [^]*own-listener/);
  });

  it('is not reached by a redirect to the metadata address: the client’s next request is judged like any other', async () => {
    await using through = await proxy(everything);
    const answer = await converse(
      through.port,
      'GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n',
    );
    assert.match(answer, /^HTTP\/1\.1 403 [^]*metadata/);
  });
});

describe('smuggling and leaks', () => {
  it('a secret is added inside TLS, never in the clear, and never told back by TRACE', async () => {
    const credential = {
      pathPattern: null,
      clients: [],
      header: 'authorization',
      prefix: 'Bearer ',
      secret: 'env:TOKEN',
    };
    const credentials = [
      { ...credential, pattern: 'origin.test' },
      { ...credential, pattern: 'plain.test' },
    ];
    await using through = await proxy({ credentials }, { environment: { TOKEN: 'hunter2' } });
    const settings = egressSettings({
      authority,
      outgoing,
      credentials,
      rewrites: [
        { pattern: 'origin.test', targetIp: '127.0.0.1', targetPort: origin.port },
        { pattern: 'plain.test', targetIp: '127.0.0.1', targetPort: plain.port },
      ],
    });
    through.adopt(settings, { TOKEN: 'hunter2' });
    const socket = await secured(await tunnel(through.port, 'origin.test:443'), 'origin.test');
    assert.match(
      await ask(socket, 'GET /echo HTTP/1.1\r\nHost: origin.test\r\nAuthorization: mine\r\n\r\n'),
      /Bearer hunter2/,
    );
    assert.match(await ask(socket, 'TRACE /echo HTTP/1.1\r\nHost: origin.test\r\n\r\n'), /^HTTP\/1\.1 405/);
    socket.destroy();
    const clear = await converse(
      through.port,
      'GET http://plain.test/echo HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n\r\n',
    );
    assert.match(clear, /^HTTP\/1\.1 200/);
    assert(!clear.includes('hunter2'));
    assert(!inspect([through.judged, through.requests], { depth: 6 }).includes('hunter2'));
  });

  it('a request with two lengths inside a tunnel is refused', async () => {
    await using through = await proxy();
    const socket = await secured(await tunnel(through.port, 'origin.test:443'), 'origin.test');
    assert.match(
      await ask(
        socket,
        'POST /echo HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n',
      ),
      /^HTTP\/1\.1 400/,
    );
    socket.destroy();
  });

  it('an answer that is cut off never looks complete', async () => {
    await using through = await proxy();
    const answer = await curl(through, '--http1.1', 'https://origin.test/reset/1000');
    assert.notEqual(answer.code, 0);
  });
});

describe('CONNECT over HTTP/2', () => {
  it('opens tunnels on streams of one connection', async () => {
    await using through = await proxy();
    const session = connectHttp2(through.url);
    const answers = await Promise.all(
      ['a.origin.test', 'b.origin.test'].map(async (host) => {
        const stream = session.request({ ':method': 'CONNECT', ':authority': `${host}:443` });
        const headers = await new Promise<Record<string, unknown>>((resolve) =>
          stream.once('response', (received) => resolve(received)),
        );
        assert.equal(headers[':status'], 200);
        const socket = await secured(stream as unknown as Socket, host);
        socket.write(`GET /echo HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
        const answer = String(await new Promise((resolve) => socket.once('data', resolve)));
        socket.destroy();
        return answer;
      }),
    );
    for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 200/);
    session.close();
    await through.until(
      () => through.requests.filter(({ record }) => record.method === 'CONNECT').length === 2,
    );
    assert.deepEqual(through.faults, []);
  });

  it('refuses what it may not open with 403', async () => {
    await using through = await proxy();
    const session = connectHttp2(through.url);
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'evil.test:443' });
    const status = await new Promise((resolve) =>
      stream.once('response', (headers) => resolve(headers[':status'])),
    );
    assert.equal(status, 403);
    stream.close();
    session.close();
  });
});
