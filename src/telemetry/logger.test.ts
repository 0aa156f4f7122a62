import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { LogLevel } from '../model/settings.ts';
import { createLogger, type Logger } from './logger.ts';
import { formatTime } from './time.ts';

/** UTF-16 units as they come, unpaired surrogates among them. */
const anyText = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xff }), fc.integer({ min: 0, max: 0xffff })), { maxLength: 400 })
  .map((units) => String.fromCharCode(...units));

// oxlint-disable-next-line no-control-regex
const unsafe = /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;

function capture(level: LogLevel = 'debug'): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const output = { write: (line: string) => void lines.push(line) };
  return {
    lines,
    logger: createLogger({ level, output, bindings: { worker: 2 }, clock: () => 1_700_000_000_007 }),
  };
}

describe('createLogger', () => {
  test('writes level, time, bindings, fields and message as one JSON line', () => {
    const { logger, lines } = capture();
    logger.info('listening', { address: '127.0.0.1:8443', absent: undefined });
    assert.equal(
      lines[0],
      '{"level":"info","time":"2023-11-14T22:13:20.007Z","worker":2,"address":"127.0.0.1:8443","msg":"listening"}\n',
    );
  });

  test('keeps quiet below its level', () => {
    const { logger, lines } = capture('warn');
    logger.debug('a');
    logger.info('b');
    logger.warn('c');
    logger.error('d');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).level),
      ['warn', 'error'],
    );
  });

  test('writes an error with its type, message and stack, and never interpolates a message', () => {
    const { logger, lines } = capture();
    logger.child({ store: 'x' }).error('100%s failed', { err: new TypeError('bad') });
    const { err, store, msg } = JSON.parse(lines[0]!);
    assert.deepEqual([err.type, err.message, store, msg], ['TypeError', 'bad', 'x', '100%s failed']);
    assert.match(err.stack, /logger\.test/);
  });

  test('no raw control, bidi or invisible character reaches the output', () => {
    const { logger, lines } = capture();
    fc.assert(
      fc.property(anyText, (text) => {
        lines.length = 0;
        logger.warn(text, { text });
        assert.doesNotMatch(lines[0]!.slice(0, -1), unsafe);
        assert.equal(
          JSON.parse(lines[0]!).text,
          text.toWellFormed() === text ? text : JSON.parse(lines[0]!).text,
        );
      }),
    );
  });
});

test('formatTime agrees with toISOString', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000_000_000 }), (timeMs) =>
      assert.equal(formatTime(timeMs), new Date(timeMs).toISOString()),
    ),
  );
});
