/** Routing by server name, with openssl and curl as clients and openssl as backends. Nothing is decrypted on the way. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { clientHello, fragmentedHello, namelessHello, postQuantumHello } from '../support/hello.ts';
import { Peer, PeerServer } from '../support/peer.ts';
import { allSockets, Portcullis, type Sockets } from '../support/portcullis.ts';
import { caFile, Daemon, lacks, run, startTlsBackend } from '../support/tools.ts';

for (const sockets of allSockets) {
  describe(`routing on ${sockets} sockets`, () => {
    describe('real TLS', { skip: lacks('openssl') }, () => realTls(sockets));
    describe('names', () => names(sockets));
    describe('hellos', () => hellos(sockets));
  });
}

function realTls(sockets: Sockets): void {
  const stack = new AsyncDisposableStack();
  let directory: string;
  let portcullis: Portcullis;

  before(async () => {
    directory = mkdtempSync('/tmp/pc-');
    // openssl s_server accepts no path longer than 26 characters.
    const unixPath = join(directory, 'app');
    const backends = await Promise.all([
      startTlsBackend('app', ['-accept', '127.0.0.1:0']),
      startTlsBackend('api', ['-accept', '[::1]:0']),
      startTlsBackend('app', ['-unix', unixPath]),
      startTlsBackend('app', ['-accept', '127.0.0.1:0'], ['-www']),
    ]);
    for (const { daemon } of backends) stack.use(daemon);
    const [app, api, , web] = backends;
    const routes = `
      routes = [
        { hostname = "app.example.com", backend = "127.0.0.1:${app.port}" },
        { hostname = "api.example.com", backend = "[::1]:${api.port}" },
        { hostname = "unix.app.example.com", backend = "unix:${unixPath}" },
        { hostname = "name.app.example.com", backend = "localhost:${app.port}" },
        { hostname = "web.app.example.com", backend = "127.0.0.1:${web.port}" },
      ]`;
    portcullis = stack.use(
      await Portcullis.start(
        `[[listeners]]\naddr = "127.0.0.1:0"${routes}\n[[listeners]]\naddr = "[::1]:0"${routes}`,
        { sockets },
      ),
    );
  });
  after(async () => {
    await stack.disposeAsync();
    rmSync(directory, { recursive: true });
  });

  /** Sends a line through a TLS session, whose certificate is verified, and waits for its answer. */
  async function converse(name: string, version: string, listener: string): Promise<void> {
    const host = listener.startsWith('[') ? '[::1]' : '127.0.0.1';
    await using client = Daemon.start('openssl', [
      ...['s_client', '-connect', `${host}:${portcullis.port(listener)}`, version, '-servername', name],
      ...['-CAfile', caFile, '-verify_return_error', '-verify_hostname', name, '-quiet'],
    ]);
    client.process.stdin!.write('portcullis\n');
    await client.says(/^silluctrop$/m);
    assert.match(client.output, /verify return:1/);
  }

  const reachable = {
    'app.example.com': 'IPv4',
    'api.example.com': 'IPv6',
    'unix.app.example.com': 'a Unix socket',
    'name.app.example.com': 'a DNS name',
  };
  for (const version of ['-tls1_2', '-tls1_3'] as const) {
    for (const listener of ['127.0.0.1:0', '[::1]:0']) {
      for (const [name, kind] of Object.entries(reachable)) {
        test(`${version.slice(1)} from ${listener} to ${kind}`, () => converse(name, version, listener));
      }
    }
  }

  test('curl fetches a page over TLS 1.2 and 1.3', { skip: lacks('curl') }, async () => {
    for (const version of ['--tls-max 1.2', '--tlsv1.3']) {
      const name = 'web.app.example.com';
      const { code, stdout, stderr } = await run('curl', [
        ...['-sS', '--noproxy', '*', '--cacert', caFile, ...version.split(' ')],
        ...['--resolve', `${name}:${portcullis.port()}:127.0.0.1`, `https://${name}:${portcullis.port()}/`],
      ]);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /TLSv1\.[23]/);
    }
  });

  test('the log names client, route and backend, and counts the bytes', async () => {
    const line = await portcullis.line((each) => each['sni'] === 'api.example.com');
    assert.equal(line['verdict'], 'served');
    assert.match(String(line['route']), /api\.example\.com/);
    assert.match(String(line['backend']), /^\[::1\]:\d+$/);
    assert.ok(Number(line['bytes_in']) > 200);
    assert.ok(Number(line['bytes_out']) > 500);
  });
}

