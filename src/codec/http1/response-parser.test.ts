/** Responses: how they end, and what a backend may not say, whole and byte by byte. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostBytes } from '../../core/bytes.ts';
import { bytewise, hostBytes } from '../testing/verdict.ts';
import { informationalMax } from './limits.ts';
import type { ResponseExpectation } from './response-head.ts';
import { readResponse, testLimits } from './testing/transcript.ts';

const plain: ResponseExpectation = { isHead: false, isConnect: false, protocol: null };

function allocate(byteCount: number): HostBytes {
  return hostBytes(Buffer.alloc(byteCount));
}

/** What is read, the same however it is cut. */
function read(text: string, expected = plain) {
  const bytes = hostBytes(Buffer.from(text, 'latin1'));
  const whole = readResponse(bytes, [], allocate, expected);
  const single = readResponse(bytes, bytewise(text.length), allocate, expected);
  assert.deepEqual({ ...single, bufferedMax: 0 }, { ...whole, bufferedMax: 0 });
  return whole;
}

describe('a response ends', () => {
  const cases: readonly (readonly [string, string, ResponseExpectation, string, boolean])[] = [
    ['at its length', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', plain, 'ok', true],
    [
      'at its last chunk',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      plain,
      'ok',
      true,
    ],
    ['with the connection', 'HTTP/1.1 200 OK\r\n\r\nok', plain, 'ok', false],
    ['with the connection of HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nok', plain, 'ok', false],
    [
      'with its head: HEAD',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
      { ...plain, isHead: true },
      '',
      true,
    ],
    ['with its head: 204', 'HTTP/1.1 204 X\r\n\r\n', plain, '', true],
    ['with its head: 304', 'HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n', plain, '', true],
    ['with its head: no length to count', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', plain, '', true],
    [
      'never: CONNECT',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok',
      { ...plain, isConnect: true },
      'ok',
      false,
    ],
    [
      'never: 101',
      'HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: FOO\r\n\r\nok',
      { ...plain, protocol: 'foo' },
      'ok',
      false,
    ],
  ];
  for (const [name, text, expected, body, isComplete] of cases) {
    it(name, () => {
      const { messages, refusal, isWhole } = read(text, expected);
      assert.equal(refusal, undefined);
      assert.deepEqual([messages[0]!.body, messages[0]!.isComplete, isWhole], [body, isComplete, true]);
    });
  }

  it('but not when the connection ends before', () => {
    for (const text of [
      '',
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok',
      'HTTP/1.1 100 X\r\n\r\n',
    ]) {
      assert.equal(read(text).isWhole, false);
    }
  });
});

describe('a head', () => {
  it('has lower-case names and nothing of the connection, and says whether it stays', () => {
    const { messages } = read(
      'HTTP/1.1 200 Very  OK\xe9\r\nServer: x\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n',
    );
    const response = messages[0]!.response!;
    assert.deepEqual(response.head.fields, [
      'server',
      'x',
      'set-cookie',
      'a',
      'set-cookie',
      'b',
      'content-length',
      '0',
    ]);
    assert.equal(response.isKeepAlive, false);
  });

  it('of an upgrade has status 200, as the model has it', () => {
    const { messages } = read('HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n', {
      ...plain,
      protocol: 'foo',
    });
    assert.deepEqual(messages[0]!.response!.head, { status: 200, fields: [] });
  });
});

const refused: Readonly<Record<string, string>> = {
  'Content-Length with Transfer-Encoding':
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
  'two Content-Lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n',
  'an odd Content-Length': 'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n',
  'Transfer-Encoding in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
  'Transfer-Encoding: gzip, chunked': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
  'Transfer-Encoding: gzip': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
  'a folded field': 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n',
  'a space before the colon': 'HTTP/1.1 200 OK\r\nX : a\r\n\r\n',
  'NUL in a value': 'HTTP/1.1 200 OK\r\nX: \0\r\n\r\n',
  'a bare LF': 'HTTP/1.1 200 OK\nX: 1\r\n\r\n',
  'a bare CR': 'HTTP/1.1 200 OK\r\nX: 1\r2\r\n\r\n',
  'a bare CR in the phrase': 'HTTP/1.1 200 O\rK\r\n\r\n',
  'a status of two digits': 'HTTP/1.1 20 OK\r\n\r\n',
  'a status of four digits': 'HTTP/1.1 2000 OK\r\n\r\n',
  'a status below 100': 'HTTP/1.1 099 OK\r\n\r\n',
  'another version': 'HTTP/2.0 200 OK\r\n\r\n',
  'no version': 'ICY 200 OK\r\n\r\n',
  '101 that nobody asked for': 'HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n',
  'a chunk size that is none': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n',
  'a chunk longer than its size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n',
  'a length in the trailers':
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n',
  'bytes behind the response': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok',
  'informational responses without end': 'HTTP/1.1 100 X\r\n\r\n'.repeat(informationalMax + 1),
  'a head past headBytesMax': `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(testLimits.headBytesMax)}\r\n\r\n`,
  'more fields than headerCountMax': `HTTP/1.1 200 OK\r\n${'X: 1\r\n'.repeat(testLimits.headerCountMax + 1)}\r\n`,
  'trailers past trailerBytesMax': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ${'a'.repeat(testLimits.trailerBytesMax)}\r\n\r\n`,
};

describe('refused', () => {
  for (const [fault, text] of Object.entries(refused)) {
    it(fault, () => assert.match(read(text).refusal!, /^upstream-malformed: /));
  }

  it('success in answer to an upgrade that did not take place', () => {
    assert.match(
      read('HTTP/1.1 200 OK\r\n\r\n', { ...plain, protocol: 'foo' }).refusal!,
      /^upstream-malformed: /,
    );
  });
});
