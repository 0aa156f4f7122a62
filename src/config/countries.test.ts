import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countries } from './countries.ts';

test('every country is one that ICU can name, and none is missing', () => {
  const names = new Intl.DisplayNames('en', { type: 'region', fallback: 'none' });
  assert.equal(countries.size, 250);
  for (const code of countries) assert.notEqual(names.of(code), undefined, code);
});
