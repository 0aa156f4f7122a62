/** The examples of RFC 7541 Appendix C: integers, fields, and three messages each way with and without Huffman code. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostBytes } from '../../core/bytes.ts';
import { ByteSink } from '../byte-sink.ts';
import { DecoderScratch, HpackDecoder } from './decoder.ts';
import { HpackEncoder, writeInteger } from './encoder.ts';

const allocate = (byteCount: number): HostBytes => Buffer.alloc(byteCount) as unknown as HostBytes;
const limits = { listBytesMax: 65_536, fieldCountMax: 128 };

function decoder(tableBytes?: number): (hex: string) => string[] {
  const hpack = new HpackDecoder(limits, new DecoderScratch(allocate), tableBytes);
  return (hex) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex') as unknown as HostBytes;
    const fields: string[] = [];
    hpack.decode(bytes, 0, bytes.length, fields);
    assert.equal(hpack.isMalformed, false);
    return [...fields, `table ${hpack.tableBytes}`];
  };
}

describe('C.1 integers', () => {
  for (const [value, mask, hex] of [
    [10, 0x1f, '0a'],
    [1337, 0x1f, '1f9a0a'],
    [42, 0xff, '2a'],
  ] as const) {
    it(`writes ${value}`, () => {
      const sink = new ByteSink(allocate);
      writeInteger(sink, 0, mask, value);
      assert.equal(Buffer.from(sink.bytes.subarray(0, sink.length)).toString('hex'), hex);
    });
  }
});

describe('C.2 single fields', () => {
  for (const [name, hex, fields] of [
    [
      'C.2.1',
      '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
      ['custom-key', 'custom-header', 'table 55'],
    ],
    ['C.2.2', '040c 2f73 616d 706c 652f 7061 7468', [':path', '/sample/path', 'table 0']],
    ['C.2.3', '1008 7061 7373 776f 7264 0673 6563 7265 74', ['password', 'secret', 'table 0']],
    ['C.2.4', '82', [':method', 'GET', 'table 0']],
  ] as const) {
    it(`decodes ${name}`, () => assert.deepEqual(decoder()(hex), fields));
  }
});

const requests = [
  [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'],
  [
    ':method',
    'GET',
    ':scheme',
    'http',
    ':path',
    '/',
    ':authority',
    'www.example.com',
    'cache-control',
    'no-cache',
  ],
  [
    ':method',
    'GET',
    ':scheme',
    'https',
    ':path',
    '/index.html',
    ':authority',
    'www.example.com',
    'custom-key',
    'custom-value',
  ],
];
const requestTables = [57, 110, 164];

const date1 = 'Mon, 21 Oct 2013 20:13:21 GMT';
const date2 = 'Mon, 21 Oct 2013 20:13:22 GMT';
const location = 'https://www.example.com';
const cookie = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
const responses = [
  [':status', '302', 'cache-control', 'private', 'date', date1, 'location', location],
  [':status', '307', 'cache-control', 'private', 'date', date1, 'location', location],
  [
    ...[':status', '200', 'cache-control', 'private', 'date', date2],
    ...['location', location, 'content-encoding', 'gzip', 'set-cookie', cookie],
  ],
];
const responseTables = [222, 222, 215];

const blocks: Record<string, { fields: string[][]; tables: number[]; tableBytes: number; hex: string[] }> = {
  'C.3 requests without Huffman code': {
    fields: requests,
    tables: requestTables,
    tableBytes: 4096,
    hex: [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
  },
  'C.4 requests with Huffman code': {
    fields: requests,
    tables: requestTables,
    tableBytes: 4096,
    hex: [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
  },
  'C.5 responses without Huffman code, in a table of 256 bytes': {
    fields: responses,
    tables: responseTables,
    tableBytes: 256,
    hex: [
      '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '4803 3330 37c1 c0bf',
      '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
    ],
  },
  'C.6 responses with Huffman code, in a table of 256 bytes': {
    fields: responses,
    tables: responseTables,
    tableBytes: 256,
    hex: [
      '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
      '4883 640e ffc1 c0bf',
      '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
    ],
  },
};

for (const [name, { fields, tables, tableBytes, hex }] of Object.entries(blocks)) {
  describe(name, () => {
    it('decodes all three with one table', () => {
      const decode = decoder(tableBytes);
      hex.forEach((block, index) =>
        assert.deepEqual(decode(block), [...fields[index]!, `table ${tables[index]}`]),
      );
    });
  });
}

describe('our encoder', () => {
  const policy = { changing: new Set<string>(), sensitive: new Set<string>(), guessable: new Set<string>() };
  const encode = (hpack: HpackEncoder, fields: readonly string[]): string => {
    const sink = new ByteSink(allocate);
    hpack.begin(sink);
    for (let at = 0; at < fields.length; at += 2) hpack.field(sink, fields[at]!, fields[at + 1]!);
    return Buffer.from(sink.bytes.subarray(0, sink.length)).toString('hex');
  };

  it('writes the requests of C.4 byte by byte', () => {
    const hpack = new HpackEncoder(policy);
    const { hex } = blocks['C.4 requests with Huffman code']!;
    requests.forEach((fields, index) => assert.equal(encode(hpack, fields), hex[index]!.replaceAll(' ', '')));
    assert.equal(hpack.tableBytes, 164);
  });

  it('writes the first two responses of C.6 byte by byte', () => {
    const hpack = new HpackEncoder(policy);
    hpack.setTableBytesMax(256);
    const { hex } = blocks['C.6 responses with Huffman code, in a table of 256 bytes']!;
    const sizeUpdate = '3fe101';
    assert.equal(encode(hpack, responses[0]!), sizeUpdate + hex[0]!.replaceAll(' ', ''));
    // A code that is as long as its string is not worth the work: 307 stays as C.5 has it.
    assert.equal(encode(hpack, responses[1]!), '4803333037c1c0bf');
    assert.equal(hpack.tableBytes, 222);
  });
});
