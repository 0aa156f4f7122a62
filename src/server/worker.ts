/**
 * A data-plane worker: a thread with an event loop, a transport, and a gate of its own.
 *
 * It decides nothing about its own life: it says when it is ready, takes each version when told, drains when
 * told, and ends when it is empty.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../core/errors.ts';
import type { ServerSettings } from '../model/settings.ts';
import type { Transport } from '../net/channel.ts';
import { FastTransport } from '../net/fast-transport.ts';
import { loadNative } from '../net/native.ts';
import { PublicTransport } from '../net/public-transport.ts';
import { DataPlane } from './data-plane.ts';
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts';

async function chooseTransport(
  sockets: ServerSettings['sockets'],
): Promise<{ transport: Transport; note: string | null }> {
  if (sockets === 'public') return { transport: new PublicTransport(), note: null };
  const native = await loadNative();
  if (typeof native !== 'string') return { transport: new FastTransport(native), note: null };
  if (sockets === 'fast') throw new Error(`server.sockets is "fast", but ${native}`);
  return { transport: new PublicTransport(), note: native };
}

async function onMessage(plane: DataPlane, message: ToWorker): Promise<void> {
  switch (message.kind) {
    case 'prepare':
      return send({ kind: 'prepared', problem: await plane.prepare(message.bindings) });
    case 'discard':
      return plane.discard();
    case 'publish': {
      const { version } = message.publication;
      return send({ kind: 'published', version, disconnected: await plane.publish(message.publication) });
    }
    case 'geoip':
      return plane.adoptGeoip(message.database);
    case 'settings':
      return plane.adoptSettings(message.server, message.http);
    case 'sockets':
      return send({ kind: 'sockets', sockets: plane.sockets() });
    case 'log-level':
      return plane.setLogLevel(message.level);
    case 'egress':
      return plane.adoptEgress(message.materials);
    case 'watch':
      return plane.watch(message.isOn);
    case 'drain':
      await plane.drain();
      send({ kind: 'drained' });
      // The log port stays open: the supervisor closes it when it has read everything.
      return parentPort!.close();
    case 'abort':
      return plane.abort();
  }
}

function send(message: FromWorker): void {
  parentPort!.postMessage(message);
}

async function main(): Promise<void> {
  assert(parentPort !== null, 'a worker is started by the supervisor');
  const start = workerData as WorkerStart;
  try {
    const { transport, note } = await chooseTransport(start.server.sockets);
    const plane = new DataPlane(start, transport, send);
    await plane.listen(start.bindings);
    // What this rejects with is a fault of ours that leaves the worker's state in doubt: it ends the worker.
    parentPort.on('message', (message: ToWorker) => void onMessage(plane, message));
    send({ kind: 'ready', transport: transport.name, note });
  } catch (error) {
    send({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
    parentPort.close();
  }
}

await main();
