import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { hashHostname, HostTable } from './host-table.ts';

/** Few labels and a shallow tree, so that patterns shadow each other all the time. */
const hostname = fc
  .array(fc.constantFrom('a', 'b', 'ab', 'example', 'com'), { minLength: 1, maxLength: 5 })
  .map((labels) => labels.join('.'));
const pattern = fc.oneof(
  hostname,
  hostname.map((name) => `*.${name}`),
);
const seed = fc.integer();

describe('HostTable', () => {
  test('prefers the exact name, then the longest wildcard', () => {
    const table = HostTable.from(1, [
      ['*.com', 'com'],
      ['*.example.com', 'wildcard'],
      ['app.example.com', 'exact'],
    ]);
    assert.equal(table.get('app.example.com'), 'exact');
    assert.equal(table.get('other.example.com'), 'wildcard');
    assert.equal(table.get('very.deep.below.example.com'), 'wildcard');
    assert.equal(table.get('example.com'), 'com');
    assert.equal(table.get('com'), undefined);
    assert.equal(table.get('example.org'), undefined);
    assert.deepEqual(
      table.matches('app.example.com').map((match) => match.pattern),
      ['app.example.com', '*.example.com', '*.com'],
    );
  });

  test('agrees with a scan over all patterns', () => {
    const entries = fc.uniqueArray(fc.tuple(pattern, fc.nat()), { selector: ([text]) => text });
    fc.assert(
      fc.property(seed, entries, fc.array(hostname, { minLength: 1 }), (hashSeed, rows, names) => {
        const table = HostTable.from(hashSeed, rows);
        assert.equal(table.size, rows.length);
        for (const name of names) {
          const expected = scan(rows, name);
          assert.deepEqual(table.matches(name), expected);
          assert.equal(table.get(name), expected[0]?.value);
        }
      }),
    );
  });

  test('keeps every older version whole through a history of edits', () => {
    const edits = fc.array(fc.tuple(pattern, fc.option(fc.nat())), { maxLength: 60 });
    fc.assert(
      fc.property(seed, edits, (hashSeed, history) => {
        let table = HostTable.empty<number>(hashSeed);
        const model = new Map<string, number>();
        const versions: [HostTable<number>, Map<string, number>][] = [];
        for (const [text, value] of history) {
          table = value === null ? table.without(text) : table.with(text, value);
          if (value === null) model.delete(text);
          else model.set(text, value);
          versions.push([table, new Map(model)]);
        }
        for (const [version, expected] of versions) {
          assert.deepEqual(contentOf(version), expected);
          assert.equal(version.size, expected.size);
        }
      }),
    );
  });

  test('takes its shape from the content, not from the order of edits', () => {
    const rows = Array.from({ length: 3_000 }, (_, index): [string, number] => [hostOf(index), index]);
    const bulk = HostTable.from(7, rows);
    let table = HostTable.empty<number>(7);
    for (const [text, value] of rows.toReversed()) table = table.with(text, value);
    for (let index = 3_000; index < 4_000; index++) table = table.with(hostOf(index), index);
    for (let index = 3_000; index < 4_000; index++) table = table.without(hostOf(index));
    assert.deepEqual(table, bulk);
    for (const [text] of rows) table = table.without(text);
    assert.deepEqual(table, HostTable.empty(7));
  });

  test('tells names with one and the same hash apart', () => {
    // About ten pairs among 300,000 names share 32 bits of hash.
    const seen = new Map<number, string>();
    const pairs: [string, string][] = [];
    for (let index = 0; index < 300_000; index++) {
      const name = `n${index}.example`;
      const hash = hashHostname(42, name);
      const other = seen.get(hash);
      if (other !== undefined) pairs.push([other, name]);
      seen.set(hash, name);
    }
    assert.ok(pairs.length > 0);
    for (const [a, b] of pairs) {
      const both = HostTable.from(42, [
        [a, 'a'],
        [b, 'b'],
        [`*.${a}`, 'below a'],
        [`*.${b}`, 'below b'],
      ]);
      assert.deepEqual([both.get(a), both.get(b), both.get(`x.${b}`)], ['a', 'b', 'below b']);
      assert.deepEqual(both, HostTable.from(42, [...rowsOf(both)].reverse()));
      const one = both.without(a).without(`*.${a}`);
      assert.deepEqual([one.size, one.get(a), one.get(b), one.get(`x.${a}`)], [2, undefined, 'b', undefined]);
      assert.equal(one.without(a), one);
      assert.equal(one.with(b, 'B').get(b), 'B');
    }
  });

  test('shares all but a path with the version before', () => {
    const rows = Array.from({ length: 20_000 }, (_, index): [string, number] => [hostOf(index), index]);
    const before = HostTable.from(7, rows);
    for (const after of [
      before.with('new.example.com', 1),
      before.without(hostOf(77)),
      before.with(hostOf(9), 1),
    ]) {
      const old = nodesOf(before);
      const fresh = [...nodesOf(after)].filter((node) => !old.has(node));
      assert.ok(old.size > 1_000);
      assert.ok(fresh.length <= 7, `${fresh.length} new nodes`);
    }
  });

  test('spreads names over hashes whatever the seed', () => {
    for (const hashSeed of [0, 1, -1, 0x12345678]) {
      const hashes = new Set(
        Array.from({ length: 10_000 }, (_, index) => hashHostname(hashSeed, hostOf(index))),
      );
      assert.ok(hashes.size > 9_990);
    }
    assert.notEqual(hashHostname(1, 'app.example.com'), hashHostname(2, 'app.example.com'));
  });
});

test('a name longer than any host name, and one of nothing but dots, find nothing', () => {
  const table = HostTable.from(1, [['*.a', 1]]);
  assert.equal(table.get(`${'a.'.repeat(200)}a`), undefined);
  assert.equal(table.get(`${'a.'.repeat(126)}a`), 1);
  assert.equal(table.get('.'.repeat(253)), undefined);
});

function hostOf(index: number): string {
  return index % 7 === 0 ? `*.w${index}.example.com` : `app${index}.example.com`;
}

function scan(rows: readonly (readonly [string, number])[], name: string) {
  return rows
    .filter(([text]) => (text.startsWith('*.') ? name.endsWith(text.slice(1)) : name === text))
    .map(([text, value]) => ({ pattern: text, value }))
    .sort(
      (a, b) =>
        Number(a.pattern[0] === '*') - Number(b.pattern[0] === '*') || b.pattern.length - a.pattern.length,
    );
}

function* rowsOf<V extends {}>(table: HostTable<V>): Generator<[string, V]> {
  for (const match of table) yield [match.pattern, match.value];
}

function contentOf(table: HostTable<number>): Map<string, number> {
  return new Map(rowsOf(table));
}

function nodesOf(table: HostTable<number>): Set<object> {
  const nodes = new Set<object>();
  const pending = [table['exact'], table['wildcards']];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    nodes.add(node);
    pending.push(...node.children);
  }
  return nodes;
}
