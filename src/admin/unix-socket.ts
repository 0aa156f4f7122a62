/**
 * Listening on a Unix socket that only its owner may use. The mode is 0600 from the first moment, by umask: a chmod
 * after bind would leave a gap. A socket file that nobody listens on is what a killed process leaves, and is removed;
 * one that is answered is another server.
 */

import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Server } from 'node:net';

const everythingButOwner = 0o177;

export async function listenUnix(server: Server, path: string): Promise<void> {
  await removeStaleSocket(path);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.once('listening', resolve);
  // listen() binds before it returns, and nothing else of this thread runs in between.
  const before = process.umask(everythingButOwner);
  try {
    server.listen({ path });
  } finally {
    process.umask(before);
  }
  await promise;
  server.off('error', reject);
}

async function removeStaleSocket(path: string): Promise<void> {
  const entry = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (entry === null) return;
  if (!entry.isSocket()) throw new Error(`${path} exists and is no socket`);
  if (await isAnswered(path)) throw new Error(`address already in use: another process listens on ${path}`);
  await unlink(path);
}

/** False only after a refused connect: any other failure leaves the file alone. */
async function isAnswered(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once('connect', () => resolve(true));
  socket.once('error', (error: NodeJS.ErrnoException) =>
    error.code === 'ECONNREFUSED' ? resolve(false) : reject(error),
  );
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
