import assert from 'node:assert/strict';
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  bytesToIp,
  cidrContains,
  formatCidr,
  formatIp,
  hostCidr,
  type IpAddress,
  isLoopback,
  isUnspecified,
  parseCidr,
  parseIp,
  sameIp,
  writeIp,
} from './ip.ts';

const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4().map((v4) => `::ffff:${v4}`),
);

/** Text that is nearly an address: what a parser gets wrong lies here. */
const nearAddress = fc.oneof(
  address,
  fc.string({ unit: fc.constantFrom(...'0123456789abcfF:.::'), maxLength: 46 }),
  fc
    .tuple(address, fc.nat(45), fc.constantFrom('', ':', '.', '0', '::', 'g', '%', '/', ' '))
    .map(([text, at, junk]) => text.slice(0, at) + junk + text.slice(at + 1)),
);

describe('parseIp', () => {
  test('keeps IPv4 as v4-mapped words', () => {
    const ip = parseIp('192.0.2.255')!;
    assert.deepEqual([ip.family, ip.w0, ip.w1, ip.w2, ip.w3 >>> 0], [4, 0, 0, 0xffff, 0xc00002ff]);
  });

  test('takes IPv4 in IPv6 clothes for IPv4, in each of its spellings', () => {
    for (const text of [
      '::ffff:192.0.2.1',
      '::FFFF:c000:201',
      '0:0:0:0:0:ffff:192.0.2.1',
      '::ffff:c000:0201',
    ]) {
      assert.equal(formatIp(parseIp(text)!), '192.0.2.1', text);
    }
  });

  test('refuses what programs disagree on', () => {
    const texts = [
      '',
      '1',
      '1.2.3',
      '1.2.3.4.',
      '.1.2.3.4',
      '01.2.3.4',
      '1.2.3.00',
      '256.1.1.1',
      '1..2.3',
      '0x7f.1.1.1',
    ];
    texts.push(
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      '1:2:3:4::5:6:7:8',
      '12345::',
      '::1:',
      ':1::',
    );
    texts.push(
      '[::1]',
      'fe80::1%eth0',
      '::1.2.3',
      '::1.2.3.4.5',
      '1.2.3.4::',
      '::01.2.3.4',
      '1:2:3:4:5:6:7:1.2.3.4',
    );
    texts.push(' 1.2.3.4', '1.2.3.4 ', '1.2.3.4/32', '\uff11.2.3.4', `::${'0'.repeat(60)}1`);
    for (const text of texts) assert.equal(parseIp(text), undefined, JSON.stringify(text));
  });

  test('agrees with the parser of the system on every text', () => {
    fc.assert(
      fc.property(nearAddress, (text) => {
        assert.equal(parseIp(text) !== undefined, isIPv4(text) || (isIPv6(text) && !text.includes('%')));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('formatIp', () => {
  test('follows RFC 5952', () => {
    const pairs = [
      ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
      ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
      ['::', '::'],
      ['0:0:0:0:0:0:0:1', '::1'],
      ['1:0:0:0:0:0:0:0', '1::'],
      ['::1.2.3.4', '::102:304'],
    ] as const;
    for (const [text, canonical] of pairs) assert.equal(formatIp(parseIp(text)!), canonical);
  });

  test('is the spelling of a URL, and reads back as the same address', () => {
    fc.assert(
      fc.property(address, (text) => {
        const ip = parseIp(text)!;
        assert.ok(sameIp(parseIp(formatIp(ip))!, ip));
        if (ip.family === 6) assert.equal(new URL(`http://[${text}]/`).hostname, `[${formatIp(ip)}]`);
      }),
    );
  });
});

describe('CIDR', () => {
  test('masks host bits and says that there were some', () => {
    assert.deepEqual(spell('10.1.2.3/8'), ['10.0.0.0/8', true]);
    assert.deepEqual(spell('10.0.0.0/8'), ['10.0.0.0/8', false]);
    assert.deepEqual(spell('2001:db8::1/33'), ['2001:db8::/33', true]);
    assert.deepEqual(spell('0.0.0.0/0'), ['0.0.0.0/0', false]);
    assert.deepEqual(spell('::/0'), ['::/0', false]);
  });

  test('reads an address alone as that address only', () => {
    assert.deepEqual(spell('192.0.2.1'), ['192.0.2.1/32', false]);
    assert.deepEqual(spell('::1'), ['::1/128', false]);
    assert.deepEqual(spell('::ffff:192.0.2.1'), ['192.0.2.1/32', false]);
  });

  test('counts the prefix of a v4-mapped network in IPv6 bits', () => {
    assert.deepEqual(spell('::ffff:10.0.0.0/104'), ['10.0.0.0/8', false]);
    assert.deepEqual(spell('::ffff:0:0/96'), ['0.0.0.0/0', false]);
    assert.deepEqual(spell('::ffff:0:0/95'), ['::fffe:0:0/95', true]);
    assert.equal(spell('::ffff:0:0/95')?.[0] && parseCidr('::ffff:0:0/95')!.cidr.address.family, 6);
  });

  test('refuses a prefix that is not one', () => {
    for (const text of [
      '10.0.0.0/33',
      '::/129',
      '10.0.0.0/',
      '10.0.0.0/08',
      '10.0.0.0/-1',
      '10.0.0.0/8/8',
      '/8',
      '10/8',
    ]) {
      assert.equal(parseCidr(text), undefined, text);
    }
  });

  test('contains what the block list of the system contains', () => {
    fc.assert(
      fc.property(address, address, fc.nat(128), (network, text, bits) => {
        const base = parseIp(network)!;
        const prefixLength = base.family === 4 ? bits % 33 : bits;
        const { cidr } = parseCidr(`${formatIp(base)}/${prefixLength}`)!;
        const list = new BlockList();
        list.addSubnet(formatIp(cidr.address), prefixLength, cidr.address.family === 4 ? 'ipv4' : 'ipv6');
        // Near addresses as well, otherwise nothing is ever inside.
        for (const ip of [parseIp(text)!, base, flipBit(base, bits)]) {
          const expected = ip.family === cidr.address.family && list.check(formatIp(ip), familyName(ip));
          assert.equal(cidrContains(cidr, ip), expected, `${formatCidr(cidr)} ∋ ${formatIp(ip)}`);
        }
      }),
    );
  });

  test('keeps IPv4 out of IPv6 networks', () => {
    assert.equal(cidrContains(parseCidr('::/0')!.cidr, parseIp('192.0.2.1')!), false);
    assert.ok(cidrContains(hostCidr(parseIp('192.0.2.1')!), parseIp('::ffff:192.0.2.1')!));
  });
});

test('bytes: write then read is the identity, and v4 can be written as v4-mapped', () => {
  fc.assert(
    fc.property(address, fc.nat(5), (text, offset) => {
      const ip = parseIp(text)!;
      const bytes = new Uint8Array(32);
      const length = writeIp(ip, bytes, offset);
      assert.equal(length, ip.family === 4 ? 4 : 16);
      assert.ok(sameIp(bytesToIp(bytes, offset, length as 4 | 16), ip));
      writeIp(ip, bytes, offset, 16);
      assert.ok(sameIp(bytesToIp(bytes, offset, 16), ip));
      assert.ok(bytes.subarray(offset + 16).every((byte) => byte === 0));
    }),
  );
});

test('loopback and unspecified addresses are told from the others', () => {
  for (const text of ['127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1'])
    assert.equal(kindOf(text), 'loopback', text);
  for (const text of ['0.0.0.0', '::', '::ffff:0.0.0.0']) assert.equal(kindOf(text), 'unspecified', text);
  for (const text of ['128.0.0.1', '1::', '::2', '::1:0:0', '0.0.0.1'])
    assert.equal(kindOf(text), 'other', text);
});

function kindOf(text: string): string {
  const ip = parseIp(text)!;
  const kinds = [isLoopback(ip) ? 'loopback' : '', isUnspecified(ip) ? 'unspecified' : ''];
  return kinds.join('') || 'other';
}

function spell(text: string): [string, boolean] | undefined {
  const parsed = parseCidr(text);
  return parsed && [formatCidr(parsed.cidr), parsed.hostBitsSet];
}

function familyName(ip: IpAddress): 'ipv4' | 'ipv6' {
  return ip.family === 4 ? 'ipv4' : 'ipv6';
}

function flipBit(ip: IpAddress, bit: number): IpAddress {
  const bytes = new Uint8Array(16);
  const length = writeIp(ip, bytes, 0) as 4 | 16;
  const at = bit % (length * 8);
  bytes[at >> 3]! ^= 128 >> (at & 7);
  return bytesToIp(bytes, 0, length);
}
