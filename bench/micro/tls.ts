/**
 * Micro-benchmark of TLS to clients: CPU µs of the server for each full and resumed handshake and each exchange on
 * a kept-alive connection, by the fast way, the public way, and Node's own `tls.Server` in the same run.
 * `scripts/node bench/micro/tls.ts [handshakes]`. The client is a process of its own; the checksum is what it heard.
 */

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type TLSSocket } from 'node:tls';
import type { HostBytes } from '../../src/core/bytes.ts';
import type { Channel, ChannelSink, Transport } from '../../src/net/channel.ts';
import { transports, TlsServer } from '../../src/net/testing/tls-server.ts';
import type { TlsIdentity } from '../../src/net/tls.ts';
import { Authority, type Issued } from '../../test/support/authority.ts';
import type { ClientReport, ClientTask } from './tls-client.ts';

const handshakes = Number(process.argv[2] ?? 2_000);

/** Answers each piece by itself. */
const echo: ChannelSink = {
  onData(channel: Channel, bytes: HostBytes) {
    channel.write(bytes);
  },
  onEnd(channel: Channel) {
    channel.close();
  },
  onDrain() {},
  onError() {},
  onFault(_channel: Channel, error: unknown) {
    throw error;
  },
};

/** Something that serves TLS and echoes. */
interface Subject extends AsyncDisposable {
  readonly name: string;
  readonly port: number;
}

const authority = new Authority('bench');
const leaf = authority.issue();
const client = fork(new URL('tls-client.ts', import.meta.url), {
  execArgv: ['--disable-warning=ExperimentalWarning'],
});
let checksum = 0;

for (const transport of await transports()) await measure(await ours(transport, leaf));
await measure(await nodes(leaf));
client.disconnect();
console.log(`checksum ${checksum}`);

async function measure(subject: Subject): Promise<void> {
  await using served = subject;
  const common = { port: served.port, ca: authority.cert, concurrency: 8 };
  const rows: readonly [string, Omit<ClientTask, keyof typeof common>][] = [
    ['full, P-256', { kind: 'full', count: handshakes, group: 'P-256', version: 'TLSv1.3' }],
    ['full, X25519', { kind: 'full', count: handshakes, group: 'X25519', version: 'TLSv1.3' }],
    [
      'full, X25519MLKEM768',
      { kind: 'full', count: handshakes, group: 'X25519MLKEM768', version: 'TLSv1.3' },
    ],
    ['full, TLS 1.2, P-256', { kind: 'full', count: handshakes, group: 'P-256', version: 'TLSv1.2' }],
    ['resumed, P-256', { kind: 'resumed', count: handshakes, group: 'P-256', version: 'TLSv1.3' }],
    ['resumed, TLS 1.2', { kind: 'resumed', count: handshakes, group: 'P-256', version: 'TLSv1.2' }],
    ['exchange, 100 bytes', { kind: 'exchange', count: handshakes * 10, group: 'P-256', version: 'TLSv1.3' }],
  ];
  for (const [name, task] of rows) {
    await row(`${served.name.padEnd(8)} ${name}`, { ...common, ...task });
  }
}

async function row(name: string, task: ClientTask): Promise<void> {
  await runClient(client, { ...task, count: Math.ceil(task.count / 10) });
  const start = process.cpuUsage();
  const { heard, elapsedMs } = await runClient(client, task);
  const { user, system } = process.cpuUsage(start);
  checksum += heard;
  const cpu = ((user + system) / task.count).toFixed(1).padStart(7);
  const rate = ((task.count / elapsedMs) * 1000).toFixed(0).padStart(7);
  console.log(`${name.padEnd(34)} ${cpu} µs CPU ${rate} /s`);
}

async function runClient(child: ChildProcess, task: ClientTask): Promise<ClientReport> {
  child.send(task);
  const [report] = (await once(child, 'message')) as [ClientReport];
  return report;
}

async function ours(transport: Transport, { cert, key }: Issued): Promise<Subject> {
  const identity: TlsIdentity = {
    ...{ key: 'bench', cert, privateKey: key, clientCa: null },
    ...{ clientAuth: 'none', minVersion: '1.2', alpn: ['h2', 'http/1.1'] },
  };
  const server = await TlsServer.start(transport, identity);
  server.observer = {
    onSecure(channel) {
      channel.sink = echo;
      channel.resume();
    },
    onTlsFailed() {},
    onTlsFault(error) {
      throw error;
    },
  };
  return Object.assign(server, { name: transport.name });
}

async function nodes({ cert, key }: Issued): Promise<Subject> {
  const server = createServer({ cert, key, ALPNProtocols: ['h2', 'http/1.1'] }, (socket: TLSSocket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => socket.write(bytes));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const dispose = async (): Promise<void> => void (await once(server.close(), 'close'));
  return { name: 'node', port, [Symbol.asyncDispose]: dispose };
}
