import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { IpAddress, parseIp } from './ip.ts';
import {
  RateTable,
  type RateTableOptions,
  rateConnectionsMax,
  rateSourcesMax,
  rateTableBytesMax,
  rateTableLayout,
  rateWindowMsMax,
} from './rate-table.ts';

function tableOf(connections: number, windowMs: number, options: Partial<RateTableOptions> = {}): RateTable {
  return RateTable.create({ connections, windowMs, workers: 1, seed: [0x1234567, -99], ...options });
}

const client = parseIp('192.0.2.7')!;

test('admits N in a window, refuses the next, and admits again when the first has left', () => {
  const table = tableOf(3, 1_000);
  for (const atMs of [0, 100, 200]) assert.equal(table.tryAdmit(client, atMs), true);
  assert.equal(table.tryAdmit(client, 999), false);
  assert.equal(table.tryAdmit(client, 1_000), true);
  assert.equal(table.tryAdmit(client, 1_099), false);
  assert.equal(table.tryAdmit(client, 1_100), true);
});

test('one connection per window is a limit too', () => {
  const table = tableOf(1, 10);
  assert.deepEqual(
    [0, 9, 10, 19, 20].map((atMs) => table.tryAdmit(client, atMs)),
    [true, false, true, false, true],
  );
});

test('sources do not spend each other; an IPv6 source is a /64, an IPv4 source one address', () => {
  const table = tableOf(1, 1_000);
  const admits = (text: string) => table.tryAdmit(parseIp(text)!, 0);
  assert.equal(admits('192.0.2.7'), true);
  assert.equal(admits('::ffff:192.0.2.7'), false);
  assert.equal(admits('192.0.2.8'), true);
  assert.equal(admits('2001:db8:1:2::1'), true);
  assert.equal(admits('2001:db8:1:2:ffff::9'), false);
  assert.equal(admits('2001:db8:1:3::1'), true);
  // The /64 whose words equal those of 192.0.2.7.
  assert.equal(admits('0:0:c000:207::1'), true);
});

/** Every admitted time, and the answer by the definition of the limit. */
class NaiveLimit {
  readonly admittedMs: number[] = [];
  within(nowMs: number, windowMs: number): number {
    return this.admittedMs.filter((atMs) => nowMs - atMs < windowMs).length;
  }
}

const arrivals = fc.record({
  startMs: fc.constantFrom(0, 5, 2 ** 30 - 50, 2 ** 31 - 50, 2 ** 32 - 50, 2 ** 40 - 50),
  windowMs: fc.integer({ min: 1, max: 200 }),
  gapsMs: fc.array(
    fc.oneof(
      { weight: 60, arbitrary: fc.integer({ min: 0, max: 3 }) },
      { weight: 2, arbitrary: fc.integer({ min: 0, max: 250 }) },
      {
        weight: 1,
        arbitrary: fc.constantFrom(2 ** 30 - 1, 2 ** 30, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 33 + 3),
      },
    ),
    { maxLength: 400, size: 'max' },
  ),
});

test('up to 128 connections per window the answer is that of the definition', () => {
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 1, max: 128 }), ({ startMs, windowMs, gapsMs }, connections) => {
      const table = tableOf(connections, windowMs);
      const naive = new NaiveLimit();
      let nowMs = startMs;
      for (const gapMs of gapsMs) {
        nowMs += gapMs;
        const expected = naive.within(nowMs, windowMs) < connections;
        assert.equal(table.tryAdmit(client, nowMs), expected);
        if (expected) naive.admittedMs.push(nowMs);
      }
    }),
    { numRuns: 100 },
  );
});

