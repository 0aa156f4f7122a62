/**
 * How a JSON line is shown: as it is, made pretty for a terminal, or with sd-daemon priorities for the journal.
 * Pure functions over one line; they run in the supervisor only.
 */

import { escapeUnsafe } from '../core/escape.ts';
import type { LogLevel, LogSettings } from '../model/settings.ts';

export type LogFormat = NonNullable<LogSettings['format']>;

/** What the operator asked for, otherwise pretty on a terminal and JSON for machines. */
export function chooseFormat(settings: LogSettings, isTty: boolean): LogFormat {
  return settings.format ?? (isTty ? 'pretty' : 'json');
}

/**
 * Whether a descriptor leads to the journal: `JOURNAL_STREAM` is `device:inode` of what systemd connected
 * (systemd.exec(5)), and holds only as long as nobody redirected it.
 */
export function isJournalStream(
  journalStream: string | undefined,
  stat: { readonly dev: number | bigint; readonly ino: number | bigint },
): boolean {
  return journalStream === `${stat.dev}:${stat.ino}`;
}

/** A line's level by its fixed beginning; a line that is none of ours counts as info. */
export function lineLevel(line: string): LogLevel {
  if (line.startsWith('info', levelOffset)) return 'info';
  if (line.startsWith('warn', levelOffset)) return 'warn';
  if (line.startsWith('error', levelOffset)) return 'error';
  return line.startsWith('debug', levelOffset) ? 'debug' : 'info';
}

/** Each physical line of `text` behind its priority (sd-daemon(3)). */
export function prefixPriority(level: LogLevel, text: string): string {
  const prefix = priorities[level];
  return prefix + text.replaceAll('\n', `\n${prefix}`);
}

/**
 * `01:55:14.042 INFO  message key=value …`, stacks on indented lines of their own. Takes a line without its
 * newline; one that is no JSON object is shown as it is, escaped.
 */
export function formatPretty(line: string, colour: boolean): string {
  const fields = parseLine(line);
  if (fields === undefined) return escapeUnsafe(line);
  const { level, time, msg, err, ...rest } = fields;
  const clockTime = typeof time === 'string' ? escapeUnsafe(time.slice(11, 23)) : '';
  let text = `${paint(dim, clockTime, colour)} ${formatLevel(String(level), colour)} ${escapeUnsafe(String(msg))}`;
  for (const [name, value] of Object.entries(rest)) text += formatField(name, value, colour);
  return err === undefined ? text : text + formatError(err, colour);
}

/** Where the level stands in every line: behind `{"level":"`. */
const levelOffset = 10;

const priorities: Readonly<Record<LogLevel, string>> = {
  debug: '<7>',
  info: '<6>',
  warn: '<4>',
  error: '<3>',
};

const dim = 2;
const levelColours: Readonly<Record<string, number>> = { debug: 36, info: 32, warn: 33, error: 31 };

/** A value that reads unambiguously without quotes. */
const bareValue = /^[^\s"=]+$/;

function parseLine(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function formatLevel(level: string, colour: boolean): string {
  return paint(levelColours[level] ?? dim, escapeUnsafe(level).toUpperCase().padEnd(5), colour);
}

function formatField(name: string, value: unknown, colour: boolean): string {
  const text = typeof value === 'string' && bareValue.test(value) ? value : JSON.stringify(value);
  return ` ${paint(dim, `${escapeUnsafe(name)}=`, colour)}${escapeUnsafe(text)}`;
}

/** The stack begins with type and message. Its lines are indented, so that none can pass for a line of the log. */
function formatError(err: unknown, colour: boolean): string {
  const stack = typeof err === 'object' && err !== null ? (err as { stack?: unknown }).stack : undefined;
  if (typeof stack !== 'string') return formatField('err', err, colour);
  return stack
    .split('\n')
    .map((line) => `\n    ${escapeUnsafe(line.trim())}`)
    .join('');
}

function paint(code: number, text: string, colour: boolean): string {
  return colour ? `\x1b[${code}m${text}\x1b[0m` : text;
}
