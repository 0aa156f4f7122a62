/** What a hostile encoder tries on our decoder, and what our encoder keeps out of tables. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostBytes } from '../../core/bytes.ts';
import { ProtocolError } from '../../core/errors.ts';
import { ByteSink } from '../byte-sink.ts';
import { DecoderScratch, HpackDecoder, type DecoderLimits } from './decoder.ts';
import { HpackEncoder } from './encoder.ts';

const allocate = (byteCount: number): HostBytes => Buffer.alloc(byteCount) as unknown as HostBytes;

function newDecoder(limits: Partial<DecoderLimits> = {}): HpackDecoder {
  return new HpackDecoder(
    { listBytesMax: 65_536, fieldCountMax: 128, ...limits },
    new DecoderScratch(allocate),
  );
}

function decode(hpack: HpackDecoder, bytes: Uint8Array | string): string[] {
  const block = (typeof bytes === 'string'
    ? Buffer.from(bytes, 'hex')
    : Buffer.from(bytes)) as unknown as HostBytes;
  const fields: string[] = [];
  hpack.decode(block, 0, block.length, fields);
  return fields;
}

function encode(hpack: HpackEncoder, fields: readonly string[]): Buffer {
  const sink = new ByteSink(allocate);
  hpack.begin(sink);
  for (let at = 0; at < fields.length; at += 2) hpack.field(sink, fields[at]!, fields[at + 1]!);
  return Buffer.from(sink.bytes.subarray(0, sink.length));
}

describe('the decoder refuses', () => {
  for (const [what, hex] of [
    ['an index of zero', '80'],
    ['an index behind the table', 'be'],
    ['a name from behind the table', '7f80010161'],
    ['an integer that never ends', 'ff8080808080808080808001'],
    ['an integer above any meaning', 'ffffffffff0f'],
    ['an integer that is cut off', 'ff80'],
    ['a string longer than the block', '400561'],
    ['a string without its length', '40'],
    ['a field without its value', '400161'],
    ['a table size above what we allow', '3fe21f'],
    ['a table size update after a field', '8220'],
    ['Huffman padding of eight bits', '0082f9ff'],
    ['Huffman padding of zeros', '00811f8100'],
    ['the end of string inside a string', '0084ffffffff'],
  ] as const) {
    it(what, () => {
      assert.throws(() => decode(newDecoder(), hex), ProtocolError);
    });
  }
});

describe('the decoder tells of', () => {
  for (const [what, name, value] of [
    ['an upper-case name', 'Accept', 'x'],
    ['a name with a space', 'a b', 'x'],
    ['an empty name', '', 'x'],
    ['a colon inside a name', 'a:b', 'x'],
    ['NUL in a value', 'a', 'x\0y'],
    ['CR in a value', 'a', 'x\ry'],
    ['LF in a value: a second header for HTTP/1', 'a', 'x\ny: z'],
    ['a value that begins with a blank', 'a', ' x'],
    ['a value that ends with a tab', 'a', 'x\t'],
  ] as const) {
    it(what, () => {
      const hpack = newDecoder();
      const block = encode(new HpackEncoder(), [name, value]);
      decode(hpack, block);
      assert.equal(hpack.isMalformed, true);
      // And again when the table brings it back.
      decode(hpack, 'be');
      assert.equal(hpack.isMalformed, true);
      decode(hpack, '82');
      assert.equal(hpack.isMalformed, false);
    });
  }
});

describe('limits of a list', () => {
  it('keeps nothing of an HPACK bomb: a long field named four thousand times', () => {
    const hpack = newDecoder();
    decode(hpack, encode(new HpackEncoder(), ['a', 'x'.repeat(2000)]));
    const fields = decode(hpack, new Uint8Array(4000).fill(0xbe));
    assert.equal(hpack.isOversized, true);
    assert.equal(hpack.fieldCount, 4000);
    assert.equal(hpack.listBytes, 4000 * 2033);
    assert.ok(fields.length / 2 <= 33);
  });

  it('counts 32 for each field, as RFC 9113 §6.5.2 has it', () => {
    const hpack = newDecoder({ listBytesMax: 2 * (32 + 10) });
    decode(hpack, '8282');
    assert.equal(hpack.listBytes, 84);
    assert.equal(hpack.isOversized, false);
    decode(hpack, '828282');
    assert.equal(hpack.isOversized, true);
  });

  it('stops at the number of fields', () => {
    const hpack = newDecoder({ fieldCountMax: 3 });
    assert.equal(decode(hpack, '82828282').length, 6);
    assert.equal(hpack.isOversized, true);
  });

  it('goes on with a table in step after a list that passed them', () => {
    const hpack = newDecoder({ fieldCountMax: 1 });
    const encoder = new HpackEncoder();
    decode(hpack, encode(encoder, ['a', '1', 'b', '2']));
    assert.equal(hpack.isOversized, true);
    assert.deepEqual(decode(hpack, encode(encoder, ['b', '2'])), ['b', '2']);
  });
});

describe('the table', () => {
  it('is emptied by a field that is larger than it', () => {
    const hpack = newDecoder();
    decode(hpack, '4001610162');
    const large = Buffer.concat([
      Buffer.from('400163', 'hex'),
      Buffer.from('7f811f', 'hex'),
      Buffer.alloc(4096, 0x78),
    ]);
    assert.equal(decode(hpack, large)[1]!.length, 4096);
    assert.equal(hpack.tableBytes, 0);
  });

  it('takes as name one that the insertion itself evicts', () => {
    const hpack = newDecoder();
    decode(hpack, '3f134001610162');
    assert.equal(hpack.tableBytes, 34);
    assert.deepEqual(decode(hpack, '7e0163'), ['a', 'c']);
    assert.equal(hpack.tableBytes, 34);
  });

  it('follows the other side to zero and back within one block', () => {
    const encoder = new HpackEncoder();
    const hpack = newDecoder();
    decode(hpack, encode(encoder, ['a', 'b']));
    encoder.setTableBytesMax(0);
    encoder.setTableBytesMax(4096);
    const block = encode(encoder, ['a', 'b']);
    assert.equal(block.subarray(0, 4).toString('hex'), '203fe11f');
    assert.deepEqual(decode(hpack, block), ['a', 'b']);
    assert.equal(hpack.tableBytes, 34);
  });
});

describe('the encoder', () => {
  const isIndexedTwice = (name: string, value: string): boolean => {
    const encoder = new HpackEncoder();
    encode(encoder, [name, value]);
    return encode(encoder, [name, value]).length === 1;
  };

  it('names what stays the same by one byte', () => assert.ok(isIndexedTwice('user-agent', 'curl/8')));

  for (const name of ['authorization', 'set-cookie', 'x-api-key', 'proxy-authorization']) {
    it(`never lets a table on the way keep ${name}`, () => {
      const encoder = new HpackEncoder();
      const block = encode(encoder, [name, 'a secret that is rather long, so that nobody guesses it']);
      assert.equal(block[0]! & 0xf0, 0x10);
      assert.equal(encoder.tableBytes, 0);
    });
  }

  it('never indexes a cookie short enough to be guessed, and does a long one', () => {
    assert.equal(encode(new HpackEncoder(), ['cookie', 'pin=1234'])[0]! & 0xf0, 0x10);
    assert.ok(isIndexedTwice('cookie', `session=${'x'.repeat(40)}`));
  });

  it('keeps dates, lengths and paths with a query out of the table', () => {
    const encoder = new HpackEncoder();
    encode(encoder, [':path', '/a?b=1', 'date', 'now', 'content-length', '12', 'etag', '"1"']);
    assert.equal(encoder.tableBytes, 0);
  });

  it('learns that a name changes with every message, and takes a value up again that comes twice', () => {
    const encoder = new HpackEncoder();
    for (let index = 0; index < 50; index++) encode(encoder, ['x-changing', `value ${index}`]);
    assert.ok(encoder.tableBytes <= 3 * 60);
    encode(encoder, ['x-changing', 'stable']);
    encode(encoder, ['x-changing', 'stable']);
    assert.equal(encode(encoder, ['x-changing', 'stable']).length, 1);
  });

  it('stays within the table whatever it is given', () => {
    const encoder = new HpackEncoder();
    const hpack = newDecoder();
    for (let index = 0; index < 2000; index++) {
      const fields = [`name-${index % 700}`, 'v'.repeat(index % 300)];
      assert.deepEqual(decode(hpack, encode(encoder, fields)), fields);
      assert.ok(encoder.tableBytes <= 4096);
      assert.equal(encoder.tableBytes, hpack.tableBytes);
    }
  });
});
