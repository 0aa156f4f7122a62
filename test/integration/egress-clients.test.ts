/**
 * Programs as people run them, through the egress gateway as people run it: each trusts the gateway's authority in its
 * own way, and none knows more. Every connection is opened on the way, and verified on both sides.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { connect as connectHttp2 } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { egressPort, EgressWorld, metric } from '../support/egress.ts';
import { GrpcCall, GrpcOrigin } from '../support/grpc.ts';
import type { Seen } from '../support/http-origin.ts';
import { isRequestLine } from '../support/layer7.ts';
import { allSockets, Portcullis } from '../support/portcullis.ts';
import { lacks, run } from '../support/tools.ts';
import { WebSocketPeer, webSocketHandshake } from '../support/websocket.ts';

let world: EgressWorld;
let through: Portcullis;
before(async () => {
  world = await EgressWorld.start();
  const calls = world.use(await GrpcOrigin.start(world.originCa.issue({ altNames: ['DNS:grpc.test'] })));
  const files = world.use(await FileOrigin.start(world));
  const rewrites = [world.rewrite('grpc.test', calls.port), world.rewrite('git.test', files.port)];
  through = await world.gateway({ tables: rewrites });
});
after(() => world[Symbol.asyncDispose]());

function proxyUrl(): string {
  return `http://127.0.0.1:${egressPort(through)}`;
}

function seenIn(body: string): Seen {
  return JSON.parse(body) as Seen;
}

function fieldNames({ fields }: Seen): string[] {
  return fields.map(([name]) => name);
}

for (const sockets of allSockets) {
  it(
    `curl, on ${sockets} sockets: https by either version, http, and SOCKS5`,
    { skip: lacks('curl') },
    async () => {
      await using gateway = await Portcullis.start(world.config(), { sockets });
      for (const [flag, version] of [
        ['--http1.1', '1.1'],
        ['--http2', '2'],
      ] as const) {
        const answer = await world.curl(gateway, flag, 'https://h2.test/echo');
        assert.deepEqual([answer.status, answer.version], [200, version], answer.stderr);
        assert(fieldNames(seenIn(answer.body)).includes('x-request-id'));
      }
      assert.equal((await world.curl(gateway, 'http://plain.test/echo')).status, 200);
      const socks = `socks5h://127.0.0.1:${egressPort(gateway)}`;
      assert.equal((await world.curl(gateway, '-x', socks, 'https://h2.test/echo')).status, 200);
      assert.equal((await world.curl(gateway, 'https://nobody.test/')).connectStatus, 403);
      const rewritten = await metric(gateway, 'proxy_traffic_total{domain="h2.test",action="REWRITTEN"}');
      assert(rewritten >= 3, String(rewritten));
      assert.equal(await metric(gateway, 'proxy_traffic_total{domain="nobody.test",action="BLOCKED"}'), 1);
    },
  );
}

/** Since curl 8.1. */
function lacksProxyHttp2(): string | false {
  if (lacks('curl') !== false) return lacks('curl');
  const help = execFileSync('curl', ['--help', 'all'], { encoding: 'utf8' });
  return help.includes('--proxy-http2') ? false : 'curl does not know --proxy-http2, which is in 8.1';
}

it('curl over a proxy connection of HTTP/2', { skip: lacksProxyHttp2() }, async () => {
  const identity = world.originCa.issue({ altNames: ['DNS:localhost', 'IP:127.0.0.1'] });
  const listener = [`tls_cert = "${identity.certPath}"`, `tls_key = "${identity.keyPath}"`];
  await using gateway = await Portcullis.start(world.config({ listener }));
  const proxy = ['-x', `https://127.0.0.1:${egressPort(gateway)}`, '--proxy-cacert', world.originCa.certPath];
  const answer = await world.curl(gateway, ...proxy, '--proxy-http2', 'https://h2.test/echo');
  assert.equal(answer.status, 200, answer.stderr);
});

it('Node’s fetch, told by the environment', async () => {
  const script = `const answer = await fetch('https://https.test/echo', { method: 'POST', body: 'abc' });
    console.log(answer.status, (await answer.json()).bodyBytes);`;
  const environment = [`HTTPS_PROXY=${proxyUrl()}`, `NODE_EXTRA_CA_CERTS=${world.caFile}`];
  const node = [process.execPath, '--use-env-proxy', '--input-type=module', '-e', script];
  const { stdout, stderr } = await run('env', [...environment, ...node]);
  assert.equal(stdout, '200 3\n', stderr);
});

