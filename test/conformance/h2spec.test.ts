/** h2spec, the conformance suite of HTTP/2 and HPACK: every one of its cases must pass, the strict ones too. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { answerAll, startHttp2Server } from '../support/http2-server.ts';
import { lacks, run } from '../support/tools.ts';

const cached = join(import.meta.dirname, '../../node_modules/.cache/conformance/h2spec');
const command = existsSync(cached) ? cached : 'h2spec';
const skip =
  command === cached || lacks('h2spec') === false
    ? false
    : 'h2spec is missing: scripts/conformance installs it where Go is present';

for (const section of ['generic', 'hpack', 'http2']) {
  test(`h2spec ${section} passes over plain TCP`, { skip }, async () => {
    await using server = await startHttp2Server(answerAll);
    const { stdout } = await run(command, ['--strict', '-p', String(server.port), section]);
    assert.match(stdout, /\d+ tests, \d+ passed, 0 skipped, 0 failed/, stdout);
    assert.deepEqual(server.faults, []);
  });
}