/** Which of the backends a name reaches, told by the one that accepts. */
function names(sockets: Sockets): void {
  const stack = new AsyncDisposableStack();
  let portcullis: Portcullis;

  before(async () => {
    const answering = async (text: string): Promise<number> => {
      const server = await PeerServer.start({}, (peer) => peer.end(text));
      return stack.use(server).port;
    };
    portcullis = stack.use(
      await Portcullis.start(
        `
        [[listeners]]
        addr = "127.0.0.1:0"
        routes = [
          { hostname = "exact.example.com", backend = "127.0.0.1:${await answering('exact')}" },
          { hostname = "*.example.com", backend = "127.0.0.1:${await answering('wildcard')}" },
          { hostname = "*.deep.example.com", backend = "127.0.0.1:${await answering('longer wildcard')}" },
        ]
        [[listeners]]
        addr = "127.0.0.2:0"
        default_backend = "127.0.0.1:${await answering('default')}"
        routes = [{ hostname = "exact.example.com", backend = "127.0.0.1:${await answering('exact')}" }]
        `,
        { sockets },
      ),
    );
  });
  after(() => stack.disposeAsync());

  async function reached(hello: Buffer, listener = '127.0.0.1:0'): Promise<string> {
    const client = await Peer.connect(portcullis.port(listener), { host: listener.slice(0, -2) });
    client.end(hello);
    const answer = await client.readToEnd();
    return answer.length > 0 ? answer.toString() : client.closed;
  }

  const expected = {
    'exact.example.com': 'exact',
    'EXACT.Example.COM': 'exact',
    'other.example.com': 'wildcard',
    'a.b.example.com': 'wildcard',
    'a.DEEP.example.com': 'longer wildcard',
    'deep.example.com': 'wildcard',
  };
  for (const [name, backend] of Object.entries(expected)) {
    test(`${name} reaches the ${backend} backend`, async () => {
      assert.equal(await reached(clientHello(name)), backend);
    });
  }

  test('without a match or a name the default backend serves', async () => {
    assert.equal(await reached(clientHello('exact.example.com'), '127.0.0.2:0'), 'exact');
    assert.equal(await reached(clientHello('unknown.test'), '127.0.0.2:0'), 'default');
    assert.equal(await reached(namelessHello(), '127.0.0.2:0'), 'default');
  });

  const refusals = {
    'no-route': clientHello('example.com'),
    'no-sni': namelessHello(),
    'not-tls': Buffer.from('GET / HTTP/1.1\r\nHost: exact.example.com\r\n\r\n'),
    'hello-malformed': Buffer.from('16030100050100000100', 'hex'),
    'hello-incomplete': clientHello('exact.example.com').subarray(0, 100),
  };
  for (const [reason, hello] of Object.entries(refusals)) {
    test(`is reset with the reason ${reason}`, async () => {
      const client = await Peer.connect(portcullis.port());
      client.end(hello);
      assert.equal(await client.closed, 'ECONNRESET');
      const line = await portcullis.connection(client.address);
      assert.deepEqual([line.verdict, line.reason], ['refused', reason]);
    });
  }

  test('a hello beyond 16 KiB is refused before it is complete', async () => {
    const client = await Peer.connect(portcullis.port());
    const record = Buffer.concat([Buffer.from('1603014000010100', 'hex'), Buffer.alloc(16380)]);
    client.write(Buffer.concat([record, record])).catch(() => undefined);
    assert.equal(await client.closed, 'ECONNRESET');
    assert.match((await portcullis.connection(client.address)).reason, /^hello-(oversized|malformed)$/);
  });
}

/** However a hello is cut, the backend receives it byte for byte. */
function hellos(sockets: Sockets): void {
  const stack = new AsyncDisposableStack();
  let backend: PeerServer;
  let portcullis: Portcullis;

  before(async () => {
    backend = stack.use(await PeerServer.start());
    portcullis = stack.use(
      await Portcullis.start(
        `[[listeners]]
        addr = "127.0.0.1:0"
        routes = [{ hostname = "a.example", backend = "127.0.0.1:${backend.port}" }]`,
        { sockets },
      ),
    );
  });
  after(() => stack.disposeAsync());

  async function replayed(hello: Buffer, send: (client: Peer) => Promise<unknown>): Promise<void> {
    const client = await Peer.connect(portcullis.port());
    await send(client);
    const upstream = await backend.next();
    assert.deepEqual(await upstream.read(hello.length), hello);
    upstream.end('answer');
    client.end();
    assert.equal((await client.readToEnd()).toString(), 'answer');
    assert.deepEqual(await upstream.readToEnd(), Buffer.alloc(0));
    const line = await portcullis.connection(client.address);
    assert.deepEqual([line.bytes_in, line.bytes_out], [hello.length, 6]);
  }

  test('in one piece', () => {
    const hello = clientHello('a.example');
    return replayed(hello, (client) => client.write(hello));
  });

  test('with a post-quantum key share', () => {
    const hello = postQuantumHello('a.example');
    assert.ok(hello.length > 1460);
    return replayed(hello, (client) => client.write(hello));
  });

  test('in records of seven bytes', () => {
    const hello = fragmentedHello('a.example', 7);
    return replayed(hello, (client) => client.write(hello));
  });

  test('byte by byte', () => {
    const hello = clientHello('a.example');
    return replayed(hello, (client) => trickle(client, hello));
  });

  test('in one-byte records, byte by byte', () => {
    const hello = fragmentedHello('a.example', 1);
    return replayed(hello, (client) => trickle(client, hello));
  });

  async function trickle(client: Peer, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; at++) await client.write(bytes.subarray(at, at + 1));
  }
}
