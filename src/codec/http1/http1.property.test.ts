/** The codec properties of HTTP/1. The independent implementation is Node's parser: http1.oracle.test.ts. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HostBytes } from '../../core/bytes.ts';
import type { RequestHead } from '../http-message.ts';
import { bytewise, hostBytes } from '../testing/verdict.ts';
import { chunkPrefix, HeadWriter } from './head-writer.ts';
import { readRequests, readResponse, testLimits, type Transcript } from './testing/transcript.ts';

function allocate(byteCount: number): HostBytes {
  return hostBytes(Buffer.alloc(byteCount));
}

function latin1(text: string): HostBytes {
  return hostBytes(Buffer.from(text, 'latin1'));
}

/** Pieces of the grammar, and of what attackers make of it, in any order. */
const pieces = fc.constantFrom(
  ...[
    'GET',
    'POST',
    'CONNECT',
    ' ',
    '/',
    '/a?b',
    '*',
    'http://a/',
    'a:80',
    ' HTTP/1.1',
    ' HTTP/1.0',
    '\r\n',
    '\r',
    '\n',
  ],
  ...[
    '\r\n\r\n',
    'Host: a',
    'host:b',
    'Content-Length: 5',
    'Content-Length: 0',
    'Transfer-Encoding: chunked',
    'X: y',
  ],
  ...[
    ': ',
    ':',
    ',',
    ' ',
    '\t',
    '\0',
    'hello',
    '5',
    '0',
    'f',
    ';a=b',
    'Connection: close',
    'Upgrade: x',
    'Expect: 100-continue',
  ],
  ...['HTTP/1.1 200 OK', 'HTTP/1.1 100 C', 'HTTP/1.1 204 X', 'HTTP/1.0 304 ', 'Connection: upgrade'],
);
const soup = fc.array(pieces, { maxLength: 24 }).map((parts) => latin1(parts.join('')));

const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,11}$/).filter((text) => !['te', 'expect'].includes(text));
const value = fc.stringMatching(/^(?:[!-~\x80-\xff](?:[ !-~\x80-\xff]{0,20}[!-~\x80-\xff])?)?$/);
const fields = fc
  .array(fc.tuple(name, value), { maxLength: 8 })
  .map((pairs) => pairs.filter(([key]) => !isOwn(key)).flat());
const body = fc.array(fc.string({ minLength: 1, maxLength: 40, unit: 'binary-ascii' }), { maxLength: 4 });
const head = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'M-SEARCH', 'Odd'),
  path: fc.stringMatching(/^\/[!-"$-~]{0,30}$/),
  authority: fc.constantFrom('a', 'a.example:8080', '[::1]', '127.0.0.1:1'),
  fields,
});

function isOwn(key: string): boolean {
  return /^(?:host|connection|upgrade|keep-alive|content-length|transfer-encoding|proxy-connection|http2-settings)$/.test(
    key,
  );
}

const message = fc
  .tuple(head, body, fc.constantFrom('none', 'length', 'chunked'), fields)
  .map(([parts, chunks, framing, trailers]) =>
    encode({ ...parts, scheme: 'http', protocol: null }, chunks, framing, trailers),
  );
const stream = fc.array(
  fc.oneof(
    message.map((one) => one.text),
    fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join('')),
  ),
  {
    minLength: 1,
    maxLength: 4,
  },
);
const anyBytes = fc.oneof(
  soup,
  stream.map((texts) => latin1(texts.join(''))),
  changed(),
);
const cuts = fc.array(fc.nat(600), { maxLength: 8 });

/** Valid messages with a few bytes changed. */
function changed(): fc.Arbitrary<HostBytes> {
  return fc
    .tuple(message, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 3 }))
    .map(([one, changes]) => {
      const bytes = latin1(one.text);
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      return bytes;
    });
}

