/** A writer is killed at random moments. What it was told is kept must be there, and nothing by halves. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { applyChanges } from '../model/change.ts';
import { buildSnapshot, type Snapshot } from '../model/snapshot.ts';
import { verifyDatabase } from './database-file.ts';
import { StoreDatabase } from './store-database.ts';
import { scratchDirectory, startProgram } from './testing/scratch.ts';
import { seedTraffic, writerChanges } from './testing/writer-changes.ts';
import type { WriterLine } from './testing/writer.ts';

const rounds = process.env['RUN_SOAK'] === undefined ? 10 : 200;
const limits = { busyTimeoutMs: 1_000, bytesMax: 2 ** 30 };
const options = { hashSeed: 7 };

test(`${rounds} times killed, no acknowledged change is lost and none is half there`, async (t) => {
  const path = join(scratchDirectory(t), 'a.db');
  let expected: Snapshot | null = null;
  let inFlight = 0;
  for (let round = 0; round < rounds; round++) {
    // Now and then before it has even opened the database.
    const killAfterMs = Math.random() * (round % 4 === 0 ? 250 : 100);
    const acknowledged = await killWriter(path, round % 4 === 0, killAfterMs);
    const stored = readBack(path);
    const detail = `round ${round}, killed after ${killAfterMs} ms`;
    const known = Math.max(acknowledged, expected?.version ?? 0);
    if (stored === null) {
      assert.equal(known, 0, detail);
      continue;
    }
    // What was on its way may have arrived; it was not answered yet.
    assert.ok(
      stored.version === known || stored.version === known + 1,
      `${detail}: ${known} → ${stored.version}`,
    );
    if (stored.version > known) inFlight++;
    expected = replay(expected, stored.version);
    assert.deepEqual(buildSnapshot(stored.version, stored.traffic, options), expected, detail);
  }
  t.diagnostic(`${expected?.version ?? 0} versions; ${inFlight} arrived without being answered`);
});

/** Answers the last version that was acknowledged before the kill, 0 when none was. */
async function killWriter(path: string, fromStart: boolean, killAfterMs: number): Promise<number> {
  const writer = startProgram('writer.ts', path);
  const exited = once(writer, 'exit');
  let acknowledged = 0;
  const lines = createInterface({ input: writer.stdout });
  lines.on('line', (text) => {
    const line = JSON.parse(text) as WriterLine;
    assert.notEqual(line.kind, 'refused', text);
    acknowledged = line.version;
  });
  const drained = once(lines, 'close');
  if (!fromStart) await once(lines, 'line');
  await sleep(killAfterMs);
  writer.kill('SIGKILL');
  await exited;
  await drained;
  return acknowledged;
}

function readBack(path: string): ReturnType<StoreDatabase['load']> {
  const store = StoreDatabase.open(path, limits);
  try {
    const stored = store.load();
    verifyDatabase(path, limits);
    assert.equal(store.audit(1)[0]?.version ?? 0, stored?.version ?? 0, 'each version has its audit entry');
    return stored;
  } finally {
    store.close();
  }
}

/** What the model makes of the writer's changes. */
function replay(from: Snapshot | null, version: number): Snapshot {
  let snapshot = from ?? buildSnapshot(1, seedTraffic, options);
  while (snapshot.version < version) {
    snapshot = applyChanges(snapshot, snapshot.version + 1, writerChanges(snapshot.version + 1));
  }
  return snapshot;
}
