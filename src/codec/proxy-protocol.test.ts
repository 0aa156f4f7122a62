import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { crc32c } from './crc32c.ts';
import { encodeProxyV1, encodeProxyV2, encodeProxyV2Local, ProxyHeaderReader } from './proxy-protocol.ts';
import type { ProxyHeader, ProxyHeaderRead } from './proxy-protocol.ts';
import { bytewise, verdictOf, type Verdict } from './testing/verdict.ts';

function read(bytes: Uint8Array, cuts: readonly number[] = [], bytesMax?: number): Verdict<ProxyHeaderRead> {
  const reader = new ProxyHeaderReader(bytesMax);
  return verdictOf((chunk) => reader.receive(chunk), Buffer.from(bytes), cuts);
}

/** The header, read whole and byte by byte, with `rest` behind it left alone. */
function header(bytes: Uint8Array, rest = 'rest'): ProxyHeader {
  const all = Buffer.concat([bytes, Buffer.from(rest)]);
  const whole = read(all);
  const trickled = read(all, bytewise(all.length));
  assert.ok(whole.kind === 'answer' && trickled.kind === 'answer', JSON.stringify([whole, trickled]));
  assert.equal(whole.answer.consumed, bytes.length);
  assert.equal(trickled.chunkStart + trickled.answer.consumed, bytes.length);
  assert.deepEqual(trickled.answer.header, whole.answer.header);
  return whole.answer.header;
}

function refuses(bytes: Uint8Array | string, code: string): void {
  const sent = Buffer.from(bytes as string, 'latin1');
  for (const cuts of [[], bytewise(sent.length)]) {
    const verdict = read(sent, cuts);
    assert.deepEqual(verdict.kind === 'refused' && verdict.code, code, JSON.stringify(verdict));
  }
}

const signature = '0d0a0d0a000d0a515549540a';
const hex = (text: string) => Buffer.from(text, 'hex');

describe('headers captured from HAProxy 2.6', () => {
  const loopback = (port: number, to: number, address = '127.0.0.1') => ({
    source: { address, port },
    destination: { address, port: to },
  });
  const captured: Record<string, [string, Omit<ProxyHeader, 'tlvs'>, Record<number, string>]> = {
    'send-proxy-v2': [
      `${signature}2111000c7f0000017f0000019ca546b5`,
      { version: 2, command: 'proxy', ...loopback(40101, 18101) },
      {},
    ],
    'send-proxy-v2, crc32c': [
      `${signature}211100137f0000017f0000019ca646b6030004c8efe661`,
      { version: 2, command: 'proxy', ...loopback(40102, 18102) },
      { 3: 'c8efe661' },
    ],
    'send-proxy-v2, crc32c and unique-id': [
      `${signature}211100287f0000017f0000019ca746b7030004085037130500127265712d353735322d3132372e302e302e31`,
      { version: 2, command: 'proxy', ...loopback(40103, 18103) },
      { 3: '08503713', 5: Buffer.from('req-5752-127.0.0.1').toString('hex') },
    ],
    'send-proxy-v2 over IPv6, crc32c': [
      `${signature}2121002b${'0'.repeat(31)}1${'0'.repeat(31)}19ca846b803000480898be6`,
      { version: 2, command: 'proxy', ...loopback(40104, 18104, '::1') },
      { 3: '80898be6' },
    ],
    'a client on a Unix socket': [
      `${signature}20000007030004a9b87e8f`,
      { version: 2, command: 'local', source: undefined, destination: undefined },
      {},
    ],
    'send-proxy': [
      hex(
        '50524f58592054435034203132372e302e302e31203132372e302e302e312034303130352031383130350d0a',
      ).toString('hex'),
      { version: 1, command: 'proxy', ...loopback(40105, 18105) },
      {},
    ],
    'send-proxy over IPv6': [
      hex('50524f58592054435036203a3a31203a3a312034303130362031383130360d0a').toString('hex'),
      { version: 1, command: 'proxy', ...loopback(40106, 18106, '::1') },
      {},
    ],
    'send-proxy for a client on a Unix socket': [
      '50524f585920554e4b4e4f574e0d0a',
      { version: 1, command: 'proxy', source: undefined, destination: undefined },
      {},
    ],
  };
  for (const [name, [sent, expected, tlvs]] of Object.entries(captured)) {
    it(name, () => {
      const { tlvs: read, ...rest } = header(hex(sent));
      assert.deepEqual(rest, expected);
      assert.deepEqual(Object.fromEntries(read.map((tlv) => [tlv.type, hexOf(tlv.value)])), tlvs);
    });
  }

  it('are what we write, byte for byte', () => {
    const { source, destination } = loopback(40102, 18102);
    assert.equal(
      hexOf(encodeProxyV2(source, destination, { crc32c: true })),
      captured['send-proxy-v2, crc32c']![0],
    );
    const six = loopback(40104, 18104, '::1');
    const expected = captured['send-proxy-v2 over IPv6, crc32c']![0];
    assert.equal(hexOf(encodeProxyV2(six.source, six.destination, { crc32c: true })), expected);
    const line = loopback(40105, 18105);
    assert.equal(hexOf(encodeProxyV1(line.source, line.destination)), captured['send-proxy']![0]);
  });

  it('are refused when one bit of them is turned, by the checksum where nothing else tells', () => {
    const sent = hex(captured['send-proxy-v2, crc32c']![0]);
    for (let bit = 16 * 8; bit < 28 * 8; bit++) {
      const turned = Buffer.from(sent);
      turned[bit >> 3]! ^= 1 << (bit & 7);
      refuses(turned, 'proxy-header-checksum');
    }
  });
});

