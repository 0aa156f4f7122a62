import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  canonicalPrefix,
  isBelow,
  isPlainPath,
  lenientPath,
  normalisePath,
  pathPrefixCharactersMax,
  pathPrefixFault,
} from './path-prefix.ts';

describe('paths', () => {
  test('are read as RFC 3986 normalises them, doubled slashes as one, without the query', () => {
    const read: readonly [string, string][] = [
      ['/a/b', '/a/b'],
      ['/a/./b/../c', '/a/c'],
      ['/../../a', '/a'],
      ['/a/%2e%2E/b', '/b'],
      ['/a/.%2e', '/'],
      ['/a/b/.', '/a/b/'],
      ['//a///b/', '/a/b/'],
      ['/%61p%69/%c3%a4', '/api/%C3%A4'],
      ['/a?x=/../b', '/a'],
      ['/100%/x', '/100%/x'],
      ['/a;v=1/../b', '/b'],
      ['*', '*'],
      ['', ''],
    ];
    for (const [path, normalised] of read) assert.equal(normalisePath(path), normalised, path);
  });

  test('are also read as lenient servers do', () => {
    assert.equal(lenientPath('/x%2F..%2fadmin'), '/admin');
    assert.equal(lenientPath('/x\\..\\admin'), '/admin');
    assert.equal(lenientPath('/x/..;a=b/admin;v=1/y'), '/admin/y');
    assert.equal(lenientPath('/x%5C%2e%2e%5Cadmin'), '/admin');
  });

  test('that are plain read as what they are, both ways', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^\/[a-b./%;#\\?02Ff5Ce]{0,14}$/), (path) => {
        if (!isPlainPath(path)) return;
        const bare = path.split('?')[0]!;
        assert.equal(normalisePath(path), bare);
        assert.equal(lenientPath(path), bare);
      }),
    );
  });

  test('hold no dot segment once they are normalised, and normalising again changes nothing', () => {
    // An escape of an escape is another path the second time, and to every server that decodes once.
    const wellFormed = fc
      .array(fc.constantFrom('/', '.', '..', '%2e', '%2E', 'a', '%61', '%2F', ';', '%C3'), { maxLength: 12 })
      .map((parts) => `/${parts.join('')}`);
    fc.assert(
      fc.property(wellFormed, (path) => {
        const once = normalisePath(path);
        assert.ok(once.startsWith('/'));
        assert.ok(!once.split('/').some((segment) => segment === '.' || segment === '..'), once);
        assert.equal(normalisePath(once), once);
      }),
    );
  });
});

describe('prefixes', () => {
  test('take their own path and what lies below it, in whole segments', () => {
    for (const path of ['/api', '/api/', '/api/x', '/api?x', '/api/?x'])
      assert.ok(isBelow(path, '/api'), path);
    for (const path of ['/apix', '/ap', '/', '*', '', '/x/api', '/API'])
      assert.ok(!isBelow(path, '/api'), path);
    for (const path of ['/', '*', '', '/x']) assert.ok(isBelow(path, ''), path);
  });

  test('are refused when no path could match them, or two spellings could mean one', () => {
    const refused: readonly [string, RegExp][] = [
      ['api', /begins with/],
      ['', /begins with/],
      ['/a?x', /query/],
      ['/a#x', /fragment/],
      ['/a/../b', /normalised/],
      ['/a//b', /normalised/],
      ['/%61', /normalised/],
      ['/a/', /normalised/],
      ['/a%2Fb', /slash/],
      ['/a;b', /";"/],
      ['/a b', /RFC 3986/],
      ['/ä', /RFC 3986/],
      ['/%zz', /RFC 3986/],
      [`/${'x'.repeat(pathPrefixCharactersMax)}`, /at most 1024/],
    ];
    for (const [text, why] of refused) {
      assert.match(pathPrefixFault(text) ?? 'taken', why, text);
    }
    for (const text of ['/api', '/a.b/c-d_e~f', '/%C3%A4', '/a:b@c', `/${'x'.repeat(1023)}`]) {
      assert.equal(pathPrefixFault(text), null, text);
    }
    for (const text of ['/', '//', '']) assert.equal(canonicalPrefix(text), '');
    for (const text of ['/a', '/a/', '/a//']) assert.equal(canonicalPrefix(text), '/a');
  });
});
