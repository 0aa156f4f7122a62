import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isMap, isScalar, isSeq, parseDocument, stringify } from 'yaml';
import type { Node } from 'yaml';
import type { Wanted } from './document.ts';
import { parseYaml } from './yaml-document.ts';

/** Every value and key with text, with its offset as another parser has it. */
function* oraclePlaces(node: unknown, path: Wanted['path']): Generator<Wanted & { offset: number }> {
  if (!isMap(node) && !isSeq(node) && !isScalar(node)) return;
  const [start, end] = (node as Node).range!;
  if (end > start) yield { path, at: 'value', offset: start };
  if (isSeq(node))
    for (const [index, each] of node.items.entries()) yield* oraclePlaces(each, [...path, index]);
  if (!isMap(node)) return;
  for (const { key, value } of node.items) {
    if (!isScalar(key) || typeof key.value !== 'string') continue;
    yield { path: [...path, key.value], at: 'key', offset: key.range![0] };
    yield* oraclePlaces(value, [...path, key.value]);
  }
}

function assertAgrees(text: string): void {
  const oracle = parseDocument(text);
  const document = parseYaml(text);
  assert.ok(document.kind === 'document', text);
  assert.deepEqual(document.root, oracle.toJS());
  const expected = [...oraclePlaces(oracle.contents, [])];
  const offsets = document.locate(expected);
  for (const [index, { path, at, offset }] of expected.entries()) {
    assert.equal(offsets[index], offset, `${at} of ${path.join('.')} in\n${text}`);
  }
}

test('values and places agree with another parser over what YAML can write', () => {
  assertAgrees(`# comment
plain: text # more
"quoted: key": 'it''s'
? explicit
: value
list:
- a
- - nested
  - [flow, {of: "flow"}, ]
- key: |
    - no element
  other: >-
    folded
map: {a: 1, "b": [], c: {}}
numbers: [0x10, 1.5, -3, .inf, true, null]
no: off
`);
});

test('values and places agree with another parser over generated documents', () => {
  const key = fc.stringMatching(/^[a-z][a-z _:-]{0,8}$/);
  const leaf = fc.oneof(fc.string(), fc.boolean(), fc.integer(), fc.constant([]), fc.constant({}));
  const { node } = fc.letrec((tie) => ({
    node: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie('node'), { maxLength: 3 }),
      fc.dictionary(key, tie('node'), { maxKeys: 3, noNullPrototype: true }),
    ),
  }));
  const document = fc.dictionary(key, node, { minKeys: 1, maxKeys: 4, noNullPrototype: true });
  fc.assert(
    fc.property(document, (values) => {
      assertAgrees(stringify(values));
    }),
    { numRuns: process.env['RUN_SOAK'] === '1' ? 5000 : 40 },
  );
});

test('an element without text is where its dash is, whether or not those before it were asked for', () => {
  const text = 'a:\n  - x\n  -\n  - - y\n    -\n  # -\n  -\nb: 1\n';
  const document = parseYaml(text);
  assert.ok(document.kind === 'document');
  assert.deepEqual(document.root, { a: ['x', null, ['y', null], null], b: 1 });
  const wanted = [
    ['a', 1],
    ['a', 2, 1],
    ['a', 3],
  ].map((path) => ({ path, at: 'value' as const }));
  assert.deepEqual(document.locate(wanted), [11, 25, 35]);
});

test('a second document is where its mark is', () => {
  const faultAt = (text: string): number | null | undefined => {
    const parsed = parseYaml(text);
    return parsed.kind === 'fault' ? parsed.offset : undefined;
  };
  assert.equal(faultAt('---\na: "---"\n---\nb: 1\n'), 13);
  assert.equal(faultAt('a: 1\n...\nb: 1\n'), 5);
  assert.equal(faultAt('--- {}\n'), undefined);
  assert.equal(faultAt('a: 1\n...\n'), undefined);
});

test('keys that are aliases or no text do not shift the places after them', () => {
  const text = 'x: &k key\n*k : 1\n? 7\n: 2\nlog: deep\n';
  const document = parseYaml(text);
  assert.ok(document.kind === 'document');
  assert.deepEqual(document.locate([{ path: ['log'], at: 'value' }]), [text.indexOf('deep')]);
  assert.equal(parseYaml('? [a]\n: 1\n').kind, 'fault');
  assert.equal(parseYaml('a: !!binary AAAA\n').kind, 'fault');
});