describe('version 1', () => {
  it('reads the longest line there is, and ignores what follows UNKNOWN', () => {
    const ip = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
    const longest = `PROXY UNKNOWN ${ip} ${ip} 65535 65535\r\n`;
    assert.equal(longest.length, 107);
    assert.equal(header(Buffer.from(longest)).source, undefined);
    assert.equal(header(Buffer.from('PROXY UNKNOWN  any thing\r\n')).command, 'proxy');
  });

  it('gives IPv6 in its canonical form, and IPv4 in IPv6 clothes as IPv4', () => {
    const read = header(Buffer.from('PROXY TCP6 2001:DB8:0:0::0001 ::ffff:192.0.2.1 0 65535\r\n'));
    assert.deepEqual(read.source, { address: '2001:db8::1', port: 0 });
    assert.deepEqual(read.destination, { address: '192.0.2.1', port: 65535 });
  });

  it('refuses a line that does not end within 107 bytes', () => {
    refuses(`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`, 'proxy-header-oversized');
    refuses(`PROXY TCP4 ${'x'.repeat(300)}`, 'proxy-header-oversized');
  });

  for (const line of [
    'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n',
    'PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n',
    'PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n',
    'PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n',
    'PROXY TCP4 ::1 ::1 1 2\r\n',
    'PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 0x2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n',
    'PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY UNKNOWNS\r\n',
    'PROXY \r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx',
  ]) {
    it(`refuses ${JSON.stringify(line)}`, () => refuses(line, 'proxy-header-malformed'));
  }
});

