/**
 * The codec properties of HPACK. The independent implementation is nghttp2, through node:http2: in
 * src/http/http2-oracle.test.ts.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HostBytes } from '../../core/bytes.ts';
import { ProtocolError } from '../../core/errors.ts';
import { ByteSink } from '../byte-sink.ts';
import { DecoderScratch, HpackDecoder } from './decoder.ts';
import { HpackEncoder } from './encoder.ts';
import { decodedBytesMax, decodeHuffman, encodeHuffman, huffmanBytes } from './huffman.ts';

const allocate = (byteCount: number): HostBytes => Buffer.alloc(byteCount) as unknown as HostBytes;
const listBytesMax = 2000;
const limits = { listBytesMax, fieldCountMax: 30 };

const name = fc.oneof(
  fc.constantFrom(':path', ':status', 'accept', 'cookie', 'x-a', 'x-b', 'content-type', 'set-cookie'),
  fc.stringMatching(/^[a-z0-9-]{1,12}$/),
);
const value = fc.oneof(
  fc.constantFrom('', '/', '200', 'gzip, deflate', 'text/html'),
  fc.string({ unit: 'binary-ascii', maxLength: 30 }),
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
);
const list = fc.array(fc.tuple(name, value), { maxLength: 10 });
const step = fc.oneof(
  { weight: 5, arbitrary: list.map((fields) => ({ fields, tableBytes: undefined })) },
  { weight: 1, arbitrary: fc.nat(5000).map((tableBytes) => ({ fields: undefined, tableBytes })) },
);

describe('an encoded list', () => {
  it('is decoded to itself, message after message, through any change of the table', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder(
          { listBytesMax: 1e6, fieldCountMax: 100 },
          new DecoderScratch(allocate),
        );
        for (const { fields, tableBytes } of steps) {
          if (fields === undefined) {
            encoder.setTableBytesMax(tableBytes);
            continue;
          }
          const sink = new ByteSink(allocate);
          encoder.begin(sink);
          for (const [fieldName, fieldValue] of fields) encoder.field(sink, fieldName, fieldValue);
          const decoded: string[] = [];
          decoder.decode(sink.bytes, 0, sink.length, decoded);
          assert.deepEqual(decoded, fields.flat());
          assert.equal(decoder.tableBytes, encoder.tableBytes);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('survives the Huffman code, whatever its bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = Buffer.from(bytes).toString('latin1');
        const coded = new Uint8Array(bytes.length * 4 + 1);
        const length = encodeHuffman(text, coded, 0);
        assert.equal(length, huffmanBytes(text));
        const decoded = new Uint8Array(decodedBytesMax(length));
        assert.equal(decodeHuffman(coded, 0, length, decoded), bytes.length);
        assert.deepEqual(decoded.subarray(0, bytes.length), bytes);
      }),
      { numRuns: 500 },
    );
  });
});

describe('any bytes', () => {
  it('give fields within the limits or a ProtocolError', () => {
    const block = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .array(fc.constantFrom(0x40, 0xbe, 0xbf, 0x3f, 0x01, 0x61, 0x82), { maxLength: 100 })
        .map((bytes) => Uint8Array.from(bytes)),
    );
    fc.assert(
      fc.property(fc.array(block, { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder(limits, new DecoderScratch(allocate));
        for (const bytes of blocks) {
          const fields: string[] = [];
          try {
            decoder.decode(Buffer.from(bytes) as unknown as HostBytes, 0, bytes.length, fields);
          } catch (error) {
            assert.ok(error instanceof ProtocolError);
            return;
          } finally {
            assert.ok(fields.join('').length + fields.length * 16 <= listBytesMax);
            assert.ok(fields.length <= 60);
            assert.ok(decoder.tableBytes <= 4096);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('that a table leaves alone mean the same a second time', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const decoder = new HpackDecoder(limits, new DecoderScratch(allocate));
        const decode = (): string[] => {
          const fields: string[] = [];
          decoder.decode(Buffer.from(bytes) as unknown as HostBytes, 0, bytes.length, fields);
          return fields;
        };
        try {
          const version = decoder.tableVersion;
          const first = decode();
          if (decoder.tableVersion === version) assert.deepEqual(decode(), first);
        } catch (error) {
          assert.ok(error instanceof ProtocolError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
