import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { displayWidth } from './display.ts';
import { formatTable } from './table.ts';

const columns = [{ title: 'NAME' }, { title: 'COUNT', align: 'right' }, { title: 'WHERE' }] as const;

test('columns are as wide as their longest cell, numbers at the right', () => {
  const rows = [
    ['app.example.com', '7', '10.0.0.1:443'],
    ['a', '1200000', ''],
  ];
  assert.deepEqual(formatTable(columns, rows, null), [
    'NAME               COUNT  WHERE',
    'app.example.com        7  10.0.0.1:443',
    'a                1200000  -',
  ]);
});

test('on a narrow terminal the widest column gives first', () => {
  const rows = [['a-very-long-hostname.example.com', '7', '10.0.0.1:443']];
  assert.deepEqual(formatTable(columns, rows, 36), [
    'NAME             COUNT  WHERE',
    'a-very-long-ho…      7  10.0.0.1:443',
  ]);
});

test('an optional column without a cell is left out', () => {
  const optional = [{ title: 'NAME' }, { title: 'NOTES', isOptional: true }];
  assert.deepEqual(formatTable(optional, [['a', '']], null), ['NAME', 'a']);
  assert.deepEqual(
    formatTable(
      optional,
      [
        ['a', ''],
        ['b', 'x'],
      ],
      null,
    ),
    ['NAME  NOTES', 'a     -', 'b     x'],
  );
});

test('no line is ever wider than the terminal', () => {
  const row = fc.tuple(
    fc.string({ maxLength: 200 }),
    fc.string({ maxLength: 20 }),
    fc.string({ maxLength: 90 }),
  );
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 200 }),
      (rows, width) => {
        for (const line of formatTable(columns, rows, width)) assert.ok(displayWidth(line) <= width);
      },
    ),
  );
});
