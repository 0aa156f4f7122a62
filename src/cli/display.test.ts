import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { counted, cutText, displayWidth, formatTime, formatUptime } from './display.ts';

test('uptime is told to the second', () => {
  assert.equal(formatUptime(0), '0s');
  assert.equal(formatUptime(999.9), '0s');
  assert.equal(formatUptime(42_900), '42s');
  assert.equal(formatUptime(((4 * 60 + 32) * 60 + 10) * 1000), '4h32m10s');
  assert.equal(formatUptime(((3 * 24 + 1) * 60 * 60 + 5) * 1000), '3d1h5s');
});

test('time is the same wherever it is read', () => {
  assert.equal(formatTime(new Date('2026-11-21T10:02:11.999+01:00')), '2026-11-21T09:02:11Z');
});

test('one is singular, nothing is plural', () => {
  assert.deepEqual(
    [counted(1, 'route'), counted(0n, 'route'), counted(2, 'policy', 'policies')],
    ['1 route', '0 routes', '2 policies'],
  );
});

test('wide and combining characters count as a terminal draws them', () => {
  assert.equal(displayWidth('app'), 3);
  assert.equal(displayWidth('例え'), 4);
  assert.equal(displayWidth('e\u0301'), 1);
  assert.equal(cutText('例え.example', 6), '例え.…');
  assert.equal(cutText('例え.example', 4), '例…');
  assert.equal(cutText('short', 5), 'short');
});

test('what is cut fits, and begins as it did', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, width) => {
      const cut = cutText(text, width);
      assert.ok(displayWidth(cut) <= width);
      assert.ok(cut === text || (cut.endsWith('…') && text.startsWith(cut.slice(0, -1))));
    }),
  );
});
