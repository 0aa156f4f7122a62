/**
 * An address that swallows connections: a listener whose accept queue is full and that never accepts, so that the
 * kernel drops every further SYN. A stopped process holds it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Blackhole extends AsyncDisposable {
  readonly port: number;
}

const source = `
require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
  require('node:fs').writeSync(1, this.address().port + '\\n');
  process.kill(process.pid, 'SIGSTOP');
});`;

/** Longer than a connect over loopback ever takes while there is room in the queue. */
const hangsMs = 150;

export async function startBlackhole(): Promise<Blackhole> {
  const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const [text] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(text.toString());
  const fillers: Socket[] = [];
  do fillers.push(connect(port, '127.0.0.1').on('error', () => undefined));
  while (await connects(fillers.at(-1)!));
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const filler of fillers) filler.destroy();
      process.off('exit', kill);
      kill();
      await once(child, 'close');
    },
  };
}

function connects(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), hangsMs);
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}
