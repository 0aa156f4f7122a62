/**
 * The reliability gate: every failure that a client sees is explained by a fault that was injected, no byte is wrong,
 * and when it is over the program holds nothing it did not hold before. A run that failed is repeated with its seed:
 * SOAK_SEED=N. SOAK_SECONDS sets the length.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { soakOr } from '../support/admin.ts';
import { allSockets, type Sockets } from '../support/portcullis.ts';
import { lacks } from '../support/tools.ts';
import { Gate, type GateOptions } from './gate.ts';
import { World } from './world.ts';

const seconds = Number(process.env['SOAK_SECONDS'] ?? soakOr(1_800, 18));
/** One run in a few still counts a connection that a client of the gate itself holds; `npm run soak` has it all. */
const skip = soakOr<string | false>(
  lacks('openssl'),
  'runs in `npm run soak`, or with RUN_SOAK=1 SOAK_SECONDS=18',
);
const sockets = soakOr<readonly Sockets[]>(allSockets, ['fast']);
const options: Omit<GateOptions, 'seed'> = {
  durationMs: (seconds * 1_000) / sockets.length,
  warmUpMs: soakOr(10_000, 2_500),
  clientsPerKind: soakOr(4, 2),
  pauseMs: soakOr(25, 40),
  faultEveryMs: soakOr(1_500, 900),
};

for (const each of sockets) {
  test(`${seconds} s of faults on ${each} sockets`, { skip }, async (t) => {
    const seed = Number(process.env['SOAK_SEED'] ?? randomInt(2 ** 31));
    t.diagnostic(`seed ${seed}`);
    await using world = await World.start(each);
    const { table, faults, unexplained, growths, complaints } = await new Gate(world, {
      ...options,
      seed,
    }).run();
    t.diagnostic(faults);
    for (const line of table.split('\n')) t.diagnostic(line);
    assert.deepEqual(unexplained, [], `SOAK_SEED=${seed}: failures that no fault explains`);
    assert.deepEqual(complaints, [], `SOAK_SEED=${seed}: what the program complained of`);
    assert.deepEqual(growths, [], `SOAK_SEED=${seed}: what grew`);
  });
}
