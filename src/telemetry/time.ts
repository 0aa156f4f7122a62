/**
 * Times in log lines: ISO-8601, UTC, milliseconds. The text up to the seconds is kept until the second changes,
 * because `Date.prototype.toISOString` would be a third of a connection line's cost.
 */

let second = Number.NaN;
let secondText = '';

/** `2026-11-21T01:55:14.042Z` for milliseconds since the epoch. */
export function formatTime(timeMs: number): string {
  const whole = Math.floor(timeMs / 1000);
  if (whole !== second) {
    secondText = new Date(whole * 1000).toISOString().slice(0, -4);
    second = whole;
  }
  const millisecond = Math.floor(timeMs - whole * 1000);
  const zeros = millisecond < 10 ? '00' : millisecond < 100 ? '0' : '';
  return `${secondText}${zeros}${millisecond}Z`;
}
