/** nghttp2's own clients against our engine: h2load under load and with uploads, nghttp with all its priorities. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { answerAll, startHttp2Server } from '../support/http2-server.ts';
import { lacks, run } from '../support/tools.ts';

const skip =
  lacks('h2load') === false && lacks('nghttp') === false
    ? false
    : 'h2load is missing: as root, apt-get install nghttp2-client';

test('h2load gets every one of its answers, from many streams at once', { skip }, async () => {
  await using server = await startHttp2Server(answerAll);
  const { stdout } = await run('h2load', [
    '-n',
    '4000',
    '-c',
    '8',
    '-m',
    '64',
    `http://127.0.0.1:${server.port}/`,
  ]);
  assert.match(stdout, /4000 total, 4000 started, 4000 done, 4000 succeeded, 0 failed, 0 errored/, stdout);
  assert.deepEqual(server.faults, []);
});

test('h2load uploads more than any window, many times at once', { skip }, async () => {
  await using server = await startHttp2Server(answerAll);
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-h2load-'));
  try {
    const file = join(folder, 'body');
    writeFileSync(file, randomBytes(700_000));
    const args = ['-n', '60', '-c', '2', '-m', '10', '-d', file, `http://127.0.0.1:${server.port}/`];
    const { stdout } = await run('h2load', args);
    assert.match(stdout, /60 total, 60 started, 60 done, 60 succeeded, 0 failed, 0 errored/, stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
  assert.deepEqual(server.faults, []);
});

test('nghttp is served, its priorities and its small windows notwithstanding', { skip }, async () => {
  await using server = await startHttp2Server(answerAll);
  const { code, stdout } = await run('nghttp', [
    '-w',
    '4',
    '-W',
    '4',
    '--hexdump',
    `http://127.0.0.1:${server.port}/a?b=c`,
  ]);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /Hello, this is/);
});
