import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseIp } from '../core/ip.ts';
import { classOfAddress } from './address-class.ts';
import { NetworkGuard, type GuardLevel } from './network-guard.ts';

const guard = new NetworkGuard(
  { addresses: ['192.168.7.7', '203.0.114.5', 'fe80::1%eth0', '2001:4860::7'], ports: [8080, 9090] },
  ['8.8.4.0/24'],
);

function judge(address: string, level: GuardLevel = 'public', port = 443): string {
  return guard.judge(parseIp(address)!, port, level) ?? 'allowed';
}

describe('classes of addresses', () => {
  for (const [address, expected] of [
    ['8.8.8.8', 'public'],
    ['2606:4700::1', 'public'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['::', 'unspecified'],
    ['169.254.169.254', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['::ffff:a9fe:a9fe', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['169.254.1.1', 'link-local'],
    ['fe80::1', 'link-local'],
    ['febf::1', 'link-local'],
    ['10.0.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.1', 'public'],
    ['192.168.0.1', 'private'],
    ['100.64.0.1', 'shared'],
    ['100.128.0.1', 'public'],
    ['fc00::1', 'unique-local'],
    ['fdff::1', 'unique-local'],
    ['fec0::1', 'unique-local'],
    ['224.0.0.1', 'multicast'],
    ['ff02::1', 'multicast'],
    ['255.255.255.255', 'reserved'],
    ['240.0.0.1', 'reserved'],
    ['198.18.0.1', 'reserved'],
    ['192.0.2.1', 'reserved'],
    ['2001:db8::1', 'reserved'],
    ['::7f00:1', 'embedded'],
    ['2002:7f00:1::', 'embedded'],
    ['2001:0:1234::1', 'embedded'],
    ['64:ff9b:1::7f00:1', 'embedded'],
    ['::ffff:0:7f00:1', 'embedded'],
    ['2606:4700::5efe:7f00:1', 'embedded'],
    ['2606:4700::200:5efe:7f00:1', 'embedded'],
    ['64:ff9b::808:808', 'public'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['64:ff9b::a9fe:a9fe', 'metadata'],
    ['64:ff9b::a00:1', 'private'],
  ] as const) {
    it(`${address} is ${expected}`, () => assert.equal(classOfAddress(parseIp(address)!), expected));
  }
});

describe('the guard', () => {
  it("opens one's own network to a rule that says so, and nothing else", () => {
    for (const address of ['10.0.0.1', '192.168.1.1', '100.64.0.1', 'fd12::1']) {
      assert.notEqual(judge(address), 'allowed');
      assert.equal(judge(address, 'private'), 'allowed');
    }
    for (const address of [
      '127.0.0.1',
      '::1',
      '169.254.169.254',
      'fd00:ec2::254',
      'fe80::2',
      '0.0.0.0',
      '224.0.0.1',
      '2002:7f00:1::',
    ]) {
      assert.notEqual(judge(address, 'private'), 'allowed', address);
    }
  });

  it('keeps everybody from our own addresses, public or private', () => {
    assert.equal(judge('192.168.7.7', 'private'), 'own-address');
    assert.equal(judge('203.0.114.5'), 'own-address');
    assert.equal(judge('2001:4860::7', 'private'), 'own-address');
  });

  it('lets a rewrite go where its operator says, but never back into this proxy', () => {
    assert.equal(judge('127.0.0.1', 'rewrite', 9443), 'allowed');
    assert.equal(judge('169.254.169.254', 'rewrite'), 'allowed');
    for (const address of ['127.0.0.1', '::1', '0.0.0.0', '192.168.7.7', '203.0.114.5']) {
      assert.equal(judge(address, 'rewrite', 8080), 'own-listener');
      assert.equal(judge(address, 'rewrite', 9090), 'own-listener');
    }
  });

  it('denies the networks it is told', () => {
    assert.equal(judge('8.8.4.4'), 'denied-network');
    assert.equal(judge('8.8.4.4', 'private'), 'denied-network');
    assert.equal(judge('8.8.8.8'), 'allowed');
  });
});
