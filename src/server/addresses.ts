/** Listener addresses before workers bind them: is the address free, and which port does 0 stand for. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { ListenAddress } from '../model/settings.ts';
import { bindServerAlone } from '../net/listen.ts';

/** Descriptors that connections leave to everything else: the log, the store, the admin API. */
const descriptorsReserved = 256;

/** An address could not be bound. The message is for the operator. */
export class AddressError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AddressError';
  }
}

/** Binds the address alone for a moment: a second instance on it is an error now. Answers the port. */
export async function reserveAddress(name: string, { host, port }: ListenAddress): Promise<number> {
  const server = createServer();
  try {
    return await bindServerAlone(server, host, port);
  } catch (error) {
    throw new AddressError(`listener ${name}: ${bindProblem(error)}`, { cause: error });
  } finally {
    server.close();
  }
}

/** Connections in all; 0 in the settings stands for what the descriptors allow. Each takes two, one for either side. */
export function connectionLimit(configured: number): number {
  if (configured !== 0) return configured;
  const limit = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  const descriptors = limit === undefined || limit === 'unlimited' ? 1_048_576 : Number(limit);
  return Math.max(1, Math.floor((descriptors - descriptorsReserved) / 2));
}

function bindProblem(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EADDRINUSE':
      return 'address already in use';
    case 'EACCES':
      return 'permission denied: ports below 1024 need root, CAP_NET_BIND_SERVICE or net.ipv4.ip_unprivileged_port_start';
    case 'EADDRNOTAVAIL':
      return 'this machine does not have that address';
    default:
      return message;
  }
}
