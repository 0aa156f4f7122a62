// Keeps the benchmark of the egress decision alive, and every host's decision right.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureDecisions } from './egress.ts';

test('a tiny run', () => {
  const { nanoseconds, checksum } = measureDecisions(200);
  // Of four kinds of hosts, 100 each, three are allowed.
  assert.equal(checksum, 300);
  // A hundred decisions may be over before the clock of the CPU has moved.
  for (const each of Object.values(nanoseconds)) assert(each >= 0);
});

test('10,000 entries cost a decision little', () => {
  measureDecisions(10_000);
  const { nanoseconds } = measureDecisions(10_000);
  // Ten times the target: other programs run meanwhile.
  for (const [what, each] of Object.entries(nanoseconds)) assert(each < 50_000, `${what}: ${each} ns`);
});