it('Python’s standard library, at its strictest', { skip: lacks('python3') }, async () => {
  const script = `
import json, ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
https = urllib.request.HTTPSHandler(context=context)
answer = urllib.request.build_opener(https).open('https://https.test/echo', data=b'abcd')
print(answer.status, json.load(answer)['bodyBytes'])`;
  const python = ['python3', '-c', script, world.caFile];
  const { stdout, stderr } = await run('env', [`https_proxy=${proxyUrl()}`, ...python]);
  assert.equal(stdout, '200 4\n', stderr);
});

it('git lists a repository', { skip: lacks('git') }, async () => {
  const environment = [`HTTPS_PROXY=${proxyUrl()}`, `GIT_SSL_CAINFO=${world.caFile}`];
  const { stdout, stderr } = await run('env', [
    ...environment,
    'git',
    'ls-remote',
    'https://git.test/repo.git',
  ]);
  assert.match(stdout, /^[0-9a-f]{40}\tHEAD\n[0-9a-f]{40}\trefs\/heads\/main\n$/, stderr);
});

it('Java, with a truststore', { skip: lacks('java') || lacks('keytool') }, async () => {
  const store = join(world.folder, 'trust.p12');
  const secret = ['-keystore', store, '-storetype', 'PKCS12', '-storepass', 'changeit'];
  execFileSync('keytool', ['-importcert', '-noprompt', '-alias', 'gate', '-file', world.caFile, ...secret], {
    stdio: 'ignore',
  });
  const source = join(world.folder, 'Get.java');
  writeFileSync(
    source,
    `public class Get {
  public static void main(String[] args) throws Exception {
    var request = java.net.http.HttpRequest.newBuilder(java.net.URI.create("https://h2.test/echo")).build();
    var proxy = java.net.ProxySelector.of(new java.net.InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
    var client = java.net.http.HttpClient.newBuilder().proxy(proxy).build();
    var answer = client.send(request, java.net.http.HttpResponse.BodyHandlers.ofString());
    System.out.println(answer.statusCode() + " " + answer.version());
  }
}`,
  );
  const trust = [`-Djavax.net.ssl.trustStore=${store}`, '-Djavax.net.ssl.trustStorePassword=changeit'];
  const quick = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];
  const { stdout, stderr } = await run('java', [...quick, ...trust, source, String(egressPort(through))]);
  assert.equal(stdout, '200 HTTP_2\n', stderr);
});

it('gRPC, unary and streaming, with trailers', async () => {
  const socket = await world.secured(through, 'grpc.test', ['h2']);
  assert.equal(socket.alpnProtocol, 'h2');
  const session = connectHttp2('https://grpc.test', { createConnection: () => socket });
  const unary = new GrpcCall(session, '/test.Echo/Unary').send('hello').end();
  const streaming = new GrpcCall(session, '/test.Echo/Stream');
  for (const [index, message] of ['one', 'two', 'three'].entries()) {
    streaming.send(message);
    assert.equal(String((await streaming.received(index + 1))[index]), message);
  }
  streaming.end();
  const failing = new GrpcCall(session, '/test.Echo/Fail').end();
  await Promise.all([unary.ended, streaming.ended, failing.ended]);
  assert.deepEqual(unary.messages.map(String), ['hello']);
  assert.deepEqual([unary.status, streaming.status, failing.status], ['0', '0', '5']);
  session.destroy();
});

it('a WebSocket, whose frames pass both ways', async () => {
  const socket = await world.secured(through, 'https.test');
  const { fields, accept } = webSocketHandshake();
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  socket.write(`GET /socket HTTP/1.1\r\nHost: https.test\r\n${lines.join('\r\n')}\r\n\r\n`);
  const [head] = (await once(socket, 'data')) as [Buffer];
  assert.match(head.toString(), /^HTTP\/1\.1 101 /);
  assert(head.includes(accept));
  const peer = new WebSocketPeer(socket, head.subarray(head.indexOf('\r\n\r\n') + 4));
  for (const message of ['text', Buffer.alloc(40_000, 7)]) {
    peer.send(message);
    assert.deepEqual((await peer.next()).payload, Buffer.from(message));
  }
  peer.close(1000);
  assert.equal((await peer.next()).opcode, 8);
  socket.destroy();
  const line = await through.line((each) => isRequestLine(each) && each.path === '/socket');
  assert.equal(line['status'], 101);
});

