// Where the backend runs: in the load generator's own loop when they share a core (no context switches between
// the two), as a process of its own when the machine has a third core.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { Cores } from './machine.ts';
import type { Processes } from './processes.ts';

/** Hostnames routed to as many backend ports; many, so that a proxy's own ephemeral ports never run out. */
export const HOSTNAMES: readonly string[] = Array.from({ length: 16 }, (_, i) => `app${i}.bench.example`);

export class Backend {
  readonly ports: readonly number[];
  readonly #own: ChildProcess | undefined;

  private constructor(ports: readonly number[], own: ChildProcess | undefined) {
    this.ports = ports;
    this.#own = own;
  }

  static async start(generator: string, cores: Cores, processes: Processes): Promise<Backend> {
    const ports = await reservePorts(generator, HOSTNAMES.length, cores.load, processes);
    if (cores.backend === cores.load) return new Backend(ports, undefined);
    const args = ['--job', 'backend', '--backends', ports.join(',')];
    const own = processes.start(generator, args, { core: cores.backend });
    await new Promise<void>((resolve, reject) => {
      own.stdout?.once('data', () => resolve());
      own.once('exit', () => reject(new Error('the backend did not start')));
    });
    return new Backend(ports, own);
  }

  /** What a load run adds to its arguments when it must host the backend itself. */
  hostArguments(): string[] {
    return this.#own === undefined ? ['--backends', this.ports.join(',')] : [];
  }
}

/** Free ports that stay ours until `processes` ends: between two runs nobody listens, and nobody else may take them. */
export async function reservePorts(
  generator: string,
  count: number,
  core: number,
  processes: Processes,
): Promise<number[]> {
  const holder = processes.start(generator, ['--job', 'reserve', '--connections', String(count)], { core });
  const [line] = (await once(createInterface({ input: holder.stdout! }), 'line')) as [string];
  return line.split(',').map(Number);
}

/** A port that was free a moment ago, for a peer that listens at once. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
