/** Short connections that ask for a name and see what becomes of them, on one worker or on each. */
import assert from 'node:assert/strict';
import type { NetConnectOpts } from 'node:net';
import { clientHello } from './hello.ts';
import { Peer } from './peer.ts';
import type { ConnectionLine, Portcullis } from './portcullis.ts';

/** What backends of these tests answer each connection with. */
export const greeting = 'served';

export interface Visit {
  /** `127.0.0.1:4711`. */
  readonly client: string;
  /** What the backend said, or how the connection ended without. */
  readonly outcome: string;
}

export async function visit(
  port: number,
  name: string,
  options: Partial<NetConnectOpts> = {},
): Promise<Visit> {
  const peer = await Peer.connect(port, options);
  peer.end(clientHello(name));
  const answer = await peer.readToEnd();
  const outcome = answer.length > 0 ? answer.toString() : await peer.closed;
  return { client: peer.address, outcome };
}

/** Visits until each of two workers has answered, and demands the same of every visit. The first go out at once. */
export async function visitEveryWorker(
  portcullis: Portcullis,
  name: string,
  expected: 'served' | 'no-route',
  port: number = portcullis.port(),
): Promise<void> {
  const workers = new Set<string>();
  const outcome = expected === 'served' ? greeting : 'ECONNRESET';
  for (let round = 0; workers.size < 2; round++) {
    assert.ok(round < 50, 'one worker gets every connection');
    const before = portcullis.lines.length;
    const visits = await Promise.all([0, 1, 2, 3].map(() => visit(port, name)));
    for (const { client, outcome: actual } of visits) {
      const line = await lineAfter(portcullis, before, client);
      assert.equal(actual, outcome, `${name}: ${JSON.stringify(line)}`);
      if (expected === 'no-route') assert.equal(line.reason, 'no-route');
      workers.add(workerOf(line.id));
    }
  }
}

/** `1` of `td5x5u-1.2-8f`: the worker's number, whichever thread has it. */
export function workerOf(connectionId: string): string {
  return /^[^-]+-(\d+)/.exec(connectionId)![1]!;
}

/** Ports come round again: only lines from `start` on count. */
async function lineAfter(portcullis: Portcullis, start: number, client: string): Promise<ConnectionLine> {
  let next = start;
  let found: ConnectionLine | undefined;
  await portcullis.until(`the line of ${client}`, () => {
    while (found === undefined && next < portcullis.lines.length) {
      const line = portcullis.lines[next++]!;
      if (line.msg === 'connection' && line['client'] === client) found = line as ConnectionLine;
    }
    return found !== undefined;
  });
  return found!;
}