function encode(request: RequestHead, chunks: readonly string[], framing: string, trailers: string[]) {
  const writer = new HeadWriter();
  const whole = framing === 'none' ? '' : chunks.join('');
  const lengthFields = framing === 'length' ? ['content-length', `${whole.length}`] : [];
  const fieldsOut = [...request.fields, ...lengthFields];
  let text = writer.request({ ...request, fields: fieldsOut }, framing === 'none', null);
  if (framing === 'length') text += whole;
  if (framing === 'chunked') {
    for (const chunk of chunks) text += `${chunkPrefix(chunk.length)}${chunk}\r\n`;
    text += writer.trailers(trailers);
  }
  return { text, whole, request, framing, trailers };
}

function withoutBuffer(transcript: Transcript): object {
  return { ...transcript, bufferedMax: 0 };
}

describe('any bytes', () => {
  it('give requests or a ProtocolError, the same however they are cut, and never fill more than the limits', () => {
    fc.assert(
      fc.property(anyBytes, cuts, (bytes, cutsAt) => {
        const whole = readRequests(bytes, [], allocate);
        for (const at of [bytewise(bytes.length), cutsAt]) {
          const cut = readRequests(bytes, at, allocate);
          assert.deepEqual(withoutBuffer(cut), withoutBuffer(whole));
          assert.ok(cut.bufferedMax <= testLimits.headBytesMax + testLimits.trailerBytesMax);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('give a response or a ProtocolError, the same however they are cut', () => {
    const expected = fc.constantFrom(
      { isHead: false, isConnect: false, protocol: null },
      { isHead: true, isConnect: false, protocol: null },
      { isHead: false, isConnect: true, protocol: null },
      { isHead: false, isConnect: false, protocol: 'x' },
    );
    fc.assert(
      fc.property(soup, cuts, expected, (bytes, cutsAt, expectation) => {
        const whole = readResponse(bytes, [], allocate, expectation);
        for (const at of [bytewise(bytes.length), cutsAt]) {
          const cut = readResponse(bytes, at, allocate, expectation);
          assert.deepEqual(withoutBuffer(cut), withoutBuffer(whole));
          assert.ok(cut.bufferedMax <= testLimits.headBytesMax + testLimits.trailerBytesMax);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('an encoded request', () => {
  it('is decoded to what it was encoded from, each of several on one connection', () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 3 }), cuts, (messages, cutsAt) => {
        const text = messages.map((one) => one.text).join('');
        const { messages: read, refusal } = readRequests(latin1(text), cutsAt, allocate, {
          ...testLimits,
          headerCountMax: 32,
        });
        assert.equal(refusal, undefined);
        assert.deepEqual(
          read.map(({ request, body: got, trailers, isComplete }) => {
            const { fields: all, ...rest } = request!.head;
            const kept = all.filter((_, at) => all[at - (at % 2)] !== 'content-length');
            return { ...rest, fields: kept, got, trailers: trailers ?? [], isComplete };
          }),
          messages.map(({ request, whole, framing, trailers }) => ({
            ...request,
            got: whole,
            trailers: framing === 'chunked' ? trailers : [],
            isComplete: true,
          })),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('never carries a value or a name into a line of its own', () => {
    const hostile = fc.string({
      unit: fc.constantFrom('a', '\r', '\n', '\0', ':', ' ', '\u{10a}', '\u{10d}'),
      maxLength: 8,
    });
    fc.assert(
      fc.property(hostile, hostile, hostile, (method, key, text) => {
        let written: string;
        try {
          written = new HeadWriter().request(
            {
              method: `G${method}`,
              scheme: 'http',
              authority: 'a',
              path: '/',
              protocol: null,
              fields: [`x${key}`, text],
            },
            true,
            null,
          );
        } catch {
          return;
        }
        assert.match(
          written,
          /^G[a]* \/ HTTP\/1.1\r\nhost: a\r\nxa*: [a: ]*\r\n(?:content-length: 0\r\n)?\r\n$/,
        );
      }),
    );
  });
});
