/**
 * Mutation fuzzer: `scripts/node test/fuzz/run.ts NAME [--seconds N] [--seed S]`.
 *
 * Prints its seed first. An input that makes the target throw is saved to the corpus, where every test run replays it.
 */

import { parseArgs } from 'node:util';
import { fuzz, saveCrash, targets } from './targets.ts';

process.exitCode = main();

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
  });
  const [name] = positionals;
  if (name === undefined || !Object.hasOwn(targets, name)) {
    console.error(
      `usage: run.ts NAME [--seconds N] [--seed S], NAME one of: ${Object.keys(targets).join(', ')}`,
    );
    return 2;
  }
  const seed = values.seed === undefined ? Date.now() & 0x7fffffff : Number(values.seed);
  const deadline = performance.now() + Number(values.seconds) * 1000;
  console.log(`${name}: seed ${seed}`);
  const { crash, runs } = fuzz(name, seed, () => performance.now() < deadline);
  console.log(`${name}: ${runs} inputs`);
  if (crash === undefined) return 0;
  console.error(crash.error);
  console.error(`${name}: saved ${saveCrash(name, crash.bytes)}`);
  return 1;
}
