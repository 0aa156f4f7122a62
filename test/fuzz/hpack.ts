/**
 * Fuzz target: the HPACK decoder. The input is blocks, each behind a byte that says how long it is. Throws when a
 * property of the codec does not hold.
 */

import assert from 'node:assert/strict';
import { ByteSink } from '../../src/codec/byte-sink.ts';
import { DecoderScratch, HpackDecoder, tableBytesDefault } from '../../src/codec/hpack/decoder.ts';
import { HpackEncoder } from '../../src/codec/hpack/encoder.ts';
import type { HostBytes } from '../../src/core/bytes.ts';
import { ProtocolError } from '../../src/core/errors.ts';

const allocate = (byteCount: number): HostBytes => Buffer.alloc(byteCount) as unknown as HostBytes;
const limits = { listBytesMax: 4096, fieldCountMax: 40 };

export function target(bytes: Uint8Array): void {
  const decoder = new HpackDecoder(limits, new DecoderScratch(allocate));
  const encoder = new HpackEncoder();
  const mirror = new HpackDecoder({ listBytesMax: 8192, fieldCountMax: 40 }, new DecoderScratch(allocate));
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(at + 1 + bytes[at]!, bytes.length);
    const fields: string[] = [];
    try {
      // A view with other bytes around it: reading over the end would show.
      decoder.decode(Buffer.from(bytes) as unknown as HostBytes, at + 1, end, fields);
    } catch (error) {
      assert.ok(error instanceof ProtocolError, String(error));
      return;
    }
    at = end;
    assert.ok(fields.length <= 80 && fields.join('').length <= 4096, 'what is kept stays within the limits');
    assert.ok(decoder.tableBytes <= tableBytesDefault, 'the table stays within its size');
    assertComesBack(encoder, mirror, fields);
  }
}

/** What was decoded, encoded by us, is decoded to the same. */
function assertComesBack(encoder: HpackEncoder, decoder: HpackDecoder, fields: readonly string[]): void {
  const sink = new ByteSink(allocate);
  encoder.begin(sink);
  for (let at = 0; at < fields.length; at += 2) encoder.field(sink, fields[at]!, fields[at + 1]!);
  const decoded: string[] = [];
  decoder.decode(sink.bytes, 0, sink.length, decoded);
  assert.deepEqual(decoded, fields);
  assert.equal(decoder.tableBytes, encoder.tableBytes);
}
