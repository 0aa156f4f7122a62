import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  authorityOf,
  hostPort,
  sameTarget,
  TargetRefusal,
  targetOfConnect,
  targetOfHost,
  targetOfRequest,
} from './target.ts';

function connect(text: string): string {
  const target = targetOfConnect(text);
  return target instanceof TargetRefusal ? `refused: ${target.fault}` : hostPort(target.host, target.port);
}

function request(scheme: string, authority: string): string {
  const target = targetOfRequest(scheme, authority);
  return target instanceof TargetRefusal
    ? `refused: ${target.fault}`
    : `${target.scheme}://${authorityOf(target)}`;
}

describe('the target of a CONNECT', () => {
  it('is one, however the host is spelt', () => {
    const spellings = ['example.com:443', 'EXAMPLE.com:443', 'example.com.:443', 'eXaMpLe.CoM.:443'];
    assert.deepEqual(new Set(spellings.map(connect)), new Set(['example.com:443']));
  });

  it('is the A-label of a name in other letters, sent as UTF-8', () => {
    const sent = Buffer.from('BÜCHER.example:443', 'utf8').toString('latin1');
    assert.equal(connect(sent), 'xn--bcher-kva.example:443');
    assert.equal(connect('\xff\xfe.example:443'), 'refused: has a host that is no valid international name');
  });

  it('needs a port', () => {
    assert.equal(connect('example.com'), 'refused: has no port');
    assert.equal(connect('example.com:'), 'refused: has no port');
    for (const port of ['0', '00443', '65536', '+443', '4 3', '443x']) {
      assert.match(connect(`example.com:${port}`), /^refused: /);
    }
  });

  it('is an address in its one spelling', () => {
    assert.equal(connect('192.0.2.1:443'), '192.0.2.1:443');
    assert.equal(connect('[2001:DB8:0:0::1]:443'), '[2001:db8::1]:443');
    assert.equal(connect('[::ffff:127.0.0.1]:443'), '127.0.0.1:443');
    assert.equal(connect('[::ffff:7f00:1]:443'), '127.0.0.1:443');
  });

  for (const host of [
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '127.1',
    '127.0.1',
    '0177.0.0.1',
    '017700000001',
    '127.0.0.0x1',
    '1.2.3.4.5',
    '127.0.0.1.',
    '256.0.0.1',
  ]) {
    it(`refuses ${host}, which programs read differently`, () =>
      assert.match(connect(`${host}:443`), /^refused: /));
  }

  it('refuses an address in full-width digits, which IDNA would turn into one', () => {
    assert.match(connect(Buffer.from('１２７.０.０.１:443').toString('latin1')), /^refused: /);
  });

  for (const text of [
    '[fe80::1%eth0]:443',
    '[fe80::1%25eth0]:443',
    'user@example.com:443',
    'user:secret@example.com:443',
    'exam%70le.com:443',
    '::1:443',
    '[127.0.0.1]:443',
    '[example.com]:443',
    '[::1]extra:443',
    'a..b:443',
    ':443',
    '-a.example:443',
    'a b:443',
    'a\tb:443',
    'example.com/path:443',
    'example.com?x:443',
    '*.example.com:443',
    `${'a'.repeat(64)}.example:443`,
  ]) {
    it(`refuses ${text}`, () => assert.match(connect(text), /^refused: /));
  }
});

describe('the target of a request', () => {
  it('takes the port of its scheme', () => {
    assert.equal(request('http', 'example.com'), 'http://example.com');
    assert.equal(request('https', 'example.com:443'), 'https://example.com');
    assert.equal(request('https', 'example.com:80'), 'https://example.com:80');
    assert.equal(request('http', 'example.com:'), 'http://example.com');
  });

  it('has no scheme but http and https', () => {
    for (const scheme of ['ftp', 'file', 'HTTP', 'ws', ''])
      assert.match(request(scheme, 'example.com'), /^refused: /);
  });

  it('is the same as that of its tunnel, and another at another port', () => {
    const tunnel = targetOfConnect('Example.COM:443');
    const inner = targetOfRequest('https', 'example.com.');
    const other = targetOfRequest('https', 'example.com:8443');
    assert(
      !(tunnel instanceof TargetRefusal) &&
        !(inner instanceof TargetRefusal) &&
        !(other instanceof TargetRefusal),
    );
    assert(sameTarget(tunnel, inner));
    assert(!sameTarget(tunnel, other));
  });
});

describe('any text', () => {
  it('gives a target that reads back as itself, or a refusal', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...'aZ0.-_:[]%@x/\\ \xc3\xbc') }),
      fc.ipV4Extended(),
      fc.ipV6().map((ip) => `[${ip}]`),
    );
    fc.assert(
      fc.property(texts, fc.constantFrom('', ':1', ':443'), (host, port) => {
        const target = targetOfConnect(host + port);
        if (target instanceof TargetRefusal) return;
        assert.deepEqual(targetOfConnect(hostPort(target.host, target.port)), target);
        assert.deepEqual(targetOfHost(target.host, target.port), target);
      }),
    );
  });
});
