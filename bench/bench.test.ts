// Keeps the bench alive: tiny jobs through Portcullis in every test run, with every byte accounted for.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { Backend, HOSTNAMES } from './backend.ts';
import { clientHello } from './client-hello.ts';
import { compileGenerator, Load, type Job } from './load.ts';
import { allowedCores, isInstalled } from './machine.ts';
import { PEERS, startPeer, type RunningPeer } from './peers.ts';
import { Processes } from './processes.ts';

const missing = isInstalled('gcc') ? false : 'gcc is missing: apt-get install gcc libc6-dev';

test('OpenSSL reads the canned hello and finds its hostname', async () => {
  const named = Promise.withResolvers<string>();
  const server = createServer({
    SNICallback: (hostname, answer) => {
      named.resolve(hostname);
      answer(new Error('enough seen'));
    },
  });
  server.on('tlsClientError', (error) => named.reject(error));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(clientHello(HOSTNAMES[7]!));
  assert.equal(await named.promise, HOSTNAMES[7]);
  assert.equal(clientHello(HOSTNAMES[7]!).length, 517);
  socket.destroy();
  server.close();
});

describe('a tiny bench through Portcullis', { skip: missing }, () => {
  const processes = new Processes();
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-bench-test-'));
  const [first, second = first] = allowedCores() as [number, number?];
  const cores = { proxy: first, load: second, backend: second };
  const killAll = (): void => processes.killAllNow();
  let load: Load;
  let proxy: RunningPeer;

  before(async () => {
    process.once('exit', killAll);
    const generator = compileGenerator(directory);
    const backend = await Backend.start(generator, cores, processes);
    load = new Load(generator, directory, backend, cores, processes);
    const place = { directory, core: cores.proxy, backendPorts: backend.ports, processes };
    proxy = await startPeer(PEERS[0]!, place);
  });

  after(async () => {
    await processes.endAll();
    process.off('exit', killAll);
    rmSync(directory, { recursive: true, force: true });
  });

  const tiny = { seconds: 0.15, warmupSeconds: 0, verify: true } as const;
  const jobs: Job[] = [
    { kind: 'download', connections: 2, transferBytes: 1_000_003, ...tiny },
    { kind: 'upload', connections: 2, transferBytes: 1_000_003, ...tiny },
    { kind: 'exchange', connections: 8, ...tiny },
    { kind: 'connection', connections: 8, ...tiny },
  ];
  for (const job of jobs) {
    test(`${job.kind}: the bytes that arrive are the bytes that were sent`, async () => {
      const proxied = await load.run(proxy.target, job);
      assert.ok(proxied.units > 0, 'nothing was done');
      assert.equal(proxied.failures, 0);
      assert.ok(proxied.proxyCpuNs > 0, 'the proxy had no part in it');
      const direct = await load.run(load.directTarget(), job);
      if (job.kind === 'download') {
        const perTransfer = direct.checksum / direct.units;
        assert.equal(proxied.checksum / proxied.units, perTransfer);
      }
    });
  }
});
