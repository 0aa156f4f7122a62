/**
 * Structured logs: one event, one JSON line, pino underneath. Who writes the lines is told by LogOutput: in the
 * supervisor a LogWriter, in a worker a BatchingLogOutput that hands them over.
 *
 * Every line starts with `{"level":"…","time":"…"` (LogWriter relies on it), ends with its newline, and holds no
 * raw control, bidi or invisible character. Text from peers passes `escapeText` before it is made a field.
 */

import { pino } from 'pino';
import { escapeJson } from '../core/escape.ts';
import type { LogLevel } from '../model/settings.ts';
import { formatTime } from './time.ts';

export interface LogOutput {
  /** Takes one whole line with its newline. Never throws, never blocks for long. */
  write(line: string): void;
}

/** An Error under the name `err` is written with its type, message and stack. `undefined` is left out. */
export interface LogFields {
  readonly [name: string]: unknown;
}

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose lines carry these fields as well. */
  child(bindings: LogFields): Logger;
}

/** A logger whose level changes at run time. Its children keep theirs. */
export interface AdjustableLogger extends Logger {
  level: LogLevel;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly output: LogOutput;
  /** Fields of every line, `{ worker: 3 }`. */
  readonly bindings?: LogFields;
  readonly clock?: () => number;
}

export function createLogger({ level, output, bindings, clock = Date.now }: LoggerOptions): AdjustableLogger {
  const root = pino(
    {
      level,
      base: bindings ?? null,
      timestamp: () => `,"time":"${formatTime(clock())}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => output.write(escapeJson(line.slice(0, -1)) + '\n') },
  );
  return new PinoLogger(root);
}

/** How every line begins, also those that are built without pino. */
export function linePrefix(level: LogLevel, timeMs: number): string {
  return `{"level":"${level}","time":"${formatTime(timeMs)}"`;
}

/** What stands in for lines that found no room. */
export function droppedLine(count: number, timeMs: number): string {
  return `${linePrefix('warn', timeMs)},"dropped":${count},"msg":"dropped ${count} log lines"}\n`;
}

/** Turns pino's order of arguments around: the message is what a reader of the code looks for. */
class PinoLogger implements AdjustableLogger {
  readonly #pino: pino.Logger;

  constructor(logger: pino.Logger) {
    this.#pino = logger;
  }

  get level(): LogLevel {
    return this.#pino.level as LogLevel;
  }

  set level(level: LogLevel) {
    this.#pino.level = level;
  }

  debug(message: string, fields?: LogFields): void {
    this.#pino.debug(fields, message);
  }

  info(message: string, fields?: LogFields): void {
    this.#pino.info(fields, message);
  }

  warn(message: string, fields?: LogFields): void {
    this.#pino.warn(fields, message);
  }

  error(message: string, fields?: LogFields): void {
    this.#pino.error(fields, message);
  }

  child(bindings: LogFields): Logger {
    return new PinoLogger(this.#pino.child(bindings));
  }
}
