/** Durations and sizes as people write them: `1h30m`, `500ms`, `16KiB`. A number without its unit is refused. */

const durationUnits = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
const sizeUnits = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

const durationPattern = /^(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?$/;

/** Milliseconds, or undefined. Units fall from left to right, each at most once. */
export function parseDuration(text: string): number | undefined {
  const match = durationPattern.exec(text);
  if (match === null || text === '') return undefined;
  const factors = Object.values(durationUnits);
  return factors.reduce((sum, factor, index) => sum + factor * Number(match[index + 1] ?? 0), 0);
}

/** The shortest text that parseDuration reads back. */
export function formatDuration(durationMs: number): string {
  if (durationMs === 0) return '0s';
  let rest = durationMs;
  let text = '';
  for (const [unit, factor] of Object.entries(durationUnits)) {
    const count = Math.floor(rest / factor);
    rest -= count * factor;
    if (count > 0) text += `${count}${unit}`;
  }
  return text;
}

/** Bytes, or undefined. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,12})(B|KiB|MiB|GiB)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * sizeUnits[match[2] as keyof typeof sizeUnits];
}

/** The shortest text that parseSize reads back. */
export function formatSize(bytes: number): string {
  const [unit, factor] = Object.entries(sizeUnits).findLast(
    ([, each]) => bytes >= each && bytes % each === 0,
  ) ?? ['B', 1];
  return `${bytes / factor}${unit}`;
}
