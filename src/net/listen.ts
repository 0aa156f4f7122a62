/** Binding, the same for both transports. */
import type { AddressInfo, Server } from 'node:net';

/** Connections the kernel may hold for us before they are accepted; it cuts this to net.core.somaxconn. */
const backlog = 4096;

/** Binds beside other workers. Answers the port. Rejects with the system's error when the address can not be bound. */
export async function bindServer(server: Server, host: string, port: number): Promise<number> {
  return listenServer(server, { ...hostOption(host), port, backlog, reusePort: true, exclusive: true });
}

/**
 * Binds alone, so that a second instance fails with EADDRINUSE instead of sharing the port. Answers the port:
 * the one chosen by the system when 0 was asked for.
 */
export async function bindServerAlone(server: Server, host: string, port: number): Promise<number> {
  return listenServer(server, { ...hostOption(host), port, exclusive: true });
}

/** Accepts on the listening socket `fd`. Answers its port. */
export async function adoptServer(server: Server, fd: number): Promise<number> {
  return listenServer(server, { fd, exclusive: true });
}

/** Of the listening socket; -1 once it is closed. Node does not promise where it keeps the number. */
export function descriptorOf(server: Server): number {
  return (server as Server & { _handle?: { fd?: number } | null })._handle?.fd ?? -1;
}

/** Without a host, Node binds `::` for both families, or `0.0.0.0` where the machine has no IPv6. */
function hostOption(host: string): { host?: string } {
  return host === '' ? {} : { host };
}

function listenServer(server: Server, options: object): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
