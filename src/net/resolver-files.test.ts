import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { candidateNames, parseHosts, parseResolvConf } from './resolver-files.ts';

describe('parseResolvConf', () => {
  test('reads servers, the last search list and ndots', () => {
    const conf = parseResolvConf(
      'domain old.test\n# comment\nnameserver 192.0.2.53\nnameserver nonsense\nnameserver 2001:db8::53 ; second\n' +
        'search a.test B.test.\noptions edns0 ndots:3\n',
    );
    assert.deepEqual(conf, {
      servers: ['192.0.2.53', '2001:db8::53'],
      search: ['a.test', 'b.test'],
      ndots: 3,
    });
  });

  test('has bounds, and means this machine when nothing is said', () => {
    const many = parseResolvConf(
      `${'nameserver 192.0.2.53\n'.repeat(9)}search ${'a.test '.repeat(99)}\noptions ndots:999`,
    );
    assert.deepEqual([many.servers.length, many.search.length, many.ndots], [3, 6, 15]);
    assert.deepEqual(parseResolvConf(''), { servers: ['127.0.0.1'], search: [], ndots: 1 });
  });
});

describe('parseHosts', () => {
  test('keeps the addresses of a name in order, each once, sixteen at most', () => {
    const hosts = parseHosts('10.0.0.1 a A b\n10.0.0.2\ta\n::ffff:10.0.0.1 a\n010.0.0.1 a\n');
    assert.deepEqual(
      [...hosts],
      [
        ['a', ['10.0.0.1', '10.0.0.2']],
        ['b', ['10.0.0.1']],
      ],
    );
    const many = Array.from({ length: 99 }, (_, at) => `10.0.0.${at} a\n`).join('');
    assert.equal(parseHosts(many).get('a')!.length, 16);
  });

  test('takes any text', () => {
    fc.assert(fc.property(fc.string(), (text) => void [parseHosts(text), parseResolvConf(text)]));
  });
});

describe('candidateNames', () => {
  test('never asks for a name that DNS cannot carry', () => {
    const search = ['x'.repeat(60) + '.test', 'ok'];
    assert.deepEqual(candidateNames('a.'.repeat(100) + 'b', { servers: [], search, ndots: 1 }), [
      'a.'.repeat(100) + 'b',
      'a.'.repeat(100) + 'b.ok',
    ]);
  });
});
