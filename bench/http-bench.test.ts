// Keeps the HTTP bench alive: its canned heads mean what they should, and tiny jobs run with every byte accounted for.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { HOSTNAMES } from './backend.ts';
import { requestRecords, type HeadSet } from './canned-heads.ts';
import { connectPortOf, EGRESS_PEERS, startEgressPeer } from './egress-peers.ts';
import { headSet } from './head-sets.ts';
import { HttpLoad, type HttpJob } from './http-load.ts';
import { certificate, HTTP_PEERS, startHttpPeer, type HttpSetup } from './http-peers.ts';
import { compileGenerator } from './load.ts';
import { allowedCores, isInstalled } from './machine.ts';
import type { Peer, PeerName, RunningPeer } from './peers.ts';
import { Processes } from './processes.ts';

test('an HTTP/2 server reads the first canned block and those that refer to it', async () => {
  const set = headSet('realistic', 'http', 0, 128);
  const seen: IncomingHttpHeaders[] = [];
  const all = Promise.withResolvers<void>();
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    seen.push(headers);
    stream.respond({ ':status': 204 }, { endStream: true });
    if (seen.length === 3) all.resolve();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const blocks = recordsOf(requestRecords(set, 2, ['app.bench.example'])).slice(0, 3);
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1'));
  for (const [i, block] of blocks.entries()) socket.write(headersFrame(block, 1 + 2 * i));
  await all.promise;
  socket.destroy();
  server.close();
  for (const [i, headers] of seen.entries())
    assert.deepEqual(Object.fromEntries(Object.entries(headers)), expectedOf(set, i - 1));
});

const missing = isInstalled('gcc')
  ? isInstalled('openssl')
    ? false
    : 'libssl-dev is missing: apt-get install libssl-dev'
  : 'gcc is missing: apt-get install gcc libc6-dev';

describe('a tiny HTTP bench', { skip: missing }, () => {
  const processes = new Processes();
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-bench-test-'));
  const [first, second = first] = allowedCores() as [number, number?];
  const cores = { proxy: first, load: second, backend: second };
  const killAll = (): void => processes.killAllNow();
  const running = new Map<string, RunningPeer>();
  let load: HttpLoad;

  before(async () => {
    process.once('exit', killAll);
    load = await HttpLoad.start(compileGenerator(directory), directory, cores, processes);
  });

  after(async () => {
    await processes.endAll();
    process.off('exit', killAll);
    rmSync(directory, { recursive: true, force: true });
  });

  const tiny = { seconds: 0.1, warmupSeconds: 0.05, verify: true } as const;
  const http1: HttpJob = {
    ...{ kind: 'request', version: 1, tls: false, backendVersion: 1, connections: 8, streams: 1 },
    ...{ heads: 'small', requestBytes: 0, responseBytes: 128, ...tiny },
  };
  const http2: HttpJob = { ...http1, version: 2, backendVersion: 2, connections: 2, streams: 8 };
  const https: HttpJob = { ...http1, tls: true, connections: 16 };
  const jobs: Record<string, HttpJob> = {
    'HTTP/1.1': http1,
    'HTTP/1.1 with realistic heads': { ...http1, heads: 'realistic' },
    'a download': { ...http1, connections: 2, responseBytes: 1_000_003 },
    'an upload': { ...http1, connections: 2, requestBytes: 1_000_003 },
    h2c: http2,
    'h2c with realistic heads': { ...http2, heads: 'realistic' },
    'gRPC at a rate': { ...http2, kind: 'latency', heads: 'grpc', requestBytes: 100, rate: 500 },
    'HTTPS kept alive': https,
    'full handshakes': { ...https, kind: 'connection' },
    'resumed handshakes': { ...https, kind: 'resumed' },
    'h2 over TLS to HTTP/1.1': { ...http2, tls: true, backendVersion: 1 },
  };

  for (const [what, job] of Object.entries(jobs)) {
    const canBeDirect = !job.tls && job.version === job.backendVersion;
    test(`${what}: every answer is what the backend sent`, { skip: !canBeDirect }, async () => {
      const result = await load.run(load.directTarget(job.backendVersion), job);
      assert.equal(result.failures, 0);
    });
    for (const name of ['portcullis', 'haproxy'] as const) {
      test(`${what} through ${name}`, { skip: lacks(name) }, () => through(name, job));
    }
  }

  test('egress opens what is kept alive, and hosts that it never saw', async () => {
    const [peer] = EGRESS_PEERS as readonly [Peer];
    const backendPort = load.backendPorts[1];
    const place = { directory, core: cores.proxy, backendPorts: [], processes };
    const proxy = await startEgressPeer(peer, { mode: 'mitm', backendPort }, place);
    const opened: HttpJob = {
      ...https,
      connectPort: connectPortOf(peer, backendPort),
      backendTls: certificate(directory).pem,
    };
    const kept = await load.run(proxy.target, opened);
    const fresh = await load.run(proxy.target, { ...opened, kind: 'fresh', connections: 2, count: 4 });
    assert.deepEqual([kept.failures, fresh.failures], [0, 0]);
    assert.ok(fresh.units >= 4 || fresh.seconds >= opened.seconds);
    assert.ok(fresh.p50Us > 0, 'nothing was timed');
  });

  async function through(name: PeerName, job: HttpJob): Promise<void> {
    const { tls, version: clientVersion, backendVersion } = job;
    const backendPort = load.backendPorts[backendVersion];
    const proxy = await proxyOf(name, { tls, clientVersion, backendVersion, backendPort });
    const result = await load.run(proxy.target, job);
    assert.equal(result.failures, 0);
    assert.ok(result.proxyCpuNs > 0, 'the proxy had no part in it');
  }

  /** One of each kind serves all jobs. */
  async function proxyOf(name: PeerName, setup: HttpSetup): Promise<RunningPeer> {
    const key = JSON.stringify([name, setup]);
    const peer = HTTP_PEERS.find((each) => each.name === name)!;
    const place = { directory, core: cores.proxy, backendPorts: [], processes };
    const proxy = running.get(key) ?? (await startHttpPeer(peer, setup, place));
    running.set(key, proxy);
    return proxy;
  }

  test('all names of the bench take turns', () => {
    const records = recordsOf(requestRecords(headSet('small', 'http', 0, 0), 1, HOSTNAMES));
    assert.equal(records.length, 2 * HOSTNAMES.length);
    assert.match(
      records[HOSTNAMES.length + 3]!.toString(),
      /^GET \/ HTTP\/1\.1\r\nHost: app3\.bench\.example\r\n/,
    );
  });
});

function lacks(name: 'haproxy' | 'portcullis'): string | false {
  if (name === 'portcullis' || isInstalled(name)) return false;
  return `${name} is missing: apt-get install ${name}`;
}

function recordsOf(file: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < file.length;) {
    const end = at + 4 + file.readUInt32LE(at);
    records.push(file.subarray(at + 4, end));
    at = end;
  }
  return records;
}

function headersFrame(block: Buffer, id: number): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(block.length, 0, 3);
  head.writeUInt8(1, 3); // HEADERS
  head.writeUInt8(5, 4); // END_STREAM, END_HEADERS
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, block]);
}

function expectedOf(set: HeadSet, round: number): Record<string, string> {
  const fields = set.request.map(([name, value]) => [name, typeof value === 'string' ? value : value(round)]);
  return { ...Object.fromEntries(fields), ':authority': 'app.bench.example' };
}
