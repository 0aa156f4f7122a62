/**
 * Where a command writes: plain text, tables and JSON. Whatever is shown passes the escaping of core/escape.ts here,
 * so that no command has to remember it.
 */

import { escapeJson, escapeText, escapeUnsafe } from '../core/escape.ts';
import type { Environment } from '../config/environment.ts';
import { exitCodes } from './exit-codes.ts';
import type { ExitCode } from './exit-codes.ts';
import { formatTable } from './table.ts';
import type { Column } from './table.ts';

/** As much of a standard stream as a command needs. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  /** Of the terminal. */
  readonly columns?: number | undefined;
}

/** Longer than any field; a cell is cut to the terminal's width anyway. */
const cellCharactersMax = 8192;
const widthDefault = 80;

export class Shell {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Environment;
  exitCode: ExitCode = exitCodes.ok;

  constructor(stdout: Output, stderr: Output, env: Environment) {
    this.stdout = stdout;
    this.stderr = stderr;
    this.env = env;
  }

  /** Columns of the terminal; null when standard output is none. */
  get width(): number | null {
    return this.stdout.isTTY === true ? this.stdout.columns || widthDefault : null;
  }

  line(text = ''): void {
    this.stdout.write(`${escapeUnsafe(text)}\n`);
  }

  lines(texts: readonly string[]): void {
    if (texts.length > 0) this.stdout.write(texts.map((text) => `${escapeUnsafe(text)}\n`).join(''));
  }

  /** Something the operator should know and no program should have to read over. */
  note(text: string): void {
    this.stderr.write(`${escapeUnsafe(text)}\n`);
  }

  get hasColour(): boolean {
    return isColoured(this.stderr, this.env);
  }

  /** A line that config/problem.ts made: escaped already, perhaps in colour. */
  problem(line: string): void {
    this.stderr.write(`${line}\n`);
  }

  warning(text: string): void {
    this.stderr.write(`${paint('1;33', 'warning', this.stderr, this.env)}: ${escapeUnsafe(text)}\n`);
  }

  error(text: string): void {
    this.stderr.write(`${paint('1;31', 'portcullis', this.stderr, this.env)}: ${escapeUnsafe(text)}\n`);
  }

  /** Nothing but a sentence when there are no rows. */
  table(columns: readonly Column[], rows: readonly (readonly string[])[], empty: string): void {
    if (rows.length === 0) return this.note(empty);
    const escaped = rows.map((row) => row.map((cell) => escapeText(cell, cellCharactersMax)));
    const [head, ...lines] = formatTable(columns, escaped, this.width);
    this.stdout.write(
      `${paint('1', head!, this.stdout, this.env)}\n${lines.map((each) => `${each}\n`).join('')}`,
    );
  }

  json(value: unknown): void {
    // Line by line: within a line of JSON a line feed is written as an escape anyway.
    const lines = JSON.stringify(value, null, 2).split('\n').map(escapeJson);
    this.stdout.write(`${lines.join('\n')}\n`);
  }

  /** What a change answers: the version that every worker serves now. */
  changed({ json }: { readonly json?: true }, version: bigint, text: string, more: object = {}): void {
    if (json === true) this.json({ version: String(version), ...more });
    else this.line(`${text} (version ${version})`);
  }

  /** One value on one line: for streams. */
  jsonLine(value: unknown): void {
    this.stdout.write(`${escapeJson(JSON.stringify(value))}\n`);
  }
}

/** In colour only on a terminal whose owner did not ask otherwise (no-color.org). */
export function isColoured(output: Output, env: Environment): boolean {
  return output.isTTY === true && (env['NO_COLOR'] ?? '') === '';
}

function paint(style: string, text: string, output: Output, env: Environment): string {
  return isColoured(output, env) ? `\x1b[${style}m${text}\x1b[0m` : text;
}
