/** What tar itself, an independent reader, finds in an archive of ours. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { tarArchive } from './tar.ts';
import type { TarEntry } from './tar.ts';

describe('a tar archive', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-tar-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function archiveOf(entries: readonly TarEntry[]): Promise<Buffer> {
    const blocks: Uint8Array[] = [];
    for await (const block of tarArchive(entries, new Date('2026-11-21T03:00:00Z'))) blocks.push(block);
    return Buffer.concat(blocks);
  }

  function tar(input: Buffer, ...args: string[]): string {
    return execFileSync('tar', args, { input, encoding: 'latin1', env: { ...process.env, TZ: 'UTC' } });
  }

  test('keeps names, sizes, times and contents, whatever their length is in blocks', async () => {
    const sizes = [0, 1, 511, 512, 513, 1_024, 70_000];
    const path = join(folder, 'from-disk');
    writeFileSync(path, 'd'.repeat(1_000));
    const entries: TarEntry[] = [
      ...sizes.map((size) => ({ name: `dir/${size}`, content: Buffer.alloc(size, 'x') })),
      { name: 'disk', content: { path, bytes: 600 } },
    ];
    const archive = await archiveOf(entries);
    assert.equal(archive.length % 512, 0);
    const lines = tar(archive, 'tv').trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => line.split(/ +/).toSpliced(1, 1)),
      [...sizes.map((size) => ['dir/', size] as const), ['disk', 600] as const].map(([name, size]) => [
        '-rw-------',
        String(size),
        '2026-11-21',
        '03:00',
        name === 'disk' ? name : `${name}${size}`,
      ]),
    );
    for (const size of sizes) assert.equal(tar(archive, 'xO', `dir/${size}`), 'x'.repeat(size));
    assert.equal(tar(archive, 'xO', 'disk'), 'd'.repeat(600));
  });

  test('refuses a name that does not fit, and ends at a file that shrank', async () => {
    await assert.rejects(archiveOf([{ name: 'n'.repeat(101), content: Buffer.alloc(0) }]), RangeError);
    await assert.rejects(archiveOf([{ name: 'n', content: { path: folder, bytes: 2 ** 33 } }]), RangeError);
    const path = join(folder, 'shrinking');
    writeFileSync(path, 'd'.repeat(1_000));
    truncateSync(path, 10);
    await assert.rejects(archiveOf([{ name: 'n', content: { path, bytes: 1_000 } }]), /became shorter/);
  });
});
