import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusal, duration, hostName, headerName, headerValue, pathPrefix, size } from './kinds.ts';

test('a quantity out of its limits is refused, and a bare number is offered its unit', () => {
  assert.equal(duration(1000, 2000).read('2s', ''), 2000);
  assert.ok(duration(1000, 2000).read('3s', '') instanceof Refusal);
  assert.deepEqual(duration(1000, 2000).read(2, ''), new Refusal('has no unit', '2s'));
  assert.deepEqual(duration(1000, 2000).read(3, ''), new Refusal('has no unit'));
  assert.equal(size(1, 1024).read('1KiB', ''), 1024);
  assert.ok(size(1, 1024).read('2KiB', '') instanceof Refusal);
  assert.deepEqual(size(1, 1024).read(16, ''), new Refusal('has no unit', '16B'));
});

test('names and values of headers are those of RFC 9110, in ASCII', () => {
  assert.equal(headerName().read('X-Api-Key', ''), 'x-api-key');
  for (const name of ['', 'a b', 'a:', ':path', 'ä', 'x'.repeat(257)]) {
    assert.ok(headerName().read(name, '') instanceof Refusal, name);
  }
  for (const value of ['', 'a', 'a b\tc', '"', 'x'.repeat(8192)])
    assert.equal(headerValue().read(value, ''), value);
  for (const value of [' a', 'a ', '\t', 'a\r\nb', 'a\0', '\x7f', 'ä', 'x'.repeat(8193)]) {
    assert.ok(headerValue().read(value, '') instanceof Refusal, value);
  }
});

test('a long value is refused in no time, whatever is in it', () => {
  const startMs = performance.now();
  assert.ok(headerValue().read(`a${' '.repeat(8000)}\0`, '') instanceof Refusal);
  assert.ok(performance.now() - startMs < 1000);
});

test('a path has one spelling, and a host is no pattern', () => {
  assert.equal(pathPrefix().read('/api//', ''), '/api');
  assert.equal(pathPrefix().read('//', ''), '');
  assert.ok(pathPrefix().read('', '') instanceof Refusal);
  assert.equal(pathPrefix().read('/api/', ''), '/api');
  assert.equal(pathPrefix().read('/', ''), '');
  assert.deepEqual(
    pathPrefix().read('/%61pi', ''),
    new Refusal('is none that is normalised: no empty or dot segments, no needless %XX', '/api'),
  );
  assert.equal(hostName().read('Bücher.example', ''), 'xn--bcher-kva.example');
  assert.deepEqual(hostName().read('*.a', ''), new Refusal('is a pattern'));
});
