import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, formatSize, parseDuration, parseSize } from './quantity.ts';

test('durations add up their units', () => {
  assert.equal(parseDuration('500ms'), 500);
  assert.equal(parseDuration('30s'), 30_000);
  assert.equal(parseDuration('5m'), 300_000);
  assert.equal(parseDuration('1h30m'), 5_400_000);
  assert.equal(parseDuration('2d'), 172_800_000);
  assert.equal(parseDuration('0s'), 0);
});

test('a duration without a unit, with a wrong one, or with units out of order is refused', () => {
  for (const text of [
    '',
    '30',
    's',
    '1.5s',
    '-1s',
    '1s1m',
    '1m1m',
    ' 1s',
    '1s ',
    '1S',
    '1w',
    '9999999999s',
  ]) {
    assert.equal(parseDuration(text), undefined, text);
  }
});

test('sizes are in powers of 1024, and decimal units are refused', () => {
  assert.equal(parseSize('16KiB'), 16_384);
  assert.equal(parseSize('1MiB'), 1_048_576);
  assert.equal(parseSize('7B'), 7);
  for (const text of ['', '16', '16KB', '16 KiB', '1.5MiB', '-1B'])
    assert.equal(parseSize(text), undefined, text);
});

test('what is formatted reads back as the same quantity', () => {
  fc.assert(
    fc.property(fc.nat(), (quantity) => {
      assert.equal(parseDuration(formatDuration(quantity)), quantity);
      assert.equal(parseSize(formatSize(quantity)), quantity);
    }),
  );
});
