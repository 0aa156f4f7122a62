/** The codec properties of the PROXY protocol. The independent implementation is HAProxy: proxy-protocol.test.ts. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatIp, IpAddress } from '../core/ip.ts';
import { encodeProxyV1, encodeProxyV2, ProxyHeaderReader, type ProxyHeader } from './proxy-protocol.ts';
import { bytewise, hostBytes, verdictOf } from './testing/verdict.ts';

const word = fc.oneof(fc.constantFrom(0, 1, 0xffff), fc.integer());
const address = fc.record(
  {
    address: fc.tuple(word, word, word, word).map((words) => formatIp(new IpAddress(...words))),
    port: fc.integer({ min: 0, max: 65535 }),
  },
  { noNullPrototype: true },
);
const v4Address = fc.record(
  {
    address: word.map((last) => formatIp(new IpAddress(0, 0, 0xffff, last))),
    port: fc.integer({ min: 0, max: 65535 }),
  },
  { noNullPrototype: true },
);
const ends = fc.oneof(fc.tuple(address, address), fc.tuple(v4Address, v4Address));
const tlv = fc.record(
  {
    type: fc.integer({ min: 0, max: 255 }).filter((type) => type !== 3),
    value: fc.uint8Array({ maxLength: 40 }),
  },
  { noNullPrototype: true },
);
const v2 = fc
  .record({ ends, tlvs: fc.array(tlv, { maxLength: 6 }), crc32c: fc.boolean() })
  .map(({ ends: [source, destination], tlvs, crc32c }) =>
    encodeProxyV2(source, destination, { tlvs, crc32c }),
  );
const v1 = ends.map(([source, destination]) => encodeProxyV1(source, destination));
const cuts = fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 6 });

/** Valid headers, headers with bytes changed, and noise behind a plausible beginning. */
const anyBytes = fc.oneof(
  fc.tuple(fc.oneof(v1, v2), fc.uint8Array({ maxLength: 8 })).map((parts) => Buffer.concat(parts)),
  fc
    .tuple(fc.oneof(v1, v2), fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 3 }))
    .map(([bytes, changes]) => changed(bytes, changes)),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.concat([Buffer.from('PROXY '), bytes])),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
);

describe('any bytes', () => {
  it('give a header, a ProtocolError or a wish for more, however they are cut', () => {
    fc.assert(
      fc.property(anyBytes, cuts, (bytes, cutsAt) => {
        const whole = outcome(bytes, []);
        assert.deepEqual(outcome(bytes, bytewise(bytes.length)), whole);
        assert.deepEqual(outcome(bytes, cutsAt), whole);
      }),
      { numRuns: 1500 },
    );
  });
});

describe('an encoded header', () => {
  it('is decoded to what it was encoded from, and nothing behind it is consumed', () => {
    fc.assert(
      fc.property(
        ends,
        fc.array(tlv, { maxLength: 6 }),
        fc.boolean(),
        ([source, destination], tlvs, crc32c) => {
          const { header, consumed } = decode(encodeProxyV2(source, destination, { tlvs, crc32c }));
          assert.deepEqual([header.source, header.destination], [source, destination]);
          assert.deepEqual(crc32c ? header.tlvs.slice(0, -1) : header.tlvs, tlvs);
          assert.deepEqual(
            encodeProxyV2(header.source, header.destination, { tlvs, crc32c }).length,
            consumed,
          );

          const line = encodeProxyV1(source, destination);
          assert.ok(line.length <= 107);
          const read = decode(line);
          assert.deepEqual([read.header.source, read.header.destination], [source, destination]);
          assert.equal(read.consumed, line.length);
        },
      ),
    );
  });
});

function decode(bytes: Uint8Array): { header: ProxyHeader; consumed: number } {
  return new ProxyHeaderReader().receive(hostBytes(Buffer.concat([bytes, Buffer.from('\r\nPROXY ')])))!;
}

function outcome(bytes: Buffer, cutsAt: readonly number[]): unknown {
  const reader = new ProxyHeaderReader(1024);
  const verdict = verdictOf((chunk) => reader.receive(chunk), Buffer.from(bytes), cutsAt);
  if (verdict.kind !== 'answer') return verdict;
  return { header: verdict.answer.header, length: verdict.chunkStart + verdict.answer.consumed };
}

function changed(bytes: Uint8Array, changes: readonly (readonly [number, number])[]): Buffer {
  const copy = Buffer.from(bytes);
  for (const [at, value] of changes) copy[at % copy.length] = value;
  return copy;
}
