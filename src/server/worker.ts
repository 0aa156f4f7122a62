/**
 * A data-plane worker: a thread with an event loop, a transport, and a gate of its own.
 *
 * It decides nothing about its own life: it says when it is ready, drains when told, and ends when it is empty.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../core/errors.ts';
import { RateTable } from '../core/rate-table.ts';
import { SharedCounters } from '../core/shared-counters.ts';
import { SharedGauges } from '../core/shared-gauges.ts';
import { Firewall } from '../firewall/firewall.ts';
import { Gate } from '../gate/gate.ts';
import { Ingress } from '../ingress/ingress.ts';
import type { ServerSettings } from '../model/settings.ts';
import { buildSnapshot } from '../model/snapshot.ts';
import type { Acceptor, Transport } from '../net/channel.ts';
import { FastTransport } from '../net/fast-transport.ts';
import { loadNative } from '../net/native.ts';
import { Network } from '../net/network.ts';
import { PublicTransport } from '../net/public-transport.ts';
import { Resolver } from '../net/resolver.ts';
import { BatchingLogOutput } from '../telemetry/batching-log-output.ts';
import { ConnectionLog } from '../telemetry/connection-log.ts';
import { createLogger } from '../telemetry/logger.ts';
import type { Binding, FromWorker, ToWorker, WorkerStart } from './messages.ts';

/** Turns of the event loop that a drain waits for the kernel's accept queue to run empty. */
const acceptTurnsMax = 10_000;

class DataPlane {
  readonly #start: WorkerStart;
  readonly #output: BatchingLogOutput;
  readonly #gate: Gate;
  readonly #network: Network;
  readonly #rates: RateTable | null;
  readonly #acceptors: Acceptor[] = [];
  #accepted = 0;

  constructor(start: WorkerStart, transport: Transport) {
    this.#start = start;
    this.#output = new BatchingLogOutput(start.logPort);
    this.#rates = start.rateTable === null ? null : new RateTable(start.rateTable, start.worker);
    this.#network = new Network(transport, new Resolver());
    const slots = new Map(start.bindings.map((binding) => [binding.listener, binding.slot]));
    const snapshot = buildSnapshot(start.version, start.traffic, {
      hashSeed: start.hashSeed,
      geoip: start.geoip,
    });
    const ingress = new Ingress();
    this.#gate = new Gate(
      {
        network: this.#network,
        gauges: new SharedGauges(start.gauges, start.worker),
        counters: new SharedCounters(start.counters, start.worker),
        log: new ConnectionLog(this.#output, start.logLevel),
        logger: createLogger({
          level: start.logLevel,
          output: this.#output,
          bindings: { worker: start.worker },
        }),
        server: start.server,
        connectionsMax: start.connectionsMax,
        idPrefix: start.idPrefix,
        slotOf: (listener) => slots.get(listener)!,
      },
      ingress,
      snapshot,
      new Firewall(snapshot.firewall, this.#rates),
    );
    ingress.gate = this.#gate;
  }

  async listen(): Promise<void> {
    for (const binding of this.#start.bindings) this.#acceptors.push(await this.#bind(binding));
  }

  onMessage(message: ToWorker): void {
    switch (message.kind) {
      case 'drain':
        void this.#drain();
        break;
      case 'abort':
        this.#gate.abortAll('drained');
        break;
      case 'geoip':
        this.#adoptGeoip(message.database);
        break;
    }
  }

  #bind({ listener, host, port }: Binding): Promise<Acceptor> {
    return this.#network.transport.listen(host, port, (channel) => {
      this.#accepted++;
      this.#gate.accept(listener, channel);
    });
  }

  /**
   * What the kernel has accepted for us is a connection to the client already: closing the socket would reset
   * it. So the queue is emptied first: it is empty once a whole turn of the loop has accepted nothing.
   */
  async #drain(): Promise<void> {
    let before = -1;
    for (let turn = 0; turn < acceptTurnsMax && before !== this.#accepted; turn++) {
      before = this.#accepted;
      await loopTurn();
    }
    for (const acceptor of this.#acceptors) acceptor.close();
    this.#gate.onIdle = () => this.#leave();
    if (this.#gate.live === 0) this.#leave();
  }

  #leave(): void {
    this.#gate.onIdle = null;
    this.#output.flush();
    this.#network.close();
    send({ kind: 'drained' });
    parentPort!.close();
    // The log port stays open until the supervisor has read it and closes it.
  }

  #adoptGeoip(database: SharedArrayBuffer): void {
    const { snapshot, firewall } = this.#gate;
    const next = { ...snapshot, firewall: { ...snapshot.firewall, geoip: database } };
    this.#gate.adopt(next, new Firewall(next.firewall, this.#rates, firewall));
  }
}

async function chooseTransport(
  sockets: ServerSettings['sockets'],
): Promise<{ transport: Transport; note: string | null }> {
  if (sockets === 'public') return { transport: new PublicTransport(), note: null };
  const native = await loadNative();
  if (typeof native !== 'string') return { transport: new FastTransport(native), note: null };
  if (sockets === 'fast') throw new Error(`server.sockets is "fast", but ${native}`);
  return { transport: new PublicTransport(), note: native };
}

function loopTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

function send(message: FromWorker): void {
  parentPort!.postMessage(message);
}

async function main(): Promise<void> {
  assert(parentPort !== null, 'a worker is started by the supervisor');
  const start = workerData as WorkerStart;
  try {
    const { transport, note } = await chooseTransport(start.server.sockets);
    const plane = new DataPlane(start, transport);
    await plane.listen();
    parentPort.on('message', (message: ToWorker) => plane.onMessage(message));
    send({ kind: 'ready', transport: transport.name, note });
  } catch (error) {
    send({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
    parentPort.close();
  }
}

await main();
