import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { escapeJson, escapeText, escapeUnsafe } from './escape.ts';

/** Written out, so that the test does not repeat the classes of the code. */
const forbidden =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|(?<![\ud800-\udbff])[\udc00-\udfff]|[\ud800-\udbff](?![\udc00-\udfff])/;

/** Texts that are rich in what must not get through. */
const hostile = fc.oneof(
  fc
    .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 0xff })))
    .map((units) => String.fromCharCode(...units)),
  fc.string({ unit: fc.constantFrom('a', '\\', 'x', '\x1b', '\u009b', '\u202e', '\u200b', '\u{e0041}') }),
);

describe('escapeText', () => {
  test('leaves ordinary text alone, in any script', () => {
    for (const text of ['', 'app.example.com', 'bücher.example', '例え.テスト', 'it says "no"', '🙂']) {
      assert.equal(escapeText(text), text);
    }
  });

  test('shows what a terminal would obey', () => {
    assert.equal(escapeText('\x1b[2J\r\n\x7f\u009b'), '\\x1b[2J\\x0d\\x0a\\x7f\\x9b');
    assert.equal(escapeText('a\u202eb\u2066c\u200ed'), 'a\\u{202e}b\\u{2066}c\\u{200e}d');
    assert.equal(escapeText('\u200b\ufeff\u2028\ud800'), '\\u{200b}\\u{feff}\\u{2028}\\u{d800}');
    assert.equal(escapeText('\u{e0041}'), '\\u{e0041}');
  });

  test('escapes the backslash, so that a peer cannot forge an escape', () => {
    assert.equal(escapeText('\\x1b'), '\\x5cx1b');
  });

  test('cuts at the limit with an ellipsis, never through an escape or a character', () => {
    assert.equal(escapeText('a'.repeat(256)).length, 256);
    assert.equal(escapeText('a'.repeat(257)), 'a'.repeat(255) + '…');
    assert.equal(escapeText('ab\x1bcd', 6), 'ab…');
    assert.equal(escapeText('ab\x1b', 6), 'ab\\x1b');
    assert.equal(escapeText('ab\x1bc', 6), 'ab…');
    assert.equal(escapeText('🙂🙂', 3), '🙂…');
  });

  test('never lets an unsafe character through, never passes the limit', () => {
    fc.assert(
      fc.property(hostile, fc.integer({ min: 1, max: 40 }), (text, max) => {
        const escaped = escapeText(text, max);
        assert.ok(escaped.length <= max);
        assert.doesNotMatch(escaped, forbidden);
      }),
    );
  });

  test('two different texts never look the same while neither is cut', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const back = escapeText(text, 10_000).replace(/\\x([0-9a-f]{2})|\\u\{([0-9a-f]+)\}/g, (_, x, u) =>
          String.fromCodePoint(parseInt(x ?? u, 16)),
        );
        // A lone high surrogate followed by an escaped low one would join on the way back.
        if (text.isWellFormed()) assert.equal(back, text);
      }),
    );
  });
});

describe('escapeUnsafe', () => {
  test('keeps backslashes and length, escapes the rest', () => {
    assert.equal(escapeUnsafe('a\\x1b\x1b'), 'a\\x1b\\x1b');
    fc.assert(fc.property(hostile, (text) => assert.doesNotMatch(escapeUnsafe(text), forbidden)));
  });
});

describe('escapeJson', () => {
  test('parses to the same value and holds no raw unsafe character', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const json = escapeJson(JSON.stringify({ [text]: text }));
        assert.deepEqual(JSON.parse(json), { [text]: text });
        assert.doesNotMatch(json, forbidden);
      }),
    );
  });
});
