import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatTargetPattern, parseAclPattern, parseTargetPattern, PatternFault } from './target-pattern.ts';

function acl(text: string): string {
  const pattern = parseAclPattern(text);
  return pattern instanceof PatternFault ? 'refused' : formatTargetPattern(pattern);
}

describe('a pattern', () => {
  it('has one spelling', () => {
    const written = ['EXAMPLE.com.', '*.Example.COM', '~^A$', '[2001:DB8::1]', '10.0.0.1', '::ffff:10.0.0.1'];
    const canonical = written.map((text) => {
      const pattern = parseTargetPattern(text);
      assert(!(pattern instanceof PatternFault));
      return formatTargetPattern(pattern);
    });
    assert.deepEqual(canonical, [
      'example.com',
      '*.example.com',
      '~^A$',
      '2001:db8::1',
      '10.0.0.1',
      '10.0.0.1',
    ]);
  });

  it('with a misplaced star is refused: one failed open elsewhere', () => {
    for (const text of [
      '*example.com',
      'a.*.example.com',
      '*',
      '*.',
      'example.*',
      '**.example.com',
      '~',
      '~(?=a)',
      '127.1',
    ]) {
      assert(parseTargetPattern(text) instanceof PatternFault, text);
    }
  });
});

describe('the YAML form', () => {
  it('reads wildcards, expressions as written, and hosts', () => {
    assert.equal(acl('*.vault.internal'), '*.vault.internal');
    assert.equal(acl('^.*\\.google\\.com$'), '~^.*\\.google\\.com$');
    assert.equal(acl('github.com'), 'github.com');
    assert.equal(acl('api[0-9].example.com'), '~api[0-9].example.com');
    assert.equal(acl('[::1]'), '::1');
  });

  it('refuses what is neither', () => {
    for (const text of ['*', '*example.com', '(?!a)b', 'a b', '', '+'])
      assert.equal(acl(text), 'refused', text);
  });
});
