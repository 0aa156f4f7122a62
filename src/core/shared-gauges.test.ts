import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { ListenerSlots } from './listener-slots.ts';
import { counterColumns, SharedCounters } from './shared-counters.ts';
import { listenerSlotsMax, processSlot, SharedGauges } from './shared-gauges.ts';

const gaugesModule = new URL('./shared-gauges.ts', import.meta.url).href;
const countersModule = new URL('./shared-counters.ts', import.meta.url).href;

/** Runs `body` in a thread of its own, with `buffer` and `worker`; resolves when the thread has ended. */
function runWorker(body: string, buffer: SharedArrayBuffer, worker: number): Promise<void> {
  const source = `const { workerData } = await import('node:worker_threads');
    const { buffer, worker } = workerData;
    const { SharedGauges } = await import(${JSON.stringify(gaugesModule)});
    const { SharedCounters } = await import(${JSON.stringify(countersModule)});
    ${body}`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const thread = new Worker(url, { workerData: { buffer, worker } });
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('exit', () => resolve());
  });
}

test('admits up to the limit, refuses the next, and again when a place is free', () => {
  const gauges = SharedGauges.create(2);
  const other = new SharedGauges(gauges.buffer, 1);
  assert.equal(gauges.tryAcquire(1, 2), true);
  assert.equal(other.tryAcquire(1, 2), true);
  assert.equal(gauges.tryAcquire(1, 2), false);
  other.release(1);
  assert.equal(gauges.tryAcquire(1, 2), true);
  assert.equal(gauges.value(1), 2);
  assert.equal(gauges.share(1, 0), 2);
  assert.equal(gauges.share(1, 1), 0);
});

test('zero means no limit, and slots do not touch each other', () => {
  const gauges = SharedGauges.create(1);
  for (let count = 0; count < 1_000; count++) assert.equal(gauges.tryAcquire(listenerSlotsMax, 0), true);
  assert.equal(gauges.value(listenerSlotsMax), 1_000);
  assert.equal(gauges.value(processSlot), 0);
});

test('a release without an acquire is our own fault', () => {
  const gauges = SharedGauges.create(1);
  assert.throws(() => gauges.release(1), /never acquired/);
});

test('threads that fight for places never pass the limit and leave nothing behind', async () => {
  const gauges = SharedGauges.create(4);
  const body = `const gauges = new SharedGauges(buffer, worker);
    let refused = 0;
    for (let round = 0; round < 100_000; round++) {
      const held = gauges.tryAcquire(1, 3);
      if (gauges.value(1) > 3) throw new Error('passed the limit');
      if (held) gauges.release(1);
      else refused++;
    }`;
  await Promise.all([0, 1, 2, 3].map((worker) => runWorker(body, gauges.buffer, worker)));
  assert.equal(gauges.value(1), 0);
});

test('never refuses while a place is free: exactly max of many competing threads get one', async () => {
  const gauges = SharedGauges.create(3);
  const body = `const gauges = new SharedGauges(buffer, worker);
    for (let round = 0; round < 50_000; round++) gauges.tryAcquire(1, 100_000);`;
  await Promise.all([0, 1, 2].map((worker) => runWorker(body, gauges.buffer, worker)));
  assert.equal(gauges.value(1), 100_000);
});

test("a dead worker's places come back, the others' stay", () => {
  const gauges = SharedGauges.create(3);
  const dead = new SharedGauges(gauges.buffer, 2);
  for (let count = 0; count < 5; count++) dead.tryAcquire(7, 0);
  dead.tryAcquire(processSlot, 0);
  gauges.tryAcquire(7, 0);
  assert.equal(gauges.reclaim(2), true);
  assert.equal(gauges.value(7), 1);
  assert.equal(gauges.value(processSlot), 0);
});

/** Does the first `steps` writes of an operation, as a thread stopped in its midst leaves them. */
function stopInside(gauges: SharedGauges, workers: number, worker: number, writes: readonly string[]): void {
  const words = new Int32Array(gauges.buffer);
  const sequence = 16 + worker * 16;
  const total = 16 + workers * 16 + 1 * 16;
  const share = 16 + workers * 16 + 1_025 * 16 + worker * 1_040 + 1;
  const effects: Record<string, () => void> = {
    enter: () => Atomics.add(words, sequence, 1),
    'total+1': () => Atomics.add(words, total, 1),
    'share+1': () => Atomics.add(words, share, 1),
    'share-1': () => Atomics.sub(words, share, 1),
    'total-1': () => Atomics.sub(words, total, 1),
  };
  for (const write of writes) effects[write]!();
}

