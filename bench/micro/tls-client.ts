/** The client of tls.ts, a process of its own so that its work is not counted. */

import { once } from 'node:events';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';

export interface ClientTask {
  readonly kind: 'full' | 'resumed' | 'exchange';
  readonly port: number;
  readonly ca: string;
  readonly group: string;
  readonly version: 'TLSv1.2' | 'TLSv1.3';
  readonly count: number;
  readonly concurrency: number;
}

export interface ClientReport {
  /** Bytes of echo that came back. */
  readonly heard: number;
  readonly elapsedMs: number;
}

const message = Buffer.alloc(100, 'x');

process.on('message', (task: ClientTask) => void run(task).then((report) => process.send!(report)));

async function run(task: ClientTask): Promise<ClientReport> {
  const { ca, group, version } = task;
  const context = createSecureContext({ ca, ecdhCurve: group, minVersion: version, maxVersion: version });
  const session = task.kind === 'resumed' ? await firstSession(task, context) : undefined;
  const start = performance.now();
  const shares = Array.from({ length: task.concurrency }, (_, index) =>
    Math.floor((task.count + index) / task.concurrency),
  );
  const heard = await Promise.all(
    shares.map((count) =>
      task.kind === 'exchange' ? exchanges(task, context, count) : handshakes(task, context, session, count),
    ),
  );
  return { heard: heard.reduce((sum, one) => sum + one, 0), elapsedMs: performance.now() - start };
}

async function handshakes(
  task: ClientTask,
  context: SecureContext,
  session: Buffer | undefined,
  count: number,
): Promise<number> {
  let heard = 0;
  for (let index = 0; index < count; index++) {
    const socket = await open(task, context, session);
    if (socket.isSessionReused() !== (task.kind === 'resumed'))
      throw new Error('not the handshake asked for');
    heard += await ask(socket);
    socket.destroy();
  }
  return heard;
}

async function exchanges(task: ClientTask, context: SecureContext, count: number): Promise<number> {
  const socket = await open(task, context, undefined);
  let heard = 0;
  for (let index = 0; index < count; index++) heard += await ask(socket);
  socket.destroy();
  return heard;
}

async function open(
  task: ClientTask,
  context: SecureContext,
  session: Buffer | undefined,
): Promise<TLSSocket> {
  const options = { host: '127.0.0.1', port: task.port, servername: 'localhost', secureContext: context };
  const socket = connect({ ...options, ...(session !== undefined && { session }) });
  socket.setNoDelay(true);
  await once(socket, 'secureConnect');
  return socket;
}

async function ask(socket: TLSSocket): Promise<number> {
  socket.write(message);
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  return bytes.length;
}

async function firstSession(task: ClientTask, context: SecureContext): Promise<Buffer> {
  const socket = await open(task, context, undefined);
  const given = once(socket, 'session') as Promise<[Buffer]>;
  // TLS 1.2 gave it with the handshake already.
  const early = task.version === 'TLSv1.2' ? socket.getSession() : undefined;
  await ask(socket);
  const session = early ?? (await given)[0];
  socket.destroy();
  return session;
}
