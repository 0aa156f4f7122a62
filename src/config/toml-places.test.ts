import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'smol-toml';
import { parseTOML } from 'toml-eslint-parser';
import type { AST } from 'toml-eslint-parser';
import { WantedPlace, placeAt } from './places.ts';
import { findPlaces } from './toml-places.ts';

type KeyPath = readonly (string | number)[];

/** Every key path of the document with its offsets, as the syntax tree has them. */
function oraclePlaces(text: string): WantedPlace {
  const root = new WantedPlace();
  const note = (path: KeyPath, at: 'keyOffset' | 'valueOffset', offset: number): void => {
    placeAt(root, path)[at] ??= offset;
  };
  const visitPair = (pair: AST.TOMLKeyValue, table: KeyPath): void => {
    let path = table;
    for (const key of pair.key.keys) {
      path = [...path, key.type === 'TOMLBare' ? key.name : key.value];
      note(path, 'keyOffset', key.range[0]);
    }
    visitValue(pair.value, path);
  };
  const visitValue = (node: AST.TOMLContentNode, path: KeyPath): void => {
    note(path, 'valueOffset', node.range[0]);
    if (node.type === 'TOMLArray')
      node.elements.forEach((element, index) => visitValue(element, [...path, index]));
    if (node.type === 'TOMLInlineTable') node.body.forEach((pair) => visitPair(pair, path));
  };
  for (const node of parseTOML(text).body[0].body) {
    if (node.type === 'TOMLKeyValue') visitPair(node, []);
    else {
      note(node.resolvedKey, 'valueOffset', node.range[0]);
      node.body.forEach((pair) => visitPair(pair, node.resolvedKey));
    }
  }
  return root;
}

/** The syntax tree gives no place to the keys of headers, so those are left out of the comparison. */
function assertAgrees(text: string): void {
  const oracle = oraclePlaces(text);
  const found = new WantedPlace();
  const copyPaths = (from: WantedPlace, to: WantedPlace): void => {
    for (const [name, child] of from.children) copyPaths(child, placeAt(to, [name]));
  };
  copyPaths(oracle, found);
  findPlaces(text, found);
  const compare = (path: KeyPath, expected: WantedPlace, actual: WantedPlace): void => {
    for (const at of ['keyOffset', 'valueOffset'] as const) {
      if (expected[at] !== undefined) assert.equal(actual[at], expected[at], `${at} of ${path.join('.')}`);
    }
    for (const [name, child] of expected.children)
      compare([...path, name], child, actual.children.get(name)!);
  };
  compare([], oracle, found);
}

test('places agree with a syntax tree over everything TOML can write', () => {
  assertAgrees(`# comment with "quotes" and [brackets]
top = 1
a.b.c = "dotted" # a = 1
"quoted \\u0041 key" = 'literal \\'
'literal key' = 1979-05-27 07:32:00
site."example.com" . x = true

[ table . sub ]
text = """
long "with" quotes \\""" and
[not.a.table]""""
literal = '''
it's '' fine'''''
array = [ 1, [ 2, 3 ], # [comment]
  "four, ]", { five = 5, "six.seven" = [ 6 ] },
]
empty = []
inline = { a.b = 1, c = { d = 'x' } }
none = {}

[[rows]]
name = "first"
  [[rows.inner]]
  x = 1
  [[rows.inner]]
  x = 2
  [rows.inner.deep]
  y = -inf
[[rows]]
[[rows.inner]]
x = 3`);
});

test('places agree with a syntax tree over generated documents', () => {
  const key = fc.oneof(fc.stringMatching(/^[a-z_-]{1,8}$/), fc.string({ minLength: 1, maxLength: 8 }));
  const leaf = fc.oneof(fc.string(), fc.boolean(), fc.integer(), fc.array(fc.string(), { maxLength: 3 }));
  const table = fc.dictionary(key, fc.oneof(leaf, fc.dictionary(key, leaf, { maxKeys: 3 })), { maxKeys: 4 });
  const document = fc.dictionary(
    key,
    fc.oneof(leaf, table, fc.array(table, { minLength: 1, maxLength: 3 })),
    {
      maxKeys: 5,
    },
  );
  fc.assert(
    fc.property(document, (values) => {
      assertAgrees(stringify(values));
    }),
    { numRuns: process.env['RUN_SOAK'] === '1' ? 5000 : 40 },
  );
});
