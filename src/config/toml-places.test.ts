import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'smol-toml';
import { parseTOML } from 'toml-eslint-parser';
import type { AST } from 'toml-eslint-parser';
import { PlaceScanner, placeKey } from './toml-places.ts';

/** Values and keys of the document with their offsets, by placeKey, as the syntax tree has them. */
function oraclePlaces(text: string): Map<string, number> {
  const places = new Map<string, number>();
  const note = (path: readonly (string | number)[], at: 'key' | 'value', offset: number): void => {
    const key = placeKey(path.map(String), at);
    if (!places.has(key)) places.set(key, offset);
  };
  const visitPair = (pair: AST.TOMLKeyValue, table: readonly (string | number)[]): void => {
    let path = table;
    for (const key of pair.key.keys) {
      path = [...path, key.type === 'TOMLBare' ? key.name : key.value];
      note(path, 'key', key.range[0]);
    }
    visitValue(pair.value, path);
  };
  const visitValue = (node: AST.TOMLContentNode, path: readonly (string | number)[]): void => {
    note(path, 'value', node.range[0]);
    if (node.type === 'TOMLArray')
      node.elements.forEach((element, index) => visitValue(element, [...path, index]));
    if (node.type === 'TOMLInlineTable') node.body.forEach((pair) => visitPair(pair, path));
  };
  for (const node of parseTOML(text).body[0].body) {
    if (node.type === 'TOMLKeyValue') visitPair(node, []);
    else {
      note(node.resolvedKey, 'value', node.range[0]);
      node.body.forEach((pair) => visitPair(pair, node.resolvedKey));
    }
  }
  return places;
}

function assertAgrees(text: string): void {
  const oracle = oraclePlaces(text);
  const scanner = new PlaceScanner(text, new Set(oracle.keys()));
  scanner.scan();
  assert.deepEqual(new Map([...scanner.found].sort()), new Map([...oracle].sort()));
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
  );
});
