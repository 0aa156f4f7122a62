import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { chooseFormat, formatPretty, isJournalStream, lineLevel, prefixPriority } from './log-format.ts';
import { linePrefix } from './logger.ts';

/** UTF-16 units as they come, unpaired surrogates among them. */
const anyText = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xff }), fc.integer({ min: 0, max: 0xffff })), { maxLength: 400 })
  .map((units) => String.fromCharCode(...units));

describe('chooseFormat', () => {
  test('takes what is set, otherwise asks whether somebody looks', () => {
    assert.equal(chooseFormat({ level: 'info', format: null }, true), 'pretty');
    assert.equal(chooseFormat({ level: 'info', format: null }, false), 'json');
    assert.equal(chooseFormat({ level: 'info', format: 'json' }, true), 'json');
    assert.equal(chooseFormat({ level: 'info', format: 'pretty' }, false), 'pretty');
  });
});

describe('isJournalStream', () => {
  test('holds only for the very descriptor that systemd connected', () => {
    assert.equal(isJournalStream('8:12345', { dev: 8, ino: 12345 }), true);
    assert.equal(isJournalStream('8:12345', { dev: 8n, ino: 12346n }), false);
    assert.equal(isJournalStream(undefined, { dev: 8, ino: 12345 }), false);
  });
});

describe('priorities', () => {
  test('are those of sd-daemon, found by the beginning of the line', () => {
    const shown = (['debug', 'info', 'warn', 'error'] as const).map((level) => {
      const line = linePrefix(level, 0) + '}';
      return prefixPriority(lineLevel(line), line).slice(0, 3);
    });
    assert.deepEqual(shown, ['<7>', '<6>', '<4>', '<3>']);
    assert.equal(lineLevel('not ours'), 'info');
  });

  test('stand before each line of a stack', () => {
    assert.equal(prefixPriority('error', 'a\n    b'), '<3>a\n<3>    b');
  });
});

describe('formatPretty', () => {
  const line = `${linePrefix('warn', 7)},"sni":"a b","n":1,"empty":"","msg":"hello there"}`;

  test('shows time, level, message and fields', () => {
    assert.equal(formatPretty(line, false), '00:00:00.007 WARN  hello there sni="a b" n=1 empty=""');
  });

  test('paints for terminals only', () => {
    assert.ok(formatPretty(line, true).includes('\x1b[33mWARN \x1b[0m'));
  });

  test('shows a stack on indented lines', () => {
    const failed = `${linePrefix('error', 7)},"err":{"type":"Error","message":"m","stack":"Error: m\\n at x"},"msg":"failed"}`;
    assert.equal(formatPretty(failed, false), '00:00:00.007 ERROR failed\n    Error: m\n    at x');
  });

  test('shows what is no JSON as it is, escaped', () => {
    assert.equal(formatPretty('oh\x1b', false), 'oh\\x1b');
    assert.equal(formatPretty('{oh', false), '{oh');
  });

  test('lets no control character of a field through', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const pretty = formatPretty(
          JSON.stringify({ level: 'info', time: text, msg: text, [`k${text}`]: text }),
          false,
        );
        // oxlint-disable-next-line no-control-regex
        assert.doesNotMatch(pretty, /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/);
      }),
    );
  });
});