describe('version 2', () => {
  const block = '7f0000017f00000100010002';

  it('reads a header without addresses: LOCAL, UNSPEC, UNIX, datagrams', () => {
    const silent = {
      [`${signature}20000000`]: 'local',
      [`${signature}21000000`]: 'proxy',
      [`${signature}213100d8${'61'.repeat(216)}`]: 'proxy',
      [`${signature}2112000c${block}`]: 'proxy',
      [`${signature}2110000c${block}`]: 'proxy',
    };
    for (const [sent, command] of Object.entries(silent)) {
      const expected = { version: 2, command, source: undefined, destination: undefined, tlvs: [] };
      assert.deepEqual(header(hex(sent)), expected);
    }
  });

  it('discards what stands behind LOCAL, as it must, even if it makes no sense', () => {
    assert.deepEqual(header(hex(`${signature}20ff0003030004`)).tlvs, []);
  });

  it('keeps TLVs in order, repeated and empty ones too', () => {
    const tlvs = header(hex(`${signature}21110017${block}ea000101040000ea000102`)).tlvs;
    assert.deepEqual(
      tlvs.map((tlv) => [tlv.type, hexOf(tlv.value)]),
      [
        [0xea, '01'],
        [0x04, ''],
        [0xea, '02'],
      ],
    );
  });

  it('refuses versions, commands and families that do not exist', () => {
    for (const fixed of [
      '11110000',
      '31110000',
      '22110000',
      '2f110000',
      '21410000',
      '21130000',
      '21f00000',
    ]) {
      refuses(hex(`${signature}${fixed}`), 'proxy-header-malformed');
    }
  });

  it('refuses an address block that is cut short', () => {
    refuses(hex(`${signature}2111000b${block.slice(2)}`), 'proxy-header-malformed');
    refuses(hex(`${signature}2121000c${block}`), 'proxy-header-malformed');
    refuses(hex(`${signature}2131000c${block}`), 'proxy-header-malformed');
  });

  it('refuses TLVs that do not come out even', () => {
    for (const tail of ['04', '0400', '040001', '0400020a', '0400000400ff']) {
      const length = (12 + tail.length / 2).toString(16).padStart(4, '0');
      refuses(hex(`${signature}2111${length}${block}${tail}`), 'proxy-header-malformed');
    }
  });

  it('refuses a checksum that is not 4 bytes, or comes twice', () => {
    refuses(hex(`${signature}21110011${block}0300020000`), 'proxy-header-malformed');
    // The first of the two is right, so that nothing but the second is at fault.
    const twice = hex(`${signature}2111001a${block}03000400000000030004ffffffff`);
    twice.writeUInt32BE(crc32c(twice), 31);
    refuses(twice, 'proxy-header-malformed');
  });

  it('refuses a header over the limit at its length field, before it is sent', () => {
    refuses(hex(`${signature}21111000`), 'proxy-header-oversized');
    const most = encodeProxyV2(address(1), address(2), {
      tlvs: [{ type: 4, value: Buffer.alloc(4096 - 31) }],
    });
    assert.equal(most.length, 4096);
    assert.equal(header(most).tlvs[0]!.value.length, 4096 - 31);
    const largest = encodeProxyV2(address(1), address(2), {
      tlvs: [{ type: 4, value: Buffer.alloc(65535 - 15) }],
    });
    assert.equal(read(largest, [20, 40_000], 16 + 65535).kind, 'answer');
    assert.equal(read(largest, [20, 40_000], 16 + 65534).kind, 'refused');
  });

  it('maps an IPv4 end beside an IPv6 one', () => {
    const mixed = header(
      encodeProxyV2({ address: '192.0.2.1', port: 1 }, { address: '2001:db8::1', port: 2 }),
    );
    assert.deepEqual([mixed.source?.address, mixed.destination?.address], ['192.0.2.1', '2001:db8::1']);
    const line = encodeProxyV1({ address: '192.0.2.1', port: 1 }, { address: '2001:db8::1', port: 2 });
    assert.equal(Buffer.from(line).toString(), 'PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n');
    assert.equal(header(line).source?.address, '192.0.2.1');
  });

  it('writes what it does not know as UNKNOWN, UNSPEC and LOCAL', () => {
    assert.equal(header(encodeProxyV1(undefined, address(1))).source, undefined);
    assert.equal(header(encodeProxyV2(undefined, undefined, { crc32c: true })).tlvs.length, 1);
    assert.equal(header(encodeProxyV2Local()).command, 'local');
  });

  it('asserts that what it is told to write is an address', () => {
    assert.throws(() => encodeProxyV2({ address: 'localhost', port: 1 }, address(1)), {
      name: 'AssertionError',
    });
    assert.throws(() => encodeProxyV1({ address: '::1', port: 65536 }, address(1)), {
      name: 'AssertionError',
    });
  });
});

describe('refused as proxy-header-missing', () => {
  for (const sent of [
    'GET / HTTP/1.1\r\n',
    'PROXYTCP4',
    'PROXX',
    '\r\n\r\n\0\r\nQUIX',
    '\x16\x03\x01',
    'proxy TCP4',
  ]) {
    it(JSON.stringify(sent), () => refuses(sent, 'proxy-header-missing'));
  }

  it('at the first byte that cannot belong to a header', () => {
    assert.equal(read(Buffer.from('P')).kind, 'more');
    assert.equal(read(Buffer.from('\r')).kind, 'more');
    assert.equal(read(Buffer.from('PR\x00')).kind, 'refused');
    assert.equal(read(Buffer.alloc(0)).kind, 'more');
  });
});

function address(port: number) {
  return { address: '192.0.2.1', port };
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
