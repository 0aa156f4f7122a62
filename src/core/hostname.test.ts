import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { domainToASCII } from 'node:url';
import fc from 'fast-check';
import { formatHostPattern, hostnameFault, normaliseHostname, parseHostPattern } from './hostname.ts';

const label63 = 'a'.repeat(63);

describe('normaliseHostname', () => {
  test('lowers case and strips one trailing dot', () => {
    assert.equal(normaliseHostname('App.EXAMPLE.com.'), 'app.example.com');
    assert.equal(normaliseHostname('app.example.com'), 'app.example.com');
    assert.equal(normaliseHostname('localhost'), 'localhost');
    assert.equal(normaliseHostname('_dmarc.a-b.x--y.1a'), '_dmarc.a-b.x--y.1a');
  });

  test('keeps to the lengths of DNS', () => {
    assert.ok(normaliseHostname(`${label63}.com`));
    assert.equal(normaliseHostname(`${label63}a.com`), undefined);
    const longest = `${label63}.${label63}.${label63}.${'b'.repeat(61)}`;
    assert.equal(longest.length, 253);
    assert.equal(normaliseHostname(`${longest}.`), longest);
    assert.equal(normaliseHostname(`${longest}b`), undefined);
  });

  test('refuses what is no host name, and says why', () => {
    const faults: [string, RegExp][] = [
      ['', /is empty/],
      ['.', /is empty/],
      ['..', /empty label/],
      ['a..b', /empty label/],
      ['a.b..', /empty label/],
      ['.a', /empty label/],
      ['-a.b', /hyphen/],
      ['a-.b', /hyphen/],
      ['a b', /space or a control/],
      ['a\0b', /control character/],
      ['a/b', /has a "\/"/],
      ['u@a', /has a "@"/],
      ['a:443', /has a ":"/],
      ['[::1]', /has a "\["/],
      ['::1', /has a ":"/],
      ['bücher.example', /xn--/],
      ['192.0.2.1', /IP address/],
      ['127.1', /ends in a number/],
      ['a.0x7F', /ends in a number/],
      ['2130706433', /ends in a number/],
      ['\u212a.example', /outside ASCII/],
      [`${label63}a`, /longer than 63/],
      ['a.'.repeat(130), /longer than 253/],
    ];
    for (const [text, fault] of faults) {
      assert.equal(normaliseHostname(text), undefined, JSON.stringify(text));
      assert.match(hostnameFault(text) ?? 'no fault', fault, JSON.stringify(text));
    }
  });

  test('is idempotent, and what it accepts a URL parser accepts as the same host', () => {
    const hostish = fc.string({ unit: fc.constantFrom(...'abzAZ019-_.._x'), maxLength: 80 });
    fc.assert(
      fc.property(fc.oneof(hostish, fc.domain(), fc.string()), (text) => {
        const name = normaliseHostname(text);
        assert.equal(hostnameFault(text) === undefined, name !== undefined);
        if (name === undefined) return;
        assert.equal(normaliseHostname(name), name);
        // A URL parser also decodes punycode; names that say xn-- are its own business.
        if (!name.includes('xn--')) assert.equal(domainToASCII(name), name);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('parseHostPattern', () => {
  test('reads names and leading wildcards in normal form', () => {
    assert.deepEqual(parseHostPattern('App.Example.COM.'), { kind: 'exact', name: 'app.example.com' });
    assert.deepEqual(parseHostPattern('*.Example.com'), { kind: 'wildcard', name: 'example.com' });
    assert.deepEqual(parseHostPattern('*.com'), { kind: 'wildcard', name: 'com' });
  });

  test('refuses a star anywhere else, which would fail open, and says why', () => {
    const faults: [string, RegExp][] = [
      ['*', /default_backend/],
      ['*.', /nothing after/],
      ['*..', /nothing after/],
      ['a.*.b', /whole first label/],
      ['*a.b', /whole first label/],
      ['a*.b', /whole first label/],
      ['a.*', /whole first label/],
      ['*.*.b', /whole first label/],
      ['**.b', /whole first label/],
      ['', /is empty/],
      ['*.192.0.2.1', /IP address/],
      ['*.-a.b', /hyphen/],
      [`*.${'a.'.repeat(125)}ab`, /leaves no room/],
    ];
    for (const [text, fault] of faults) {
      const pattern = parseHostPattern(text);
      assert.match(pattern.kind === 'refused' ? pattern.reason : 'accepted', fault, JSON.stringify(text));
    }
  });

  test('reads back what formatHostPattern writes', () => {
    for (const text of ['app.example.com', '*.example.com']) {
      const pattern = parseHostPattern(text);
      assert.ok(pattern.kind !== 'refused');
      assert.equal(formatHostPattern(pattern), text);
    }
  });
});
