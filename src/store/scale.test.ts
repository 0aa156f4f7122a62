/** Ten thousand routes and a hundred thousand firewall rules; a tenth of it in a short run, without verdicts on time. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Store, type StoredTraffic } from './store.ts';
import { largeTraffic } from './testing/sample-traffic.ts';
import { scratchDirectory } from './testing/scratch.ts';

const isSoak = process.env['RUN_SOAK'] !== undefined;
const size = isSoak
  ? { routes: 10_000, rules: 100_000, commits: 2_000 }
  : { routes: 1_000, rules: 10_000, commits: 50 };
const bound = isSoak ? { seedMs: 2_000, openAndLoadMs: 1_000, commitMs: 10 } : null;
const entry = { actor: 'test', action: 'Test', changes: ['+ ip/-/11.0.0.1'] };

test(`${size.routes} routes and ${size.rules} rules are seeded, loaded and changed in time`, async (t) => {
  const path = join(scratchDirectory(t), 'a.db');
  const traffic = largeTraffic(size.routes, size.rules);
  const empty = await Store.open(path);
  const seedMs = await timed(() => empty.seed(traffic, entry));
  await empty.close();

  const openStartMs = performance.now();
  const store = await Store.open(path);
  const openMs = performance.now() - openStartMs;
  t.after(() => store.close());
  let loaded: StoredTraffic | null = null;
  const loadMs = await timed(async () => (loaded = await store.load()));
  assert.deepEqual(loaded, { version: 1, traffic });
  const commits: number[] = [];
  for (let version = 1; version <= size.commits; version++) {
    const rule = { type: 'ip', value: `11.0.${version >> 8}.${version & 255}` } as const;
    commits.push(await timed(() => store.commit(version, [{ kind: 'firewall-put', rule }], entry)));
  }
  const [p50, p99] = [quantile(commits, 0.5), quantile(commits, 0.99)];
  const snapshotMs = await timed(() => store.snapshot(`${path}.copy`));
  t.diagnostic(
    `seed ${ms(seedMs)}, open with quick_check ${ms(openMs)}, load ${ms(loadMs)}, ` +
      `commit p50 ${ms(p50)} p99 ${ms(p99)} max ${ms(Math.max(...commits))}, snapshot ${ms(snapshotMs)}`,
  );
  if (bound === null) return;
  assert.ok(seedMs < bound.seedMs, `seed: ${seedMs} ms`);
  assert.ok(openMs + loadMs < bound.openAndLoadMs, `open and load: ${openMs + loadMs} ms`);
  assert.ok(p99 < bound.commitMs, `commit: ${p99} ms`);
});

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)]!;
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}
