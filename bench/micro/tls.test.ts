// Keeps the benchmark of TLS alive: a few handshakes and exchanges of every kind, with every byte accounted for.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { lacks, run } from '../../test/support/tools.ts';

test('a tiny run', { skip: lacks('openssl') }, async () => {
  const script = join(import.meta.dirname, 'tls.ts');
  const args = ['--disable-warning=ExperimentalWarning', script, '10'];
  const { code, stdout, stderr } = await run(process.execPath, args);
  assert.equal(code, 0, stderr);
  const rows = stdout.trim().split('\n');
  // Three ways to serve; six kinds of 10 handshakes and 100 exchanges, each of 100 bytes.
  assert.equal(rows.pop(), `checksum ${3 * (6 * 10 + 100) * 100}`);
  assert.equal(rows.length % 7, 0);
  for (const row of rows) assert.match(row, /^(fast|public|node) .* \d+\.\d .*s CPU +\d+ \/s$/);
});
