/**
 * The package as a user installs it: packed, installed globally into an empty folder, and run from there, where
 * neither the sources nor the development dependencies are.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const tree = join(import.meta.dirname, '../..');
const installTimeoutMs = 100_000;
/** What npm says when there is no registry to ask. */
const offline = /\b(?:ENOTFOUND|ECONNREFUSED|ENETUNREACH|EAI_AGAIN|ETIMEDOUT)\b/;

describe('the packed package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-package-'));
  const prefix = join(folder, 'prefix');
  const program = join(prefix, 'bin/portcullis');
  let missing: string | undefined;

  before(async () => {
    await run('npm', ['pack', '--silent', '--pack-destination', folder], {
      cwd: tree,
      timeout: installTimeoutMs,
    });
    const { version } = JSON.parse(readFileSync(join(tree, 'package.json'), 'utf8')) as { version: string };
    const tarball = join(folder, `portcullis-${version}.tgz`);
    const install = [
      'install',
      '--global',
      '--prefix',
      prefix,
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
    ];
    try {
      await run('npm', [...install, tarball], { cwd: folder, timeout: installTimeoutMs });
    } catch (error) {
      if (!offline.test(String(error))) throw error;
      missing = 'no npm registry can be reached to install the package from';
    }
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  test('brings compiled output, and no development dependency', (context) => {
    if (missing !== undefined) return context.skip(missing);
    const home = join(prefix, 'lib/node_modules/portcullis');
    assert.ok(existsSync(join(home, 'dist/cli/main.js')));
    assert.ok(!existsSync(join(home, 'src')), 'the sources stay in the repository');
    for (const name of ['typescript', 'oxlint', 'knip', 'fast-check']) {
      assert.ok(!existsSync(join(home, 'node_modules', name)), name);
    }
  });

  test('runs on the Node.js it brings, whatever the system has', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    // A `node` that is too old, first on PATH.
    writeFileSync(join(folder, 'node'), '#!/bin/sh\necho 20\n', { mode: 0o755 });
    const env = { ...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}` };
    const { stdout } = await run(program, ['version'], { env });
    assert.match(stdout, /portcullis/);
  });

  test('serves from a file in an empty folder, and ends on SIGTERM', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const config = join(folder, 'portcullis.toml');
    writeFileSync(
      config,
      '[[listeners]]\naddr = "127.0.0.1:0"\n[[listeners.routes]]\nhostname = "a.example"\nbackend = "127.0.0.1:9"\n',
    );
    const child = spawn(program, ['serve', '-c', config], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    let output = '';
    for await (const chunk of child.stdout) {
      output += String(chunk);
      if (output.includes('"msg":"ready"')) break;
    }
    child.kill('SIGTERM');
    assert.equal(await ended, 0, output);
  });
});
