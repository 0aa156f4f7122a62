/** The pages that people read: nothing in them leads nowhere. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const tree = join(import.meta.dirname, '..');
const folders = ['.', 'docs', 'docs/reference', 'docs/decisions', 'bench'];
const pages = folders.flatMap((folder) =>
  readdirSync(join(tree, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);

/** As a forge makes them of headings. */
function anchorsOf(text: string): Set<string> {
  const headings = text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm);
  return new Set(
    Array.from(headings, ([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

test('every link to a file, and to a heading of it, leads there', () => {
  const broken: string[] = [];
  for (const page of pages) {
    const text = readFileSync(join(tree, page), 'utf8').replaceAll(/^```[\s\S]*?^```$/gm, '');
    for (const [, target = '', anchor] of text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)) {
      const path = target === '' ? page : normalize(join(dirname(page), target));
      const isThere = existsSync(join(tree, path));
      const hasAnchor =
        anchor === undefined || (isThere && anchorsOf(readFileSync(join(tree, path), 'utf8')).has(anchor));
      if (!isThere || !hasAnchor)
        broken.push(`${page}: ${target}${anchor === undefined ? '' : `#${anchor}`}`);
    }
  }
  assert.deepEqual(broken, []);
});

test('the index of docs names every page beside it', () => {
  const index = readFileSync(join(tree, 'docs/README.md'), 'utf8');
  const left = readdirSync(join(tree, 'docs')).filter(
    (name) => name.endsWith('.md') && name !== 'README.md' && !index.includes(`(${name})`),
  );
  assert.deepEqual(left, []);
});