test('above 128 it never admits more than N and refuses only within q of N', () => {
  fc.assert(
    fc.property(
      arrivals,
      fc.integer({ min: 129, max: 700 }),
      ({ startMs, windowMs, gapsMs }, connections) => {
        const table = tableOf(connections, windowMs);
        const { slotConnections } = rateTableLayout(connections, 1);
        const naive = new NaiveLimit();
        let nowMs = startMs;
        for (const gapMs of gapsMs) {
          nowMs += gapMs;
          for (let burst = 0; burst < 4; burst++) {
            const count = naive.within(nowMs, windowMs);
            const admitted = table.tryAdmit(client, nowMs);
            if (admitted) naive.admittedMs.push(nowMs);
            if (admitted) assert.ok(count < connections, `admitted after ${count}`);
            else assert.ok(count >= connections - slotConnections + 1, `refused after ${count}`);
          }
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('a burst of exactly N passes for every N', () => {
  for (const connections of [1, 2, 127, 128, 129, 255, 256, 257, 1_000, 12_345]) {
    const table = tableOf(connections, 60_000);
    let admitted = 0;
    for (let count = 0; count < connections + 500; count++) if (table.tryAdmit(client, 5)) admitted++;
    assert.equal(admitted, connections);
  }
});

test('the longest window is exact over the wrap of 32-bit milliseconds', () => {
  const table = tableOf(2, rateWindowMsMax);
  let nowMs = 2 ** 32 - rateWindowMsMax;
  assert.equal(table.tryAdmit(client, nowMs), true);
  assert.equal(table.tryAdmit(client, nowMs + 1), true);
  nowMs += rateWindowMsMax;
  assert.equal(table.tryAdmit(client, nowMs - 1), false);
  assert.equal(table.tryAdmit(client, nowMs), true);
  assert.equal(table.tryAdmit(client, nowMs), false);
  // Idle for exactly 2^32 ms: the stamps look the same again, and must not be taken for fresh ones.
  assert.equal(table.tryAdmit(client, nowMs + 2 ** 32), true);
  assert.equal(table.tryAdmit(client, nowMs + 2 ** 32), true);
  assert.equal(table.tryAdmit(client, nowMs + 2 ** 32), false);
});

test('a worker whose clock reading is older than the last does not reopen the window', () => {
  const table = tableOf(2, 100);
  assert.equal(table.tryAdmit(client, 1_000), true);
  assert.equal(table.tryAdmit(client, 998), true);
  assert.equal(table.tryAdmit(client, 1_099), false);
  assert.equal(table.tryAdmit(client, 1_100), true);
});

test('memory keeps to its ceiling whatever the limit', () => {
  for (const connections of [1, 60, 100, 128, 129, 100_000, rateConnectionsMax]) {
    const { bytes, sets, ringSlots } = rateTableLayout(connections, 256);
    assert.ok(bytes <= rateTableBytesMax);
    assert.ok(sets * 8 <= rateSourcesMax && sets * 8 >= 61_000, `${sets * 8} sources`);
    assert.ok(ringSlots >= 1 && ringSlots <= 128);
  }
  assert.throws(() => tableOf(0, 1), /out of range/);
  assert.throws(() => tableOf(rateConnectionsMax + 1, 1), /out of range/);
  assert.throws(() => tableOf(1, rateWindowMsMax + 1), /out of range/);
});

test('a flood of a million sources evicts the idle, counts them, and spares who stays active', () => {
  const table = tableOf(2, 60_000);
  const bytes = table.buffer.byteLength;
  table.tryAdmit(client, 0);
  table.tryAdmit(client, 0);
  let reopened = 0;
  for (let source = 0; source < 1_000_000; source++) {
    const nowMs = source >> 8;
    table.tryAdmit(new IpAddress(0x20010db8, source, 0, 1), nowMs);
    // The client knocks often enough never to be the longest idle of its set.
    if (source % 1_000 === 0 && table.tryAdmit(client, nowMs)) reopened++;
  }
  assert.equal(reopened, 0);
  assert.equal(table.buffer.byteLength, bytes);
  assert.ok(table.evictions() >= 1_000_000 - rateSourcesMax && table.evictions() < 1_000_000);
});

test('forgetting a source that is out of its window is no eviction', () => {
  const table = tableOf(2, 10);
  for (let source = 0; source < 300_000; source++) {
    table.tryAdmit(new IpAddress(0x20010db8, source, 0, 1), source);
  }
  assert.equal(table.evictions(), 0);
});

const moduleUrl = new URL('./rate-table.ts', import.meta.url).href;
const ipModuleUrl = new URL('./ip.ts', import.meta.url).href;

function hammer(buffer: SharedArrayBuffer, worker: number, attempts: number): Promise<number> {
  const source = `const { workerData, parentPort } = await import('node:worker_threads');
    const { RateTable } = await import(${JSON.stringify(moduleUrl)});
    const { parseIp } = await import(${JSON.stringify(ipModuleUrl)});
    const table = new RateTable(workerData.buffer, workerData.worker);
    const ip = parseIp('192.0.2.7');
    let admitted = 0;
    for (let attempt = 0; attempt < workerData.attempts; attempt++) if (table.tryAdmit(ip, 77)) admitted++;
    parentPort.postMessage(admitted);`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const thread = new Worker(url, { workerData: { buffer, worker, attempts } });
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('message', resolve);
  });
}

test('threads that hammer one source are admitted exactly N times together', async () => {
  for (const connections of [100, 50_000]) {
    const table = tableOf(connections, 60_000, { workers: 3 });
    const admitted = await Promise.all([0, 1, 2].map((worker) => hammer(table.buffer, worker, 40_000)));
    assert.equal(
      admitted.reduce((sum, count) => sum + count),
      connections,
    );
  }
});

test('a lock whose owner died refuses soon, at once from then on, and opens when the supervisor frees it', () => {
  const table = tableOf(5, 60_000, { workers: 2 });
  const { sets, setsStart, setWords } = rateTableLayout(5, 2);
  const words = new Int32Array(table.buffer);
  assert.equal(table.tryAdmit(client, 0), true);
  // Worker 1 stopped with every lock in hand.
  for (let set = 0; set < sets; set++) words[setsStart + set * setWords] = 2;
  const startMs = performance.now();
  assert.equal(table.tryAdmit(client, 1), false);
  const firstMs = performance.now() - startMs;
  for (let knock = 0; knock < 1_000; knock++) assert.equal(table.tryAdmit(client, 1), false);
  const thousandMs = performance.now() - startMs - firstMs;
  assert.ok(firstMs < 500, `the first waited ${firstMs} ms`);
  assert.ok(thousandMs < 200, `a thousand more waited ${thousandMs} ms`);
  assert.equal(table.lockTimeouts(), 1_001);

  table.releaseLocksOf(0);
  assert.equal(table.tryAdmit(client, 2), false);
  table.releaseLocksOf(1);
  for (let count = 0; count < 4; count++) assert.equal(table.tryAdmit(client, 3), true);
  assert.equal(table.tryAdmit(client, 3), false);
});

test('a living owner that comes back clears the mark of its overdue lock', () => {
  const table = tableOf(5, 60_000, { workers: 2 });
  const { sets, setsStart, setWords } = rateTableLayout(5, 2);
  const words = new Int32Array(table.buffer);
  const setLocks = (value: number) => {
    for (let set = 0; set < sets; set++) words[setsStart + set * setWords] = value;
  };
  setLocks(2);
  assert.equal(table.tryAdmit(client, 0), false);
  setLocks(0);
  assert.equal(table.tryAdmit(client, 0), true);
});

test('without the key nobody aims: structured sources spread over the sets', () => {
  for (const seed of [
    [0, 0],
    [1, 2],
  ] as const) {
    const table = tableOf(1, 60_000, { seed });
    // Half the capacity of sources that differ in high bits only: few may meet nine in a set.
    for (let source = 0; source < rateSourcesMax / 2; source++) {
      table.tryAdmit(new IpAddress(source << 16, 0, 0, 1), 0);
    }
    assert.ok(table.evictions() < rateSourcesMax / 2 / 20, `${table.evictions()} evictions`);
  }
});
