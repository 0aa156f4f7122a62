import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpVersionOf } from './http-preface.ts';

test('four bytes tell HTTP/2 from every HTTP/1 method', () => {
  const version = (text: string): string | undefined => httpVersionOf(Buffer.from(text, 'latin1'));
  assert.equal(version('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 'http2');
  assert.equal(version('POST / HTTP/1.1\r\n'), 'http1');
  assert.equal(version('PROPFIND / HTTP/1.1\r\n'), 'http1');
  assert.equal(version('PRIX / HTTP/1.1\r\n'), 'http1');
  assert.equal(version('PRI'), undefined, 'the next byte decides');
  assert.equal(version(''), undefined);
});
