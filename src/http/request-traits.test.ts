import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isSaneRequestId, makeRequestId } from './request-id.ts';
import {
  isGrpcType,
  parseGrpcTimeout,
  readTraits,
  stripRequestHop,
  stripResponseHop,
} from './request-traits.ts';
import { requestHead } from './testing/scripted-streams.ts';

describe('traits of a request', () => {
  test('are read in one pass', () => {
    const traits = readTraits(
      requestHead({
        fields: [
          ...['user-agent', 'grpc-js', 'expect', '100-Continue', 'content-type', 'application/grpc+proto'],
          ...['grpc-timeout', '250m', 'content-length', '12', 'x-request-id', 'abc-1'],
        ],
      }),
    );
    assert.equal(traits.userAgent, 'grpc-js');
    assert.equal(traits.expectsContinue, true);
    assert.equal(traits.isGrpc, true);
    assert.equal(traits.grpcTimeoutMs, 250);
    assert.equal(traits.contentLength, 12);
    assert.equal(traits.id, 'abc-1');
  });

  test('a grpc-timeout on what is no gRPC means nothing', () => {
    assert.equal(readTraits(requestHead({ fields: ['grpc-timeout', '1m'] })).grpcTimeoutMs, Infinity);
  });

  test('grpc-timeout has eight digits and a unit', () => {
    const cases: [string, number][] = [
      ['1H', 3_600_000],
      ['2M', 120_000],
      ['3S', 3000],
      ['99999999m', 99_999_999],
      ['5u', 0.005],
      ['100000000m', Infinity],
      ['1', Infinity],
      ['-1S', Infinity],
      ['1.5S', Infinity],
      ['', Infinity],
    ];
    for (const [text, valueMs] of cases) assert.equal(parseGrpcTimeout(text), valueMs, text);
  });

  test('gRPC is not gRPC-Web', () => {
    for (const type of ['application/grpc', 'application/grpc+json', 'application/grpc;x=y'])
      assert.ok(isGrpcType(type));
    for (const type of ['application/grpc-web', 'application/grpcx', 'text/plain'])
      assert.ok(!isGrpcType(type));
  });
});

describe('what concerns one hop', () => {
  test('is taken out, and of te only trailers stays', () => {
    const cases: [string[], string[]][] = [
      [['te', 'gzip'], []],
      [
        ['te', 'gzip;q=1, Trailers'],
        ['te', 'trailers'],
      ],
      [
        ['connection', 'x', 'proxy-connection', 'x', 'keep-alive', 'x', 'a', '1'],
        ['a', '1'],
      ],
      [
        ['a', '1', 'proxy-authorization', 'secret', 'b', '2'],
        ['a', '1', 'b', '2'],
      ],
      [['expect', '100-continue'], []],
    ];
    for (const [before, after] of cases) {
      const head = requestHead({ fields: [...before] });
      stripRequestHop(head, true, false);
      assert.deepEqual(head.fields, after);
      const fields = before.filter(
        (_, at) => before[at - (at % 2)] !== 'te' && before[at - (at % 2)] !== 'expect',
      );
      const expected = after.filter((_, at) => after[at - (at % 2)] !== 'te');
      stripResponseHop(fields);
      assert.deepEqual(fields, expected);
    }
  });
});

describe('request ids', () => {
  test('that came are kept when they are sane', () => {
    for (const id of ['a', 'A-Z_0.9', 'x'.repeat(128)]) assert.ok(isSaneRequestId(id));
    for (const id of ['', 'x'.repeat(129), 'a b', 'a\n', 'a"b', 'ä', 'a/b']) assert.ok(!isSaneRequestId(id));
  });

  test('of ours differ, and are sane themselves', () => {
    const ids = new Set(Array.from({ length: 1000 }, makeRequestId));
    assert.equal(ids.size, 1000);
    for (const id of ids) assert.ok(isSaneRequestId(id));
  });
});