test('a worker that dies at any point of an operation leaks nothing', () => {
  const acquire = ['enter', 'total+1', 'share+1'];
  const release = ['enter', 'share-1', 'total-1'];
  for (const operation of [acquire, release]) {
    for (let steps = 0; steps <= operation.length; steps++) {
      const gauges = SharedGauges.create(2);
      const dead = new SharedGauges(gauges.buffer, 1);
      gauges.tryAcquire(1, 0);
      dead.tryAcquire(1, 0);
      dead.tryAcquire(1, 0);
      stopInside(gauges, 2, 1, operation.slice(0, steps));
      assert.ok(gauges.value(1) >= gauges.share(1, 0) + gauges.share(1, 1), 'never one place too many');
      assert.equal(gauges.reclaim(1), true);
      assert.equal(gauges.value(1), 1, `after ${steps} of ${operation.join()}`);
      const successor = new SharedGauges(gauges.buffer, 1);
      assert.equal(successor.tryAcquire(1, 2), true);
      assert.equal(successor.tryAcquire(1, 2), false);
    }
  }
});

test('two workers dead inside an operation are both made good by the second reclaim', () => {
  const gauges = SharedGauges.create(3);
  gauges.tryAcquire(1, 0);
  stopInside(gauges, 3, 1, ['enter', 'total+1']);
  stopInside(gauges, 3, 2, ['enter', 'total+1']);
  assert.equal(gauges.reclaim(1), false);
  assert.equal(gauges.reclaim(2), true);
  assert.equal(gauges.value(1), 1);
});

test('a reclaim is exact while other workers go on', async () => {
  const gauges = SharedGauges.create(3);
  stopInside(gauges, 3, 2, ['enter', 'total+1']);
  const body = `const gauges = new SharedGauges(buffer, worker);
    for (let round = 0; round < 300_000; round++) if (gauges.tryAcquire(1, 0)) gauges.release(1);
    gauges.tryAcquire(1, 0);`;
  const others = [0, 1].map((worker) => runWorker(body, gauges.buffer, worker));
  while (gauges.value(1) < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  // On a busy machine a worker may be off its core in the middle of an operation; the next reclaim settles it then.
  const isSettled = gauges.reclaim(2);
  await Promise.all(others);
  if (!isSettled) assert.equal(gauges.reclaim(2), true);
  assert.equal(gauges.value(1), 2);
});

test('counters of all workers add up, past 2^32, and never fall', async () => {
  const counters = SharedCounters.create(2);
  const body = `const counters = new SharedCounters(buffer, worker);
    for (let count = 0; count < 10_000; count++) counters.add(3, ${counterColumns.bytesIn}, 1_000_003);
    counters.countReason(3, 'no-sni');`;
  await Promise.all([0, 1].map((worker) => runWorker(body, counters.buffer, worker)));
  assert.equal(counters.sum(3, 'bytesIn'), 20_000_060_000);
  assert.equal(counters.sum(3, 'no-sni'), 2);
  assert.equal(counters.sum(4, 'bytesIn'), 0);
  counters.add(4, counterColumns.bytesIn, 1);
  counters.fold(3);
  assert.equal(counters.sum(3, 'bytesIn'), 0);
  assert.equal(counters.total('bytesIn'), 20_000_060_001);
  assert.equal(counters.total('no-sni'), 2);
});

test('a slot is given again only when the last connection of its old listener has ended', () => {
  const gauges = SharedGauges.create(1);
  const counters = SharedCounters.create(1);
  const slots = new ListenerSlots(gauges, counters);
  assert.equal(slots.allocate(), 1);
  assert.equal(slots.allocate(), 2);
  gauges.tryAcquire(1, 0);
  counters.add(1, counterColumns.accepted, 1);
  slots.retire(1);
  assert.equal(slots.allocate(), 3);
  gauges.release(1);
  assert.equal(slots.allocate(), 1);
  assert.equal(counters.sum(1, 'accepted'), 0);
  assert.equal(counters.total('accepted'), 1);
});

test('there are 1,024 listeners at most', () => {
  const slots = new ListenerSlots(SharedGauges.create(1), SharedCounters.create(1));
  for (let slot = 1; slot <= listenerSlotsMax; slot++) assert.equal(slots.allocate(), slot);
  assert.equal(slots.allocate(), null);
});
