import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, cidrContains, formatCidr, IpAddress, maskIp, parseCidr, parseIp } from '../core/ip.ts';
import { CidrTable } from './cidr-table.ts';

/** Words with few bits set or few bits clear, so that networks nest and addresses fall into them. */
const word = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(0, -1, 1, 0x8000_0000, 0x0a00_0000, 0x0a01_0000, 0x0a01_0203) },
  { weight: 1, arbitrary: fc.integer() },
);
const ip = fc.oneof(
  word.map((w3) => new IpAddress(0, 0, 0xffff, w3)),
  fc.tuple(word, word, word, word).map((words) => new IpAddress(...words)),
);
const cidr = fc.tuple(ip, fc.nat(128)).map(([address, bits]): Cidr => {
  const v4 = address.family === 4;
  const prefixLength = v4 ? bits % 33 : bits;
  const base = maskIp(address, v4 ? 96 + prefixLength : prefixLength);
  return { address: base, prefixLength };
});

describe('CidrTable', () => {
  test('decides by the longest prefix, and keeps the families apart', () => {
    const table = tableOf({
      '0.0.0.0/0': 1,
      '10.0.0.0/8': 2,
      '10.1.0.0/16': 3,
      '10.1.2.3/32': 4,
      '::/0': 5,
      '2001:db8::/32': 6,
    });
    const found = (text: string) => table.lookup(parseIp(text)!);
    assert.equal(found('10.1.2.3'), 4);
    assert.equal(found('10.1.2.4'), 3);
    assert.equal(found('10.2.0.0'), 2);
    assert.equal(found('11.0.0.0'), 1);
    assert.equal(found('::ffff:10.1.2.3'), 4);
    assert.equal(found('2001:db8:ffff::1'), 6);
    assert.equal(found('::1'), 5);
    assert.deepEqual(
      table.matches(parseIp('10.1.2.3')!).map((match) => formatCidr(match.cidr)),
      ['10.1.2.3/32', '10.1.0.0/16', '10.0.0.0/8', '0.0.0.0/0'],
    );
    assert.equal(CidrTable.empty().lookup(parseIp('10.1.2.3')!), undefined);
  });

  test('agrees with a scan over all networks', () => {
    fc.assert(
      fc.property(fc.array(cidr, { maxLength: 80 }), fc.array(ip, { minLength: 1 }), (cidrs, probes) => {
        const rows = cidrs.map((item, index): [Cidr, number] => [item, index]);
        const table = CidrTable.from(rows);
        const unique = new Map(rows.map((row) => [formatCidr(row[0]), row]));
        assert.equal(table.size, unique.size);
        for (const probe of [...probes, ...cidrs.map((item) => item.address)]) {
          const expected = [...unique.values()]
            .filter(([item]) => cidrContains(item, probe))
            .sort((a, b) => b[0].prefixLength - a[0].prefixLength)
            .map(([, value]) => value);
          assert.equal(table.lookup(probe), expected[0]);
          assert.deepEqual(
            table.matches(probe).map((match) => match.value),
            expected,
          );
        }
      }),
      { numRuns: 300 },
    );
  });

  test('keeps every older version whole through a history of edits', () => {
    const edits = fc.array(fc.tuple(cidr, fc.option(fc.nat())), { maxLength: 60 });
    fc.assert(
      fc.property(edits, (history) => {
        let table = CidrTable.empty<number>();
        const model = new Map<string, number>();
        const versions: [CidrTable<number>, Map<string, number>][] = [];
        for (const [item, value] of history) {
          table = value === null ? table.without(item) : table.with(item, value);
          if (value === null) model.delete(formatCidr(item));
          else model.set(formatCidr(item), value);
          assert.equal(table.get(item), value ?? undefined);
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
    fc.assert(
      fc.property(fc.array(cidr, { maxLength: 60 }), fc.array(cidr, { maxLength: 20 }), (cidrs, passing) => {
        const rows = new Map(cidrs.map((item) => [formatCidr(item), item]));
        const bulk = CidrTable.from([...rows.values()].map((item): [Cidr, number] => [item, 1]));
        let table = CidrTable.empty<number>();
        for (const item of passing) table = table.with(item, 2);
        for (const item of [...rows.values()].reverse()) table = table.with(item, 1);
        for (const item of passing) if (!rows.has(formatCidr(item))) table = table.without(item);
        assert.deepEqual(table, bulk);
        for (const item of rows.values()) table = table.without(item);
        assert.deepEqual(table, CidrTable.empty());
      }),
      { numRuns: 300 },
    );
  });

  test('answers itself when there is nothing to remove', () => {
    const table = tableOf({ '10.0.0.0/8': 1, '10.1.0.0/16': 2 });
    for (const text of ['10.0.0.0/9', '10.1.0.0/17', '10.0.0.0/7', '11.0.0.0/8', '::/0']) {
      assert.equal(table.without(parseCidr(text)!.cidr), table, text);
    }
  });

  test('shares all but a path with the version before', () => {
    const rows = Array.from({ length: 20_000 }, (_, index): [Cidr, number] => [hostOf(index), index]);
    const before = CidrTable.from(rows);
    const versions = [
      before.with(parseCidr('10.9.8.7')!.cidr, 1),
      before.without(hostOf(77)),
      before.with(hostOf(9), 1),
    ];
    for (const after of versions) {
      const old = nodesOf(before);
      const fresh = [...nodesOf(after)].filter((node) => !old.has(node));
      assert.ok(old.size > 1_000);
      assert.ok(fresh.length <= 8, `${fresh.length} new nodes`);
    }
  });
});

function tableOf(rows: Record<string, number>): CidrTable<number> {
  return CidrTable.from(
    Object.entries(rows).map(([text, value]): [Cidr, number] => [parseCidr(text)!.cidr, value]),
  );
}

function hostOf(index: number): Cidr {
  return { address: new IpAddress(0, 0, 0xffff, Math.imul(index, 0x9e3779b1)), prefixLength: 32 };
}

function contentOf(table: CidrTable<number>): Map<string, number> {
  return new Map([...table].map((match) => [formatCidr(match.cidr), match.value]));
}

function nodesOf(table: CidrTable<number>): Set<object> {
  const nodes = new Set<object>();
  const pending = [table['rootV4'], table['rootV6']];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    nodes.add(node);
    pending.push(...node.children);
  }
  return nodes;
}
