/** The man page as man and groff read it; that it is not stale is checked with the other generated documents. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { leafCommands, pathOf } from '../src/cli/command.ts';
import { buildProgram } from '../src/cli/program.ts';
import { Shell } from '../src/cli/shell.ts';
import { lacks } from './support/tools.ts';

const page = join(import.meta.dirname, '../docs/man/portcullis.1');
const silent = { write: () => true };

test('man shows a page that names every command', { skip: lacks('man') }, () => {
  const env = { ...process.env, MANWIDTH: '200', LC_ALL: 'C.UTF-8' };
  const { status, stdout, stderr } = spawnSync('man', ['-l', page], { env, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  for (const command of leafCommands(buildProgram(new Shell(silent, silent, {}))))
    assert.match(stdout, new RegExp(`^ +portcullis ${pathOf(command)}\\b`, 'm'));
  assert.doesNotMatch(stdout, /\\\(|\\f[BIR]|\\\[/, 'no escape is left over');
});

test('groff has nothing to warn about', { skip: lacks('groff') }, () => {
  const { status, stderr } = spawnSync('groff', ['-ww', '-z', '-man', '-Tutf8', page], { encoding: 'utf8' });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
});
