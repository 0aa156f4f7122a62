/** `portcullis status`: what the server is doing now. */

import type { Command } from 'commander';
import type { GetStatusResponse, ListenerStatus } from '../admin/gen/portcullis/v1/admin_pb.ts';
import { declare } from './command.ts';
import { displayWidth, formatUptime, protoMs } from './display.ts';
import { addServerOptions, withServer } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

export function statusCommands(root: Command, shell: Shell): void {
  const status = declare(root, {
    name: 'status',
    summary: 'Say what the server is doing: connections since its start, and each listener.',
    examples: ['portcullis status -c portcullis.toml'],
  }).option('--json', 'the answer of GetStatus');
  addServerOptions(status).action(
    withServer<ServerFlags & { json?: true }>(shell, async (client, { json }) => {
      const answer = await client.getStatus({});
      if (json !== true) return shell.lines(formatStatus(answer));
      const [{ apiJson }, { GetStatusResponseSchema }] = await Promise.all([
        import('./api-json.ts'),
        import('../admin/gen/portcullis/v1/admin_pb.ts'),
      ]);
      shell.json(apiJson(GetStatusResponseSchema, answer));
    }),
  );
}

/** Fixed in form: scripts read it. What is out of the ordinary comes between head and listeners. */
export function formatStatus(status: GetStatusResponse): string[] {
  const { version, uptime, totalConnections, workers, workersServing, draining, listeners } = status;
  const nameWidth = Math.max(0, ...listeners.map(({ addr }) => displayWidth(addr)));
  return [
    `portcullis v${version}`,
    `uptime: ${formatUptime(uptime === undefined ? 0 : protoMs(uptime))}`,
    `connections: ${totalConnections}`,
    ...(workersServing < workers ? [`workers: ${workersServing} of ${workers}`] : []),
    ...(draining ? ['draining: no new connections'] : []),
    ...listeners.map((listener) => formatListener(listener, nameWidth)),
  ];
}

function formatListener(listener: ListenerStatus, nameWidth: number): string {
  const { addr, routeCount, activeConnections, boundPort, kind } = listener;
  const port = addr.endsWith(':0') ? ` port=${boundPort}` : '';
  // An egress listener has no routes: what it serves is told in their place.
  const serves = kind === 'egress' ? 'egress' : `routes=${routeCount}`;
  return `${addr.padEnd(nameWidth)}  ${serves} active=${activeConnections}${port}`;
}
