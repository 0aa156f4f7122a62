/** Numbers, times and text as a terminal shows them. */

import { formatDuration } from '../core/quantity.ts';

const second = 1000;

/** `4h32m10s`; less than a second is `0s`. */
export function formatUptime(durationMs: number): string {
  return formatDuration(Math.floor(durationMs / second) * second);
}

/** Of a Duration or a Timestamp of the API. protobuf's own functions take 80 ms to load. */
export function protoMs({ seconds, nanos }: { readonly seconds: bigint; readonly nanos: number }): number {
  return Number(seconds) * second + nanos / 1e6;
}

/** `2026-11-21T10:02:11Z`: to the second, and the same wherever it is read. */
export function formatTime(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** `3 routes`, `1 route`; `2 policies` with the plural said. */
export function counted(count: number | bigint, noun: string, plural = `${noun}s`): string {
  return `${count} ${Number(count) === 1 ? noun : plural}`;
}

/** Two columns wide on a terminal: the scripts of East Asia, their punctuation, and pictures. */
const wide =
  /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;
/** Drawn over the character before. */
const combining = /\p{M}/u;
const ascii = /^[ -~]*$/;

/** Columns that escaped text takes on a terminal. */
export function displayWidth(text: string): number {
  if (ascii.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** At most `width` columns; what is longer ends in an ellipsis. */
export function cutText(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let cut = '';
  let used = 0;
  for (const character of text) {
    used += characterWidth(character);
    if (used > width - 1) break;
    cut += character;
  }
  return `${cut}…`;
}

function characterWidth(character: string): number {
  if (combining.test(character)) return 0;
  return wide.test(character) ? 2 : 1;
}
