// Where the backend runs: in the load generator's own loop when they share a core (no context switches between
// the two), as a process of its own when the machine has a third core.

import type { ChildProcess } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
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
    const ports = await freePorts(HOSTNAMES.length);
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

/** Ports that were free a moment ago, all different since they are held together. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(
    servers.map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
