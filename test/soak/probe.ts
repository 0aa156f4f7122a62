/**
 * A look inside the program under test, and a hand on its workers. Loaded into every thread of an unchanged
 * `portcullis serve` by `NODE_OPTIONS=--import`; the main thread answers on the Unix socket that SOAK_PROBE
 * names, one JSON line for each it is sent. See vitals.ts for the other end.
 *
 * What is counted after a collection is what is still reachable: an object that a finished connection left behind.
 */
import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { queryObjects } from 'node:v8';
import { BroadcastChannel, isMainThread, threadName } from 'node:worker_threads';

export type Order =
  | { readonly kind: 'vitals' }
  /** `how`: the end of a thread by its own hand, or by an error that nobody caught. */
  | { readonly kind: 'crash'; readonly thread: string; readonly how: 'exit' | 'throw' }
  | { readonly kind: 'freeze'; readonly thread: string; readonly forMs: number };

export interface ThreadVitals {
  readonly thread: string;
  /** Timers of Node.js. */
  readonly timers: number;
  readonly heapBytes: number;
  /** Outside the heap, buffers among them. */
  readonly externalBytes: number;
  /** Living instances by class; classes of the data path in its threads alone. */
  readonly objects: Readonly<Record<string, number>>;
}

/** What the threads say to each other. */
interface Heard {
  readonly data: Order | ThreadVitals;
}

/**
 * Sockets, and whatever has a deadline: exchanges, the timers of sessions, relays, dials, handshakes, each counted by its
 * class. None may outlive its connection or request. Few, because each question collects everything several times.
 */
const classes: readonly (readonly [module: string, type: string])[] = [
  ['core/timer-wheel', 'TimerEntry'],
  ['net/fast-transport', 'HandleChannel'],
];

const name = threadName ?? '';
const dataThread = /^portcullis-\d+$/;

async function look(): Promise<ThreadVitals> {
  const objects: Record<string, number> = {};
  for (const [module, type] of dataThread.test(name) ? classes : []) {
    // The program has loaded these long since; this finds the same classes again.
    const loaded = (await import(`../../src/${module}.ts`)) as Record<string, Function>;
    for (const summary of queryObjects(loaded[type]!, { format: 'summary' })) {
      const [className = type] = /^\w+/.exec(summary) ?? [];
      objects[className] = (objects[className] ?? 0) + 1;
    }
  }
  const { heapUsed, external } = process.memoryUsage();
  const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  return { thread: name, timers, heapBytes: heapUsed, externalBytes: external, objects };
}

function obey(order: Order): void {
  if (order.kind === 'vitals') {
    void look().then((vitals) => channel.postMessage(vitals));
  } else if (order.thread === name) {
    if (order.kind === 'freeze') for (const end = Date.now() + order.forMs; Date.now() < end;);
    else if (order.how === 'exit') process.exit(1);
    else
      setImmediate(() => {
        throw new Error('injected');
      });
  }
}

const channel = new BroadcastChannel('portcullis-probe');
channel.unref();
// Nothing else holds it once this module has run, and collections are what it is for.
Object.assign(globalThis, { probeChannel: channel });
if (!isMainThread) {
  channel.addEventListener('message', (event) => {
    const { data } = event as unknown as Heard;
    if ('kind' in data) obey(data);
  });
} else if (process.env['SOAK_PROBE'] !== undefined) {
  serve(process.env['SOAK_PROBE']);
}

function serve(path: string): void {
  const sockets = new Set<Socket>();
  channel.addEventListener('message', (event) => {
    const { data } = event as unknown as Heard;
    if ('kind' in data) return;
    for (const socket of sockets) socket.write(`${JSON.stringify(data)}\n`);
  });
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.unref();
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    createInterface(socket).on('line', (line) => channel.postMessage(JSON.parse(line) as Order));
  });
  server.listen(path).unref();
}
