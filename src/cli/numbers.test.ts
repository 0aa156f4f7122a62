import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHostPort, wholeNumber } from './numbers.ts';

test('a host, a port, or both', () => {
  assert.deepEqual(parseHostPort('app.example.com'), { host: 'app.example.com', port: null });
  assert.deepEqual(parseHostPort('app.example.com:443'), { host: 'app.example.com', port: 443 });
  assert.deepEqual(parseHostPort(':443'), { host: '', port: 443 });
  assert.deepEqual(parseHostPort('[::1]:443'), { host: '::1', port: 443 });
  assert.deepEqual(parseHostPort('[::1]'), { host: '::1', port: null });
});

test('anything else is refused', () => {
  for (const text of ['', ':', 'a:', 'a:0', 'a:65536', 'a:080', 'a:x', '::1', '[::1', 'a:1:2', '[]:1']) {
    assert.equal(parseHostPort(text), undefined, text);
  }
});

test('whole numbers only', () => {
  assert.equal(wholeNumber('0'), 0);
  assert.equal(wholeNumber('4294967295'), 4_294_967_295);
  for (const text of ['', '-1', '1.5', '1e3', '0x10', '4294967296', ' 1']) {
    assert.throws(() => wholeNumber(text), /whole number/, text);
  }
});
