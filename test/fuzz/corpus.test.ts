/** Keeps the fuzzers alive: replays every corpus, earlier crashes included, and runs each target for a moment. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fuzz, readCorpus, targets } from './targets.ts';

const runsMax = 300;

for (const [name, target] of Object.entries(targets)) {
  describe(`fuzz target ${name}`, () => {
    it('holds on its corpus', () => {
      const corpus = readCorpus(name);
      assert.ok(corpus.length > 0, 'a fuzzer starts from examples');
      for (const { file, bytes } of corpus) {
        assert.doesNotThrow(() => target(bytes), `corpus/${name}/${file}`);
      }
    });

    it(`holds on ${runsMax} mutants of it`, () => {
      const seed = Date.now() & 0x7fffffff;
      const { crash } = fuzz(name, seed, (runs) => runs < runsMax);
      const input = crash && Buffer.from(crash.bytes).toString('hex');
      assert.equal(crash, undefined, `seed ${seed}, input ${input}: ${String(crash?.error)}`);
    });
  });
}