describe('clients that show who they are', { skip: lacks('curl') }, () => {
  it('by TLS to the proxy and the subject of a certificate', async () => {
    const own = world.originCa.issue({ altNames: ['DNS:localhost', 'IP:127.0.0.1'] });
    const agent = world.originCa.issue({ subject: '/O=Example/CN=agent' });
    const stranger = world.originCa.issue({ subject: '/O=Example/CN=stranger' });
    const pair = [`tls_cert = "${own.certPath}"`, `tls_key = "${own.keyPath}"`];
    const asks = [`client_ca = "${world.originCa.certPath}"`, 'client_auth = "request"'];
    const client = '[[egress.clients]]\nname = "agent"\nsubject = "CN=agent,O=Example"';
    const parts = { listener: [...pair, ...asks], tables: [client], egress: ['allowed_clients = []'] };
    await using gateway = await Portcullis.start(world.config(parts));
    const proxy = ['-x', `https://127.0.0.1:${egressPort(gateway)}`];
    const trust = ['--proxy-cacert', world.originCa.certPath];
    const asked = (...rest: readonly string[]) =>
      world.curl(gateway, ...proxy, ...trust, ...rest, 'https://h2.test/echo');
    const known = await asked('--proxy-cert', agent.certPath, '--proxy-key', agent.keyPath);
    assert.equal(known.status, 200, known.stderr);
    const unknown = await asked('--proxy-cert', stranger.certPath, '--proxy-key', stranger.keyPath);
    assert.equal(unknown.status, 0);
    assert([403, 407].includes(unknown.connectStatus), String(unknown.connectStatus));
    assert([403, 407].includes((await asked()).connectStatus));
  });

  it('by a password whose hash alone is written', async () => {
    const { scryptSync } = await import('node:crypto');
    const salt = Buffer.from('salt-of-sixteen-');
    const hash = scryptSync('s3cret', salt, 32, { N: 1024, r: 8, p: 1 });
    const password = `scrypt$1024$8$1$${salt.toString('base64url')}$${hash.toString('base64url')}`;
    const client = `[[egress.clients]]\nname = "agent"\npassword = "${password}"`;
    const config = world.config({ tables: [client], egress: ['allowed_clients = []'] });
    await using gateway = await Portcullis.start(config);
    const asked = (...rest: readonly string[]) => world.curl(gateway, ...rest, 'https://h2.test/echo');
    const right = await asked('-U', 'agent:s3cret');
    assert.equal(right.status, 200, right.stderr);
    assert(!fieldNames(seenIn(right.body)).includes('proxy-authorization'));
    for (const user of [[], ['-U', 'agent:wrong'], ['-U', 'nobody:s3cret']]) {
      assert.equal((await asked(...user)).connectStatus, 407);
    }
    assert(!gateway.stdout.includes('s3cret'));
  });
});

/** A bare repository, served as plain files: what git calls the dumb protocol. */
class FileOrigin implements AsyncDisposable {
  readonly #server: ReturnType<typeof createServer>;

  static async start({ folder, originCa }: EgressWorld): Promise<FileOrigin> {
    const work = join(folder, 'work');
    mkdirSync(work);
    const git = (...args: readonly string[]): unknown =>
      execFileSync('git', args, { cwd: work, stdio: 'ignore' });
    if (lacks('git') === false) {
      git('init', '-b', 'main');
      const author = ['-c', 'user.name=test', '-c', 'user.email=test@example.com'];
      git(...author, '-c', 'commit.gpgsign=false', 'commit', '--allow-empty', '-m', 'first');
      git('clone', '--bare', work, join(folder, 'repo.git'));
      git('-C', join(folder, 'repo.git'), 'update-server-info');
    }
    const server = createServer(
      { ...originCa.issue({ altNames: ['DNS:git.test'] }) },
      (request, response) => {
        try {
          response.end(readFileSync(join(folder, new URL(request.url!, 'https://git.test').pathname)));
        } catch {
          response.writeHead(404).end();
        }
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new FileOrigin(server);
  }

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
